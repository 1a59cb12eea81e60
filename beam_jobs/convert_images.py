"""Converts planned images to TFRecord: `python -m beam_jobs.convert_images --plan URI [--runner NAME] [Beam options]`.

Logs go to stderr, nothing to stdout. On Dataflow nobody waits for this process: all that matters happens in the job.
Exit codes are those of `imagemill`; the last line on stderr says, in JSON, what went wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from beam_jobs.lean_beam import load_cloud_storage  # first: it makes the imports below cheap

# isort: split
import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
)
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState, create_runner

from beam_jobs.ending import Stopped, cancel, cancel_on_flink, signals_raise
from beam_jobs.failures import find_failure
from beam_jobs.transforms import ConvertImages
from imagemill.conversion.step_pool import Work, on_this_machine
from imagemill.errors import CallerError, TemporaryFault, failure_line
from imagemill.garbage import end_at_once, few_collections
from imagemill.plan import ConversionPlan, parse_plan
from imagemill.processes import usable_cpus
from imagemill.runners import worker_processes
from imagemill.storage import open_store, split

DEFAULT_RUNNER = "FnApiRunner"
"""Beam's in-process runner by name: `DirectRunner` would try to download Prism first."""

View = TypeVar("View", bound=PipelineOptions)

_JOB_SERVER = ("PortableRunner", "FlinkRunner", "SparkRunner")
"""Reached through a job server, which knows options that nobody here does."""

_PORTABLE = (*_JOB_SERVER, "PrismRunner")

WORKER_IDLE_MILLIS = 20_000
"""How long a cluster keeps workers for the next stage. Beam's default is to end them with every stage: two jobs of the
tests then start 15 workers instead of 3, and each installs the package anew."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line.

    Attributes:
        plan: URI of `plan.json`; the version goes into its folder.
        runner: Name of Beam's runner.
        block_bytes: Bytes of index that one worker reads at once; None leaves it to the plan.
        processes: Processes that each worker uses; 0 leaves it to the plan.
        beam: What is left for Beam.
    """

    plan: str
    runner: str
    block_bytes: int | None
    processes: int
    beam: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job and returns the exit code."""
    end_at_once()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # One line for every annotation that is not evaluated; nothing in it for an operator.
    logging.getLogger("apache_beam.typehints").setLevel(logging.WARNING)
    try:
        run(parse_arguments(argv))
    except Exception as error:
        failure = find_failure(error)
        if failure is None:
            _report(error)
            raise
        _report(failure)
        return failure.exit_code
    return 0


def parse_arguments(argv: Sequence[str] | None) -> Arguments:
    """Reads the command line.

    Raises:
        CallerError: An argument is missing, or an option is one that neither this job nor Beam knows.
    """
    parser = _Parser(prog="python -m beam_jobs.convert_images", description=__doc__, allow_abbrev=False)
    parser.add_argument("--plan", required=True, help="URI of plan.json")
    parser.add_argument("--runner", default=DEFAULT_RUNNER, help="Beam runner (default: %(default)s)")
    parser.add_argument("--index_block_bytes", type=int, help="bytes of index read at once (default: what suits it)")
    parser.add_argument(
        "--worker_processes",
        type=int,
        default=0,
        help="processes that each worker uses (default: what pays on this machine, 1 on a cluster)",
    )
    known, rest = parser.parse_known_args(argv)
    unknown = _unknown_to_beam(rest)
    if unknown and known.runner not in _JOB_SERVER:
        raise CallerError(
            f"unknown option {unknown[0]!r}; known are --plan, --runner, --index_block_bytes, --worker_processes "
            "and Beam's options"
        )
    return Arguments(known.plan, known.runner, known.index_block_bytes, known.worker_processes, rest)


def run(arguments: Arguments) -> None:
    """Builds the pipeline and runs it; waits for its end except on Dataflow, which goes on alone."""
    folder, name = split(arguments.plan)
    plan = parse_plan(open_store(folder).read(name), where=arguments.plan)
    if arguments.runner != DEFAULT_RUNNER:
        load_cloud_storage()
    runner = _runner(arguments.runner)
    options = pipeline_options(arguments)
    if arguments.runner == "PrismRunner":
        _check_prism(options)
    if arguments.runner in _PORTABLE:
        options.view_as(GoogleCloudOptions).job_name = _job_name(plan, folder)
    processes = arguments.processes or processes_for(plan, arguments.runner, options)
    where = f"{arguments.runner}, {processes} processes" if processes > 1 else arguments.runner
    _log.info("converting %d rows of %s into %s on %s", plan.rows, plan.dataset, folder, where)
    with _work(plan, folder, processes, in_memory=_runs_in_this_process(arguments.runner, options)) as work:
        pipeline = beam.Pipeline(runner=runner, options=options)
        _ = pipeline | "Convert" >> ConvertImages(work, arguments.block_bytes)
        with few_collections():
            if arguments.runner in _PORTABLE:
                _run_on_cluster(pipeline, arguments.runner, options)
            else:
                _finish(pipeline.run(), arguments.runner)


def pipeline_options(arguments: Arguments) -> PipelineOptions:
    """Returns Beam's options: our defaults come first, so that what the caller says, be it zero, holds."""
    ours = [f"--environment_cache_millis={WORKER_IDLE_MILLIS}"] if arguments.runner in _JOB_SERVER else []
    return _Options([*ours, *arguments.beam, f"--runner={arguments.runner}"])


def _work(plan: ConversionPlan, folder: str, processes: int, *, in_memory: bool) -> AbstractContextManager[Work]:
    if in_memory:
        return on_this_machine(plan, folder, processes=processes)
    return nullcontext(Work(plan, folder, processes))


def _job_name(plan: ConversionPlan, folder: str) -> str:
    """Returns the job's name, the same for every try: whoever looks for the job of a version finds it by that."""
    return f"imagemill-{plan.dataset}-{plan.version}-{hashlib.sha256(folder.encode()).hexdigest()[:8]}"


def _run_on_cluster(pipeline: beam.Pipeline, runner: str, options: PipelineOptions) -> None:
    """Runs a job that would outlive this process; it is cancelled when this process is told to end."""
    master, name = options.view_as(FlinkRunnerOptions).flink_master, options.view_as(GoogleCloudOptions).job_name
    cancel_on_flink(master, name)  # of a launcher that was killed outright
    result = None
    try:
        with signals_raise():
            result = pipeline.run()
            _finish(result, runner)
    except Stopped as stop:
        cancel_on_flink(master, name)
        if result is not None:
            cancel(result)
        raise TemporaryFault(f"the job was cancelled: {stop} ended its launcher") from None
    except Exception:
        cancel_on_flink(master, name)  # it lives where only the connection to its job server is lost
        raise


def _finish(result: PipelineResult, runner: str) -> None:
    if runner == "DataflowRunner":
        return
    state = result.wait_until_finish()
    if state != PipelineState.DONE:
        raise TemporaryFault(f"the job ended {state} on {runner}; its log says why")


def processes_for(plan: ConversionPlan, runner: str, options: PipelineOptions) -> int:
    """Returns how many processes write shards: on a cluster, or beside Beam's own local workers, no further ones."""
    if not _runs_in_this_process(runner, options):
        return 1
    shards = sum(split.shards for split in plan.splits)
    return worker_processes(rows=plan.rows, image_bytes=plan.image_bytes, shards=shards, cpus=usable_cpus())


def _runs_in_this_process(runner: str, options: PipelineOptions) -> bool:
    """Tells whether one process takes all steps, or starts the processes that do."""
    direct = options.view_as(DirectOptions)
    return (
        runner == DEFAULT_RUNNER and direct.direct_num_workers == 1 and direct.direct_running_mode != "multi_processing"
    )


def _runner(name: str) -> PipelineRunner:
    try:
        return create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise CallerError(f"Beam has no runner {name!r} here ({error})") from error


def _check_prism(options: PipelineOptions) -> None:
    """Refuses what would make Beam download Prism: then what runs would depend on the machine and the day."""
    location = options.view_as(PrismRunnerOptions).prism_location
    if options.view_as(PortableOptions).job_endpoint or (location and Path(location).is_file()):
        return
    said = f"there is no file {location!r}" if location else "it is not said where Prism is"
    raise CallerError(
        f"{said}; install it (go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}) "
        "and name it by --prism_location"
    )


def _unknown_to_beam(arguments: Sequence[str]) -> list[str]:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return parser.parse_known_args(list(arguments))[1]


class _Options(PipelineOptions):
    """Options that read the command line once for each kind of view; Beam asks for two hundred views."""

    def view_as(self, cls: type[View]) -> View:
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        view: View = views[cls]
        return view


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CallerError(message)


def _report(error: Exception) -> None:
    print(failure_line(error), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
