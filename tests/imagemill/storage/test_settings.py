import pytest

from imagemill.errors import CallerError
from imagemill.storage.settings import GOOGLE_ENDPOINT, ObjectStoreSettings


def test_without_variables_the_defaults_hold():
    assert ObjectStoreSettings.from_environment({}) == ObjectStoreSettings()
    assert ObjectStoreSettings().gcs_endpoint == GOOGLE_ENDPOINT


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("IMAGEMILL_STORAGE_DEADLINE_SECONDS", "1.5", "storage_deadline_seconds", 1.5),
        ("IMAGEMILL_STORAGE_PAUSE_SECONDS", "2", "storage_pause_seconds", 2.0),
        ("IMAGEMILL_STORAGE_ATTEMPT_SECONDS", "9", "storage_attempt_seconds", 9.0),
        ("IMAGEMILL_STORAGE_PARALLEL", "64", "storage_parallel", 64),
        ("IMAGEMILL_STORAGE_CACHE_CONTROL", "no-store", "storage_cache_control", "no-store"),
        ("IMAGEMILL_GCS_ENDPOINT", "https://private.example/", "gcs_endpoint", "https://private.example"),
        ("IMAGEMILL_GCS_USER_PROJECT", "payer", "gcs_user_project", "payer"),
        ("IMAGEMILL_GCS_IMPERSONATE", "a@x, b@x", "gcs_impersonate", ("a@x", "b@x")),
        ("IMAGEMILL_GCS_ANONYMOUS", "1", "gcs_anonymous", True),
        ("IMAGEMILL_GCS_ANONYMOUS", "no", "gcs_anonymous", False),
        ("IMAGEMILL_GCS_KEY_FILE", "key.json", "gcs_key_file", "key.json"),
    ],
)
def test_each_setting_has_a_variable(variable, text, field, value):
    assert getattr(ObjectStoreSettings.from_environment({variable: text}), field) == value


@pytest.mark.parametrize(("host", "url"), [("localhost:4443", "http://localhost:4443"), ("http://x:1/", "http://x:1")])
def test_the_emulators_variable_wins(host, url):
    found = ObjectStoreSettings.from_environment(
        {"STORAGE_EMULATOR_HOST": host, "IMAGEMILL_GCS_ENDPOINT": "https://elsewhere"}
    )
    assert (found.gcs_endpoint, found.gcs_emulator) == (url, True)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("IMAGEMILL_STORAGE_PARALLEL", "many", "IMAGEMILL_STORAGE_PARALLEL is 'many'; give a whole number"),
        ("IMAGEMILL_STORAGE_PARALLEL", "0", "IMAGEMILL_STORAGE_PARALLEL is 0; give a number above 0"),
        ("IMAGEMILL_STORAGE_DEADLINE_SECONDS", "-1", "is -1.0; give a number above 0"),
        ("IMAGEMILL_STORAGE_DEADLINE_SECONDS", "soon", "is 'soon'; give a number"),
        ("IMAGEMILL_GCS_ENDPOINT", "private.example", "IMAGEMILL_GCS_ENDPOINT is 'private.example'; give a URL"),
        ("STORAGE_EMULATOR_HOST", "ftp://x", "STORAGE_EMULATOR_HOST is 'ftp://x'; give a URL"),
        ("IMAGEMILL_GCS_ANONYMOUS", "perhaps", "IMAGEMILL_GCS_ANONYMOUS is 'perhaps'; give 1 or 0"),
    ],
)
def test_what_makes_no_sense_is_the_callers_mistake(variable, text, message):
    with pytest.raises(CallerError, match=message):
        ObjectStoreSettings.from_environment({variable: text})
