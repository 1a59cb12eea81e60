"""`imagemill convert`: plan a version and run the Beam job, without Airflow."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from imagemill.cli.launch import run
from imagemill.cli.output import json_option, show
from imagemill.errors import CallerError
from imagemill.limits import MAX_SHARDS
from imagemill.storage.uri import normalise, split

if TYPE_CHECKING:
    from imagemill.spec import DatasetSpec
    from imagemill.steps import Inputs


@click.command()
@click.argument("name", required=False)
@click.option("--index", metavar="URI", help="CSV of {filename},{label}, instead of a dataset's NAME.")
@click.option("--images", metavar="URI", help="What the filenames are relative to; by default the CSV's folder.")
@click.option(
    "--only-rejects", metavar="VERSION_URI", help="Convert the rows again that this version rejected, to --output."
)
@click.option("--output", metavar="URI", help="Folder of the dataset, with --index or --only-rejects.")
@click.option("--dataset", default="dataset", show_default=True, metavar="NAME", help="What to call it, with --index.")
@click.option("--split", "fractions", multiple=True, metavar="NAME=SHARE", help="Split and its share, with --index.")
@click.option("--runner", metavar="NAME", help="local, prism, flink, portable or dataflow; by default the spec's.")
@click.option(
    "--option", "extra", multiple=True, metavar="NAME[=VALUE]", help="A Beam pipeline option; repeat as needed."
)
@click.option("--shards", type=click.IntRange(1, MAX_SHARDS), metavar="N", help="Shards in each split.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="ROWS", help="Convert only this many rows, into one shard a split."
)
@click.option("--force", is_flag=True, help="Convert even when nothing changed.")
@json_option
def convert(
    name: str | None,
    *,
    index: str | None,
    images: str | None,
    only_rejects: str | None,
    output: str | None,
    dataset: str,
    fractions: tuple[str, ...],
    runner: str | None,
    extra: tuple[str, ...],
    shards: int | None,
    limit: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert staged images to a candidate version.

    By NAME, or from --index, --images and --output.

    With --only-rejects the rows that a version rejected are tried again, on the images as they are now.

    The candidate is not published: `validate` it, then `publish` it.
    """
    from imagemill import steps

    spec, source = _asked(
        name,
        index=index,
        images=images,
        only_rejects=only_rejects,
        output=output,
        dataset=dataset,
        fractions=fractions,
    )
    launch = _Launch(spec, runner or spec.conversion.runner, extra)  # an impossible one fails before the work
    splits = (*spec.splits.names, *spec.splits.fractions)
    planned = steps.plan_conversion(
        spec,
        now=datetime.now(UTC),
        runner=runner,
        source=source,
        force=force,
        limit=limit,
        shards=dict.fromkeys(splits, shards) if shards else None,
    )
    if planned.action == "convert" and not planned.converted:
        status = launch.run(planned.version_uri)
        if status:
            # The job has said why on stderr, and its exit code is the family's.
            sys.exit(status)
    show(planned.model_dump(mode="json"), as_json=as_json, text=f"{planned.version_uri}\n{planned.reason}")


def _asked(
    name: str | None,
    *,
    index: str | None,
    images: str | None,
    only_rejects: str | None,
    output: str | None,
    dataset: str,
    fractions: tuple[str, ...],
) -> tuple[DatasetSpec, Inputs]:
    """Returns what is to be converted, in whichever of the three ways it was said."""
    from imagemill import steps
    from imagemill.spec.file import find_spec

    if only_rejects:
        if name or index or fractions or output is None:
            raise CallerError("--only-rejects VERSION_URI goes with --output URI (and --images), and with nothing else")
        return _again(only_rejects, images=images, output=normalise(output))
    if name is None:
        return _without_spec(index=index, images=images, output=output, dataset=dataset, fractions=fractions)
    if index or images or output or fractions:
        raise CallerError("give a dataset's NAME, or --index with --output; not both")
    spec = find_spec(name)
    return spec, steps.inputs(spec)


def _without_spec(
    *, index: str | None, images: str | None, output: str | None, dataset: str, fractions: tuple[str, ...]
) -> tuple[DatasetSpec, Inputs]:
    from imagemill.steps import Inputs

    if index is None or output is None:
        raise CallerError("say what to convert: a dataset's NAME, or --index URI with --output URI")
    source = Inputs(index=normalise(index), images=normalise(images) if images else split(index)[0])
    shares = dict(pair.partition("=")[::2] for pair in fractions) or {"train": "1"}
    return _spec(dataset, source, output=normalise(output), splits={"fractions": shares}), source


def _again(version_uri: str, *, images: str | None, output: str) -> tuple[DatasetSpec, Inputs]:
    from imagemill.conversion.replay import replay_rejects
    from imagemill.steps import Inputs

    replay = replay_rejects(normalise(version_uri), output=output)
    source = Inputs(
        index=replay.index, images=normalise(images) if images else replay.plan.images, labels=replay.labels
    )
    settings = replay.plan.settings.model_dump()
    splits = {"fractions": settings.pop("split_fractions"), "names": settings.pop("split_names")}
    return _spec(replay.plan.dataset, source, output=output, splits=splits, conversion=settings), source


def _spec(dataset: str, source: Inputs, *, output: str, **parts: dict[str, Any]) -> DatasetSpec:
    from pydantic import ValidationError

    from imagemill.spec import DatasetSpec

    described = {
        "name": dataset,
        "source": {"type": "index", "index": source.index, "images": source.images},
        "locations": {"staging": source.images, "output": output},
        **parts,
    }
    try:
        return DatasetSpec.model_validate(described)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']} (got {one['input']!r})" for one in error.errors()]
        raise CallerError("\n".join(faults)) from error


class _Launch:
    """The job's command line, checked before any work is done.

    Raises:
        CallerError: There is no such runner, or an option is missing or wrong.
    """

    def __init__(self, spec: DatasetSpec, runner: str, extra: tuple[str, ...]) -> None:
        from imagemill.runners import conversion_options, options_said

        self._runner = runner
        self._options = conversion_options(spec.conversion, runner, options_said(extra))

    def run(self, version_uri: str) -> int:
        """Runs the job over the version's plan, notes it in the version's record, and returns its exit status."""
        from imagemill.plan import PLAN
        from imagemill.runners import as_arguments, beam_runner
        from imagemill.version.run_record import record_job
        from imagemill.worker_wheel import shipped

        began = time.monotonic()
        with shipped(self._runner, self._options) as options:
            status = run(
                [
                    *(sys.executable, "-m", "beam_jobs.convert_images"),
                    f"--runner={beam_runner(self._runner)}",
                    *as_arguments(options),
                    f"--plan={version_uri}/{PLAN}",
                ]
            )
        if status == 0 and self._runner != "dataflow":  # where the job has only begun
            record_job(version_uri, runner=self._runner, seconds=time.monotonic() - began)
        return status
