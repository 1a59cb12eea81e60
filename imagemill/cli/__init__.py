"""The `imagemill` command: every step of a refresh as a plain command.

Command modules import their work inside the function: `imagemill --help` loads neither Beam, TensorFlow, numpy nor PIL.
"""

from __future__ import annotations

import sys

import click

from imagemill.cli import convert, data, diff, doctor, refresh, specs, versions
from imagemill.cli.output import report_error
from imagemill.errors import ImagemillError
from imagemill.garbage import end_at_once


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit codes: 0 good, 1 unusable data or a failed check, 2 the caller's mistake, "
    "3 a temporary fault that outlived its retries.",
)
@click.version_option(package_name="imagemill")
def cli() -> None:
    """Turn labelled images into validated, versioned TFRecord datasets.

    NAME is a dataset: the spec dags/datasets/NAME.yaml describes it.
    """


for _command in (
    specs.specs,
    refresh.refresh,
    data.prepare,
    data.sync,
    convert.convert,
    data.verify,
    data.inspect,
    versions.versions,
    diff.diff,
    versions.history,
    versions.path,
    versions.validate,
    versions.publish,
    versions.rollback,
    versions.prune,
    doctor.doctor,
):
    cli.add_command(_command)


def main() -> None:
    """Runs the command line; the error's family decides the exit code."""
    end_at_once()
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ImagemillError as error:
        report_error(error)
        sys.exit(error.exit_code)
