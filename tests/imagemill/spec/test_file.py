import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.errors import CallerError
from imagemill.spec.file import BrokenSpec, LoadedSpec, SpecError, find_spec, load_all, load_spec

SPECS = Path(__file__).parents[3] / "dags/datasets"
LEAST = "name: pets\nsource: {type: folder, root: images}\n"


@pytest.fixture
def load(tmp_path):
    """Writes pets.yaml and loads it."""

    def load(text, **environment):
        path = tmp_path / "pets.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_spec(path, environment=environment)

    return load


@pytest.fixture
def faults(load):
    """Returns the faults of a text as (line, column, key, problem and fix)."""

    def faults(text, **environment):
        with pytest.raises(SpecError) as caught:
            load(text, **environment)
        return [(each.line, each.column, each.key, f"{each.problem} {each.fix}") for each in caught.value.faults]

    return faults


# --- the whole text, as a person sees it -------------------------------------------------------------------------

MANY = """\
name: Pets
description: Our pets
source:
  type: folder
  root: gs://bucket/pets
  layuot: split
labels:
  names: [cat, no, 7]
locations:
  staging: ${PETS_BUCKET}/staging
schedule: "0 25 * * *"
conversion:
  runner: dataflo
  formats: [jpg]
  sample: 3
  shards:
    target_records: "1000"
    count: {valid: 3}
validation:
  max_rejected: 5
  max_rejected: 0
alerts:
  email: ops@example.org
approval: no
"""

TOLD = """\
pets.yaml has 15 faults.
pets.yaml:1:1: name
    `Pets` cannot be a name.
    Use lower-case letters, digits and underscores, a letter first, at most 63: `pets`.
pets.yaml:5:3: source.root
    `gs://bucket/pets` cannot be used here, and only a local folder can be used.
    Give a path.
pets.yaml:6:3: source.layuot
    There is no key `layuot` in `source`.
    Did you mean `layout`?
pets.yaml:8:16: labels.names[1]
    YAML reads `no` as a boolean, and a text is wanted here.
    Quote it: "no".
pets.yaml:8:20: labels.names[2]
    YAML reads `7` as a number, and a text is wanted here.
    Quote it: "7".
pets.yaml:10:12: locations.staging
    The environment variable `PETS_BUCKET` is not set.
    Set it, or give a default here: `${PETS_BUCKET:-default}`.
pets.yaml:11:1: schedule
    `25` is no hour (0-23).
    Write for example "0 3 * * *" (3:00 every day) or "@daily", in quotes.
pets.yaml:13:3: conversion.runner
    `dataflo` is none of the choices.
    Did you mean `dataflow`? Use `local`, `prism`, `flink`, `portable` or `dataflow`.
pets.yaml:14:13: conversion.formats[0]
    `jpg` is none of the choices.
    Did you mean `jpeg`? Use `png`, `jpeg`, `gif`, `bmp` or `webp`.
pets.yaml:15:3: conversion.sample
    There is no key `sample` in `conversion`.
    It belongs under `validation`.
pets.yaml:17:5: conversion.shards.target_records
    "1000" is in quotes, and a whole number is wanted here.
    Drop the quotes: `1000`.
pets.yaml:20:3: validation.max_rejected
    `5` is out of range.
    It must be at most 1. Shares run from 0 to 1: five per cent is 0.05.
pets.yaml:21:3: validation.max_rejected
    The key `max_rejected` is here twice; the first is in line 20.
    Keep one of them.
pets.yaml:23:3: alerts.email
    `ops@example.org` stands here alone, and a list is wanted.
    Write `[ops@example.org]`.
pets.yaml:24:1: approval
    `no` is none of the choices.
    Use `none` or `required`."""


def test_all_faults_are_told_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pets.yaml").write_text(MANY)
    with pytest.raises(SpecError) as caught:
        load_spec(Path("pets.yaml"), environment={})
    assert str(caught.value) == TOLD
    assert caught.value.exit_code == 2


def test_a_fault_carries_its_parts(load):
    with pytest.raises(SpecError) as caught:
        load(LEAST + "retention: {keep: 0}\n")
    [fault] = caught.value.faults
    assert (fault.path.name, fault.line, fault.column, fault.key, fault.value) == (
        "pets.yaml",
        3,
        13,
        "retention.keep",
        "0",
    )


# --- contradictions beside other faults --------------------------------------------------------------------------


def test_a_fault_in_one_section_hides_no_contradiction_between_others(faults):
    told = faults(
        LEAST + "validation: {sample: many}\nconversion: {max_image_bytes: x, runner: flink}\nsplits: {names: [a]}\n"
    )
    assert [(line, key) for line, _, key, _ in told] == [
        (3, "validation.sample"),
        (4, "conversion.runner_options"),
        (4, "conversion.max_image_bytes"),
        (5, "splits.fractions"),
    ]


def test_an_unknown_key_hides_no_contradiction_in_its_section(faults):
    told = faults(
        "name: pets\nsource: {type: cifar, archive: x, label: coarse, zzz: 1}\nsplits: {names: [train, test]}\n"
    )
    assert [text.partition(".")[0] for *_, text in told] == [
        "CIFAR-10 has no coarse labels",
        "There is no key `zzz` in `source`",
    ]


def test_a_broken_value_makes_no_false_contradiction(faults):
    source = "{type: cifar, archive: 'https://x/c', sha256: '${UNSET}'}"
    text = f"name: pets\nsplits: {{names: [train, test]}}\nsource: {source}\n"
    assert [key for _, _, key, _ in faults(text)] == ["source.sha256"]


# --- YAML ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        pytest.param("", 1, 1, "The file is empty", id="empty"),
        pytest.param("# only a comment\n", 1, 1, "The file is empty", id="comment"),
        pytest.param("- a\n", 1, 1, "not a mapping", id="list"),
        pytest.param("name: pets\n\tsource: x\n", 2, 1, "indented with a tab", id="tab"),
        pytest.param("name: pets\nsource: a: b\n", 2, 10, "A second `: `", id="two colons"),
        pytest.param("name: @pets\n", 1, 7, "cannot begin with `@`", id="at"),
        pytest.param("name: *pets\n", 1, 7, "does not exist above", id="asterisk"),
        pytest.param("name: pets\n---\nname: b\n", 2, 1, "second document", id="documents"),
        pytest.param("name: 'pets\nsource: x\n", 3, 1, "began in line 1", id="open quote"),
        pytest.param("source: {type: ${X}}\n", 1, 17, "a line of its own", id="variable in braces"),
        pytest.param("source: {type: folder\n", 2, 1, "not valid YAML", id="open brace"),
        pytest.param("name: pe\x07ts\n", 1, 9, "U+0007", id="control character"),
        pytest.param("name: p\nsource: " + "[" * 100_000, 2, 38, "nested more than 30 deep", id="brackets"),
        pytest.param("a: &a [*a]\n", 1, 4, "unfolded", id="endless alias"),
        pytest.param(b"name: p\xe4ts\n", 1, 1, "0xe4 is not UTF-8", id="latin-1"),
        pytest.param("name: pets # " + "x" * (1 << 20), 1, 1, "larger than 1 MiB", id="large"),
    ],
)
def test_unreadable_files(faults, text, line, column, said):
    [(at_line, at_column, _, told)] = faults(text)
    assert said in told
    assert (at_line, at_column) == (line, column)


def test_an_alias_bomb_is_refused_quickly(faults):
    levels = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12))
    [(_, _, _, told)] = faults("a0: &a0 [x]\n" + levels)
    assert "more than any spec holds" in told


@pytest.mark.parametrize("word", ["no", "on", "Yes", "true", "7", "1.5", "null", "~"])
def test_labels_that_yaml_misreads_are_to_be_quoted(faults, load, word):
    [(line, _, key, told)] = faults(LEAST + f"labels: {{names: [cat, {word}]}}\n")
    assert (line, key) == (3, "labels.names[1]")
    assert f'Quote it: "{word}".' in told
    assert load(LEAST + f'labels: {{names: [cat, "{word}x"]}}\n').labels.names == ("cat", f"{word}x")


@pytest.mark.parametrize(("text", "number"), [("0100", "64"), ("1:30", "90"), ("-010", "-8")])
def test_numbers_that_yaml_misreads_are_pointed_out(faults, text, number):
    [(_, _, _, told)] = faults(LEAST + f"validation: {{sample: {text}}}\n")
    assert f"YAML reads `{text}` as the number {number}" in told


def test_keys_that_yaml_misreads_are_to_be_quoted(faults):
    assert 'Quote it: "on".' in faults(LEAST + "splits: {fractions: {on: 1.0}}\n")[0][3]


def test_dates_are_text(load):
    assert load(LEAST + "description: 2026-01-31\n").description == "2026-01-31"


def test_anchors_and_merges_work(load):
    spec = load(
        LEAST
        + "splits:\n  fractions: &f {train: 0.5, test: 0.5}\nconversion: {shards: {count: {<<: {train: 1}, test: 2}}}\n"
    )
    assert spec.conversion.shards.count == {"train": 1, "test": 2}


def test_a_key_of_ones_own_wins_over_a_merged_one_and_is_no_duplicate(load):
    assert load(LEAST + "retention: {<<: {keep: 9}, keep: 2}\n").retention.keep == 2


def test_windows_files_are_fine(load):
    assert load(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode()).name == "pets"


def test_tags_mean_nothing(faults):
    assert "means nothing in a spec" in faults(LEAST + "description: !!python/object:os.system x\n")[0][3]


# --- variables -----------------------------------------------------------------------------------------------------


def test_a_value_that_is_one_variable_keeps_yamls_types(load):
    spec = load(LEAST + "validation:\n  sample: ${N:-5}\n")
    assert spec.validation.sample == 5
    assert load(LEAST + "validation:\n  sample: ${N}\n", N="7").validation.sample == 7
    assert load(LEAST + "schedule: ${WHEN:-}\n").schedule is None
    assert load(LEAST + 'description: "${N}"\n', N="7").description == "7"
    assert load(LEAST + "description: v${N}\n", N="7").description == "v7"
    assert load(LEAST + "description: $${N}\n").description == "${N}"


def test_a_bad_variable_is_shown_with_its_value(faults):
    [(_, _, _, told)] = faults(LEAST + "validation:\n  sample: ${N}\n", N="many")
    assert "`${N}` (here `many`) stands where a whole number is wanted" in told


def test_home_is_always_there(load, tmp_path):
    assert load(LEAST + "description: ${IMAGEMILL_HOME}\n").description == str(tmp_path / ".imagemill")
    assert load(LEAST + "description: ${IMAGEMILL_HOME}\n", IMAGEMILL_HOME="/h").description == "/h"


# --- places --------------------------------------------------------------------------------------------------------


def test_places_by_default_lie_under_home(load):
    assert load(LEAST, IMAGEMILL_HOME="/h").locations.model_dump() == {
        "staging": "/h/staging/pets",
        "output": "/h/datasets/pets",
        "work": "/h/work",
    }


def test_one_place_may_be_given_alone(load):
    locations = load(LEAST + "locations: {output: gs://b/o}\n", IMAGEMILL_HOME="/h").locations
    assert (locations.staging, locations.output) == ("/h/staging/pets", "gs://b/o")


@pytest.mark.parametrize("store", ["gs://b/team", "gs://b/team/"])
def test_a_store_takes_what_names_no_place(load, store):
    locations = load(LEAST, IMAGEMILL_HOME="/h", IMAGEMILL_STORE=store).locations
    assert (locations.staging, locations.output) == ("gs://b/team/staging/pets", "gs://b/team/datasets/pets")
    assert locations.work == "/h/work"
    assert load(LEAST + "locations: {output: /o}\n", IMAGEMILL_STORE=store).locations.output == "/o"


def test_a_store_that_is_no_place_is_named(faults):
    [(*_, told)] = faults(LEAST, IMAGEMILL_STORE="gs:/b")[:1]
    assert "gs:/b" in told


def test_failures_are_mailed_to_those_in_the_variable_where_the_spec_names_nobody(load, faults):
    people = {"IMAGEMILL_ALERT_EMAIL": "a@b.c, d@e.f"}
    assert load(LEAST).alerts.email == ()
    assert load(LEAST, **people).alerts.email == ("a@b.c", "d@e.f")
    assert load(LEAST + "alerts: {smtp_conn_id: x}\n", **people).alerts.email == ("a@b.c", "d@e.f")
    assert load(LEAST + "alerts: {email: []}\n", **people).alerts.email == ()
    [(*_, key, told)] = faults(LEAST, IMAGEMILL_ALERT_EMAIL="nobody")
    assert key == "alerts.email[0]"
    assert "nobody" in told


def test_relative_places_start_at_the_specs_folder(load, tmp_path):
    spec = load("name: pets\nsource: {type: index, index: ../a/i.csv, images: s3://b/i}\nlocations: {output: ./o/}\n")
    assert spec.source.index == str(tmp_path.parent / "a/i.csv")
    assert spec.source.images == "s3://b/i"
    assert spec.locations.output == str(tmp_path / "o")


def test_tilde_is_the_home_folder(load, faults):
    assert load(LEAST.replace("images", "~/i")).source.root == str(Path("~/i").expanduser())
    assert "`~nobody_of_that_name` is nobody's home" in faults(LEAST.replace("images", "~nobody_of_that_name/i"))[0][3]


# --- other mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (
            "name: dogs\nsource: {type: shapes}\nsplits: {names: [train, test]}\n",
            "name",
            "Rename the file to dogs.yaml",
        ),
        ("source: {type: folder, root: x}\n", "name", "`name` is missing. Add `name: …`"),
        ("name: pets\n", "source", "Add `source: …` (Where the labelled images come from)."),
        ("name: pets\nsource: {root: x}\n", "source.type", "does not say what kind"),
        ("name: pets\nsource: {type: foldr}\n", "source.type", "Did you mean `folder`?"),
        ("name: pets\nsource: {type: folder}\n", "source.root", "`root` is missing in `source`"),
        ("name: pets\nsource: {type: folder, root: x, folder: y}\n", "source.folder", "The keys here are type, root,"),
        ("name: pets\nsource: folder\n", "source", "stands where a mapping is wanted"),
        (
            LEAST + "splits: {fractions: {Train: 1.0}}\n",
            "splits.fractions.Train",
            "a letter first, at most 32: `train`.",
        ),
        (LEAST + "validation:\n", "validation", "Nothing stands under this key."),
        (LEAST + "validation: [a]\n", "validation", "A list stands where a mapping is wanted"),
        (LEAST + "conversion: {runner_options: {a: {b: c}}}\n", "conversion.runner_options.a", "or a list of texts"),
        (LEAST + "conversion: {formats: []}\n", "conversion.formats", "The list is empty"),
        (LEAST + "conversion: {max_image_bytes: 1.5}\n", "conversion.max_image_bytes", "whole number is wanted"),
        (LEAST + "conversion: {max_image_bytes: true}\n", "conversion.max_image_bytes", "whole number is wanted"),
        (
            LEAST + f"conversion: {{max_image_bytes: 0x{'f' * 30}}}\n",
            "conversion.max_image_bytes",
            "too large a number",
        ),
    ],
)
def test_advice(faults, text, key, said):
    [(_, _, at, told)] = faults(text)
    assert at == key
    assert said in told


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SpecError, match="The file cannot be read: No such file"):
        load_spec(tmp_path / "absent.yaml", environment={})


# --- many files ----------------------------------------------------------------------------------------------------


def test_shipped_specs_load_in_an_empty_environment():
    loaded = load_all(SPECS, environment={})
    assert [type(each) for each in loaded] == [LoadedSpec] * len(loaded), [str(each) for each in loaded]
    assert {"shapes", "cifar10", "cifar100", "folder_example"} <= {each.name for each in loaded}


def test_an_archive_of_ones_own_drops_the_pinned_checksum():
    own = find_spec("cifar10", folder=SPECS, environment={"IMAGEMILL_CIFAR10": "/data/c.tar.gz"})
    assert (own.source.archive, own.source.sha256) == ("/data/c.tar.gz", None)
    assert find_spec("cifar10", folder=SPECS, environment={}).source.sha256.startswith("6d958be0")


def test_a_broken_spec_hides_no_other(tmp_path):
    (tmp_path / "pets.yaml").write_text(LEAST)
    (tmp_path / "dogs.yaml").write_text("name: [")
    (tmp_path / "cats.yml").write_text(LEAST)
    (tmp_path / ".hidden.yaml").write_text("name: [")
    (tmp_path / "spec.schema.json").write_text("{}")
    loaded = load_all(tmp_path, environment={})
    assert [(each.name, type(each)) for each in loaded] == [
        ("cats", BrokenSpec),
        ("dogs", BrokenSpec),
        ("pets", LoadedSpec),
    ]
    assert "Rename the file" in str(loaded[0].error)


def test_find_spec_lists_what_there_is(tmp_path):
    (tmp_path / "pets.yaml").write_text(LEAST)
    assert find_spec("pets", folder=tmp_path, environment={}).name == "pets"
    assert find_spec(str(tmp_path / "pets.yaml"), environment={}).name == "pets"
    with pytest.raises(CallerError, match=r"No dataset `pet` in .*\. Did you mean `pets`\? There are pets\."):
        find_spec("pet", folder=tmp_path, environment={})
    with pytest.raises(CallerError, match=r"No dataset `\.\./pets`"):
        find_spec("../pets", folder=tmp_path / "..", environment={})


# --- promises ------------------------------------------------------------------------------------------------------

SHIPPED = [path.read_text() for path in SPECS.glob("*.yaml")]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _load_or_say_why(folder, text):
    path = folder / "pets.yaml"
    path.write_bytes(text)
    try:
        load_spec(path, environment={"A": "1"})
    except SpecError as error:
        assert error.faults
        assert str(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("specs")


@given(text=st.binary(max_size=60) | st.text(alphabet="abn:-[]{}&*!|>'\"#%@`~<$,.0 \n\t", max_size=60).map(str.encode))
def test_any_file_loads_or_says_why(folder, text):
    _load_or_say_why(folder, text)


@given(st.sampled_from(SHIPPED), st.data())
def test_any_damage_to_a_spec_loads_or_says_why(folder, text, data):
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 30))
    noise = data.draw(st.text(alphabet="no:-[]{}&*!'\"$ \n\t0", max_size=8))
    _load_or_say_why(folder, (text[:start] + noise + text[start + length :]).encode())


@settings(max_examples=200)
@given(
    st.fixed_dictionaries(
        {"name": st.just("pets")},
        optional={
            "source": st.just({"type": "folder", "root": "x"}) | PLAIN,
            **dict.fromkeys(["splits", "labels", "locations", "schedule", "conversion", "validation", "alerts"], PLAIN),
        },
    ),
    PLAIN,
    st.sampled_from(
        [("conversion", "runner_options"), ("conversion", "shards"), ("labels", "names"), ("source", "type")]
    ),
)
def test_any_values_load_or_say_why(folder, value, inner, where):
    section, key = where
    nested = value.get(section)
    value[section] = {**nested, key: inner} if isinstance(nested, dict) else {key: inner}
    _load_or_say_why(folder, yaml.safe_dump(value, allow_unicode=True).encode())


def test_reading_specs_imports_nothing_heavy():
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from imagemill.spec.file import load_all\n"
        "load_all(Path(sys.argv[1]))\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SPECS.parents[1])}
    command = [sys.executable, "-c", script, str(SPECS)]
    modules = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    heavy = {"numpy", "PIL", "apache_beam", "airflow", "tensorflow", "obstore", "click", "rich", "httpx", "jinja2"}
    assert not heavy & set(modules)


def test_a_folder_of_specs_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(CallerError, match=r"the folder of specs .*/absent cannot be listed: No such file"):
        load_all(tmp_path / "absent")
