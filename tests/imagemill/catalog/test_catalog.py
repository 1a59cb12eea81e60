import contextlib
import hashlib
import itertools
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import imagemill
from imagemill.catalog import Catalog, RetentionPolicy, current, new_version_id, read_manifest
from imagemill.errors import CallerError, UnusableData
from imagemill.manifest import MANIFEST, Account, Manifest
from imagemill.plan import PLAN, ConversionPlan, ConversionSettings
from imagemill.quality.report import REPORT, Base, CheckResult, Report, Severity, Verdict
from imagemill.storage import PreconditionFailed, open_store
from imagemill.version.files import entry_of

FIRST, SECOND, THIRD = (
    "20260101T000000Z-aaaaaaaa",
    "20260102T000000Z-bbbbbbbb",
    "20260103T000000Z-cccccccc",
)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "datasets" / "toys"


@pytest.fixture
def catalog(output):
    return Catalog(str(output))


def make_version(output: Path, version: str, *, passed: bool | None = True, sample_below: int | None = None) -> Path:
    """Writes a version folder with one payload object; `passed=None` leaves it without a validation."""
    folder = output / "versions" / version
    folder.mkdir(parents=True)
    fingerprint = version[-8:] * 8
    (folder / "labels.txt").write_bytes(b"cat\n")
    plan = ConversionPlan(
        dataset="toys",
        version=version,
        fingerprint=fingerprint,
        content_digest="0",
        index="index.csv",
        images="images",
        labels=("cat",),
        sample_below=sample_below,
        rows=1,
        index_bytes=0,
        splits=(),
        settings=ConversionSettings(split_fractions={"train": 1.0}),
    )
    (folder / PLAN).write_text(plan.model_dump_json())
    manifest = Manifest(
        dataset="toys",
        fingerprint=fingerprint,
        labels=["cat"],
        accounts=[Account(split="train", label="cat", rows=3, records=2, rejected=1, duplicates=0)],
        reject_reasons={},
        shards=[],
        files=[entry_of("labels.txt", b"cat\n")],
    ).to_json()
    (folder / MANIFEST).write_bytes(manifest)
    if passed is not None:
        write_report(folder, passed=passed)
    return folder


def write_report(folder: Path, *, passed: bool = True, base: str | None = None) -> None:
    check = CheckResult(
        name="labels",
        severity=Severity.ERROR,
        verdict=Verdict.PASSED if passed else Verdict.FAILED,
        observed="1",
        expected="2",
    )
    report = Report(
        dataset="toys",
        version=folder.name,
        version_uri=str(folder),
        fingerprint="f",
        manifest_sha256=hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest(),
        checks=(check,),
        base=Base(version=base) if base else None,
    )
    (folder / REPORT).write_bytes(report.to_json())


def pointer(output: Path) -> str | None:
    path = output / "CURRENT"
    return json.loads(path.read_text())["version"] if path.exists() else None


# -- ids


def test_version_ids_sort_by_time_and_end_with_the_fingerprint():
    noon = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
    assert new_version_id("0123abcd" * 8, noon) == "20260131T120005Z-0123abcd"
    assert new_version_id("0" * 64, noon.astimezone(timezone(timedelta(hours=5)))) == "20260131T120005Z-00000000"
    with pytest.raises(ValueError, match="no time zone"):
        new_version_id("0" * 64, datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="not a hexadecimal"):
        new_version_id("../../etc", noon)


# -- reading


def test_a_dataset_without_versions_is_empty_not_an_error(catalog, output):
    assert catalog.versions() == []
    assert catalog.current() is None
    with pytest.raises(CallerError, match="no published version"):
        current(str(output))


def test_current_names_the_published_version(catalog, output):
    make_version(output, FIRST)
    catalog.publish(FIRST)
    published = catalog.current()
    assert published.version == FIRST
    assert published.uri == str(output / "versions" / FIRST)
    assert imagemill.current(str(output)) == published.uri
    assert read_manifest(published.uri).records == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda output: (output / "CURRENT").write_text("oops"), "not a readable pointer", id="no JSON"),
        pytest.param(
            lambda output: (output / "CURRENT").write_text('{"version": "../x", "manifest_sha256": "0"}'),
            "not a readable pointer",
            id="a path instead of a version",
        ),
        pytest.param(
            lambda output: (output / "versions" / FIRST / MANIFEST).unlink(), "is gone", id="version without manifest"
        ),
        pytest.param(
            lambda output: (output / "versions" / FIRST / MANIFEST).write_text("{}"),
            "not the one that was published",
            id="another manifest",
        ),
    ],
)
def test_a_damaged_publication_is_unusable_and_can_be_repaired(catalog, output, damage, message):
    make_version(output, FIRST)
    make_version(output, SECOND)
    catalog.publish(FIRST)
    damage(output)
    with pytest.raises(UnusableData, match=message) as caught:
        catalog.current()
    assert "publish" in str(caught.value)
    assert {info.version for info in catalog.versions()} == {FIRST, SECOND}
    catalog.publish(SECOND)
    assert catalog.current().version == SECOND


def test_versions_describe_every_folder_newest_first(catalog, output):
    make_version(output, FIRST)
    make_version(output, SECOND, passed=False)
    (make_version(output, THIRD) / MANIFEST).unlink()
    (output / "versions" / "notes").mkdir()
    (output / "versions" / "notes" / "a.txt").write_text("mine")
    (output / "versions" / "20261301T000000Z-aaaaaaaa").mkdir()
    (output / "versions" / "20261301T000000Z-aaaaaaaa" / MANIFEST).write_text("month 13 is not ours")
    catalog.publish(FIRST)
    third, second, first = catalog.versions()
    assert (first.version, first.current, first.complete, first.verdict, first.obstacle) == (
        FIRST,
        True,
        True,
        Verdict.PASSED,
        "",
    )
    assert (first.records, first.rejected, first.fingerprint) == (2, 1, "a" * 64)
    assert first.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert first.objects == 4
    assert first.bytes == sum(path.stat().st_size for path in (output / "versions" / FIRST).iterdir())
    assert (second.current, second.complete, second.verdict) == (False, True, Verdict.FAILED)
    assert "labels" in second.obstacle
    assert (third.complete, third.records, third.fingerprint) == (False, None, "c" * 64)
    assert "did not finish" in third.obstacle


@pytest.mark.parametrize("name", [PLAN, MANIFEST, REPORT])
def test_versions_describe_a_damaged_folder(catalog, output, name):
    (make_version(output, FIRST) / name).write_bytes(b"\xff\x00")
    (info,) = catalog.versions()
    assert info.obstacle


def test_find_wants_the_whole_fingerprint_and_prefers_complete_versions(catalog, output):
    make_version(output, FIRST)
    newer = FIRST.replace("20260101", "20260105")
    (make_version(output, newer) / MANIFEST).unlink()
    assert catalog.find("a" * 64).version == FIRST
    assert catalog.find("a" * 63 + "b") is None
    assert catalog.find("d" * 64) is None
    (output / "versions" / FIRST / MANIFEST).unlink()
    assert catalog.find("a" * 64).version == newer


# -- publishing


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        pytest.param({"passed": None}, "never validated", id="not validated"),
        pytest.param({"passed": False}, r"validation failed \(labels\)", id="failed"),
        pytest.param({"sample_below": 0}, "limited sample", id="limited"),
    ],
)
def test_publish_refuses(catalog, output, prepare, message):
    make_version(output, FIRST)
    catalog.publish(FIRST)
    make_version(output, SECOND, **prepare)
    with pytest.raises(UnusableData, match=message):
        catalog.publish(SECOND)
    assert pointer(output) == FIRST


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda folder: (folder / MANIFEST).unlink(), "did not finish", id="unfinished"),
        pytest.param(lambda folder: (folder / PLAN).unlink(), "convert again", id="no plan"),
        pytest.param(
            lambda folder: (folder / PLAN).write_text('{"format_version": 99}'), "upgrade imagemill", id="newer plan"
        ),
        pytest.param(
            lambda folder: (folder / PLAN).write_text("{}"), "(?s)not a readable plan.*convert again", id="empty plan"
        ),
        pytest.param(lambda folder: (folder / "labels.txt").unlink(), "gone or have another size", id="lost object"),
        pytest.param(
            lambda folder: (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes() + b"\n"),
            "changed since it was validated",
            id="manifest changed after validation",
        ),
        pytest.param(lambda folder: (folder / "retired.json").write_text("{}"), "being removed", id="retired"),
    ],
)
def test_publish_refuses_a_damaged_version(catalog, output, damage, message):
    damage(make_version(output, FIRST))
    with pytest.raises(UnusableData, match=message):
        catalog.publish(FIRST)
    assert pointer(output) is None


@pytest.mark.parametrize("version", [SECOND, "../../secrets", "", "latest"])
def test_publish_wants_a_version_that_exists(catalog, output, version):
    make_version(output, FIRST)
    with pytest.raises(CallerError):
        catalog.publish(version)


def test_publishing_again_changes_nothing(catalog, output):
    make_version(output, FIRST)
    assert catalog.publish(FIRST).moved
    before = open_store(str(output)).stat("CURRENT")
    again = catalog.publish(FIRST)
    assert (again.moved, again.previous) == (False, FIRST)
    assert open_store(str(output)).stat("CURRENT") == before


def test_rollback_goes_to_the_newest_version_before_the_current_that_was_published(catalog, output):
    for version in (FIRST, SECOND, THIRD):
        make_version(output, version)
    catalog.publish(FIRST)
    catalog.publish(THIRD)
    back = catalog.rollback()
    assert (back.version, back.previous, back.moved) == (FIRST, THIRD, True)
    assert catalog.rollback(THIRD).version == THIRD
    catalog.rollback(FIRST)
    with pytest.raises(CallerError, match="no intact version that was published before"):
        catalog.rollback()
    assert pointer(output) == FIRST


def test_rollback_goes_the_way_back_that_publications_came(catalog, output):
    """The data went from A to B to C and to B again, so that B's version was published twice."""
    a, b, c = days(3)
    for version in (a, b, c):
        make_version(output, version)
    for version in (a, b, c, b):
        catalog.publish(version)
    assert [catalog.rollback().version for _ in range(3)] == [c, b, a]
    with pytest.raises(CallerError, match="no intact version"):
        catalog.rollback()


def test_what_was_rolled_back_is_not_gone_back_to(catalog, output):
    a, b, c = days(3)
    for version in (a, b, c):
        make_version(output, version)
    catalog.publish(a)
    catalog.publish(b)
    catalog.rollback()
    catalog.publish(c)
    assert catalog.rollback().version == a


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / "labels.txt").write_bytes(b"dog\n"), id="other bytes"),
        pytest.param(lambda folder: (folder / "labels.txt").unlink(), id="lost object"),
    ],
)
def test_rollback_looks_at_every_object_first(catalog, output, damage):
    one, two, three = days(3)
    for version in (one, two, three):
        make_version(output, version)
        catalog.publish(version)
    damage(output / "versions" / two)
    with pytest.raises(UnusableData, match=r"labels\.txt"):
        catalog.rollback(two)
    assert pointer(output) == three
    assert catalog.rollback().version == one


# -- what a report compared with


def test_a_report_that_compared_with_another_version_than_the_published_one_does_not_publish(catalog, output):
    """Two refreshes at once: both candidates were compared with what was published before either."""
    one, two, three = days(3)
    make_version(output, one)
    catalog.publish(one)
    for version in (two, three):
        write_report(make_version(output, version), base=one)
    catalog.publish(two)
    with pytest.raises(UnusableData, match=f"compared with {one}, and {two} is published now; validate it again"):
        catalog.publish(three)
    assert next(info for info in catalog.versions() if info.version == three).obstacle
    write_report(output / "versions" / three, base=two)
    catalog.publish(three)
    assert not catalog.publish(three).moved
    assert catalog.rollback().version == two  # what was published once may come back, whatever it was compared with
    catalog.rollback()
    with pytest.raises(UnusableData, match="validate it again"):
        catalog.publish(three)
    assert catalog.publish(three, force=True, reason="it is what we want").moved


def test_a_report_of_any_base_repairs_an_unreadable_pointer(catalog, output):
    one, two = days(2)
    make_version(output, one)
    catalog.publish(one)
    write_report(make_version(output, two), base="20250101T000000Z-aaaaaaaa")
    (output / "CURRENT").write_text("oops")
    assert catalog.publish(two).moved


# -- force and history


def test_force_overrides_failed_checks_and_is_recorded(catalog, output):
    make_version(output, FIRST)
    catalog.publish(FIRST, by="ann", now=NOW)
    make_version(output, SECOND, passed=False)
    with pytest.raises(CallerError, match="takes a reason"):
        catalog.publish(SECOND, force=True, reason=" ")
    assert catalog.publish(SECOND, by="bob", force=True, reason="half the data is meant", now=NOW).moved
    catalog.rollback(by="eve", reason="no, it is not", now=NOW)
    catalog.rollback(SECOND, by="bob", reason="yes, it is", now=NOW)  # what was let through once may come back
    told = [(entry.action, entry.version, entry.by, entry.reason, entry.overridden) for entry in catalog.history()]
    assert told == [
        ("rollback", SECOND, "bob", "yes, it is", ("labels",)),
        ("rollback", FIRST, "eve", "no, it is not", ()),
        ("publish", SECOND, "bob", "half the data is meant", ("labels",)),
        ("publish", FIRST, "ann", "", ()),
    ]
    assert [entry.previous for entry in catalog.history()] == [FIRST, SECOND, FIRST, None]
    assert {entry.at for entry in catalog.history()} == {NOW}


@pytest.mark.parametrize(
    ("options", "damage"),
    [
        pytest.param({"passed": None}, lambda folder: None, id="never validated"),
        pytest.param({"sample_below": 0}, lambda folder: None, id="limited"),
        pytest.param({"passed": False}, lambda folder: (folder / "labels.txt").unlink(), id="lost object"),
    ],
)
def test_force_overrides_nothing_else(catalog, output, options, damage):
    damage(make_version(output, FIRST, **options))
    with pytest.raises(UnusableData):
        catalog.publish(FIRST, force=True, reason="I want it")


def test_publishing_again_adds_no_entry(catalog, output):
    make_version(output, FIRST)
    catalog.publish(FIRST)
    catalog.publish(FIRST)
    assert len(catalog.history()) == 1


def test_an_entry_whose_move_was_lost_is_not_in_the_history(output):
    for version in (FIRST, SECOND, THIRD):
        make_version(output, version)
    Catalog(str(output)).publish(FIRST)

    def tick(kind, key):
        if (kind, key) == ("write", "CURRENT"):
            Catalog(str(output)).publish(SECOND)

    with pytest.raises(PreconditionFailed):
        watched(output, tick).publish(THIRD)
    assert [entry.version for entry in Catalog(str(output)).history()] == [SECOND, FIRST]
    assert len(list((output / "history").iterdir())) == 3


def test_the_history_outlives_a_damaged_pointer_and_a_lost_entry(catalog, output):
    one, two, three = days(3)
    for day, version in enumerate((one, two, three)):
        make_version(output, version)
        catalog.publish(version, now=NOW + timedelta(days=day))
    (output / "CURRENT").write_text("oops")
    assert [entry.version for entry in catalog.history()] == [three, two, one]
    assert catalog.rollback().version == three
    assert [entry.version for entry in catalog.history()] == [three, three, two, one]
    sorted((output / "history").iterdir())[1].unlink()
    assert [entry.version for entry in catalog.history()] == [three, three]
    assert catalog.current().version == three


def test_a_pointer_without_history_is_read(catalog, output):
    make_version(output, FIRST)
    catalog.publish(FIRST)
    content = json.loads((output / "CURRENT").read_text())
    del content["entry"]
    (output / "CURRENT").write_text(json.dumps(content))
    assert catalog.current().version == FIRST
    assert catalog.history() == []
    make_version(output, SECOND)
    catalog.publish(SECOND)
    assert [entry.previous for entry in catalog.history()] == [FIRST]


# -- pruning


def days(count: int) -> list[str]:
    return [f"202601{day:02d}T000000Z-aaaaaaaa" for day in range(1, count + 1)]


NOW = datetime(2026, 1, 20, tzinfo=UTC)
AT_ONCE = RetentionPolicy(keep=1)


def test_prune_keeps_the_last_published_the_current_and_all_that_is_newer(catalog, output):
    one, two, three, four, five, six = days(6)
    for version in (one, two, four, five, six):
        make_version(output, version)
    make_version(output, three, passed=False)
    (output / "versions" / six / MANIFEST).unlink()
    for version in (one, two, four):
        catalog.publish(version)
    policy = RetentionPolicy(keep=2)
    rehearsal = catalog.prune(policy, dry_run=True, now=NOW)
    assert len(catalog.versions()) == 6
    done = catalog.prune(policy, now=NOW)
    assert rehearsal.removed == done.removed == (three, one)
    assert done.kept == (six, five, four, two)
    assert done.bytes > 0
    assert [info.version for info in catalog.versions()] == [six, five, four, two]
    assert catalog.current().version == four
    assert catalog.prune(policy, now=NOW).removed == ()


def test_candidates_that_nobody_published_in_a_month_go(catalog, output):
    one, two, three, four, five = days(5)
    for version in (one, two, three, four):
        make_version(output, version)
    make_version(output, five, passed=False)
    for version in (two, four, one):  # two and four were published, and are newer than what is now
        catalog.publish(version)
    month = timedelta(days=30)
    third, fifth = (datetime(2026, 1, day, tzinfo=UTC) for day in (3, 5))
    assert catalog.prune(AT_ONCE, now=third + month - timedelta(seconds=1)).removed == ()
    assert catalog.prune(AT_ONCE, now=third + month).removed == (three,)
    longer = RetentionPolicy(keep=1, min_age=timedelta(days=40))
    assert catalog.prune(longer, now=fifth + month).removed == ()
    graceful = RetentionPolicy(keep=1, grace=timedelta(hours=24))
    assert catalog.prune(graceful, now=fifth + month).retired == (five,)
    assert catalog.prune(AT_ONCE, now=fifth + month).removed == (five,)
    assert [info.version for info in catalog.versions()] == [four, two, one]


def test_prune_never_removes_the_current_version_however_old(catalog, output):
    for version in days(3):
        make_version(output, version)
    catalog.publish(days(3)[0])
    catalog.prune(AT_ONCE)
    assert catalog.current().version == days(3)[0]


def test_prune_keeps_what_is_young(catalog, output):
    for version in days(4):
        make_version(output, version)
        catalog.publish(version)
    policy = RetentionPolicy(keep=1, min_age=timedelta(days=17.5))
    assert catalog.prune(policy, now=NOW).removed == tuple(days(2)[::-1])


def test_prune_marks_first_and_removes_after_the_time_of_grace(catalog, output):
    one, two, three = days(3)
    for version in (one, two, three):
        make_version(output, version)
        catalog.publish(version)
    policy = RetentionPolicy(keep=2, grace=timedelta(hours=24))
    rehearsal = catalog.prune(policy, now=NOW, dry_run=True)
    marked = catalog.prune(policy, now=NOW)
    assert (rehearsal.retired, marked.retired, marked.removed) == ((one,), (one,), ())
    assert (output / "versions" / one / "labels.txt").exists()
    with pytest.raises(UnusableData, match="being removed"):
        catalog.rollback(one)
    soon = catalog.prune(policy, now=NOW + timedelta(hours=23))
    assert (soon.retired, soon.removed) == ((), ())
    assert catalog.prune(policy, now=NOW + timedelta(hours=24)).removed == (one,)
    assert not (output / "versions" / one).exists()


def test_a_mark_that_came_too_late_does_not_cost_the_published_version_its_grace(catalog, output):
    one, two, three = days(3)
    for version in (one, two, three):
        make_version(output, version)
    catalog.publish(two)
    (output / "versions" / two / "retired.json").write_text("{}")  # an interrupted prune, outrun by this publication
    assert next(info for info in catalog.versions() if info.current).obstacle == ""
    policy = RetentionPolicy(keep=1, grace=timedelta(hours=24))
    catalog.prune(policy, now=NOW)
    catalog.publish(three)
    assert catalog.prune(policy, now=NOW + timedelta(hours=1)).removed == ()
    assert catalog.prune(policy, now=NOW + timedelta(hours=25)).removed == (two, one)


def test_prune_removes_nothing_where_nothing_is_published(catalog, output):
    make_version(output, FIRST)
    assert catalog.prune(AT_ONCE).removed == ()
    with pytest.raises(CallerError, match="at least 1"):
        RetentionPolicy(keep=0)


def test_a_half_deleted_version_is_no_version_and_the_next_prune_finishes_it(output):
    make_version(output, FIRST)
    make_version(output, SECOND)
    Catalog(str(output)).publish(SECOND)

    class Killed(Exception):
        pass

    for survived in range(8):
        step = itertools.count()

        def tick(kind, key, step=step, survived=survived):
            if kind == "delete" and next(step) == survived:
                raise Killed

        try:
            watched(output, tick).prune(AT_ONCE)
        except Killed:
            states = {info.version: info for info in Catalog(str(output)).versions()}
            assert FIRST not in states or states[FIRST].obstacle
            assert Catalog(str(output)).current().version == SECOND
    assert [info.version for info in Catalog(str(output)).versions()] == [SECOND]


# -- concurrency: another actor strikes between any two operations of the first


class WatchedStore:
    """A store that tells of every operation before it does it; outside the store's own locks."""

    def __init__(self, store, tick):
        self._store = store
        self._tick = tick
        self.uri = store.uri

    def __getattr__(self, name):
        operation = getattr(self._store, name)

        def watched_operation(key="", *args, **options):
            self._tick(name, key)
            return operation(key, *args, **options)

        return watched_operation


def watched(output: Path, tick) -> Catalog:
    return Catalog(str(output), store=WatchedStore(open_store(str(output)), tick))


ACTIONS = {
    "publish": lambda catalog: catalog.publish(THIRD),
    "publish old": lambda catalog: catalog.publish(FIRST),
    "rollback": lambda catalog: catalog.rollback(),
    "prune": lambda catalog: catalog.prune(AT_ONCE),
    "prune with grace": lambda catalog: catalog.prune(RetentionPolicy(keep=1, grace=timedelta(hours=1))),
}


@pytest.mark.parametrize("intruder", ACTIONS)
@pytest.mark.parametrize("actor", ACTIONS)
def test_no_interleaving_leaves_current_on_a_missing_version(tmp_path, actor, intruder):
    for moment in itertools.count():
        output = tmp_path / str(moment)
        for version in (FIRST, SECOND, THIRD):
            make_version(output, version)
        Catalog(str(output)).publish(FIRST)
        Catalog(str(output)).publish(SECOND)
        operations = itertools.count()
        struck = []

        def tick(kind, key, *, operations=operations, moment=moment, output=output, struck=struck):
            if next(operations) == moment:
                struck.append(key)
                attempt(ACTIONS[intruder], Catalog(str(output)))

        attempt(ACTIONS[actor], watched(output, tick))
        assert Catalog(str(output)).current() is not None
        published = Catalog(str(output)).current()
        assert next(info for info in Catalog(str(output)).versions() if info.current).obstacle == "", published
        if not struck:
            assert moment > 3
            break


def attempt(action, catalog: Catalog) -> None:
    with contextlib.suppress(CallerError, UnusableData):  # refused or outrun: what counts is what is left
        action(catalog)


def test_the_slower_of_two_publishers_is_told_so(output):
    for version in (FIRST, SECOND, THIRD):
        make_version(output, version)
    Catalog(str(output)).publish(FIRST)

    def tick(kind, key):
        if (kind, key) == ("write", "CURRENT"):
            Catalog(str(output)).publish(SECOND)

    with pytest.raises(PreconditionFailed, match=f"moved by somebody else.*{SECOND}"):
        watched(output, tick).publish(THIRD)
    assert pointer(output) == SECOND
