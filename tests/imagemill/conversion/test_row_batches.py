from hypothesis import given
from hypothesis import strategies as st

from imagemill.conversion.resolution import PlacedRow
from imagemill.conversion.row_batches import first_hash, pack_rows, unpack_rows

TEXT = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=20)
ROWS = st.builds(
    PlacedRow,
    st.integers(0, 2**64 - 1),
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    st.integers(-1, 999_999),
    st.integers(-1, 32_000),
)


@given(st.lists(ROWS, min_size=1, max_size=20))
def test_rows_come_back_as_they_were(rows):
    packed = pack_rows(rows)
    assert list(unpack_rows(packed)) == rows
    assert first_hash(packed) == rows[0].hashed
