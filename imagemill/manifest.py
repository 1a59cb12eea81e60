"""The manifest: what a version contains, down to each shard's checksum. Written last, it makes a version whole."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from imagemill.documents import parse_document

SCHEMA_VERSION = 1
"""Version of the manifest's own layout; a reader refuses a newer one."""

FORMAT_VERSION = 1
"""Version of every byte a conversion writes. A change of bytes needs a new one; it is part of the fingerprint, and a
reader refuses a newer one."""

MANIFEST = "manifest.json"


RecordCount = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Records of one shard: a position in it has 32 bits."""

RowCount = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""Rows of all shards: JSON's numbers are exact up to here in every language."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class FileEntry(_Frozen):
    """One object of a version."""

    name: str
    bytes: int = Field(ge=0)
    crc32c: str = Field(pattern="^[0-9a-f]{8}$", description="Castagnoli checksum of the object, hexadecimal")


class ShardEntry(FileEntry):
    """One TFRecord shard and its index."""

    split: str
    records: RecordCount
    labels: dict[int, RecordCount] = Field(description="records by label id")
    index: FileEntry


class Account(_Frozen):
    """Where the input rows of one split and label went: rows = records + rejected + duplicates.

    Each number is counted where it happens (rows when read, records when written), so that the identity can fail.
    """

    split: str
    label: str
    rows: RowCount
    records: RowCount
    rejected: RowCount
    duplicates: RowCount

    @property
    def balanced(self) -> bool:
        return self.rows == self.records + self.rejected + self.duplicates


class Manifest(_Frozen):
    """What one version contains. Nothing of time, host, path or runner stands here: same input, same bytes."""

    schema_version: int = SCHEMA_VERSION
    format_version: int = FORMAT_VERSION
    dataset: str
    fingerprint: str = Field(
        pattern="^[0-9a-f]+$", description="digest of everything that determines the version's bytes, hexadecimal"
    )
    labels: list[str] = Field(description="label names; the position is the id")
    accounts: list[Account] = Field(description="sorted by split, then label")
    reject_reasons: dict[str, int] = Field(description="rejected rows by reason")
    shards: list[ShardEntry] = Field(description="sorted by name")
    files: list[FileEntry] = Field(description="the other objects that belong to the version, sorted by name")

    def to_json(self) -> bytes:
        """Returns the canonical bytes: two equal manifests are one digest."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    @property
    def entries(self) -> list[FileEntry]:
        """Every object of the version: shards, their indexes, other files."""
        return [*self.shards, *(shard.index for shard in self.shards), *self.files]

    @property
    def rows(self) -> int:
        return sum(account.rows for account in self.accounts)

    @property
    def records(self) -> int:
        return sum(account.records for account in self.accounts)

    @property
    def rejected(self) -> int:
        return sum(account.rejected for account in self.accounts)

    @property
    def duplicates(self) -> int:
        return sum(account.duplicates for account in self.accounts)


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """Reads a manifest; `where` is its URI, for messages. `parse_document` tells what is refused."""
    newest = {"schema_version": SCHEMA_VERSION, "format_version": FORMAT_VERSION}
    return parse_document(Manifest, data, where=where, what="manifest", newest=newest)


def manifest_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of `manifest.json`, for readers in other languages."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(mode="serialization"),
    }
