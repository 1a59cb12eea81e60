"""Versioned JSON documents (manifest, plan, report): a newer one is refused, a damaged one is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from imagemill.errors import CallerError, UnusableData

Document = TypeVar("Document", bound=BaseModel)


def parse_document(model: type[Document], data: bytes, *, where: str, what: str, newest: Mapping[str, int]) -> Document:
    """Reads a document.

    Args:
        model: What it must be.
        data: The object's bytes.
        where: Its URI, for the message.
        what: What to call it there.
        newest: Latest versions that this imagemill reads, by the field that holds them.

    Raises:
        CallerError: It was written by a newer imagemill.
        UnusableData: It is something else, or damaged.
    """
    try:
        content = TypeAdapter(dict[str, object]).validate_json(data)
        for field, known in newest.items():
            version = content.get(field)
            if isinstance(version, int) and version > known:
                raise CallerError(
                    f"{where}: the {what}'s {field} {version} is newer than this imagemill reads ({known}); "
                    "upgrade imagemill to open it"
                )
        return model.model_validate_json(data)
    except ValidationError as error:
        raise UnusableData(f"{where}: not a readable {what} ({error.error_count()} faults): {error}") from error
