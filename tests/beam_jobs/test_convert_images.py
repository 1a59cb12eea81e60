from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from beam_jobs.convert_images import WORKER_IDLE_MILLIS, main, parse_arguments, pipeline_options, processes_for
from imagemill.conversion.resolution import Placement
from imagemill.errors import FAILURE
from imagemill.manifest import MANIFEST
from imagemill.plan import PLAN
from imagemill.records.example import decode_features
from imagemill.records.sharding import key_hash, shard_of
from imagemill.records.tfrecord import read_records
from imagemill.rows import UNASSIGNED
from imagemill.spec import Shards
from tests.support.conversions import EXPECTED_REJECTS, SETTINGS, digests_of, manifest_of, picture

ROOT = Path(__file__).parents[2]


def records_of(version):
    """Returns every record's features by split and key."""
    found = {}
    for shard in manifest_of(version).shards:
        with (version / shard.name).open("rb") as file:
            for _, payload in read_records(file):
                features = decode_features(payload)
                found[shard.split, features["image/filename"][0].decode()] = features
    return found


def rejects_of(version):
    return [json.loads(line) for line in (version / "rejects.jsonl").read_text().splitlines()]


def failure_of(capfd):
    captured = capfd.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[-1].startswith(FAILURE)
    return json.loads(lines[-1].removeprefix(FAILURE)), lines


def test_every_row_is_accounted_for(mixture, version):
    manifest = manifest_of(version)
    assert manifest.reject_reasons == EXPECTED_REJECTS
    assert manifest.rows == len(mixture.rows)
    assert manifest.duplicates == 3
    assert manifest.rejected == sum(EXPECTED_REJECTS.values())
    assert all(account.balanced for account in manifest.accounts)
    unassigned = [account for account in manifest.accounts if UNASSIGNED in (account.split, account.label)]
    assert [(account.split, account.label, account.rows) for account in unassigned] == [
        (UNASSIGNED, UNASSIGNED, 5),
        (UNASSIGNED, "dog", 1),
        ("train", UNASSIGNED, 1),
    ]


def test_good_rows_become_records_with_their_bytes_and_labels(mixture, version):
    records = records_of(version)
    assert {key: features["image/encoded"] for (_, key), features in records.items()} == {
        key: [data] for key, data in mixture.good.items()
    }
    features = records["train" if ("train", "g/ü b#%.jpg") in records else "test", "g/ü b#%.jpg"]
    assert (features["image/class/label"], features["image/class/text"]) == ([1], [b"dog"])
    assert (features["image/format"], features["image/width"]) == ([b"jpeg"], [8])
    assert {split for split, key in records if key in ("n/3.png", "n/7.png")} == {"extra"}


def test_rejects_can_be_replayed(mixture, version):
    rejects = rejects_of(version)
    replayed = Counter(reject["row"].encode(errors="surrogateescape") for reject in rejects)
    assert not replayed - Counter(mixture.rows)
    assert Counter(reject["reason"] for reject in rejects) == EXPECTED_REJECTS
    assert {reject["key"] for reject in rejects} & mixture.good.keys() == set()
    assert all(reject["detail"] for reject in rejects)
    large = next(reject for reject in rejects if reject["reason"] == "too_large")
    assert (large["key"], large["label"]) == ("large.png", "cat")


def test_facts_count_what_the_records_hold(mixture, convert):
    mixture.add_good("copy of 5.png", picture(5), "cat,extra")
    mixture.write_index()
    version = convert(mixture)
    facts = json.loads((version / "facts.json").read_text())
    assert sum(sum(labels.values()) for labels in facts["labels"].values()) == len(mixture.good)
    assert facts["images"]["formats"] == {"jpeg": 1, "png": len(mixture.good) - 1}
    assert facts["images"]["width"] == {"min": 8, "max": 8, "sum": 8 * len(mixture.good)}
    sharing = facts["sharing"]
    # twice.png is n/2.png again; n/5.png is a dog, its copy a cat in another split.
    assert (sharing["identical"]["groups"], sharing["label_conflicts"]["groups"]) == (2, 1)
    conflict = sharing["label_conflicts"]["examples"][0]["records"]
    assert [(record["key"], record["label"]) for record in conflict] == [("copy of 5.png", "cat"), ("n/5.png", "dog")]


@pytest.mark.parametrize(
    ("index", "arguments"),
    [
        pytest.param({"shuffle": 1}, [], id="rows in another order"),
        pytest.param({"line_end": b"\r\n", "header": False}, [], id="other line ends, no header"),
        pytest.param({"shuffle": 2}, ["--index_block_bytes=64"], id="many blocks"),
        pytest.param({}, ["--direct_num_workers=2", "--direct_running_mode=multi_threading"], id="two workers"),
        pytest.param({}, ["--worker_processes=2"], id="two processes"),
    ],
)
def test_the_same_bytes_whatever_the_way(mixture, version, convert, index, arguments):
    mixture.write_index(**index)
    assert digests_of(convert(mixture, "other", arguments=arguments)) == digests_of(version)


@pytest.mark.parametrize(
    ("runner", "options", "expected"),
    [
        pytest.param("FnApiRunner", [], min(5, os.cpu_count()), id="on this machine"),
        pytest.param("FnApiRunner", ["--direct_num_workers=2"], 1, id="beside workers of Beam's own"),
        pytest.param("PrismRunner", [], 1, id="Prism"),
        pytest.param("DataflowRunner", [], 1, id="a cluster"),
    ],
)
def test_a_large_dataset_gets_the_cores_of_this_machine(mixture, tmp_path, runner, options, expected):
    plan = mixture.plan(tmp_path / "v")
    assert processes_for(plan, runner, PipelineOptions(options)) == 1
    assert processes_for(plan.model_copy(update={"rows": 1_000_000}), runner, PipelineOptions(options)) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--runner=PortableRunner"], WORKER_IDLE_MILLIS, id="a cluster"),
        pytest.param(["--runner=PortableRunner", "--environment_cache_millis=0"], 0, id="as the caller says"),
        pytest.param(["--runner=FnApiRunner"], 0, id="on this machine"),
    ],
)
def test_a_cluster_keeps_workers_for_the_next_stage(arguments, expected):
    options = pipeline_options(parse_arguments(["--plan=none", *arguments]))
    assert int(options.view_as(PortableOptions).environment_cache_millis) == expected  # Beam keeps it as text


def test_a_killed_process_stops_the_job_and_is_no_bug(mixture, convert, capfd, monkeypatch):
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    monkeypatch.setattr("imagemill.conversion.step_pool.python_command", lambda _: killed)
    version = convert(mixture, arguments=["--worker_processes=2"], expected=3)
    assert "ended with signal SIGKILL" in failure_of(capfd)[0]["message"]
    assert not (version / MANIFEST).exists()
    monkeypatch.undo()
    # The next try, in this process too, starts with processes of its own.
    assert main(["--plan", str(version / PLAN), "--worker_processes=2"]) == 0


def test_the_same_bytes_however_many_ranges(mixture, version, convert, monkeypatch):
    monkeypatch.setattr("imagemill.conversion.layout.ROWS_PER_BUCKET", 9)
    monkeypatch.setattr("imagemill.conversion.reject_lines.HELD_BYTES", 300)
    assert digests_of(convert(mixture, "other", arguments=["--index_block_bytes=200"])) == digests_of(version)


def test_running_again_over_a_version_changes_nothing(mixture, convert):
    version = convert(mixture)
    before = digests_of(version)
    assert main(["--plan", str(version / PLAN)]) == 0
    assert digests_of(version) == before


def test_a_killed_job_leaves_no_version_and_can_be_run_again(inputs, convert, tmp_path):
    for number in range(300):
        inputs.add_good(f"{number}.png", picture(number))
    inputs.write_index()
    shards = Shards(count={"train": 40, "test": 20})
    expected = digests_of(convert(inputs, "undisturbed", shards=shards))
    version = tmp_path / "versions" / "killed"
    inputs.plan(version, shards=shards)
    command = [sys.executable, "-m", "beam_jobs.convert_images", "--plan", str(version / PLAN)]
    job = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    for line in job.stderr:
        if "wrote mixture-train.tfrecord" in line:
            job.send_signal(signal.SIGKILL)
            break
    job.communicate()
    assert job.returncode == -signal.SIGKILL
    assert not (version / MANIFEST).exists()
    assert digests_of(version).items() <= expected.items()
    assert main(["--plan", str(version / PLAN)]) == 0
    assert digests_of(version) == expected


def test_planned_shards_exist_even_where_no_image_is_left(inputs, convert):
    for number in range(60):
        name = f"{number}.png"
        lost = shard_of(key_hash(name), 4) == 2
        inputs.add(name, b"nonsense" if lost else picture(number), "cat,train")
    inputs.write_index()
    version = convert(inputs, shards=Shards(count={"train": 4}))
    shards = manifest_of(version).shards
    assert [shard.name for shard in shards] == [f"mixture-train.tfrecord-{number:05d}-of-00004" for number in range(4)]
    assert [shard.records == 0 for shard in shards] == [False, False, True, False]
    assert all((version / shard.name).stat().st_size == shard.bytes for shard in shards)


def test_a_split_of_which_nothing_is_left(inputs, convert):
    inputs.add_good("a.png", picture(1), "cat,train")
    inputs.add("b.png", b"nonsense", "cat,test")
    inputs.write_index()
    manifest = manifest_of(convert(inputs, shards=Shards()))
    assert [(shard.split, shard.records) for shard in manifest.shards] == [("test", 0), ("train", 1)]


def test_a_limit_converts_the_rows_with_the_smallest_hashes(mixture, convert):
    version = convert(mixture, limit=20)
    manifest = manifest_of(version)
    smallest = sorted((key_hash(key), key) for key in mixture.good)
    found = sorted((key_hash(key), key) for _, key in records_of(version))
    assert found == smallest[: len(found)]
    assert all(account.balanced for account in manifest.accounts)
    assert len({reject["key"] or reject["row"] for reject in rejects_of(version)}) + manifest.records == 20


def test_compressed_shards_do_not_claim_to_be_tfds(mixture, version, convert):
    compressed = convert(mixture, "gz", settings=SETTINGS.model_copy(update={"compression": "gzip"}))
    assert not {"dataset_info.json", "features.json"} & digests_of(compressed).keys()
    for ours, theirs in zip(manifest_of(compressed).shards, manifest_of(version).shards, strict=True):
        assert ours.name == f"{theirs.name}.gz"
        assert gzip.decompress((compressed / ours.name).read_bytes()) == (version / theirs.name).read_bytes()


def test_decode_verification_refuses_what_the_header_hides(inputs, convert):
    inputs.add_good("a.png", picture(1))
    inputs.add("b.png", damaged_pixels(picture(2)))
    inputs.write_index()
    decode = SETTINGS.model_copy(update={"verification": "decode"})
    one = Shards(count={"train": 1, "test": 1})
    assert manifest_of(convert(inputs, "header", shards=one)).records == 2
    assert [reject["key"] for reject in rejects_of(convert(inputs, "decode", shards=one, settings=decode))] == ["b.png"]


def damaged_pixels(png):
    """Returns a PNG whose checksums hold and whose pixels do not decompress."""
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    chunk = b"IDAT" + png[start + 4 : start + 6] + b"\xff" * (length - 2)
    return png[:start] + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[start + 8 + length :]


@pytest.mark.parametrize("change", ["image", "row", "image removed"])
def test_input_that_changes_under_the_job_is_not_published(mixture, convert, capfd, change):
    def change_input():
        if change == "image":
            (mixture.root / "images" / "n/7.png").write_bytes(picture(99))
        elif change == "image removed":
            (mixture.root / "images" / "n/7.png").unlink()
        else:
            index = mixture.root / "index.csv"
            index.write_bytes(index.read_bytes().replace(b"n/4.png,cat", b"n/4.png,dog"))

    version = convert(mixture, before_job=change_input, expected=1)
    failure, _ = failure_of(capfd)
    assert failure["family"] == "data"
    assert "changed between planning and conversion" in failure["message"]
    assert failure["message"].endswith("run the refresh again")
    assert not (version / MANIFEST).exists()


def test_a_bug_stops_the_job(mixture, tmp_path, monkeypatch, capfd):
    version = tmp_path / "v"
    mixture.plan(version)
    monkeypatch.setattr("imagemill.records.shard_writer.encode_image_example", lambda *_, **__: {}["bug"])
    with pytest.raises(KeyError, match="bug"):
        main(["--plan", str(version / PLAN)])
    failure, _ = failure_of(capfd)
    assert failure["family"] == "bug"
    assert not (version / MANIFEST).exists()


def test_the_identity_can_fail(mixture, convert, monkeypatch):
    """Rows are counted when read, duplicates where they are found: losing some shows."""
    resolve = Placement.resolve
    monkeypatch.setattr(Placement, "resolve", lambda self, rows: resolve(self, rows)._replace(duplicates=()))
    unbalanced = [account for account in manifest_of(convert(mixture)).accounts if not account.balanced]
    assert sum(account.rows - account.records - account.rejected for account in unbalanced) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--runner=NoSuchRunner"], "Beam has no runner 'NoSuchRunner'", id="unknown runner"),
        pytest.param(["--direct_num_wrokers=2"], "unknown option '--direct_num_wrokers=2'", id="unknown option"),
        pytest.param(["stray"], "unknown option 'stray'", id="stray argument"),
        pytest.param(["--direct_num_workers=two"], "invalid int value: 'two'", id="no number"),
        pytest.param(
            ["--runner=PortableRunner", "--job_server_timeout=soon"], "invalid int value: 'soon'", id="for a job server"
        ),
        pytest.param(["--runner=PrismRunner", "--prism_locatoin=x"], "unknown option '--prism_locatoin=x'", id="Prism"),
        pytest.param(["--runner=PrismRunner"], "go install github.com/apache/beam", id="no Prism"),
        pytest.param(["--runner=PrismRunner", "--prism_location=/no/prism"], "'/no/prism'", id="Prism is not there"),
    ],
)
def test_a_wrong_command_line_is_the_callers_mistake(mixture, convert, capfd, arguments, message):
    convert(mixture, arguments=arguments, expected=2)
    failure, lines = failure_of(capfd)
    assert failure["family"] == "caller"
    assert message in failure["message"]
    assert len(lines) == 1


def test_without_a_plan_there_is_nothing_to_do(tmp_path, capfd):
    assert main([]) == 2
    assert "--plan" in failure_of(capfd)[0]["message"]
    assert main(["--plan", str(tmp_path / PLAN)]) == 2
    assert "there is no such object" in failure_of(capfd)[0]["message"]


def test_an_unreadable_plan(tmp_path, capfd):
    (tmp_path / PLAN).write_text("{}")
    assert main(["--plan", str(tmp_path / PLAN)]) == 1
    assert "not a readable plan" in failure_of(capfd)[0]["message"]
    (tmp_path / PLAN).write_text('{"format_version": 99}')
    assert main(["--plan", str(tmp_path / PLAN)]) == 2
    assert "upgrade imagemill" in failure_of(capfd)[0]["message"]


def test_an_output_that_cannot_be_written(mixture, tmp_path, capfd):
    version = tmp_path / "v"
    mixture.plan(version)
    (version / "mixture-train.tfrecord-00001-of-00003").mkdir()
    assert main(["--plan", str(version / PLAN)]) in (2, 3)
    assert "mixture-train.tfrecord-00001-of-00003" in failure_of(capfd)[0]["message"]


def test_nothing_but_logs_leaves_the_process(mixture, tmp_path):
    version = tmp_path / "v"
    mixture.plan(version)
    command = [sys.executable, "-m", "beam_jobs.convert_images", "--plan", str(version / PLAN)]
    job = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True)
    assert job.stdout == ""
    assert f"converting {len(mixture.rows)} rows of mixture" in job.stderr
    assert not [line for line in job.stderr.splitlines() if "Converting string literal" in line]


def test_names_of_files_are_the_manifests(version):
    manifest = manifest_of(version)
    named = [*manifest.files, *manifest.shards, *(shard.index for shard in manifest.shards)]
    assert sorted(entry.name for entry in named) == sorted(digests_of(version).keys() - {MANIFEST})
    assert all((version / entry.name).stat().st_size == entry.bytes for entry in named)
    assert all(left.name < right.name for left, right in itertools.pairwise(manifest.files))
