import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.spec.variables import VariableError, expand

VARIABLES = {"A": "one", "EMPTY": "", "ODD": "\udcff", "RAW": "${A}"}


@pytest.mark.parametrize(
    ("text", "expected", "whole"),
    [
        ("plain $A $$ text", "plain $A $$ text", False),
        ("${A}", "one", True),
        ("x${A}", "xone", False),
        ("${A}${A}", "oneone", False),
        ("${A}/y", "one/y", False),
        ("${NO:-two}", "two", True),
        ("${EMPTY:-two}", "two", True),
        ("${EMPTY}", "", True),
        ("${NO:-}", "", True),
        ("${NO:-${A}/x}", "one/x", True),
        ("${NO:-${NEITHER:-three}}", "three", True),
        ("$${A}", "${A}", False),
        ("$${A} ${A}", "${A} one", False),
        ("${RAW}", "${A}", True),
    ],
)
def test_expansion(text, expected, whole):
    assert expand(text, VARIABLES) == (expected, whole)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${NO}", r"`NO` is not set\. Set it, or give a default here: `\$\{NO:-default\}`"),
        ("${A", "never closed"),
        ("${NO:-${A}", "never closed"),
        ("${}", "is no variable"),
        ("${A-x}", r"Write `\$\{VAR\}` or"),
        ("${ODD}", "not UTF-8"),
        ("${N:-" * 12 + "x" + "}" * 12, "nested more than"),
    ],
)
def test_what_cannot_be_expanded(text, said):
    with pytest.raises(VariableError, match=said):
        expand(text, VARIABLES)


@given(st.text(alphabet="${}:-AN x", max_size=40))
def test_any_text_expands_or_says_why(text):
    try:
        expand(text, VARIABLES)
    except VariableError as error:
        assert error.problem
        assert error.fix
