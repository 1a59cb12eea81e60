"""`imagemill specs`."""

from __future__ import annotations

import json

import click

from imagemill.cli.output import json_option, show, table
from imagemill.errors import CallerError


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a spec, for editors.")
@json_option
def specs(*, schema: bool, as_json: bool) -> None:
    """List the dataset specs and check them.

    Every fault is shown with its line and its fix.
    """
    from imagemill.home import specs_dir
    from imagemill.spec.file import BrokenSpec, LoadedSpec, load_all
    from imagemill.spec.schema import json_schema

    if schema:
        click.echo(json.dumps(json_schema(), indent=1))
        return
    loaded = load_all(specs_dir())
    good = [one for one in loaded if isinstance(one, LoadedSpec)]
    broken = [one for one in loaded if isinstance(one, BrokenSpec)]
    show(
        {
            "specs": [one.spec.model_dump(mode="json") for one in good],
            "broken": [{"path": str(one.path), "error": str(one.error)} for one in broken],
        },
        as_json=as_json,
        text=table(
            ["NAME", "SOURCE", "SCHEDULE", "OUTPUT"],
            [
                [one.spec.name, one.spec.source.type, one.spec.schedule or "by hand", one.spec.locations.output]
                for one in good
            ],
        ),
    )
    if broken:
        raise CallerError("\n".join(str(one.error) for one in broken))
