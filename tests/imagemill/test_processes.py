"""Processes of our own start alike, wherever they are started."""

import os
import subprocess
import sys

from imagemill.processes import python_command, python_environment, usable_cpus


def test_a_module_of_the_working_directory_hides_none_of_pythons(tmp_path):
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong module')")
    # `queue` is what multiprocessing and concurrent.futures import.
    command = [*python_command("imagemill"), "--help"]
    assert "Usage" in subprocess.check_output(command, cwd=tmp_path, env=python_environment(), text=True)


def test_a_package_is_found_that_is_not_installed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "__init__.py").touch()
    (tmp_path / "elsewhere" / "__main__.py").write_text("print('found')")
    said = subprocess.check_output(python_command("elsewhere"), env=python_environment(tmp_path), text=True)
    assert said == "found\n"


def test_a_path_that_was_set_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/a/path")
    assert python_environment(tmp_path)["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/a/path"


def test_a_process_that_may_use_one_processor_uses_one():
    if not hasattr(os, "sched_setaffinity"):
        return
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from imagemill import processes as p"
    assert subprocess.check_output([sys.executable, "-c", f"{script}; print(p.usable_cpus())"], text=True) == "1\n"
    assert usable_cpus() == len(os.sched_getaffinity(0))
