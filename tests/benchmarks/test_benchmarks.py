"""The benchmarks run and say what they found; nothing here judges a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import sync_speed
from benchmarks.cases.case import Measured, Ratio
from benchmarks.contest import Contestant, Result, Run, measure
from benchmarks.report import to_json, to_markdown

ROOT = Path(__file__).parents[2]
RUNS = [Run(net, net + 2, 100, net * 2, 10 << 20) for net in (1.0, 5.0, 2.0)]


def test_medians_and_rates():
    result = Result("x", RUNS)
    assert (result.median("net_seconds"), result.median("whole_seconds"), result.rate) == (2.0, 4.0, 50.0)


@pytest.mark.parametrize(
    ("ratio", "holds"),
    [
        (Ratio("a", 1.2, 1.2), True),
        (Ratio("a", 1.21, 1.2), False),
        (Ratio("a", 1.6, 1.6, at_least=True), True),
        (Ratio("a", 1.59, 1.6, at_least=True), False),
    ],
)
def test_a_ratio_holds_up_to_its_target(ratio, holds):
    assert ratio.holds == holds


def test_the_report_shows_what_does_not_hold():
    case = Measured("A case", "About it.", [Result("x", RUNS)], [Ratio("net time", 1.5, 1.2)])
    page = to_markdown({"processor": "a fast one"}, [case])
    assert "| x | 2.00 | 4.00 | 4.00 | 50 | 10 |" in page
    assert "| net time | 1.50 | ≤ 1.2 | no |" in page
    (told,) = to_json({}, [case])["cases"]
    assert told["ratios"][0]["holds"] is False
    medians = {"net_seconds": 2.0, "whole_seconds": 4.0, "cpu_seconds": 4.0, "peak_bytes": 10 << 20}
    assert told["results"][0]["medians"] == medians


def test_the_report_leaves_out_what_was_not_measured():
    case = Measured("A case", "About it.", [Result("x", [Run(1.0, 3.0, 100)])])
    assert "| x | 1.00 | 3.00 | - | 100 | - |" in to_markdown({}, [case])
    (result,) = json.loads(json.dumps(to_json({}, [case])))["cases"][0]["results"]
    assert result["runs"][0]["peak_bytes"] is None
    assert result["medians"] == {"net_seconds": 1.0, "whole_seconds": 3.0}


def test_a_contestant_that_fails_shows_why(tmp_path):
    broken = Contestant("broken", "benchmarks.competitors.imagemill_plan", [tmp_path, tmp_path / "v", "{}"], tmp_path)
    with pytest.raises(RuntimeError, match=r"(?s)broken failed with 1:.*split_fractions"):
        measure(broken)


def test_a_quick_run_writes_both_tables(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--case=large_image", "--out", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == (tmp_path / "benchmark.md").read_text() + "\n"
    found = json.loads((tmp_path / "benchmark.json").read_text())
    (case,) = found["cases"]
    assert [result["runs"][0]["records"] for result in case["results"]] == [10, 11, 10]
    assert found["machine"]["cores"]


def test_the_sync_is_measured_whole_and_again():
    found = sync_speed.run(30, repeats=1, alone=True)
    assert found["objects"] == 30
    assert set(found["runs"]) == {sync_speed.OURS, f"{sync_speed.OURS}, again"}
    assert all(min(run.values()) > 0 for run in found["runs"].values())
