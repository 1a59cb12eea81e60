"""`imagemill doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from imagemill.cli.output import json_option

if TYPE_CHECKING:
    from imagemill.doctor import Finding


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--read-only", is_flag=True, help="Write no probe object into buckets; only list them.")
@click.option(
    "--free", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="GIB", help="Space wanted."
)
@click.option("--no-airflow", is_flag=True, help="Leave Airflow out, which takes some seconds to ask.")
@json_option
def doctor(names: tuple[str, ...], *, read_only: bool, free: float, no_airflow: bool, as_json: bool) -> None:
    """Check an installation and say what to fix.

    Looks at versions, variables, disk, clock, specs, buckets, pointers, the workers' package and Airflow, for all
    datasets or the named ones. Exits with 2 where a person must change something, with 1 where a published dataset is
    damaged, with 3 where something does not answer, and with 0 otherwise; warnings do not count.
    """
    from imagemill.doctor import examine, exit_code, installation

    findings = []
    for finding in examine(
        installation(names), write=not read_only, needed_bytes=round(free * (1 << 30)), look_at_airflow=not no_airflow
    ):
        findings.append(finding)
        if not as_json:
            click.echo(_describe(finding))
    code = exit_code(findings)
    if as_json:
        report = {"exit_code": code, "findings": [finding.model_dump(mode="json") for finding in findings]}
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        click.echo(_sum_up(findings))
    raise click.exceptions.Exit(code)


def _describe(finding: Finding) -> str:
    text = f"{finding.verdict:<8} {finding.check}: {finding.says}"
    return f"{text}\n         → {finding.advice}" if finding.advice else text


def _sum_up(findings: list[Finding]) -> str:
    counts = {verdict: sum(each.verdict == verdict for each in findings) for verdict in ("fault", "warning")}
    if not counts["fault"]:
        return f"\nready; {counts['warning']} warnings"
    return f"\n{counts['fault']} faults, {counts['warning']} warnings"
