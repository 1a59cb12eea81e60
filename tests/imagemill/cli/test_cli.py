"""What holds for every command: help that loads nothing, the caller's mistakes, exit codes."""

import json
import subprocess
import sys

import click
import pytest

from imagemill.cli import cli

HEAVY = {"apache_beam", "tensorflow", "airflow", "numpy", "PIL", "google_crc32c", "obstore", "rich", "httpx"}


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom imagemill.cli import cli\ncli.main(['--help'], standalone_mode=False)\n"
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name for name in HEAVY if f"'{name}'" in ended.stderr} == set()


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_explains_itself(name):
    command = cli.commands[name]
    assert command.help
    assert "--json" in {option for parameter in command.params for option in parameter.opts}
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["refresh", "dotz"], ["dotz", "dots"], id="a dataset that does not exist"),
        pytest.param(["path", "dots"], ["nothing is published", "imagemill refresh dots"], id="nothing published"),
        pytest.param(["convert"], ["--index", "--output"], id="nothing to convert"),
        pytest.param(["convert", "dots", "--index", "x.csv"], ["not both"], id="two things to convert"),
        pytest.param(["convert", "--index", "no.csv", "--output", "out"], ["no.csv"], id="an index that is not there"),
        pytest.param(
            ["convert", "--index", "no.csv", "--output", "out", "--split", "train=0.5"], ["sum to"], id="half a split"
        ),
        pytest.param(["convert", "dots", "--runner", "spark2"], ["spark2", "flink"], id="an unknown runner"),
        pytest.param(["convert", "dots", "--shards", "100000"], ["1<=x<=99999"], id="more shards than have names"),
        pytest.param(["refresh", "dots", "--shards", "100000"], ["1<=x<=99999"], id="likewise, in a refresh"),
        pytest.param(["sync", "nowhere", "there"], ["nowhere"], id="a source that is not there"),
        pytest.param(["sync", "ftp://host/x", "there"], ["ftp", "gs://"], id="an unknown scheme"),
        pytest.param(["inspect", "nothing"], ["nothing"], id="a shard that is not there"),
        pytest.param(["publish", "dots", "20200101T000000Z-00000000"], ["20200101T000000Z"], id="no such version"),
        pytest.param(["rollback", "dots"], ["no intact version", "dots"], id="nothing to go back to"),
        pytest.param(["verify", "nowhere"], ["nowhere"], id="no version to verify"),
        pytest.param(["--fast"], ["--fast"], id="an unknown option"),
    ],
)
def test_the_callers_mistakes_are_one_clear_message(imagemill, arguments, says):
    ended = imagemill(*arguments)
    assert (ended.code, ended.out) == (2, "")
    for word in says:
        assert word in ended.err


def test_errors_are_json_where_json_was_asked_for(imagemill):
    ended = imagemill("path", "dots", "--json")
    error = json.loads(ended.err)["error"]
    assert (ended.code, error["family"]) == (2, "caller")
    assert "nothing is published" in error["message"]


def test_specs_are_listed(imagemill):
    ended = imagemill("specs", "--json")
    assert ended.code == 0
    assert [spec["name"] for spec in ended.json["specs"]] == ["dots"]


def test_a_broken_spec_is_shown_beside_the_good_ones(imagemill):
    broken = imagemill.spec("torn", "name: torn\nsource: {type: shapes, trian: 3}\n")
    try:
        ended = imagemill("specs")
    finally:
        broken.unlink()
    assert ended.code == 2
    assert "dots" in ended.out
    assert "torn.yaml:2" in ended.err
    assert "train" in ended.err


def test_the_schema_is_printed(imagemill):
    assert "source" in imagemill("specs", "--schema").json["properties"]


def test_an_output_that_cannot_be_written_is_the_callers_mistake(imagemill):
    (imagemill.project / "occupied").write_text("a file")
    imagemill.spec(
        "blocked",
        "name: blocked\nsource: {type: shapes}\nsplits: {names: [train, test]}\nlocations: {output: ../../occupied}\n",
    )
    tree = imagemill.project / "tree"
    assert imagemill("prepare", "dots", "--out", tree).code == 0
    ended = imagemill("convert", "--index", tree / "index.csv", "--images", tree / "images", "--output", "occupied")
    assert ended.code == 2
    assert "occupied" in ended.err


@pytest.mark.parametrize("command", [["verify"], ["convert", "--output", "o", "--only-rejects"]], ids=lambda c: c[0])
def test_a_version_of_a_newer_imagemill_asks_for_an_upgrade(imagemill, command):
    newer = imagemill.project / "newer"
    newer.mkdir(exist_ok=True)
    (newer / "manifest.json").write_text('{"schema_version": 99, "what": "nobody knows yet"}')
    (newer / "plan.json").write_text('{"format_version": 99, "what": "nobody knows yet"}')
    ended = imagemill(*command, newer)
    assert (ended.code, ended.out) == (2, "")
    assert "newer" in ended.err
    assert "upgrade imagemill" in ended.err
