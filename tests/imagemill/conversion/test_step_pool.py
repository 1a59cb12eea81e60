"""Shards written by real processes, which fail and are killed here."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from imagemill.conversion.blocks import Block
from imagemill.conversion.engine import read_rows, resolve_rows, write_references
from imagemill.conversion.layout import Layout
from imagemill.conversion.resolution import Placement
from imagemill.conversion.step_pool import Steps, Work, on_this_machine
from imagemill.errors import CallerError, TemporaryFault
from imagemill.plan import PLAN
from imagemill.spec import Shards
from imagemill.storage import open_store
from tests.support.conversions import Inputs, digests_of, picture

SHARDS = 7


@pytest.fixture
def plan(tmp_path):
    inputs = Inputs(tmp_path / "input")
    for number in range(60):
        inputs.add_good(f"{number}.png", picture(number), "cat,train")
    inputs.rows.append(b"gone.png,dog,train")
    inputs.write_index()
    return inputs.plan(tmp_path / "apart", shards=Shards(count={"train": SHARDS}))


@pytest.fixture
def references(plan):
    """Packed references by shard."""
    folder, name = os.path.split(plan.index)
    lines = open_store(folder).read(name).decode().splitlines()[1:]
    placement, layout = Placement(labels=plan.labels, settings=plan.settings), Layout(plan)
    rows = read_rows(lines, placement=placement, layout=layout).rows
    return resolve_rows(rows.values(), placement=placement, layout=layout).rows


@contextlib.contextmanager
def pool(plan, version, processes=2):
    opened = Steps("write", Work(plan, str(version), processes))
    try:
        yield opened
    finally:
        opened.close()


def write_all(opened, references):
    written = []
    for number in range(SHARDS):
        written += opened.take(number, [references[number]])
    return [*written, *opened.finish()]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_write_what_this_one_writes(plan, references, tmp_path, processes):
    with pool(plan, tmp_path / "apart", processes) as opened:
        apart = write_all(opened, references)
    layout = Layout(plan)
    here = [
        write_references(
            [references[number]],
            layout.shards[number],
            plan=plan,
            layout=layout,
            images=open_store(plan.images),
            version=open_store(tmp_path / "here"),
        )
        for number in range(SHARDS)
    ]
    assert apart == here
    assert sum(len(written.rejects) for written in apart) == 1
    assert digests_of(tmp_path / "apart") == digests_of(tmp_path / "here")


def test_no_more_shards_are_held_than_are_being_written(plan, references, tmp_path):
    with pool(plan, tmp_path / "apart") as opened:
        taken = [len(list(opened.take(number, [references[number]]))) for number in range(SHARDS)]
        assert taken == [0, 0, 0, 1, 1, 1, 1]
        assert len(list(opened.finish())) == 3


def test_a_bug_is_raised_here_and_says_where_it_was(plan, references, tmp_path):
    gone = plan.model_copy(update={"splits": tuple(split.model_copy(update={"shards": 1}) for split in plan.splits)})
    with pool(gone, tmp_path / "apart") as opened:
        list(opened.take(SHARDS - 1, [references[SHARDS - 1]]))
        with pytest.raises(IndexError) as caught:
            list(opened.finish())
    assert "step_worker.py" in "".join(caught.value.__notes__)


def test_an_error_keeps_its_family(plan, references, tmp_path):
    shard = "mixture-train.tfrecord-00000-of-00007"
    (tmp_path / "apart" / shard).mkdir()
    with pool(plan, tmp_path / "apart") as opened:
        list(opened.take(0, [references[0]]))
        with pytest.raises((CallerError, TemporaryFault), match=shard):
            list(opened.finish())


def test_a_killed_process_is_a_temporary_fault(plan, references, tmp_path):
    with pool(plan, tmp_path / "apart", processes=2) as opened:
        for child in children():
            os.kill(child, signal.SIGKILL)
        list(opened.take(0, [references[0]]))
        with pytest.raises(TemporaryFault, match="ended with signal SIGKILL; the machine may have run out of memory"):
            list(opened.finish())


def test_closing_ends_the_processes(plan, references, tmp_path):
    with pool(plan, tmp_path / "apart") as opened:
        list(opened.take(0, [references[0]]))
        assert len(children()) == 2
    assert children() == []


def test_all_kinds_of_steps_share_the_processes(plan, tmp_path):
    work = Work(plan, str(tmp_path / "apart"), 2)
    kinds = [Steps(name, work) for name in ("read", "resolve", "write")]
    assert len(children()) == 2
    list(kinds[0].take(Block(0, plan.index_bytes)))
    (step,) = kinds[0].finish()
    assert step.tally.rows.total() == plan.rows
    for kind in kinds:
        assert len(children()) == 2
        kind.close()
    assert children() == []


@pytest.mark.parametrize("processes", [1, 2])
def test_batches_of_one_machine_wait_on_its_disk(plan, tmp_path, processes):
    with on_this_machine(plan, str(tmp_path / "apart"), processes=processes) as work:
        found, references = [], {}
        for name, arguments in (("read", (Block(0, plan.index_bytes),)), ("resolve", None)):
            steps = Steps(name, work)
            list_of = [*steps.take(*(arguments or (list(references.values()),))), *steps.finish()]
            references = {number: place for step in list_of for number, place in step.rows.items()}
            found += [place for step in list_of for place in (*step.rows.values(), *step.rejects.values())]
            steps.close()
        writing = Steps("write", work)
        for number in range(SHARDS):
            found += [place for each in writing.take(number, [references[number]]) for place in each.digests.values()]
        found += [place for each in writing.finish() for place in each.digests.values()]
        writing.close()
    assert len(found) == 1 + SHARDS + SHARDS
    assert {len(place) for place in found} == {3}
    assert {place[0] for place in found} <= ({0} if processes == 1 else {1, 2})


def test_a_step_elsewhere_than_its_files_is_a_bug(plan, tmp_path):
    with on_this_machine(plan, str(tmp_path / "apart"), processes=2) as work:
        pass
    with pytest.raises(RuntimeError, match="are not open in this process"):
        Steps("read", work)


ORPHAN = """
import sys, time
from pathlib import Path
from imagemill.plan import parse_plan
from imagemill.conversion.step_pool import Steps, Work, on_this_machine
plan = parse_plan(Path(sys.argv[1]).read_bytes(), where="")
opened = Steps("write", Work(plan, sys.argv[2], 2))
print(*(worker._process.pid for worker in opened._pool._workers), flush=True)
time.sleep(600)
"""


def test_no_process_outlives_its_parent(plan, tmp_path):
    command = [sys.executable, "-c", ORPHAN, str(tmp_path / "apart" / PLAN), str(tmp_path / "apart")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 30
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.01)


def children():
    """Returns the living step processes of this one; what other tests started is not among them."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if child.status() != psutil.STATUS_ZOMBIE and "imagemill.conversion.step_worker" in child.cmdline():
                found.append(child.pid)
    return found


def is_running(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1]
    except (FileNotFoundError, ProcessLookupError):
        return False
