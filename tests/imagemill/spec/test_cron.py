import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from imagemill.spec.cron import PRESETS, cron_problem


@pytest.mark.parametrize(
    "expression",
    [
        *PRESETS,
        "0 3 * * *",
        "*/15 0-6 1,15 * mon-fri",
        "0 0 L * ?",
        "30 2 * JAN-MAR 0",
        "0 12 * * 5#3",
        "1-59/2 * * * 7",
    ],
)
def test_accepts(expression):
    assert cron_problem(expression) is None


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("@dayly", "`@dayly` is none of the presets @once, "),
        ("0 3 * *", "`0 3 * *` has 4 fields; cron has five: minute, hour,"),
        ("0 25 * * *", "`25` is no hour (0-23)."),
        ("0 0 * foo *", "`foo` is no month (1-12)."),
        ("5-1 * * * *", "`5-1` is no minute (0-59)."),
        ("*/0 * * * *", "`*/0` is no minute (0-59)."),
        ("0 0 0 * *", "`0` is no day of the month (1-31)."),
        ("0 0 * * ٣", "`٣` is no day of the week (0-7)."),
        ("", "has 0 fields"),
    ],
)
def test_refuses(expression, said):
    assert said in cron_problem(expression)


_BOUNDS = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))


def _field(low, high):
    value = st.integers(low - 1, high + 1)
    item = st.one_of(
        st.just("*"),
        value.map(str),
        st.tuples(value, value).map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.integers(0, high).map(lambda step: f"*/{step}"),
    )
    return st.lists(item, min_size=1, max_size=3).map(",".join)


@given(st.tuples(*(_field(*bounds) for bounds in _BOUNDS)).map(" ".join))
def test_what_passes_here_passes_in_airflows_own_parser(expression):
    if cron_problem(expression) is None:
        assert croniter.is_valid(expression)
