"""Makes what the stack must keep secret, on its first start: each secret is a file, written once and kept.

Files belong to the stack's user; the database's password can also be read by the database's group.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

FOLDER = Path("/run/imagemill")
DATABASE_PASSWORD = "database-password"  # noqa: S105  (a file's name)
DATABASE_URL = "postgresql+psycopg2://airflow:{password}@postgres:5432/airflow"
LOGINS = "logins.json"

OWNER_ONLY, WITH_GROUP = 0o600, 0o640


def fernet_key() -> str:
    """Returns a key with which Airflow encrypts connections and variables (32 bytes, URL-safe Base64)."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


MAKERS: dict[str, tuple[int, Callable[[], str]]] = {
    DATABASE_PASSWORD: (WITH_GROUP, secrets.token_urlsafe),
    "fernet-key": (OWNER_ONLY, fernet_key),
    "jwt-secret": (OWNER_ONLY, lambda: secrets.token_urlsafe(64)),
    "api-secret-key": (OWNER_ONLY, secrets.token_urlsafe),
}


def make_all(folder: Path, users: str) -> list[str]:
    """Makes what is missing, and returns its names.

    Args:
        folder: Where secrets are kept.
        users: People with a login as Airflow writes them, `name:role,name:role`.
    """
    made = [name for name, (mode, make) in MAKERS.items() if write_once(folder / name, make, mode)]
    url = DATABASE_URL.format(password=(folder / DATABASE_PASSWORD).read_text())
    write(folder / "database-url", url, OWNER_ONLY)
    return made + make_logins(folder / LOGINS, [user.partition(":")[0].strip() for user in users.split(",")])


def make_logins(file: Path, names: list[str]) -> list[str]:
    """Gives each person without a password one, and takes away those of people who are no longer named."""
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    wanted = {name: known.get(name) or secrets.token_urlsafe(12) for name in names}
    if wanted != known:
        write(file, json.dumps(wanted) + "\n", OWNER_ONLY)
    return [f"login of {name}" for name in wanted if name not in known]


def write_once(file: Path, make: Callable[[], str], mode: int) -> bool:
    """Writes a file unless it is there; tells whether it did."""
    if file.exists():
        return False
    write(file, make(), mode)
    return True


def write(file: Path, text: str, mode: int) -> None:
    """Writes a file whole or not at all, readable by nobody else at any moment."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.touch(mode=mode)
    unfinished.write_text(text)
    unfinished.replace(file)


def main() -> int:
    os.umask(0o027)
    made = make_all(FOLDER, os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"])
    print(f"made {', '.join(made)}" if made else "all secrets are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
