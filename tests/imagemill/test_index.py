"""The csv module is the oracle of quoting; everything a file can hold must come out as a row or a reject."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.index import (
    HEADER,
    MAX_LINE_BYTES,
    MAX_NAME_BYTES,
    format_row,
    header_fault,
    is_header,
    iter_lines,
    name_fault,
    parse_row,
)
from imagemill.rows import Reason, Rejected, Row

cell_text = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\\"), min_size=1, max_size=20
)
segment = cell_text.map(lambda text: text.replace("/", "_")).filter(lambda text: text not in {".", ".."})
names = st.lists(segment, min_size=1, max_size=3).map("/".join)
rows = st.builds(Row, names, cell_text, st.just("") | cell_text, st.just("") | cell_text)
hostile_lines = st.text(st.sampled_from(' ",a/.\t\\\r\x00é\udc80\u2028')) | st.text()


@pytest.mark.parametrize(
    ("line", "row"),
    [
        pytest.param("a.png,cat", Row("a.png", "cat"), id="two columns"),
        pytest.param("a.png,3,train,patient 7", Row("a.png", "3", "train", "patient 7"), id="four columns"),
        pytest.param("a.png,cat,,g", Row("a.png", "cat", "", "g"), id="group without split"),
        pytest.param("a.png,cat,,", Row("a.png", "cat"), id="empty cells"),
        pytest.param("a.png, cat ,\ttrain", Row("a.png", "cat", "train"), id="blanks around unquoted cells"),
        pytest.param('a.png," cat "', Row("a.png", " cat "), id="blanks inside quotes"),
        pytest.param('a.png, "cat" ,train', Row("a.png", "cat", "train"), id="blanks around quotes"),
        pytest.param(" a b .png,cat", Row(" a b .png", "cat"), id="the filename to the letter"),
        pytest.param('"a,b.png","say ""hi"""', Row("a,b.png", 'say "hi"'), id="quoted"),
        pytest.param('a.png,5" disk', Row("a.png", '5" disk'), id="a quote within a cell"),
        pytest.param(
            "ünï/çödé #%?+&'.png,ラベル", Row("ünï/çödé #%?+&'.png", "ラベル"), id="hostile but possible names"
        ),
    ],
)
def test_good_rows(line, row):
    assert parse_row(line) == row


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        pytest.param("", Reason.BAD_ROW, "1 column;", id="empty"),
        pytest.param("a.png", Reason.BAD_ROW, "1 column;", id="one column"),
        pytest.param("a.png,b,c,d,e", Reason.BAD_ROW, "5 columns", id="five columns"),
        pytest.param("a.png,", Reason.BAD_ROW, "label is empty", id="no label"),
        pytest.param('a.png,""', Reason.BAD_ROW, "label is empty", id="no label, quoted"),
        pytest.param('a.png,"cat', Reason.BAD_ROW, "never ends", id="a quoted line break"),
        pytest.param('"a.png"x,cat', Reason.BAD_ROW, "text behind", id="text behind a quote"),
        pytest.param('"a.png" ,cat', Reason.BAD_ROW, "text behind", id="blank behind a quoted filename"),
        pytest.param('a.png,"cat"x', Reason.BAD_ROW, "text behind", id="text behind a quoted label"),
        pytest.param("a.png,c\tat", Reason.BAD_ROW, r"label has the control character '\t'", id="control in label"),
        pytest.param("a.png,cat,\x00", Reason.BAD_ROW, "split has the control", id="control in split"),
        pytest.param("a.png,c\u2028at", Reason.BAD_ROW, "label has the control", id="line separator in label"),
        pytest.param("a\udcff.png,cat", Reason.BAD_ROW, "not UTF-8", id="undecodable name"),
        pytest.param("a.png,\udcff", Reason.BAD_ROW, "not UTF-8", id="undecodable label"),
        pytest.param(",cat", Reason.UNSAFE_NAME, "empty", id="no name"),
        pytest.param("../../etc/passwd,cat", Reason.UNSAFE_NAME, "'..'", id="escape"),
        pytest.param("a" * MAX_LINE_BYTES + ",b", Reason.BAD_ROW, "more than 65536 bytes", id="overlong"),
        pytest.param("é" * (MAX_LINE_BYTES // 2) + ",b", Reason.BAD_ROW, "more than 65536", id="overlong in bytes"),
    ],
)
def test_bad_rows(line, reason, detail):
    rejected = parse_row(line)
    assert isinstance(rejected, Rejected)
    assert (rejected.row, rejected.reason) == (line, reason)
    assert detail in rejected.detail


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("/a.png", "absolute"),
        ("..", "'..'"),
        ("a/../b.png", "'..'"),
        ("./a.png", "'.'"),
        ("a//b.png", "''"),
        ("a/", "''"),
        ("a/.imagemill-tmp-1/b.png", "keeps for itself"),
        ("a\nb.png", r"'\n'"),
        ("a\x7f.png", r"'\x7f'"),
        ("a\x85.png", r"'\x85'"),
        ("a\udc80.png", r"'\udc80'"),
        ("a\\b.png", "backslash"),
        ("é" * 513, "1024 bytes"),
        ("a" * 1025, "1024 bytes"),
    ],
)
def test_unsafe_names(name, why):
    assert why in (name_fault(name) or "")


@pytest.mark.parametrize(
    "name",
    ["a.png", "a b/..c/d...png", ".hidden", "...", "~", "-rf", "é" * 512, "a" * MAX_NAME_BYTES, "e\u0301.png", "C:a"],
)
def test_safe_names(name):
    assert name_fault(name) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (HEADER, True),
        ("filename,label", True),
        ("File, Class", True),
        ('"image","LABEL"', True),
        ("path,label,weight", True),
        ("filename", False),
        ("a.png,cat", False),
        ("label,filename", False),
        ("", False),
    ],
)
def test_is_header(line, expected):
    assert is_header(line) is expected


def test_header_fault_names_the_column():
    assert header_fault(HEADER) is None
    assert header_fault("path,class") is None
    assert header_fault("filename,label,weight") == "column 'weight' stands where 'split' belongs"
    assert header_fault(HEADER + ",x") == "5 columns, at most 4 are known"


@given(hostile_lines)
def test_any_line_is_a_row_or_a_reject(line):
    outcome = parse_row(line)
    assert isinstance(outcome, Row | Rejected)
    if isinstance(outcome, Row):
        assert name_fault(outcome.filename) is None
        assert parse_row(format_row(outcome)) == outcome


@given(rows)
def test_format_and_parse_are_inverse(row):
    assert parse_row(format_row(row)) == row


@given(rows)
def test_the_csv_module_reads_what_is_written(row):
    (cells,) = csv.reader([format_row(row)], strict=True)
    assert Row(*cells) == row


@given(rows)
def test_what_the_csv_module_writes_is_read(row):
    line = io.StringIO()
    csv.writer(line, lineterminator="", quoting=csv.QUOTE_ALL).writerow([row.filename, row.label, row.split, row.group])
    assert parse_row(line.getvalue()) == row


@given(st.text(st.sampled_from('ab",'), max_size=12))
def test_quoting_is_the_csv_modules(line):
    try:
        ((cells),) = csv.reader([line], strict=True) if line else ([],)
    except csv.Error:
        assert isinstance(parse_row(line), Rejected)
        return
    outcome = parse_row(line)
    if 2 <= len(cells) <= 4 and all(cells[:2]):
        assert outcome == Row(*cells)
    else:
        assert isinstance(outcome, Rejected)


def test_iter_lines_drops_bom_line_ends_and_empty_lines():
    data = b"\xef\xbb\xbfa,b\r\n\r\n\nc,\xffd\ne,f"
    assert list(iter_lines([data])) == ["a,b", "c,\udcffd", "e,f"]


def test_a_lone_carriage_return_does_not_end_a_line():
    (line,) = iter_lines([b"a,b\rc,d\r\n"])
    assert parse_row(line).reason is Reason.BAD_ROW


@given(st.binary() | st.text(st.sampled_from("a,\r\n\ufeffé")).map(str.encode), st.lists(st.integers(0, 40)))
def test_lines_do_not_depend_on_the_pieces(data, cuts):
    cuts = sorted(cuts)
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert list(iter_lines(pieces)) == list(iter_lines([data]))


@pytest.mark.parametrize("size", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, MAX_LINE_BYTES + 2, 300_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("piece", [1000, 65_536, 1 << 20])
def test_overlong_lines_are_cut_alike_whatever_the_pieces(size, end, piece):
    data = b"x,y\n" + b"a" * size + end + (b"z,w" if end else b"")
    lines = list(iter_lines(data[i : i + piece] for i in range(0, len(data), piece)))
    assert lines[0] == "x,y"
    assert len(lines[1]) == min(size, MAX_LINE_BYTES + 1)
    assert lines[2:] == (["z,w"] if end else [])


def test_a_file_without_line_ends_does_not_fill_the_memory():
    (line,) = iter_lines(b"a" * 4096 for _ in range(20_000))
    assert len(line) == MAX_LINE_BYTES + 1
