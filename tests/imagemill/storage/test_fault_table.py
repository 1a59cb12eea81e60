"""Every fault in every stage that meets the network: identical bytes, or the right family and CURRENT whole."""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from imagemill.catalog import CURRENT, Catalog
from imagemill.errors import CallerError, TemporaryFault
from imagemill.manifest import MANIFEST
from imagemill.plan import ConversionSettings
from imagemill.quality.report import REPORT, Report
from imagemill.records.shard_writer import Reference, ShardFiles, record_order, write_shard
from imagemill.rows import Row
from imagemill.storage import PreconditionFailed, Store, open_store
from imagemill.storage.google_upload import CHUNK_BYTES
from imagemill.storage.sync import sync
from tests.support.gcs.faults import Operation, Rule
from tests.support.versions import BuiltVersion, build_version, stage

OLD, NEW = "20260101T000000Z-abababab", "20260102T000000Z-abababab"
ROWS = [Row(f"{n % 3}/{n:02}.png", f"{n % 3}", "train", "") for n in range(9)]
SETTINGS = ConversionSettings(split_fractions={}, split_names=("train",))
FILES = ShardFiles.named(dataset="toys", split="train", shard=0, shards=1)

TEMPORARY = {
    **{str(status): Rule(kind="status", status=status, times=3) for status in (408, 429, 500, 502, 503, 504)},
    "rate limit": Rule(kind="status", status=403, reason="rateLimitExceeded", times=3),
    "an account's rate limit": Rule(kind="status", status=403, reason="userRateLimitExceeded", times=3),
    "reset": Rule(kind="reset", times=3),
    "lost answer": Rule(kind="lost answer", times=3),
    "reset in body": Rule(kind="reset in body", times=3),
    "short body": Rule(kind="short body", times=3),
    "latency": Rule(kind="latency", seconds=0.05, times=3),
    "slow body": Rule(kind="slow body", seconds=0.2, times=3),
    "wrong content": Rule(kind="corrupt", times=3),
    "expired credentials": Rule(kind="status", status=401),
}

PERMANENT = {
    "no permission": (Rule(kind="status", status=403, reason="AccessDenied", times=-1), "grant it roles/storage"),
    "a full quota": (Rule(kind="status", status=403, reason="quotaExceeded", times=-1), "quota of gs://.* is used up"),
    "a retention policy": (
        Rule(kind="status", status=403, reason="retentionPolicyNotMet", times=-1),
        "a retention policy or a hold of gs://",
    ),
    "no billing": (
        Rule(
            kind="status",
            status=403,
            reason="accountDisabled",
            message="The project to be billed is associated with an absent billing account.",
            times=-1,
        ),
        "has no billing account that works",
    ),
    "no credentials": (Rule(kind="status", status=401, times=-1), "does not know this account; sign in"),
    "a name it refuses": (Rule(kind="status", status=400, times=-1), "refuses the request; check the names"),
    "the payer is missing": (
        Rule(kind="status", status=400, reason="UserProjectMissing", times=-1),
        "set IMAGEMILL_GCS_USER_PROJECT",
    ),
}

OUTAGES = {
    "unavailable": Rule(kind="status", status=503, times=-1),
    "resets": Rule(kind="reset", times=-1),
    "silence": Rule(kind="latency", seconds=30, times=-1),
    "wrong content": Rule(kind="corrupt", times=-1),
    "short body": Rule(kind="short body", times=-1),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A version that may be published, and the images it was made of."""
    root = tmp_path_factory.mktemp("built")
    stage(root / "images", ROWS)
    version = build_version(
        root / OLD, root / "images", ROWS, labels=["0", "1", "2"], shards={"train": 1}, settings=SETTINGS
    )
    manifest = hashlib.sha256((version.folder / MANIFEST).read_bytes()).hexdigest()
    report = Report(dataset="toys", version=OLD, version_uri="", fingerprint="", manifest_sha256=manifest, checks=())
    (version.folder / REPORT).write_bytes(report.to_json())
    return version


@dataclass(frozen=True)
class Place:
    """A bucket with the images staged and two versions, the older published; tests write to a prefix of their own."""

    service: object
    built: BuiltVersion
    own: str

    def store(self, prefix: str, **settings) -> Store:
        return self.service.store(prefix, **settings)

    def catalog(self, **settings) -> Catalog:
        return Catalog("", store=self.store("datasets", **settings))

    def current(self) -> str:
        """Returns what CURRENT names; the version must be whole."""
        found = self.catalog().current()
        assert found is not None
        return found.version


@pytest.fixture(scope="module")
def staged(shared_service, built):
    sync(open_store(built.images), shared_service.store("images"))
    for version in (OLD, NEW):
        sync(open_store(built.folder), shared_service.store(f"datasets/versions/{version}"))
    return shared_service


@pytest.fixture
def place(staged, built, request):
    staged.gcs.strike()
    place = Place(staged, built, hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12])
    place.catalog().publish(OLD)
    return place


class Upload:
    operation: Operation = "upload"

    def run(self, place, **settings):
        sync(open_store(place.built.images), place.store(place.own, **settings))

    def check(self, place):
        assert contents(place.store(place.own)) == contents(open_store(place.built.images))


class Listing:
    operation: Operation = "list"

    def run(self, place, **settings):
        self.found = list(place.store("images", **settings).list(checksums=True))

    def check(self, place):
        assert self.found == list(open_store(place.built.images).list(checksums=True))


class ImageReads:
    operation: Operation = "read"

    def run(self, place, **settings):
        references = sorted((Reference(row, int(row.label), row.label) for row in ROWS), key=record_order)
        images, output = place.store("images", **settings), place.store(place.own, **settings)
        write_shard(references, FILES, images=images, output=output, settings=SETTINGS)

    def check(self, place):
        for name in (FILES.data, FILES.index):
            assert place.store(place.own).read(name) == open_store(place.built.folder).read(name)


class ShardWrites(ImageReads):
    operation: Operation = "upload"


class PointerWrite:
    operation: Operation = "upload"

    def run(self, place, **settings):
        place.catalog(**settings).publish(NEW)

    def check(self, place):
        assert place.current() == NEW


STAGES = [Upload, Listing, ImageReads, ShardWrites, PointerWrite]


def contents(store):
    return {info.key: store.read(info.key) for info in store.list()}


def aimed(rule: Rule, stage) -> Rule:
    return Rule(**rule.to_json() | {"operation": stage.operation})


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", TEMPORARY)
def test_a_fault_that_passes_changes_no_byte(place, stage, fault):
    work = stage()
    place.service.gcs.strike(aimed(TEMPORARY[fault], work))
    work.run(place)
    assert place.service.gcs.struck()
    place.service.gcs.strike()
    work.check(place)
    assert place.current() in (OLD, NEW)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", PERMANENT)
def test_a_refusal_is_the_callers_mistake_at_once(place, stage, fault):
    rule, advice = PERMANENT[fault]
    place.service.gcs.strike(aimed(rule, stage))
    started = time.monotonic()
    with pytest.raises(CallerError, match=advice) as error:
        stage().run(place)
    assert time.monotonic() - started < 5
    bucket = place.service.bucket
    assert bucket in str(error.value)
    assert "an anonymous caller" in str(error.value)
    place.service.gcs.strike()
    assert place.current() == OLD


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", OUTAGES)
def test_an_outage_past_the_deadline_is_a_temporary_fault(place, stage, fault):
    work = stage()
    place.service.gcs.strike(aimed(OUTAGES[fault], work))
    with pytest.raises(TemporaryFault, match=r"attempts in .* s\); .* run it again, it continues"):
        work.run(place, storage_deadline_seconds=0.3, storage_attempt_seconds=0.2)
    place.service.gcs.strike()
    assert place.current() == OLD
    work.run(place)
    work.check(place)


class TestLargeObjects:
    """Resumable uploads, chunk by chunk."""

    DATA = random.Random(1).randbytes(2 * CHUNK_BYTES + 1000)

    def upload(self, place):
        with place.store(place.own).writer("large") as target:
            for start in range(0, len(self.DATA), 1 << 20):
                target.write(self.DATA[start : start + (1 << 20)])

    @pytest.mark.parametrize(
        ("fault", "skip"),
        [
            *(("lost answer", request) for request in range(4)),
            ("503", 0),
            ("503", 2),
            ("reset", 1),
            ("reset", 3),
            ("expired credentials", 1),
        ],
    )
    def test_a_fault_at_any_request_is_survived(self, place, fault, skip):
        rule = TEMPORARY[fault]
        place.service.gcs.strike(Rule(**rule.to_json() | {"operation": "upload", "skip": skip, "times": 1}))
        self.upload(place)
        assert place.service.gcs.struck() == 1
        assert place.store(place.own).read("large") == self.DATA

    @pytest.mark.parametrize(("fault", "skip"), [("wrong content", 1), ("wrong content", 3), ("short body", 2)])
    def test_content_that_arrives_wrong_never_becomes_an_object(self, place, fault, skip):
        rule = TEMPORARY[fault]
        place.service.gcs.strike(Rule(**rule.to_json() | {"operation": "upload", "skip": skip, "times": 1}))
        with contextlib.suppress(TemporaryFault):
            self.upload(place)
        found = place.store(place.own).stat("large")
        assert found is None or place.store(place.own).read("large") == self.DATA
        place.service.gcs.strike()
        self.upload(place)
        assert place.store(place.own).read("large") == self.DATA


def test_a_deletion_whose_answer_was_lost_is_done(place, tmp_path):
    for name in ("kept", "old"):
        place.store(place.own).write(name, b"")
    (tmp_path / "kept").touch()
    place.service.gcs.strike(Rule(kind="lost answer", operation="delete", times=3))
    done = sync(open_store(tmp_path), place.store(place.own), delete=True)
    assert place.service.gcs.struck()
    assert done.deleted == 1
    assert [found.key for found in place.store(place.own).list()] == ["kept"]


class TestConditionalWrites:
    def test_a_pointer_whose_answer_was_lost_has_moved(self, place):
        place.service.gcs.strike(Rule(kind="lost answer", operation="upload", name=CURRENT))
        assert place.catalog().publish(NEW).moved
        assert place.current() == NEW

    @pytest.mark.parametrize("damage", ["corrupt", "short body"])
    def test_a_pointer_damaged_on_its_way_replaces_nothing(self, place, damage):
        place.service.gcs.strike(
            Rule(kind=damage, operation="upload", name=CURRENT),
            Rule(kind="status", status=503, operation="upload", times=-1),
        )
        with pytest.raises(TemporaryFault):
            place.catalog(storage_deadline_seconds=0.3).publish(NEW)
        place.service.gcs.strike()
        assert place.current() == OLD

    @pytest.mark.parametrize("fault", ["lost answer", "wrong content", "short body", "503", "reset"])
    def test_a_write_that_succeeded_in_the_end_knows_its_generation(self, place, fault):
        store = place.store(place.own)
        before = store.write("x", b"before").generation
        rule = TEMPORARY[fault]
        place.service.gcs.strike(Rule(**rule.to_json() | {"operation": "upload", "times": 1}))
        written = store.write("x", b"after", if_generation=before)
        assert written == store.stat("x")
        assert store.read("x") == b"after"

    def test_a_lost_answer_hides_no_other_writer(self, place):
        store = place.store(place.own)
        before = store.write("x", b"0").generation
        store.write("x", b"somebody else")
        place.service.gcs.strike(Rule(kind="reset", operation="upload", name="/x$"))
        with pytest.raises(PreconditionFailed):
            store.write("x", b"mine", if_generation=before)
        assert store.read("x") == b"somebody else"

    def test_of_two_publishers_one_wins_and_the_other_learns_it(self, place, built):
        other = "20260103T000000Z-abababab"
        sync(open_store(built.folder), place.store(f"datasets/versions/{other}"))
        place.service.gcs.strike(Rule(kind="latency", seconds=0.2, operation="upload", name=CURRENT, times=-1))
        outcomes = together(lambda: place.catalog().publish(NEW), lambda: place.catalog().publish(other))
        place.service.gcs.strike()
        lost = [outcome for outcome in outcomes if isinstance(outcome, PreconditionFailed)]
        won = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        assert (len(lost), len(won)) == (1, 1)
        assert "somebody else" in str(lost[0])
        assert place.current() == won[0].version
        for version in (NEW, other):
            assert contents(place.store(f"datasets/versions/{version}")) == contents(open_store(built.folder))


def together(*calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.exception() or future.result() for future in futures]
