"""What people see while they wait."""

import os
import pty
import re
import subprocess
import sys

from imagemill.cli import output

MOVED = """
from imagemill.cli.output import progress
bar = progress(as_json=False)
bar.begin("sync to there", total=None, unit="objects")
bar.advance(1200, volume=3 << 20)
bar.end()
"""


def test_a_log_gets_objects_bytes_and_both_rates(monkeypatch, capsys):
    monkeypatch.setattr(output, "LOG_EVERY_SECONDS", 0.0)
    lines = output.progress(as_json=True)
    lines.begin("sync to there", total=5000, unit="objects")
    lines.advance(1200, volume=3 << 20)
    assert re.fullmatch(
        r"sync to there: 1,200 of 5,000 objects, 3\.0 MiB \([\d,]+ objects/s, [\d.]+ .iB/s\)\n", capsys.readouterr().err
    )


def test_a_terminal_gets_a_bar_that_says_the_same():
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", MOVED], check=True, stderr=theirs, env=os.environ | {"COLUMNS": "160"})
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert re.search(r"1,200 objects, 3\.0 MiB \([\d,]+ objects/s, [\d.]+ .iB/s\)", shown)
