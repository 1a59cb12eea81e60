"""Signs tasks in to Google as an Airflow connection says, by the variables that imagemill and Google's libraries read.

Variables rather than objects: a conversion is a process of its own, and starts more of them. Where the connection says
nothing, they stay as the worker has them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from imagemill.errors import CallerError

CONNECTION_VARIABLE = "IMAGEMILL_GCP_CONN_ID"
"""Names the connection; an empty one switches connections off."""

DEFAULT_CONNECTION = "google_cloud_default"
"""Airflow's own default; nobody need have made it."""

_PREFIX = "extra__google_cloud_platform__"  # in connections made before the provider's version 8
_KEY_FILES = ("GOOGLE_APPLICATION_CREDENTIALS", "IMAGEMILL_GCS_KEY_FILE")  # Google's libraries read the first
_SOURCES = ("key_path", "keyfile_dict", "credential_config_file", "is_anonymous")
_UNUSABLE = ("key_secret_name", "idp_issuer_url")


def connection_id() -> str:
    """Returns the id of the connection that tasks use."""
    return os.environ.get(CONNECTION_VARIABLE, DEFAULT_CONNECTION)


@contextmanager
def google_connection(find: Callable[[str], Any] | None = None) -> Iterator[None]:
    """Signs this process in, and the processes that it starts meanwhile; also a decorator.

    Args:
        find: Finds a connection by its id; by default as a task does.

    Raises:
        CallerError: The named connection does not exist, or signs in by what a process of its own cannot use.
    """
    with ExitStack() as files:
        variables = _variables(_Fields(connection_id(), find), files)
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                _restore(name, value)


def impersonation() -> dict[str, str]:
    """Returns the option by which a job on Dataflow is launched as another account, where one is set."""
    chain = os.environ.get("IMAGEMILL_GCS_IMPERSONATE")
    return {"impersonate_service_account": chain} if chain else {}


class _Fields:
    """What a connection holds."""

    def __init__(self, conn_id: str, find: Callable[[str], Any] | None) -> None:
        self.conn_id = conn_id
        self._extras = _extras(conn_id, find)

    def get(self, name: str) -> Any:
        """Returns a field; None where it is not there or empty."""
        return self._extras.get(name) or self._extras.get(_PREFIX + name) or None

    def text(self, name: str) -> str:
        """Returns a field that is text, or a list of texts as Airflow joins them."""
        value = self.get(name) or ""
        return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    def json(self, name: str) -> dict[str, Any]:
        """Returns a field that is an object, or the text of one.

        Raises:
            CallerError: It is neither.
        """
        value = self.get(name)
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if not isinstance(found, dict):  # what it holds may be half a key: no message shows it
            raise CallerError(f"{name} of the Airflow connection {self.conn_id!r} is not a JSON object; paste it anew")
        return found


def _extras(conn_id: str, find: Callable[[str], Any] | None) -> Mapping[str, Any]:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    if not conn_id:
        return {}
    try:
        found = (find or Connection.get)(conn_id)
    except AirflowNotFoundException:
        if CONNECTION_VARIABLE not in os.environ:
            return {}
        raise CallerError(
            f"there is no Airflow connection {conn_id!r}; create it, or name another one by {CONNECTION_VARIABLE}"
        ) from None
    return dict(found.extra_dejson)


def _variables(fields: _Fields, files: ExitStack) -> dict[str, str]:
    if unusable := [name for name in _UNUSABLE if fields.get(name)]:
        raise CallerError(
            f"the Airflow connection {fields.conn_id!r} signs in by {unusable[0]}, which a conversion's processes "
            "cannot; give it key_path, keyfile_dict or credential_config_file, or let workers use their own account"
        )
    sources = [name for name in _SOURCES if fields.get(name)]
    if len(sources) > 1:
        raise CallerError(f"the Airflow connection {fields.conn_id!r} has {' and '.join(sources)}; keep one of them")
    source = _source(fields, sources[0], files) if sources else {}
    others = {
        "IMAGEMILL_GCS_IMPERSONATE": fields.text("impersonation_chain"),
        "IMAGEMILL_GCS_USER_PROJECT": fields.text("quota_project_id"),
        "GOOGLE_CLOUD_PROJECT": fields.text("project"),
    }
    return source | {name: value for name, value in others.items() if value}


def _source(fields: _Fields, name: str, files: ExitStack) -> dict[str, str]:
    """Returns the variables for the one field that says how to sign in."""
    if name == "is_anonymous":
        return {"IMAGEMILL_GCS_ANONYMOUS": "1"}
    path = fields.text(name)
    if name != "key_path" and path.lstrip().startswith("{"):
        content = fields.json(name)
        if isinstance(key := content.get("private_key"), str):
            content = content | {"private_key": key.replace("\\n", "\n")}  # as Airflow's own hook mends it
        path = files.enter_context(_private_file(json.dumps(content)))
    return dict.fromkeys(_KEY_FILES, path) | {"IMAGEMILL_GCS_ANONYMOUS": "0"}


@contextmanager
def _private_file(content: str) -> Iterator[str]:
    # mkstemp's files are readable by their owner alone.
    with tempfile.NamedTemporaryFile("w", prefix="imagemill-", suffix=".json") as file:
        file.write(content)
        file.flush()
        yield file.name


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
