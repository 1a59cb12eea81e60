"""The checks that only judge, as tables."""

import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from imagemill.doctor.finding import exit_code, fault, good, warning
from imagemill.doctor.jobs import judge_wheel
from imagemill.doctor.machine import GIB, check_variables, judge_clock, judge_disk
from imagemill.doctor.packages import check_packages, check_python

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "verdict", "says"),
    [
        pytest.param(0, "good", "0 s", id="equal"),
        pytest.param(-29, "good", "29 s behind", id="a little behind"),
        pytest.param(31, "warning", "31 s ahead of", id="half a minute ahead"),
        pytest.param(-299, "warning", "299 s behind", id="almost five minutes behind"),
        pytest.param(301, "fault", "301 s ahead of", id="too far for a sign-in"),
    ],
)
def test_clocks(seconds, verdict, says):
    finding = judge_clock(NOW + timedelta(seconds=seconds), NOW)
    assert (finding.verdict, says in finding.says) == (verdict, True)
    assert ("timedatectl" in finding.advice) == (verdict != "good")


def test_a_service_without_a_clock_is_no_fault():
    assert judge_clock(NOW, None).verdict == "warning"


@pytest.mark.parametrize(("free", "verdict"), [(GIB - 1, "fault"), (GIB, "good")])
def test_free_space(tmp_path, free, verdict):
    finding = judge_disk(free, folder=tmp_path, needed=GIB, why="a reason")
    assert finding.verdict == verdict
    assert str(tmp_path) in finding.says
    assert "a reason" in finding.says


REQUIREMENTS = [
    "obstore>=0.12",
    'apache-airflow<3.4,>=3.3.1; extra == "airflow"',
    'apache-airflow-providers-smtp>=3; extra == "airflow"',
    'pytest>=8; extra == "dev"',
]


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        pytest.param({"obstore": "0.12.1"}, [], id="the core alone"),
        pytest.param({}, ["obstore is not installed"], id="a package is missing"),
        pytest.param({"obstore": "0.11"}, ["obstore 0.11 is installed, and imagemill wants >=0.12"], id="too old"),
        pytest.param(
            {"obstore": "0.12", "apache-airflow": "3.3.1+composer"},
            ["apache-airflow-providers-smtp is not installed"],
            id="an extra that is there must be whole",
        ),
        pytest.param(
            {"obstore": "0.12", "apache-airflow": "3.4.0", "apache-airflow-providers-smtp": "3.1"},
            ["apache-airflow 3.4.0"],
            id="too new",
        ),
        pytest.param({"obstore": "0.13.0rc1"}, [], id="a release candidate in range"),
    ],
)
def test_versions(installed, says):
    faults = [finding for finding in check_packages(REQUIREMENTS, installed.get) if finding.verdict == "fault"]
    assert len(faults) == len(says)
    for finding, text in zip(faults, says, strict=True):
        assert text in finding.says
        assert finding.advice.startswith("pip install '")


def test_another_python_is_a_fault():
    assert [finding.verdict for finding in check_python((3, 12, 1))] == ["fault"]
    assert [finding.verdict for finding in check_python((3, 11, 0))] == ["good"]


def test_variables_that_a_spec_uses_are_known(tmp_path):
    spec = tmp_path / "cats.yaml"
    spec.write_text("root: ${IMAGEMILL_CATS:-x}")
    environment = {"IMAGEMILL_CATS": "1", "IMAGEMILL_HOME": "/x", "IMAGEMILL_HOMES": "/y", "IMAGEMILL_UI_PORT": "8"}
    (finding,) = check_variables(environment, [spec])
    assert finding.verdict == "warning"
    assert "IMAGEMILL_HOMES is set" in finding.says
    assert "did you mean IMAGEMILL_HOME?" in finding.advice


def wheel(folder, *, version="0.0.1", parts=("imagemill/__init__.py", "beam_jobs/__init__.py")):
    path = folder / f"imagemill-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for part in parts:
            archive.writestr(part, "")
    return str(path)


def test_the_wheel_of_another_version_is_a_fault(tmp_path):
    finding = judge_wheel("workers x", wheel(tmp_path))
    assert finding.verdict == "fault"
    assert "is imagemill 0.0.1, and this is" in finding.says
    assert "python -m imagemill.worker_wheel" in finding.advice


def test_another_projects_wheel_is_a_fault(tmp_path):
    finding = judge_wheel("workers x", wheel(tmp_path, parts=("imagemill/__init__.py",)))
    assert "lacks beam_jobs/__init__.py" in finding.says


def test_what_is_no_wheel_is_a_fault(tmp_path):
    (tmp_path / "x.whl").write_text("no archive")
    assert "cannot be read as a wheel" in judge_wheel("workers x", str(tmp_path / "x.whl")).says


@pytest.mark.parametrize(
    ("families", "code"),
    [
        pytest.param([], 0, id="none"),
        pytest.param(["temporary"], 3, id="something does not answer"),
        pytest.param(["temporary", "data"], 1, id="damaged data weighs more"),
        pytest.param(["data", "caller", "temporary"], 2, id="what a person must change weighs most"),
    ],
)
def test_exit_codes(families, code):
    findings = [good("a", "x"), warning("b", "y", "z"), *(fault("c", "x", "y", family=each) for each in families)]
    assert exit_code(findings) == code
