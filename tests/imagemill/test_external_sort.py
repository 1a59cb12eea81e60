import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.external_sort import sorted_lines


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=3))), st.integers(1, 7), st.integers(2, 4))
def test_the_order_is_that_of_sorted_whatever_the_chunk(items, chunk, merged):
    found = list(sorted_lines(items, key=lambda item: item[0], chunk=chunk, merged=merged))
    assert found == sorted(items, key=lambda item: item[0])


@pytest.mark.parametrize("count", [0, 1, 10, 11, 20, 21])
def test_chunk_boundaries(count):
    items = list(range(count, 0, -1))
    assert list(sorted_lines(items, key=int, chunk=10)) == sorted(items)


def test_memory_is_bounded_by_the_chunk():
    def peak(count):
        tracemalloc.start()
        last = ""
        for line in sorted_lines((f"{i * 7919 % count:09d}" for i in range(count)), key=str, chunk=2_000):
            assert last <= line
            last = line
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    assert peak(60_000) < 4 * peak(6_000)


def test_files_are_closed_when_the_reader_stops_early():
    lines = sorted_lines(range(100, 0, -1), key=int, chunk=10)
    assert next(lines) == 1
    lines.close()  # a file left open would be a ResourceWarning, which is an error here


def limited(limit, then):
    script = f"import resource\nresource.setrlimit(resource.{limit})\n{then}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


SORT = """
from imagemill.external_sort import sorted_lines
from imagemill.errors import CallerError
try:
    print(list(sorted_lines(range(3_000, 0, -1), key=int, chunk=10, merged=MERGED)) == list(range(1, 3_001)))
except CallerError as error:
    print(error)
"""


def test_few_files_are_open_however_many_runs():
    assert limited("RLIMIT_NOFILE, (40, 40)", SORT.replace("MERGED", "8")).stdout == "True\n"


@pytest.mark.parametrize("limit", ["RLIMIT_NOFILE, (40, 40)", "RLIMIT_FSIZE, (5, 5)"], ids=["files", "bytes"])
def test_what_the_temporary_folder_refuses_is_the_callers_mistake(limit):
    ended = limited(limit, SORT.replace("MERGED", "1_000"))
    assert ended.stdout.startswith("cannot use the folder for temporary files, /"), ended.stderr
    assert "(TMPDIR): " in ended.stdout
    assert ended.stderr == ""
