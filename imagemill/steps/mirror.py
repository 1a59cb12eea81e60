"""Makes a folder of staging mirror the tree, and leaves a receipt by which the next refresh sees that it still does."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from imagemill.progress import Progress
from imagemill.storage import is_local, open_store, parse
from imagemill.storage.stamps import Witness, folder_stamp
from imagemill.storage.sync import SyncSummary, sync


class Receipt(BaseModel):
    """That two folders held the same bytes while both had these stamps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    source_stamp: str
    destination: str
    destination_stamp: str
    objects: int


def mirror(source: str, destination: str, *, receipt: Path, progress: Progress) -> SyncSummary:
    """Makes `destination` hold what the folder `source` holds, and nothing else.

    Where both are folders of this machine and neither has changed since they were found equal, no byte is read. Where
    that cannot be known, every checksum is compared.

    Args:
        source: A folder.
        destination: Any store.
        receipt: A file to keep in mind that the two are equal.
        progress: Told of each object.
    """
    if not is_local(destination):
        return sync(open_store(source), open_store(destination), delete=True, progress=progress)
    before = folder_stamp(source)
    known = _read(receipt)
    if known and before == known.source_stamp and known == _receipt(source, before, destination, known.objects):
        progress.begin(f"sync to {destination}", total=known.objects, unit="objects")
        progress.advance(known.objects)
        progress.end()
        return SyncSummary(unchanged=known.objects)
    receipt.unlink(missing_ok=True)
    witness = Witness(open_store(destination))
    summary = sync(open_store(source), witness, delete=True, progress=progress)
    equal = _receipt(source, before, destination, summary.copied + summary.unchanged)
    # In this order: a change of either folder after it was read shows in one of the two.
    if equal and witness.holds() and folder_stamp(source) == before:
        _write(receipt, equal)
    return summary


def _receipt(source: str, source_stamp: str | None, destination: str, objects: int) -> Receipt | None:
    """Returns the receipt for the destination as it is now, None where nothing can be proved."""
    destination_stamp = folder_stamp(parse(destination).path)
    if source_stamp is None or destination_stamp is None:
        return None
    return Receipt(
        source=source,
        source_stamp=source_stamp,
        destination=destination,
        destination_stamp=destination_stamp,
        objects=objects,
    )


def _read(path: Path) -> Receipt | None:
    try:
        return Receipt.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, receipt: Receipt) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(receipt.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
