"""`python -m deploy.composer` on an emulated environment bucket."""

import json
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from deploy.composer import deployment
from deploy.composer.environment import problems, read_environment, to_install
from deploy.composer.ranges import (
    PREINSTALLED,
    REQUIREMENTS,
    ROOT,
    read_packages,
    read_requirements,
    required,
    requirements_text,
)
from imagemill.errors import CallerError
from imagemill.storage import open_store
from imagemill.storage.settings import ObjectStoreSettings
from imagemill.storage.sync import sync
from tests.support.command import SPEC
from tests.support.composer import deploy, described, description
from tests.support.gcs.faults import Rule
from tests.support.gcs.server import emulator

DAY = read_packages(PREINSTALLED.read_text(), where="")


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs")) as running:
        yield running


class Project:
    """Specs, an environment with a bucket of its own, and the command that deploys to it."""

    def __init__(self, folder, gcs):
        self.folder, self.gcs = folder, gcs
        gcs.strike()
        self.bucket = gcs.make_bucket(f"environment-{folder.name.lower().replace('_', '-')}"[:60].rstrip("-"))
        self.specs = folder / "specs"
        self.specs.mkdir()
        (self.specs / "dots.yaml").write_text(SPEC)
        self.description = described(folder, self.bucket)
        self.packages = folder / "packages.txt"
        self.packages.write_text("".join(f"{name}=={version}\n" for name, version in DAY.items()))
        self.settings = ObjectStoreSettings(gcs_endpoint=gcs.url, gcs_emulator=True)
        self.variables = {"STORAGE_EMULATOR_HOST": gcs.url, "IMAGEMILL_STORAGE_PAUSE_SECONDS": "0.01"}

    def __call__(self, command, *arguments):
        place = ("--described", self.description, "--packages", self.packages)
        specs = ("--specs", self.specs) if command == "deploy" else ()
        return deploy(command, *place, *specs, *arguments, variables=self.variables)

    def objects(self):
        return {info.key for info in self.store().list()}

    def read(self, key):
        return self.store().read(key)

    def write(self, key, content=b"somebody else's"):
        self.store().write(key, content)

    def store(self):
        return open_store(self.bucket, settings=self.settings)


@pytest.fixture
def project(tmp_path, gcs):
    return Project(tmp_path, gcs)


def test_everything_lies_where_composer_looks_for_it(project):
    project.write("dags/theirs.py")
    ended = project("deploy", "--store", "gs://datasets/mill")
    assert ended.code == 0, ended.err
    keys = project.objects()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {
        "dags/dataset_refresh.py",
        "dags/dataset_freshness.py",
        "dags/datasets/dots.yaml",
        "dags/imagemill/steps/__init__.py",
        "dags/beam_jobs/convert_images.py",
        f"dags/imagemill-{version}.dist-info/METADATA",
        "plugins/imagemill_airflow/operators.py",
        "plugins/imagemill_plugin.py",
        "data/imagemill/requirements-composer.txt",
        "data/imagemill/deployment.json",
        "dags/theirs.py",
    } <= keys
    assert not [key for key in keys if "__pycache__" in key or key.startswith("dags/imagemill_airflow")]
    assert not [key for key in keys if "tests" in key.split("/") or "deploy" in key.split("/")]


def test_the_two_commands_that_are_left_are_printed(project):
    ended = project("deploy", "--store", "gs://datasets/mill")
    update = "gcloud composer environments update mill --location europe-west1 --project my-project"
    assert f"{update} --update-pypi-package 'obstore>=0.12'\n" in ended.out
    variables = "IMAGEMILL_HOME=/tmp/imagemill,IMAGEMILL_STORE=gs://datasets/mill"
    assert f"{update} --update-env-variables={variables}\n" in ended.out


def test_what_the_environment_has_already_is_not_asked_for_again(project):
    variables = {"IMAGEMILL_HOME": "/tmp/imagemill", "IMAGEMILL_STORE": "gs://datasets/mill"}
    described(project.folder, project.bucket, envVariables=variables, pypiPackages={"obstore": ">=0.12"})
    ended = project("deploy")
    assert "gcloud" not in ended.out
    assert "everything is installed" in ended.out


def test_a_second_deployment_uploads_nothing(project):
    assert "uploaded" in project("deploy").out
    project.gcs.strike()
    ended = project("deploy")
    assert ended.code == 0
    assert "nothing uploaded" in ended.out
    assert project.gcs.seen().keys().isdisjoint({"upload", "copy", "delete"})


def test_only_what_changed_travels_and_only_what_was_ours_is_deleted(project):
    (project.specs / "cats.yaml").write_text(SPEC.replace("dots", "cats"))
    project("deploy")
    project.write("dags/datasets/theirs.yaml")
    project.write("dags/imagemill/notes.txt")
    (project.specs / "cats.yaml").unlink()
    (project.specs / "dots.yaml").write_text(SPEC.replace("40", "50"))
    ended = project("deploy")
    assert "uploaded 1, deleted 1, " in ended.out
    assert "dags/datasets/cats.yaml" not in project.objects()
    assert {"dags/datasets/theirs.yaml", "dags/imagemill/notes.txt"} <= project.objects()
    assert b"50" in project.read("dags/datasets/dots.yaml")


def with_and_without_cats(project, *, between):
    """Deploys a spec, then again without it, after something happened to its object."""
    (project.specs / "cats.yaml").write_text(SPEC.replace("dots", "cats"))
    project("deploy")
    between()
    (project.specs / "cats.yaml").unlink()
    return project("deploy")


def test_a_file_that_somebody_put_where_one_of_ours_was_deleted_by_hand_is_kept(project):
    ended = with_and_without_cats(project, between=lambda: project.store().delete("dags/datasets/cats.yaml"))
    assert "nothing uploaded" in ended.out
    project.write("dags/datasets/cats.yaml")
    assert "nothing uploaded" in project("deploy").out
    assert project.read("dags/datasets/cats.yaml") == b"somebody else's"


def test_a_file_that_somebody_put_where_a_deployment_that_was_cut_short_had_deleted_ours_is_kept(project):
    last = Rule(kind="status", status=403, operation="upload", name="deployment.json", skip=1)
    ended = with_and_without_cats(project, between=lambda: project.gcs.strike(last))
    assert (ended.code, "dags/datasets/cats.yaml" in project.objects()) == (2, False)
    project.write("dags/datasets/cats.yaml")
    ended = project("deploy")
    assert f"{project.bucket}/dags/datasets/cats.yaml is left alone" in ended.out
    assert project.read("dags/datasets/cats.yaml") == b"somebody else's"
    assert "left alone" not in project("deploy").out, "it is not ours any more"


def test_a_file_of_a_deployment_that_was_cut_short_is_deleted_in_whichever_version_it_has(project):
    def change():
        (project.specs / "cats.yaml").write_text(SPEC.replace("dots", "cats").replace("40", "50"))
        project.gcs.strike(Rule(kind="status", status=403, operation="upload", name="cats.yaml", times=-1))
        assert project("deploy").code == 2
        project.gcs.strike()

    assert "deleted 1, " in with_and_without_cats(project, between=change).out
    assert "dags/datasets/cats.yaml" not in project.objects()


def test_what_somebody_changed_by_hand_is_put_right(project):
    project("deploy")
    project.write("dags/dataset_refresh.py")
    assert "uploaded 1, deleted 0, " in project("deploy").out


def test_a_rollback_puts_back_what_was_deployed_before(project):
    project("deploy")
    before = {key: project.read(key) for key in project.objects() if not key.startswith("data/")}
    (project.specs / "dots.yaml").write_text(SPEC.replace("40", "50"))
    (project.specs / "cats.yaml").write_text(SPEC.replace("dots", "cats"))
    project("deploy")
    ended = project("rollback")
    assert "uploaded 1, deleted 1, " in ended.out
    assert {key: project.read(key) for key in project.objects() if not key.startswith("data/")} == before
    first, second = project("status").out.splitlines()
    assert (first[0], second[0]) == ("*", " ")
    assert "uploaded 2, deleted 0, " in project("rollback").out, "a rollback of the rollback"


def test_there_is_nothing_to_go_back_to_at_first(project):
    project("deploy")
    ended = project("rollback")
    assert (ended.code, "no deployment to go back to" in ended.err) == (2, True)
    ended = project("rollback", "--to", "0123456789ab")
    assert (ended.code, "keeps no deployment '0123456789ab'; there are " in ended.err) == (2, True)


def test_a_deployment_that_was_cut_short_goes_on(project):
    project.gcs.strike(Rule(kind="status", status=403, operation="upload", name="^dags/dataset_refresh", times=-1))
    ended = project("deploy")
    assert (ended.code, "dags/dataset_refresh.py" in ended.err) == (2, True)
    assert "dags/imagemill/__init__.py" in project.objects(), "modules come before the file that imports them"
    project.gcs.strike()
    assert project("deploy").code == 0
    assert {"dags/dataset_refresh.py", "dags/datasets/dots.yaml"} <= project.objects()


def test_what_no_deployment_made_is_never_overwritten(project):
    project.write("dags/datasets/dots.yaml")
    ended = project("deploy")
    assert ended.code == 2
    assert f"{project.bucket}/dags/datasets/dots.yaml is there already" in ended.err
    assert "move it away first" in ended.err
    assert project.read("dags/datasets/dots.yaml") == b"somebody else's"


def test_two_deployers_at_once_do_not_mix(project):
    project("deploy")
    (project.specs / "dots.yaml").write_text(SPEC.replace("40", "50"))
    project.gcs.strike(Rule(kind="status", status=412, operation="upload", name="deployment.json"))
    ended = project("deploy")
    assert (ended.code, "somebody else wrote it first" in ended.err) == (2, True)
    assert b"50" not in project.read("dags/datasets/dots.yaml")


@pytest.mark.parametrize("changed", [False, True])
def test_a_deployer_is_told_of_another_who_deployed_meanwhile(project, tmp_path, monkeypatch, changed):
    layout, target = tmp_path / "layout", deployment.Target(project.bucket, settings=project.settings)
    layout.mkdir()
    (layout / "one.py").write_text("1")
    target.deploy(layout, by="ann")
    if changed:
        (layout / "one.py").write_text("2")

    def while_another_deploys(*arguments, **options):
        project.write(deployment.RECORD, project.read(deployment.RECORD) + b"\n")
        return sync(*arguments, **options)

    monkeypatch.setattr(deployment, "sync", while_another_deploys)
    with pytest.raises(CallerError, match=r"somebody else deployed to .* and the two may have mixed; deploy once more"):
        target.deploy(layout, by="ann")


def test_a_wrong_bucket(project):
    described(project.folder, "gs://no-such-bucket")
    ended = project("deploy")
    assert ended.code == 2
    assert "there is no bucket gs://no-such-bucket; create it, or check its spelling" in ended.err
    assert ended.err.count("\n") == 1


def test_no_permission_on_the_bucket(project):
    project.gcs.strike(Rule(kind="status", status=403, times=-1))
    ended = project("deploy")
    assert ended.code == 2
    assert f"(to write there, too: roles/storage.objectUser) on {project.bucket}" in ended.err
    assert ended.err.count("\n") == 1


def test_a_spec_that_this_version_does_not_know_is_not_deployed(project):
    (project.specs / "dots.yaml").write_text(SPEC + "hologram: true\n")
    ended = project("deploy")
    assert (ended.code, "There is no key `hologram`" in ended.err) == (2, True)
    assert project.objects() == set()


def test_specs_are_read_with_the_variables_of_the_environment(project):
    (project.specs / "dots.yaml").write_text(SPEC + "locations: {output: '${MY_ROOT}/dots'}\n")
    project.variables["MY_ROOT"] = "gs://only-here"
    ended = project("deploy")
    assert (ended.code, "The environment variable `MY_ROOT` is not set" in ended.err) == (2, True)
    assert "with the variables of the environment, not with yours" in ended.err
    del project.variables["MY_ROOT"]
    described(project.folder, project.bucket, envVariables={"MY_ROOT": "gs://there"})
    assert project("deploy").code == 0


def test_our_own_package_in_an_older_version_is_to_be_updated(project):
    described(project.folder, project.bucket, pypiPackages={"obstore": ">=0.11"})
    project.packages.write_text(project.packages.read_text() + "obstore==0.11.0\n")
    ended = project("deploy")
    assert ended.code == 0, ended.err
    assert "--update-pypi-package 'obstore>=0.12'\n" in ended.out


def test_a_package_that_somebody_asked_for_in_a_version_that_does_not_fit(project):
    described(project.folder, project.bucket, pypiPackages={"Apache_Beam": "[gcp]==2.60.0"})
    project.packages.write_text("apache-beam==2.60.0\n")
    ended = project("deploy")
    assert ended.code == 2
    assert "apache-beam 2.60.0 is installed as somebody asked, and imagemill wants" in ended.err
    assert "--update-pypi-package 'apache-beam[gcp]" in ended.err


def test_an_environment_that_does_not_fit_is_left_alone(project):
    described(project.folder, project.bucket, imageVersion="composer-3-airflow-3.1.7-build.0")
    project.packages.write_text("apache-beam==2.60.0\n")
    ended = project("deploy")
    assert ended.code == 2
    assert "it has Airflow 3.1.7, and imagemill wants <3.4,>=3.3.1" in ended.err
    assert "apache-beam 2.60.0 is preinstalled" in ended.err
    assert project.objects() == set()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        pytest.param("composer-3-airflow-3.3.1-build.0", "", id="the one this was made on"),
        pytest.param("composer-3-airflow-3.3.2-build.4", "", id="a newer build"),
        pytest.param("composer-2.9.7-airflow-2.9.3", "is not Composer 3", id="an older generation"),
        pytest.param("composer-3-airflow-3.4.0", "imagemill wants <3.4,>=3.3.1", id="a newer Airflow"),
        pytest.param("latest", "is not Composer 3", id="no version at all"),
    ],
)
def test_images(image, says):
    environment = read_environment(json.dumps(description("gs://b", imageVersion=image)), where="")
    found = list(problems(environment, DAY, required(), asked=[]))
    assert [says in each for each in found] == ([True] if says else [])


def test_an_environment_that_is_being_updated_has_to_be_waited_for():
    text = json.dumps(description("gs://b") | {"state": "UPDATING"})
    (found,) = problems(read_environment(text, where=""), None, required(), asked=[])
    assert "mill is UPDATING; wait until it is RUNNING" in found


@pytest.mark.parametrize("text", ["", "[]", '{"name": "mill"}', '{"name": "x", "config": {"softwareConfig": {}}}'])
def test_what_is_no_description_is_explained(text):
    with pytest.raises(CallerError, match="gcloud composer environments describe"):
        read_environment(text, where="file")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Package    Version\n---------- -------\nApache_Beam 2.75.0\n", id="columns"),
        pytest.param("apache-beam==2.75.0\n", id="freeze"),
        pytest.param("apache-beam==2.75.0 ; python_version > '3' \\\n    --hash=sha256:00\n", id="locked"),
        pytest.param('[{"name": "apache-beam", "version": "2.75.0"}]', id="JSON"),
    ],
)
def test_lists_of_packages(text):
    assert {name: str(version) for name, version in read_packages(text, where="").items()} == {"apache-beam": "2.75.0"}


def test_an_empty_list_of_packages_is_explained():
    with pytest.raises(CallerError, match="list-packages"):
        read_packages("nothing here", where="file")


def test_the_requirements_are_generated_and_hold_only_what_composer_lacks():
    assert REQUIREMENTS.read_text() == requirements_text()
    names = {each.name for each in read_requirements(REQUIREMENTS.read_text())}
    assert not names & DAY.keys()
    assert "tensorflow" not in names | DAY.keys()
    assert all(each.specifier for each in read_requirements(REQUIREMENTS.read_text()))


def test_what_an_environment_has_of_the_requirements_is_left_out():
    environment = read_environment(json.dumps(description("gs://b", pypiPackages={"a_b": ""})), where="")
    asked = [Requirement("a-b>=1"), Requirement("numpy>=1"), Requirement("c>=1")]
    assert [each.name for each in to_install(environment, DAY, asked)] == ["c"]


def test_without_gcloud_the_files_can_be_given(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.composer", "check", "--environment", "mill", "--location", "europe-west1"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, "give what it prints by --described and --packages" in ended.stderr) == (2, True)
