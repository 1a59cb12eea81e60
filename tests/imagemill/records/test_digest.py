from imagemill.records.digest import row_digest
from imagemill.rows import Reason, Rejected, Row

ROW = Row("a.png", "cat", "train", "g")


def test_everything_of_a_row_and_its_image_counts():
    digests = {
        row_digest(row, size=size, crc32c=crc32c)
        for row in (ROW, Row("b.png", "cat", "train", "g"), Row("a.png", "catt", "rain", "g"), Row("a.png", "cat"))
        for size in (-1, 0, 7)
        for crc32c in (-1, 0, 7)
    }
    assert len(digests) == 4 * 3 * 3
    assert all(0 <= digest < 1 << 128 for digest in digests)


def test_a_bad_row_counts_by_its_text_even_where_that_is_no_text():
    bad = [Rejected("", row, Reason.BAD_ROW, "why") for row in ("x", "\udcff", "a.png,cat")]
    assert len({row_digest(row) for row in bad}) == 3
    assert row_digest(Rejected("k", "x", Reason.UNSAFE_NAME, "else")) == row_digest(bad[0])


def test_the_digest_is_part_of_the_format():
    assert row_digest(ROW, size=3, crc32c=4) == 0xA50628244C5A894352630E92630611BF
