"""The diff against one that simply holds both versions in dictionaries."""

import itertools
import resource
import tempfile
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.diff.compare import diff_versions
from imagemill.diff.model import Change, VersionDiff
from imagemill.errors import UnusableData
from imagemill.manifest import MANIFEST
from imagemill.records.sharding import HASH_SPACE, key_hash
from tests.support.index_versions import IndexedImage, write_indexes

LABELS = ["cat", "dog", "owl"]
SPLITS = ["train", "test"]


def coarse(key):
    """A hash of which there are eight: most keys share theirs with others."""
    return key_hash(key) >> 61 << 61


def kept(content):
    return {key: tuple(rest) for key, *rest in content}


def versions(keys, **options):
    """Contents of versions: split, label and image of each key."""
    rows = st.tuples(keys, st.sampled_from(SPLITS), st.sampled_from(LABELS), st.integers(0, 20))
    return st.lists(rows, max_size=25, **options).map(kept)


one_of_each = versions(st.text("abä/", min_size=1, max_size=2), unique_by=(lambda row: row[0], lambda row: row[3]))
shards = st.fixed_dictionaries({split: st.integers(1, 5) for split in SPLITS})


@settings(deadline=None, max_examples=150)
@given(
    before=one_of_each,
    after=one_of_each,
    first=shards,
    second=shards,
    hashed=st.sampled_from([key_hash, coarse]),
    window=st.sampled_from([3, 50_000]),
)
def test_the_diff_is_that_of_two_dictionaries(before, after, first, second, hashed, window):
    compare(diff_of(before, after, first, second, hashed=hashed, window=window), before, after)


def diff_of(before, after, first, second, *, hashed=key_hash, window=50_000):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("imagemill.diff.compare.WINDOW_RECORDS", window)
        patch.setattr("imagemill.diff.spill._MEMORY_BYTES", 100)
        uris = [
            write_indexes(
                Path(folder) / name,
                # Digests are numbers here, and their last byte decides where they wait: 61 spreads them.
                [IndexedImage(key, *rest, image * 61) for key, (*rest, image) in content.items()],
                labels=labels,
                shards=counts,
                hashed=hashed,
            )
            for name, content, labels, counts in (
                ("before", before, LABELS, first),
                ("after", after, LABELS[::-1], second),
            )
        ]
        return diff_versions(*map(str, uris))


def origins(before, after):
    """Returns the old key of each that was renamed; no image is in a version twice."""
    changed = {key for key in before.keys() & after.keys() if before[key][2] != after[key][2]}
    found = {}
    for lost, gained in ((before.keys() - after.keys(), after.keys() - before.keys()), (changed, changed)):
        key_of = {before[key][2]: key for key in lost}
        found |= {key: key_of[after[key][2]] for key in gained if after[key][2] in key_of}
    return found


def compare(diff: VersionDiff, before, after):
    kinds = {kind: set() for kind in Change}
    common = before.keys() & after.keys()
    origin = origins(before, after)
    followed = {key: key for key in common} | origin
    kinds[Change.RENAMED] = set(origin)
    kinds[Change.ADDED] = after.keys() - before.keys() - origin.keys()
    kinds[Change.REMOVED] = before.keys() - after.keys() - set(origin.values())
    kinds[Change.MOVED] = {key for key in common if before[key][0] != after[key][0]}
    kinds[Change.RELABELLED] = {key for key, was in followed.items() if before[was][1] != after[key][1]}
    kinds[Change.CHANGED] = {key for key in common if before[key][2] != after[key][2]} - origin.keys()
    assert {kind: getattr(diff.total, kind) for kind in Change} == {kind: len(keys) for kind, keys in kinds.items()}
    assert (diff.total.before, diff.total.after, diff.common) == (len(before), len(after), len(followed))
    assert diff.total.before - diff.total.removed == diff.common == diff.total.after - diff.total.added
    assert diff.unchanged == sum(before[key] == after[key] for key in common)
    assert diff.empty == (before == after)
    expected = Counter(
        (kind, *(before if kind is Change.REMOVED else after)[key][:2]) for kind, keys in kinds.items() for key in keys
    )
    found = {
        (kind, stratum.split, stratum.label): getattr(stratum, kind)
        for stratum in diff.strata
        for kind in Change
        if getattr(stratum, kind)
    }
    assert found == expected
    for name, content in (("before", before), ("after", after)):
        assert Counter({(s.split, s.label): getattr(s, name) for s in diff.strata}) == Counter(
            (split, label) for split, label, _ in content.values()
        )
    assert {(p.before, p.after): p.records for p in diff.relabelled} == Counter(
        (before[followed[key]][1], after[key][1]) for key in kinds[Change.RELABELLED]
    )
    assert {(p.before, p.after): p.records for p in diff.moved} == Counter(
        (before[key][0], after[key][0]) for key in kinds[Change.MOVED]
    )
    for kind, keys in kinds.items():
        examples = diff.examples.get(kind, ())
        assert len({example.key for example in examples}) == len(examples) == min(10, len(keys))
        for example in examples:
            assert example.key in keys
            old = "" if kind is Change.ADDED else example.key
            if kind in (Change.RENAMED, Change.RELABELLED):
                old = followed[example.key]
            was, now = before.get(old, ("", "")), after.get(example.key, ("", ""))
            assert example.key_before == (old if old not in ("", example.key) else "")
            assert (example.split_before, example.label_before) == tuple(was[:2])
            assert (example.split, example.label) == tuple(now[:2])


@settings(deadline=None, max_examples=80)
@given(
    before=versions(st.integers(0, 99).map("a{}".format)),
    after=versions(st.integers(0, 99).map("b{}".format)),
    copies=st.integers(0, 3),
    window=st.sampled_from([3, 50_000]),
)
def test_of_images_that_are_there_several_times_as_few_as_can_be_are_relabelled(before, after, copies, window):
    before, after = (
        {key: (*rest, image % (copies + 1)) for key, (*rest, image) in content.items()} for content in (before, after)
    )
    diff = diff_of(before, after, {"train": 2, "test": 1}, {"train": 1, "test": 3}, window=window)
    images = [Counter(image for _, _, image in content.values()) for content in (before, after)]
    labelled = [Counter((image, label) for _, label, image in content.values()) for content in (before, after)]
    assert diff.total.renamed == diff.common == (images[0] & images[1]).total()
    assert diff.total.removed == (images[0] - images[1]).total()
    assert diff.total.added == (images[1] - images[0]).total()
    assert diff.total.relabelled == diff.total.renamed - (labelled[0] & labelled[1]).total()
    assert (diff.total.changed, diff.unchanged) == (0, 0)


def classes(*, first="a", second="b", names=("{}{:03}.png", "{}{:03}.png")):
    """Two folders, one a class: every image's key has its label."""
    return {
        f"{label}/{names[which].format('xy'[which], number)}": ("train", LABELS[label == "b"], 1_000 * which + number)
        for which, label in enumerate((first, second))
        for number in range(40 + 20 * which)
    }


@pytest.mark.parametrize(
    "names", [pytest.param(("{}{}.png",) * 2, id="other names"), pytest.param(("{1}.png",) * 2, id="same names")]
)
def test_class_folders_that_were_exchanged_are_renamed_and_relabelled(names):
    before, after = classes(names=names), classes(first="b", second="a", names=names)
    diff = diff_of(before, after, {"train": 2}, {"train": 3}, window=7)
    compare(diff, before, after)
    assert (diff.total.renamed, diff.total.relabelled, diff.common) == (100, 100, 100)
    assert (diff.total.added, diff.total.removed, diff.total.changed) == (0, 0, 0)
    assert {(pair.before, pair.after): pair.records for pair in diff.relabelled} == {
        ("cat", "dog"): 40,
        ("dog", "cat"): 60,
    }


def test_a_renamed_folder_relabels_nothing():
    before = classes()
    after = {f"new/{key}": rest for key, rest in before.items()}
    diff = diff_of(before, after, {"train": 2}, {"train": 3})
    assert (diff.total.renamed, diff.common, diff.total.relabelled) == (100, 100, 0)


def test_names_that_files_exchanged_with_their_labels_relabel_nothing():
    before = {"1.png": ("train", "cat", 1), "2.png": ("train", "dog", 2), "3.png": ("train", "owl", 3)}
    after = before | {"1.png": ("train", "dog", 2), "2.png": ("train", "cat", 1)}
    diff = diff_of(before, after, {"train": 1}, {"train": 1})
    assert (diff.total.renamed, diff.total.relabelled, diff.total.changed, diff.unchanged) == (2, 0, 0, 1)


def content(count):
    return [IndexedImage(f"{n}.png", "train", LABELS[n % 3], n) for n in range(count)]


def test_windows_are_smaller_than_the_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("imagemill.diff.compare.WINDOW_RECORDS", 7)
    before = content(300)
    after = [*before[5:], IndexedImage("new.png", "train", "cat", 1)]
    uris = [
        str(write_indexes(tmp_path / name, images, labels=LABELS, shards={"train": count}))
        for name, images, count in (("before", before, 3), ("after", after, 4))
    ]
    compare(diff_versions(*uris), *({i.key: i[1:] for i in images} for images in (before, after)))


def test_a_diff_of_any_size_opens_few_files(tmp_path, monkeypatch):
    monkeypatch.setattr("imagemill.diff.compare.WINDOW_RECORDS", 1)
    monkeypatch.setattr("imagemill.diff.spill._MEMORY_BYTES", 1)
    before = [IndexedImage(f"{n}.png", "train", "cat", n) for n in range(1_200)]
    after = [IndexedImage(f"{n + 600}.png", "train", "cat", n + 2_000) for n in range(1_200)]
    uris = [
        str(write_indexes(tmp_path / name, images, labels=LABELS, shards={"train": 1}))
        for name, images in (("before", before), ("after", after))
    ]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 300, hard))
    try:
        total = diff_versions(*uris).total
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (total.removed, total.added, total.changed) == (600, 600, 600)


def test_memory_does_not_grow_with_the_versions(tmp_path, monkeypatch):
    monkeypatch.setattr("imagemill.diff.compare.MAX_PARTS", 8)  # otherwise the buffers of files are most of it
    monkeypatch.setattr("imagemill.diff.compare.WINDOW_RECORDS", 250)
    monkeypatch.setattr("imagemill.diff.spill._MEMORY_BYTES", 1_000)

    def peak(count):
        """Compares versions of which a third is as it was, a third has other bytes, and a third another name."""
        uris = [
            str(
                write_indexes(
                    tmp_path / f"{count}{name}",
                    (
                        IndexedImage(f"{number}{name * (number % 3 == 2)}", "train", "cat", number + count * changed)
                        for number in range(count)
                        for changed in [number % 3 == 1 and name == "after"]
                    ),
                    labels=LABELS,
                    shards={"train": count // 250},
                )
            )
            for name in ("before", "after")
        ]
        tracemalloc.start()
        total = diff_versions(*uris).total
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (total.changed, total.renamed) == (count // 3, count // 3)
        return memory

    peak(1_500)  # imports
    assert peak(15_000) < 3 * peak(3_000)


def test_hashes_on_the_borders_of_windows_are_seen_once(tmp_path):
    borders = [0, *(border + by for border in (-(-HASH_SPACE // 3), -(-HASH_SPACE * 2 // 3)) for by in (-1, 0))]
    images = content(len(borders) + 1)
    hashes = {image.key: hashed for image, hashed in zip(images, [*borders, HASH_SPACE - 1], strict=True)}
    uris = [
        write_indexes(tmp_path / name, images, labels=LABELS, shards={"train": count}, hashed=hashes.__getitem__)
        for name, count in (("before", 3), ("after", 1))
    ]
    diff = diff_versions(*map(str, uris))
    assert diff.empty
    assert diff.unchanged == len(images)


def test_a_key_that_a_damaged_version_has_twice_is_no_crash(tmp_path):
    before = write_indexes(tmp_path / "before", content(6), labels=LABELS, shards={"train": 1, "test": 1})
    twice = [*content(6), IndexedImage("0.png", "test", "cat", 0)]
    after = write_indexes(tmp_path / "after", twice, labels=LABELS, shards={"train": 1, "test": 1})
    diff = diff_versions(str(before), str(after))
    assert (diff.total.added, diff.common, diff.total.after) == (1, 6, 7)


def test_label_ids_without_a_name_are_named_by_their_id(tmp_path):
    uris = [write_indexes(tmp_path / name, content(9), labels=LABELS, shards={"train": 1}) for name in "ab"]
    for uri, labels in zip(uris, ('["cat"]', '["cat","dog"]'), strict=True):
        manifest = (uri / MANIFEST).read_text()
        start, end = manifest.index('"labels": ['), manifest.index("]", manifest.index('"labels": ['))
        (uri / MANIFEST).write_text(f'{manifest[:start]}"labels": {labels}{manifest[end + 1 :]}')
    diff = diff_versions(*map(str, uris))
    assert {(pair.before, pair.after) for pair in diff.relabelled} == {("(id 1)", "dog")}
    assert diff.unchanged == 6


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda index, _: index.unlink(), "is gone", id="gone"),
        pytest.param(lambda index, _: index.write_bytes(b"IMINDEX\x01"), "not a shard index", id="cut"),
        pytest.param(
            lambda index, _: index.write_bytes(index.read_bytes()[:-1] + b"\xff"), "not UTF-8", id="key that is no text"
        ),
        pytest.param(
            lambda index, other: index.write_bytes(other.read_bytes()), "not the index|another shard", id="swapped"
        ),
    ],
)
def test_a_damaged_index_is_named(tmp_path, damage, message):
    uris = [write_indexes(tmp_path / name, content(90), labels=LABELS, shards={"train": 2}) for name in "ab"]
    damage(*sorted(uris[0].glob("*.index-*")))
    with pytest.raises(UnusableData, match=message):
        diff_versions(*map(str, uris))


def test_a_folder_that_is_no_version_is_named(tmp_path):
    version = write_indexes(tmp_path / "a", content(3), labels=LABELS, shards={"train": 1})
    (tmp_path / "b").mkdir()
    for pair in itertools.permutations([str(version), str(tmp_path / "b")]):
        with pytest.raises(UnusableData, match="it is no version"):
            diff_versions(*pair)
