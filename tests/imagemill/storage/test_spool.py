import subprocess
import sys

import pytest

from imagemill.storage.spool import NameSpool

NAMES = ["", "x", "x/y", "drafts\0keep", "line\nbreak\r", '"', "\\", "\u2028", "\U0001f600", "\udcff"]


@pytest.mark.parametrize("times", [1, 20_000], ids=["in memory", "on disk"])
def test_names_come_back_as_they_are_and_in_order(times):
    with NameSpool(NAMES) as spool:
        for _ in range(times - 1):
            spool.add(NAMES)
        assert list(spool) == NAMES * times
        assert list(spool) == NAMES * times, "as often as it is read"


REFUSED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
from imagemill.errors import ImagemillError
from imagemill.storage.spool import NameSpool
try:
    with NameSpool() as spool:
        for _ in range(1_000):
            spool.add(["x" * 500] * 100)
except ImagemillError as error:
    print(error.family, error)
"""


@pytest.mark.parametrize(
    ("folder", "says"),
    [("here", "here (TMPDIR): File too large"), ("gone", "which is none that can be written to (TMPDIR)")],
)
def test_a_folder_for_temporary_files_that_does_not_take_them_is_the_callers_mistake(tmp_path, folder, says):
    (tmp_path / "here").mkdir()
    script = f"import tempfile\ntempfile._candidate_tempdir_list = lambda: [{str(tmp_path / folder)!r}]\n" + REFUSED
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stdout.startswith("caller cannot use the folder for temporary files, "), ended.stderr
    assert says in ended.stdout
    assert ended.stderr == ""
