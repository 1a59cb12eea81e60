"""`imagemill sync` as people mistype it: one clear line and exit code 2; from a store that stays down, 3."""

import json
import os
from urllib.parse import quote

import httpx
import pytest

from tests.support.gcs.faults import Rule
from tests.support.gcs.server import client_environment, emulator


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), backend="memory", buckets=["mill", "other"]) as running:
        yield running


@pytest.fixture(scope="module")
def project(gcs, imagemill):
    """A folder of photos, which are in a bucket too, and a file."""
    photos = imagemill.project / "photos"
    (photos / "inner").mkdir(parents=True)
    for number in range(12):
        (photos / f"{number:02}.png").write_bytes(b"%d" % number)
    (imagemill.project / "file").touch()
    imagemill.variables |= client_environment(gcs.url) | {"IMAGEMILL_STORAGE_PAUSE_SECONDS": "0.01"}
    assert imagemill("sync", "photos", "gs://mill/here").code == 0
    return imagemill.variables.copy()


@pytest.fixture
def sync(gcs, imagemill, project):
    gcs.strike()
    imagemill.variables.clear()
    imagemill.variables |= project
    return lambda *arguments: imagemill("sync", *arguments)


@pytest.mark.parametrize(
    ("source", "destination", "says"),
    [
        ("photos", "ftp://mill/x", "unknown scheme 'ftp'; use gs://, s3://, az://, file:// or a path"),
        ("photos", "gs:/mill/x", "lacks a slash after its scheme; write 'gs://mill/x'"),
        ("photos", "gs://", "names no bucket; write gs://bucket/prefix"),
        ("photos", "gs://Bad_Bucket/x", "'Bad_Bucket' is no bucket name"),
        ("photos", "gs://nowhere/x", "there is no bucket gs://nowhere; create it, or check its spelling"),
        ("gs://nowhere/x", "down", "there is no bucket gs://nowhere; create it, or check its spelling"),
        ("photos", "gs://mill/here/01.png", "gs://mill/here/01.png is an object, where a prefix is wanted"),
        ("gs://mill/here/01.png", "down", "gs://mill/here/01.png is an object, where a prefix is wanted"),
        ("gs://mill/mispelt", "down", "gs://mill/mispelt holds no object; check its spelling"),
        ("missing", "gs://mill/x", "there is no such folder; create it or check the spelling"),
        ("file", "gs://mill/x", "file is a file, where a folder is wanted; name the folder that it is in"),
        ("gs://mill/here", "file", "file is a file, where a folder is wanted; name the folder that it is in"),
        ("photos", "photos/inner", "lie one within the other; give two places apart"),
        ("gs://mill/here", "gs://mill", "lie one within the other; give two places apart"),
        ("photos", "photos", "are one place; give two places apart"),
    ],
)
def test_a_mistake_is_one_clear_line(sync, source, destination, says):
    refused_in_one_line(sync(source, destination), says)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"status": 403, "reason": "forbidden"}, "it lacks the permission; grant it roles/storage."),
        ({"status": 401}, "the store does not know this account; sign in anew with `gcloud auth"),
        ({"status": 403, "reason": "quotaExceeded"}, "a quota of gs://mill or its project is used up; raise it"),
        ({"status": 400, "reason": "UserProjectMissing"}, "the requester pays here; set IMAGEMILL_GCS_USER_PROJECT"),
    ],
)
@pytest.mark.parametrize("operation", ["list", "upload"])
def test_a_refusal_names_the_place_the_account_and_the_way_out(gcs, sync, rule, says, operation):
    gcs.strike(Rule(kind="status", operation=operation, times=-1, **rule))
    ended = sync("photos", "gs://mill/refused")
    refused_in_one_line(ended, says)
    assert "gs://mill/refused" in ended.err
    assert "as an anonymous caller" in ended.err


@pytest.mark.parametrize(
    "said",
    [
        {"status": 400, "reason": "invalid", "message": "User project specified in the request is invalid."},
        {"status": 403, "reason": "UserProjectAccessDenied"},
        {
            "status": 403,
            "reason": "forbidden",
            "message": "mill@demo does not have serviceusage.services.use access to the Google Cloud project.",
        },
    ],
)
def test_a_wrong_project_is_named(gcs, sync, imagemill, said):
    imagemill.variables["IMAGEMILL_GCS_USER_PROJECT"] = "mispelt"
    gcs.strike(Rule(kind="status", times=-1, **said))
    refused_in_one_line(sync("photos", "gs://mill/x"), "the project 'mispelt' cannot pay; check IMAGEMILL_GCS_USER_")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "no Google credentials from this machine"),
        (
            {"IMAGEMILL_GCS_KEY_FILE": "gone.json"},
            "no Google credentials from gone.json: File gone.json was not found; run",
        ),
        ({"IMAGEMILL_GCS_ENDPOINT": "private"}, "IMAGEMILL_GCS_ENDPOINT is 'private'; give a URL such as https://"),
        ({"STORAGE_EMULATOR_HOST": "http://"}, "STORAGE_EMULATOR_HOST is 'http:'; give a URL such as https://"),
        ({"IMAGEMILL_STORAGE_PARALLEL": "some"}, "IMAGEMILL_STORAGE_PARALLEL is 'some'; give a whole number"),
    ],
)
def test_a_setting_that_leads_nowhere_is_named(sync, imagemill, variables, says):
    imagemill.variables |= {"STORAGE_EMULATOR_HOST": "", "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": "."}
    imagemill.variables |= {"GOOGLE_APPLICATION_CREDENTIALS": ""} | variables
    refused_in_one_line(sync("photos", "gs://mill/x"), says)


def test_a_store_that_stays_down_is_continued_later(gcs, sync, imagemill):
    imagemill.variables["IMAGEMILL_STORAGE_DEADLINE_SECONDS"] = "0.2"
    gcs.strike(Rule(kind="status", status=503, operation="upload", skip=5, times=-1))
    ended = sync("photos", "gs://mill/down")
    assert ended.code == 3
    assert "503 Service Unavailable" in ended.err
    assert ended.err.endswith("run it again, it continues\n")
    gcs.strike()
    rest = sync("photos", "gs://mill/down", "--json").json
    assert (rest["copied"], rest["unchanged"]) == (7, 5)


def test_for_machines_an_error_is_json_too(sync):
    ended = sync("photos", "gs://nowhere/x", "--json")
    assert ended.out == ""
    assert json.loads(ended.err)["error"]["family"] == "caller"


def test_a_dry_run_prints_a_plan_and_does_nothing(gcs, sync, imagemill):
    (imagemill.project / "photos" / "00.png").write_bytes(b"other")
    ended = sync("photos", "gs://mill/here", "--dry-run", "--delete", "--exclude", "1?.png")
    assert ended.out == "copy   00.png (5 bytes, size differs)\nwould copy 1 (5 B), deleted 0, unchanged 9\n"
    assert gcs.seen() == {"stat": 1, "list": 1}
    told = sync("photos", "gs://mill/here", "--dry-run", "--exclude", "1?.png", "--json").json
    assert told["dry_run"]
    assert told["actions"] == [{"action": "copy", "key": "00.png", "size": 5, "reason": "size differs"}]
    assert told["actions_left_out"] == 0


def test_a_dry_run_prints_no_name_that_a_terminal_obeys_or_cannot_show(sync, imagemill):
    (imagemill.project / "names").mkdir()
    (imagemill.project / "names" / "fine").touch()
    (imagemill.project / "odd").mkdir()
    for name in (b"\xff", b"\x1b[2J"):
        (imagemill.project / "odd" / os.fsdecode(name)).touch()
    ended = sync("names", "odd", "--dry-run", "--delete")
    assert (ended.code, ended.out.splitlines()[:3]) == (
        0,
        ["delete \\x1b[2J (0 bytes)", "copy   fine (0 bytes, new)", "delete \\udcff (0 bytes)"],
    )
    told = sync("names", "odd", "--dry-run", "--delete", "--json").json
    assert [action["key"] for action in told["actions"]] == ["\x1b[2J", "fine", "\\udcff"]


def test_objects_are_stored_with_the_headers_that_were_asked_for(gcs, sync):
    assert sync("photos", "gs://mill/cached", "--cache-control", "public, max-age=60").code == 0
    stored = httpx.get(f"{gcs.url}/storage/v1/b/mill/o/{quote('cached/00.png', safe='')}").json()
    assert (stored["contentType"], stored["cacheControl"]) == ("image/png", "public, max-age=60")


def refused_in_one_line(ended, says):
    assert ended.code == 2, ended.err
    assert says in ended.err
    assert ended.err.startswith("imagemill: ")
    assert ended.err.count("\n") == 1
