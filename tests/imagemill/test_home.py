from pathlib import Path

import pytest

from imagemill.errors import CallerError
from imagemill.home import home, specs_dir

CHECKOUT = Path(__file__).parents[2]


def test_the_environment_names_the_specs(tmp_path):
    assert specs_dir(environment={"IMAGEMILL_SPECS": str(tmp_path)}) == tmp_path


def test_specs_that_are_no_folder_are_refused_by_name(tmp_path):
    with pytest.raises(CallerError, match=r"IMAGEMILL_SPECS names .*/absent, which is not a folder"):
        specs_dir(environment={"IMAGEMILL_SPECS": str(tmp_path / "absent")})


def test_specs_are_found_upward_and_the_nearest_win(tmp_path):
    outer, inner = tmp_path / "dags/datasets", tmp_path / "project/dags/datasets"
    outer.mkdir(parents=True)
    inner.mkdir(parents=True)
    deep = tmp_path / "project/some/where"
    deep.mkdir(parents=True)
    assert specs_dir(environment={}, start=deep) == inner
    assert specs_dir(environment={}, start=tmp_path) == outer


def test_elsewhere_the_checkout_has_them(tmp_path):
    assert specs_dir(environment={}, start=tmp_path) == CHECKOUT / "dags/datasets"


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        pytest.param("/p/dags/datasets", "/p/.imagemill", id="the project holds dags/"),
        pytest.param("/p/dags/team/datasets", "/p/.imagemill", id="specs deeper in dags/"),
        pytest.param("/etc/specs", "/etc/specs/.imagemill", id="no dags/ at all"),
    ],
)
def test_home_is_in_the_project(specs, expected):
    assert home(Path(specs), environment={}) == Path(expected)


def test_home_from_the_environment_is_absolute():
    assert home(Path("/p/dags/datasets"), environment={"IMAGEMILL_HOME": "here"}) == Path.cwd() / "here"


def test_looking_creates_nothing(tmp_path):
    specs = tmp_path / "dags/datasets"
    specs.mkdir(parents=True)
    home(specs_dir(environment={}, start=tmp_path), environment={})
    assert [path.name for path in tmp_path.iterdir()] == ["dags"]
