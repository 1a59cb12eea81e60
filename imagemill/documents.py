"""Versioned JSON documents (manifest, plan, report): a newer one is refused, a damaged one is named."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from imagemill.errors import CallerError, UnusableData

Document = TypeVar("Document", bound=BaseModel)


def parse_document(
    model: type[Document], data: bytes, *, where: str, what: str, newest: int, version_field: str = "schema_version"
) -> Document:
    """Reads a document.

    Args:
        model: What it must be.
        data: The object's bytes.
        where: Its URI, for the message.
        what: What to call it there.
        newest: Latest version of its layout that this imagemill reads.
        version_field: Field that holds its version.

    Raises:
        CallerError: It was written by a newer imagemill.
        UnusableData: It is something else, or damaged.
    """
    try:
        version = TypeAdapter(dict[str, object]).validate_json(data).get(version_field)
        if isinstance(version, int) and version > newest:
            raise CallerError(
                f"{where}: {what} version {version} is newer than this imagemill reads ({newest}); "
                "upgrade imagemill to open it"
            )
        return model.model_validate_json(data)
    except ValidationError as error:
        raise UnusableData(f"{where}: not a readable {what} ({error.error_count()} faults): {error}") from error
