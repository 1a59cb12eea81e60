"""Faults sown into a real installation: the command finds each, and says what to do."""

import json
import threading
from contextlib import contextmanager
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.command import SPEC
from tests.support.doctor import BUCKET, IN_A_BUCKET, Doctor
from tests.support.gcs.faults import Rule
from tests.support.servers import LOOPBACK, free_ports


def test_a_sound_installation_has_no_fault_and_is_left_as_it_was(command, gcs):
    command.spec("dots", IN_A_BUCKET)
    doctor = Doctor(command)
    assert (doctor.ended.code, doctor.worst()) == (0, [])
    assert "gs://doctor-bucket/dots can be listed, written, read and deleted" in doctor.one("output dots", "good")
    assert "emulator" in doctor.one("emulator", "warning")
    assert command("sync", f"gs://{BUCKET}/dots", command.project / "copy").code == 2, "an object was left behind"
    assert not command.home.exists()


def test_read_only_writes_nothing(command, gcs):
    command.spec("dots", IN_A_BUCKET)
    gcs.strike()
    assert Doctor(command, "--read-only").ended.code == 0
    assert gcs.seen().keys().isdisjoint({"upload", "delete", "copy"})


def test_people_read_a_line_for_each_finding_and_its_way_out(command):
    command.spec("dots", SPEC)
    ended = command("doctor", "--no-airflow", "--free", "1e9")
    assert ended.code == 2
    assert "fault    disk: " in ended.out
    assert "\n         → free some space" in ended.out
    assert ended.out.endswith("1 faults, 0 warnings\n")


def test_a_package_in_a_wrong_version(command, tmp_path):
    metadata = tmp_path / "packages" / "obstore-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: obstore\nVersion: 0.1.0\n")
    command.spec("dots", SPEC)
    command.variables["PYTHONPATH"] = str(metadata.parent)
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert "obstore 0.1.0 is installed, and imagemill wants >=0.12 → pip install 'obstore" in doctor.one("packages")


def test_a_misspelled_variable(command):
    command.spec("dots", SPEC)
    command.variables["IMAGEMILL_STORAGE_PARALEL"] = "4"
    doctor = Doctor(command)
    assert doctor.ended.code == 0
    assert "did you mean IMAGEMILL_STORAGE_PARALLEL?" in doctor.one("variables", "warning")


def test_a_setting_that_is_no_number(command):
    command.spec("dots", SPEC)
    command.variables["IMAGEMILL_STORAGE_PARALLEL"] = "many"
    ended = command("doctor")
    assert (ended.code, ended.err) == (
        2,
        "imagemill: IMAGEMILL_STORAGE_PARALLEL is 'many'; give a whole number\n",
    )


def test_a_home_that_is_a_file(command):
    command.spec("dots", SPEC)
    (command.project / "file").write_text("")
    command.variables["IMAGEMILL_HOME"] = str(command.project / "file" / "home")
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert "file is a file" in doctor.one("home")
    assert "IMAGEMILL_HOME" in doctor.one("home")


def test_too_little_space(command):
    command.spec("dots", SPEC)
    doctor = Doctor(command, "--free", "1000000000")
    assert doctor.ended.code == 2
    assert "→ free some space, or set IMAGEMILL_HOME to a larger disk" in doctor.one("disk")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("hologram: {depth: 3}\n", "There is no key `hologram`", id="a key"),
        pytest.param("approval: quorum\n", "`quorum` is none of the choices", id="a value"),
    ],
)
def test_a_spec_that_this_version_does_not_know(command, text, says):
    command.spec("dots", SPEC + text)
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert says in doctor.one("spec dots")
    assert "where the spec was written for a newer imagemill, upgrade the installation" in doctor.one("spec dots")


def test_a_spec_with_a_plain_mistake_is_not_blamed_on_the_version(command):
    command.spec("dots", SPEC + "retention: {keep: many}\n")
    assert "newer" not in Doctor(command).one("spec dots")


def test_a_source_that_is_not_there(command):
    command.spec("cats", "name: cats\nsource: {type: folder, root: /nowhere/cats}\nsplits: {fractions: {train: 1.0}}\n")
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert "/nowhere/cats is not there → check its spelling in the spec" in doctor.one("source cats")


def test_a_wrong_bucket(command):
    command.spec("dots", IN_A_BUCKET.replace(BUCKET, "no-such-bucket"))
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    for check in ("staging dots", "output dots"):
        assert "there is no bucket gs://no-such-bucket; create it, or check its spelling" in doctor.one(check)


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        pytest.param("list", "cannot list gs://doctor-bucket", id="list"),
        pytest.param("upload", "it lacks the permission; grant it roles/storage.objectUser", id="write"),
        pytest.param("delete", "it lacks the permission; grant it roles/storage.objectUser", id="delete"),
    ],
)
def test_no_permission_on_the_bucket(command, gcs, operation, says):
    command.spec("dots", IN_A_BUCKET)
    gcs.strike(Rule(kind="status", status=403, operation=operation, times=-1))
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert says in doctor.one("output dots")
    assert "gs://doctor-bucket" in doctor.one("output dots")


def test_a_store_that_is_overloaded(command, gcs):
    command.spec("dots", IN_A_BUCKET)
    command.variables["IMAGEMILL_STORAGE_DEADLINE_SECONDS"] = "1"
    gcs.strike(Rule(kind="status", status=503, operation="list", times=-1))
    doctor = Doctor(command)
    assert doctor.ended.code == 3
    assert "run it again" in doctor.one("output dots")


def test_an_emulator_that_does_not_answer(command):
    command.spec("dots", IN_A_BUCKET)
    command.variables["STORAGE_EMULATOR_HOST"] = f"http://{LOOPBACK}:{free_ports(1)[0]}"
    doctor = Doctor(command)
    assert doctor.ended.code == 3
    assert "start the emulator (`make emulator`), or unset STORAGE_EMULATOR_HOST" in doctor.one("emulator")
    assert "out of reach" in doctor.one("output dots", "skipped")


def test_no_credentials(command, tmp_path):
    command.spec("dots", IN_A_BUCKET)
    with service_at(format_datetime(_now(), usegmt=True)) as url:
        command.variables = {
            "IMAGEMILL_GCS_ENDPOINT": url,
            "STORAGE_EMULATOR_HOST": "",
            "IMAGEMILL_GCS_KEY_FILE": str(tmp_path / "no-key.json"),
        }
        doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert "no Google credentials from" in doctor.one("output dots")
    assert "gcloud auth application-default login" in doctor.one("output dots")


def test_a_clock_that_is_wrong(command):
    command.spec("dots", IN_A_BUCKET)
    with service_at("Thu, 01 Jan 2026 00:00:00 GMT") as url:
        command.variables["STORAGE_EMULATOR_HOST"] = url
        doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert "s ahead of the store's → let NTP set it (`timedatectl set-ntp true`)" in doctor.one("clock")


def test_a_pointer_that_cannot_be_read(command):
    command.spec("dots", SPEC)
    output = command.home / "datasets" / "dots"
    output.mkdir(parents=True)
    (output / "CURRENT").write_text("the newest one")
    doctor = Doctor(command)
    assert doctor.ended.code == 1
    assert "CURRENT is not a readable pointer" in doctor.one("published dots")
    assert "`imagemill rollback dots`" in doctor.one("published dots")


def test_a_published_version_that_is_gone(command):
    command.spec("dots", SPEC)
    output = command.home / "datasets" / "dots"
    output.mkdir(parents=True)
    pointer = {"version": "20260101T000000Z-0123abcd", "manifest_sha256": "0" * 64}
    (output / "CURRENT").write_text(json.dumps(pointer))
    doctor = Doctor(command)
    assert doctor.ended.code == 1
    assert "manifest.json is gone" in doctor.one("published dots")


def test_an_unknown_dataset_is_the_callers_mistake(command):
    command.spec("dots", SPEC)
    ended = command("doctor", "dotz")
    assert (ended.code, "there are dots" in ended.err) == (2, True)


def _now():
    from datetime import UTC, datetime

    return datetime.now(UTC)


@contextmanager
def service_at(date):
    """Serves nothing, and says what time it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response_only(404)
            self.send_header("Date", date)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
