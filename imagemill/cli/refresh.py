"""`imagemill refresh`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from imagemill.cli.launch import run
from imagemill.cli.output import json_option, size
from imagemill.errors import CallerError
from imagemill.limits import MAX_SHARDS


@click.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Convert even when nothing changed.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="ROWS", help="Rehearse on this many rows; never published."
)
@click.option("--runner", metavar="NAME", help="local, prism, flink, portable or dataflow; by default the spec's.")
@click.option(
    "--shards", type=click.IntRange(1, MAX_SHARDS), metavar="N", help="Shards a split; by default the spec's."
)
@click.option("--approve", is_flag=True, help="Answer the spec's `approval: required` with yes.")
@json_option
def refresh(
    name: str,
    *,
    force: bool,
    limit: int | None,
    runner: str | None,
    shards: int | None,
    approve: bool,
    as_json: bool,
) -> None:
    """Run the dataset's whole DAG in one process.

    Real Airflow, on a home of its own. Prepares, uploads, converts, validates and publishes; what has not changed is
    not done again.
    """
    from importlib.util import find_spec as find_module

    from imagemill.home import home, specs_dir
    from imagemill.spec.file import find_spec

    find_spec(name)  # a broken spec is explained here, before Airflow starts
    if find_module("airflow") is None:
        raise CallerError("`refresh` runs the Airflow DAG, and Airflow is not installed; install imagemill[airflow]")
    with tempfile.TemporaryDirectory() as scratch:
        summary_file = Path(scratch) / "summary.json"
        command = [sys.executable, "-m", "imagemill_airflow.local_run", name]
        command += ["--home", str(home(specs_dir())), "--summary", str(summary_file)]
        command += ["--end-with-stdin", *(["--force"] * force), *(["--approve"] * approve)]
        for option, value in (("--limit", limit), ("--runner", runner), ("--shards", shards)):
            command += [option, str(value)] if value is not None else []
        status = run(command)
        if not summary_file.exists():
            # It ended before the DAG began, and has said why on stderr.
            sys.exit(status)
        summary = json.loads(summary_file.read_text())
    click.echo(json.dumps(summary, indent=1, ensure_ascii=False) if as_json else _describe(summary))
    sys.exit(status)


def _describe(summary: dict[str, Any]) -> str:
    """Lays a run's summary out for a person."""
    results = summary.get("results", {})
    plan, validated, published = (
        results.get(task) or {} for task in ("plan_conversion", "validate_records", "publish")
    )
    lines = [f"\n{summary['dataset']}: {_outcome(summary, plan, published)}, {summary['seconds']:.1f} s"]
    if validated:
        counts = ", ".join(f"{validated[what]:,} {what}" for what in ("rows", "records", "rejected", "duplicates"))
        lines.append(f"  {counts}; {validated['shards']} shards, {size(validated['bytes'])}")
    times = [f"{one['task']} {one['seconds']:.1f} s" for one in summary.get("tasks", []) if one["seconds"]]
    lines += ["  " + ", ".join(times)] if times else []
    for what, where in (
        ("dataset", published.get("path") or (plan.get("version_uri") if plan.get("action") == "unchanged" else None)),
        ("candidate", None if published or not validated else plan.get("version_uri")),
        ("report", validated.get("report_uri")),
        ("log", summary.get("log")),
    ):
        if where:
            lines.append(f"  {what:<10} {where}")
    if failure := summary.get("failure"):
        lines.append(f"  failed in {failure['task']}: {failure['message']}")
    return "\n".join(lines)


def _outcome(summary: dict[str, Any], plan: dict[str, Any], published: dict[str, Any]) -> str:
    if summary["state"] != "success":
        return f"the refresh ended as {summary['state']}; what was published before still is"
    if plan.get("action") == "unchanged":
        return str(plan["reason"])
    if plan.get("limited"):
        return f"rehearsed {plan['rows']:,} rows; not published"
    return f"published {published.get('version')}"
