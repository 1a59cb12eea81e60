import itertools

import pytest

from imagemill.conversion.resolution import UNKNOWN, Placement, rejected_hash
from imagemill.plan import ConversionSettings
from imagemill.records.sharding import key_hash, split_of
from imagemill.rows import UNASSIGNED, Reason, Rejected, Row

SETTINGS = ConversionSettings(split_fractions={"train": 0.8, "test": 0.2}, split_names=("extra",))


def placement(**changes):
    return Placement(**{"labels": ("cat", "dog"), "settings": SETTINGS, **changes})


def resolve(*rows, **changes):
    rules = placement(**changes)
    return rules.resolve(sorted(rules.place(row) for row in rows))


@pytest.mark.parametrize(
    ("row", "split", "label"),
    [
        pytest.param(Row("a.png", "dog", "extra"), "extra", "dog", id="a named split"),
        pytest.param(Row("a.png", "1", "test"), "test", "dog", id="an id; a split of the fractions"),
        pytest.param(Row("a.png", "cow", "nope"), UNASSIGNED, UNASSIGNED, id="neither is known"),
        pytest.param(
            Row("a.png", "cat"),
            split_of(key="a.png", group="", fractions=SETTINGS.split_fractions),
            "cat",
            id="split by key",
        ),
        pytest.param(
            Row("a.png", "cat", "", "g0"),
            "train",  # by its key it would be in the other one
            "cat",
            id="split by group",
        ),
    ],
)
def test_a_row_is_placed(row, split, label):
    rules = placement()
    placed = rules.place(row)
    assert rules.split_name(placed.split_number) == split
    assert rules.label_name(placed.label_id) == label


def test_without_fractions_a_row_must_name_its_split():
    settings = ConversionSettings(split_fractions={}, split_names=("train",))
    (rejected,) = resolve(Row("a.png", "cat"), settings=settings).rejects
    assert (rejected.reason, rejected.split, rejected.label) == (Reason.UNKNOWN_SPLIT, UNASSIGNED, "cat")
    assert "names no split (one of: train)" in rejected.detail


@pytest.mark.parametrize("names", list(itertools.permutations(["cat", "cat", "0"])))
def test_identical_rows_are_one_row_and_its_duplicates(names):
    resolved = resolve(*(Row("a.png", name, "test") for name in names))
    assert resolved.chosen is not None
    assert resolved.chosen.label == "0", "the same one is chosen whatever the order"
    assert len(resolved.duplicates) == 2
    assert not resolved.rejects


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Row("a.png", "dog", "test"), id="label"),
        pytest.param(Row("a.png", "cat", "train"), id="split"),
        pytest.param(Row("a.png", "cat", "test", "g"), id="group"),
        pytest.param(Row("a.png", "cow", "test"), id="an unknown label"),
    ],
)
def test_rows_that_differ_are_all_rejected(other):
    resolved = resolve(Row("a.png", "cat", "test"), Row("a.png", "cat", "test"), other)
    assert resolved.chosen is None
    assert [rejected.reason for rejected in resolved.rejects] == [Reason.DUPLICATE_KEY] * 3
    assert not resolved.duplicates
    assert "3 rows that differ name 'a.png'" in resolved.rejects[0].detail


def test_an_unknown_label_is_rejected_once_its_copies_are_duplicates():
    resolved = resolve(Row("a.png", "cow", "test"), Row("a.png", "cow", "test"))
    assert [(rejected.reason, rejected.row) for rejected in resolved.rejects] == [
        (Reason.UNKNOWN_LABEL, "a.png,cow,test")
    ]
    assert len(resolved.duplicates) == 1


def test_two_unknown_labels_differ():
    assert {rejected.reason for rejected in resolve(Row("a.png", "cow"), Row("a.png", "ant")).rejects} == {
        Reason.DUPLICATE_KEY
    }


def test_an_unknown_split_says_which_there_are():
    (rejected,) = resolve(Row("a.png", "cat", "val")).rejects
    assert rejected.reason == Reason.UNKNOWN_SPLIT
    assert rejected.detail == "split 'val' is not one of: train, test, extra"


def test_the_sample_is_a_bound_on_the_hash():
    bound = key_hash("a.png")
    assert placement(sample_below=bound).place(Row("a.png", "cat")) is None
    assert placement(sample_below=bound + 1).place(Row("a.png", "cat")) is not None


def test_rows_without_a_key_are_sampled_by_their_text():
    bad = Rejected("", "no\udcffcomma", Reason.BAD_ROW, "1 column")
    assert not placement(sample_below=rejected_hash(bad)).samples(bad)
    assert placement(sample_below=rejected_hash(bad) + 1).samples(bad)


def test_unknown_is_no_number():
    assert UNKNOWN not in range(2)
