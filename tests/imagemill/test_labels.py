import pytest

from imagemill.errors import CallerError
from imagemill.labels import LabelMap, assign_labels, format_labels, is_label, parse_labels
from imagemill.rows import UNASSIGNED


@pytest.mark.parametrize(
    ("published", "declared", "source", "seen", "expected"),
    [
        pytest.param((), (), (), ["dog", "cat", "dog"], ("cat", "dog"), id="first version: sorted names"),
        pytest.param(("cat", "dog"), (), (), ["ant", "dog"], ("cat", "dog", "ant"), id="a new name comes last"),
        pytest.param(("cat", "dog"), (), (), ["dog"], ("cat", "dog"), id="a vanished name keeps its id"),
        pytest.param((), (), (), ["2", "0", "10", "9", "1", "3"], (*tuple("0123456789"), "10"), id="integers are ids"),
        pytest.param(("0", "1"), (), (), ["3", "0"], ("0", "1", "2", "3"), id="later integers are ids too"),
        pytest.param((), (), (), ["2019", "2020", "999"], ("999", "2019", "2020"), id="years are names, in order"),
        pytest.param((), (), (), ["3", "background"], ("3", "background"), id="mixed cells are names"),
        pytest.param(("cat",), (), (), ["7"], ("cat", "7"), id="a number beside published names is a name"),
        pytest.param((), (), (), ["", " cat", "a\tb", UNASSIGNED, "cat"], ("cat",), id="unusable cells get no id"),
        pytest.param((), ("b", "a"), (), ["zebra"], ("b", "a"), id="the spec decides"),
        pytest.param(("b",), ("b", "a"), (), [], ("b", "a"), id="the spec may add"),
        pytest.param((), (), ("plane", "car"), ["0", "1"], ("plane", "car"), id="the source fixes ids"),
        pytest.param(("plane", "car"), (), ("plane",), [], ("plane", "car"), id="a class the source dropped stays"),
        pytest.param((), ("plane", "car"), ("plane", "car"), [], ("plane", "car"), id="spec and source agree"),
    ],
)
def test_assign(published, declared, source, seen, expected):
    assert assign_labels(published=published, declared=declared, source=source, seen=seen) == expected


@pytest.mark.parametrize(
    ("published", "declared", "source", "message"),
    [
        pytest.param(("cat", "dog"), ("dog", "cat"), (), "id 0 was published as 'cat'", id="the spec renumbers"),
        pytest.param(("cat", "dog"), ("cat",), (), "id 1 was published as 'dog' and would become None", id="drops"),
        pytest.param(("cat", "dog"), (), ("cat", "cow"), "source's labels.txt: id 1", id="the source renumbers"),
        pytest.param((), ("cat", "dog"), ("cat", "cow"), "label id 1 is 'dog' in the spec", id="they disagree"),
        pytest.param((), ("cat", "cat"), (), "'cat' is named twice", id="repeated"),
        pytest.param((), (), ("cat", ""), "'' \\(id 1\\) is not a name", id="an empty line among the names"),
        pytest.param((), ("a\nb",), (), "is not a name", id="a line break"),
    ],
)
def test_contradictions_are_the_callers_mistake(published, declared, source, message):
    with pytest.raises(CallerError, match=message):
        assign_labels(published=published, declared=declared, source=source, seen=[])


@pytest.mark.parametrize(
    ("published", "seen", "first"),
    [
        pytest.param(("cat", "dog"), ["0", "1"], "'0' is no published class, but the id of one \\('cat'\\)", id="all"),
        pytest.param(
            ("cat", "dog"), ["cat", "1"], "'1' is no published class, but the id of one \\('dog'\\)", id="some"
        ),
        pytest.param(("999", "2019"), ["2019", "1"], "the id of one \\('2019'\\)", id="beside years"),
    ],
)
def test_ids_of_published_names_do_not_become_classes_of_their_own(published, seen, first):
    with pytest.raises(CallerError, match=f"{first}.*labels.names"):
        assign_labels(published=published, declared=(), source=(), seen=seen)
    # What the message advises.
    assert assign_labels(published=published, declared=published, source=(), seen=seen) == published
    assert [LabelMap(published).resolve(cell) for cell in ("0", "1")] == [0, 1]


def test_rows_are_not_read_where_the_names_are_known():
    def never():
        raise AssertionError("read")
        yield

    assert assign_labels(published=(), declared=("a",), source=(), seen=never()) == ("a",)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("dog", 1), ("0", 0), ("1", 2), ("2", 2), ("3", None), ("01", None), ("-1", None), ("", None), ("Dog", None)],
)
def test_a_name_wins_over_an_id(cell, expected):
    assert LabelMap(["cat", "dog", "1"]).resolve(cell) == expected


def test_labels_file_round_trip():
    names = ("cat", "dög", "a b", "\u00a0x\u200b".strip())
    assert parse_labels(format_labels(names), where="x") == names
    assert parse_labels(b"\xef\xbb\xbfcat\r\ndog", where="x") == ("cat", "dog")
    assert parse_labels(b"", where="x") == ()


def test_labels_file_in_another_encoding():
    with pytest.raises(CallerError, match=r"labels\.txt: not UTF-8"):
        parse_labels("dög".encode("latin-1"), where="labels.txt")


def test_reserved_name_is_no_label():
    assert not is_label(UNASSIGNED)
    assert is_label("a b")
