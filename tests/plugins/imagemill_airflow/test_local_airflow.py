"""One run at a time on one home."""

import subprocess
import sys

from imagemill_airflow.local_airflow import exclusive

HOLD = """
import sys, pathlib
from imagemill_airflow.local_airflow import exclusive
with exclusive(pathlib.Path(sys.argv[1]), what="refresh cats", say=print):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(home):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_the_second_waits_and_says_for_whom(tmp_path):
    with hold(tmp_path) as first:
        assert first.stdout.readline() == "held\n"
        said = []

        def say(line):
            said.append(line)
            first.stdin.close()  # only now may the first one end

        with exclusive(tmp_path, what="refresh dogs", say=say):
            assert first.wait() == 0
        assert said == [f"waiting for `refresh cats`, process {first.pid} to end (it holds {tmp_path})"]


def test_a_killed_holder_holds_nothing(tmp_path):
    with hold(tmp_path) as first:
        assert first.stdout.readline() == "held\n"
        first.kill()
        first.wait()
        with exclusive(tmp_path, what="refresh dogs", say=lambda line: None):
            pass
