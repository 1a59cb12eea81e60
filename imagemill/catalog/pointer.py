"""`CURRENT`, the pointer object that names the published version, and the one way to move it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.catalog.history import ENTRY_PATTERN
from imagemill.errors import UnusableData
from imagemill.storage.store import ABSENT, MissingObject, PreconditionFailed, Store
from imagemill.version.ids import VERSION_PATTERN

CURRENT = "CURRENT"
"""Name of the pointer object."""


class Pointer(BaseModel):
    """The content of `CURRENT`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(pattern=f"^{VERSION_PATTERN}$")
    manifest_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    entry: str = Field("", pattern=ENTRY_PATTERN, description="name of the history's entry that tells of this move")


class PointerObject:
    """`CURRENT` under one dataset's output folder.

    Args:
        store: That folder.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.uri = f"{store.uri.rstrip('/')}/{CURRENT}"

    def generation(self) -> str:
        """Returns what a later `move` is conditional on; read it before anything is decided."""
        info = self._store.stat(CURRENT)
        return ABSENT if info is None or info.generation is None else info.generation

    def read(self) -> Pointer | None:
        """Returns the pointer, None where nothing was ever published.

        Raises:
            UnusableData: It is no pointer.
        """
        try:
            data = self._store.read(CURRENT)
        except MissingObject:
            return None
        try:
            return Pointer.model_validate_json(data)
        except ValidationError as error:
            raise UnusableData(
                f"{self.uri} is not a readable pointer ({data[:60]!r}); "
                "roll back to an intact version, or have the refresh make a new one with --force and publish it"
            ) from error

    def read_if_sound(self) -> Pointer | None:
        """Returns the pointer; None also where it is unreadable, so that publishing repairs it."""
        try:
            return self.read()
        except UnusableData:
            return None

    def move(self, pointer: Pointer, generation: str) -> None:
        """Writes the pointer if nobody has since `generation`.

        Raises:
            PreconditionFailed: Somebody has.
        """
        try:
            self._store.write(CURRENT, pointer.model_dump_json().encode() + b"\n", if_generation=generation)
        except PreconditionFailed as error:
            now = self.read_if_sound()
            raise PreconditionFailed(
                f"{self.uri} was moved by somebody else meanwhile (it names {now.version if now else None} now); "
                "look at the versions, and repeat if that is still what you want"
            ) from error
