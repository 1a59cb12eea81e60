"""What validation has seen of a version. Checks judge it; they read nothing themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagemill.diff.model import VersionDiff
from imagemill.manifest import Manifest, ShardEntry
from imagemill.plan import ConversionPlan
from imagemill.quality.report import Place, RejectExample
from imagemill.spec.validation import Validation
from imagemill.storage.store import ObjectInfo
from imagemill.version.facts import Facts

PLACES_KEPT = 10
"""Faults of one check that are told in full; the others are counted."""

EXAMPLES_KEPT = 5
"""Rejected rows told for each reason."""


def printable(text: str) -> str:
    """Returns text that UTF-8 can hold; what stands for bytes that were no text shows as an escape."""
    return text.encode(errors="backslashreplace").decode()


@dataclass(slots=True)
class Faults:
    """The first few faults, and how many there are: bounded, whatever the damage."""

    places: list[Place] = field(default_factory=list)
    count: int = 0

    def add(self, object_name: str, detail: str, *, offset: int | None = None, key: str = "") -> None:
        self.count += 1
        if len(self.places) < PLACES_KEPT:
            name, key, detail = map(printable, (object_name, key, detail))
            self.places.append(Place(object=name, offset=offset, key=key, detail=detail))

    def extend(self, others: Faults) -> None:
        self.count += others.count
        self.places.extend(others.places[: PLACES_KEPT - len(self.places)])

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """One row of a shard's index.

    Attributes:
        shard: Name of the shard.
        split: Its split.
        key: The record's filename.
        label: Its label id.
        offset: Where its frame starts in the (uncompressed) shard.
        length: Bytes of the frame, framing included.
        source_sha256: Digest of the image it was made of, hexadecimal.
    """

    shard: str
    split: str
    key: str
    label: int
    offset: int
    length: int
    source_sha256: str


@dataclass(slots=True)
class ShardFacts:
    """What was seen of one shard and its index; None stands for "not looked at".

    Attributes:
        entry: What the manifest says.
        scanned: Records whose framing holds, over the whole shard.
        framing: Framing faults.
        indexed: Rows of the index.
        indexed_labels: Rows of the index by label id.
        index: Faults of the index, by itself or against the shard.
        drawn: The sampled records.
    """

    entry: ShardEntry
    scanned: int | None = None
    framing: Faults = field(default_factory=Faults)
    indexed: int | None = None
    indexed_labels: Mapping[int, int] | None = None
    index: Faults = field(default_factory=Faults)
    drawn: list[IndexedRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ReadBack:
    """One sampled record as a reader gives it.

    Attributes:
        unparsed: Why it is no record of an image; "" where it is one. Nothing below is known then.
        undecoded: Why its image does not decode; "" where it does.
        key: `image/filename`.
        label: `image/class/label`.
        text: `image/class/text`.
        stored_sha256: `image/key/sha256`.
        encoded_sha256: Digest of `image/encoded`, computed from what the reader gave.
        stated_size: `image/height` and `image/width`.
        decoded_size: Height and width of the decoded pixels.
        spread: How far the decoded pixels lie apart in the channel where they do most, from 0 to 255.
    """

    unparsed: str = ""
    undecoded: str = ""
    key: str = ""
    label: int = -1
    text: str = ""
    stored_sha256: str = ""
    encoded_sha256: str = ""
    stated_size: tuple[int, int] = (0, 0)
    decoded_size: tuple[int, int] = (0, 0)
    spread: int = 255


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled record, read back and compared.

    Attributes:
        row: What the index says of it.
        found: What the reader gave; None where its frame is damaged, so that no reader got it.
        staged_sha256: Digest of the staged image; "" where it is gone, None where nobody looked.
    """

    row: IndexedRecord
    found: ReadBack | None
    staged_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class WholeShard:
    """A whole shard as an independent reader counts it."""

    shard: str
    expected: int
    records: int | None
    problem: str = ""


@dataclass(slots=True)
class RejectFacts:
    """What `rejects.jsonl` holds.

    Attributes:
        lines: Its lines.
        reasons: Lines by reason.
        strata: Lines by split and label.
        examples: The first rows of each reason.
        malformed: Lines that are no reject.
    """

    lines: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    strata: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[str, list[RejectExample]] = field(default_factory=dict)
    malformed: Faults = field(default_factory=Faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """The published version, to compare with.

    Attributes:
        version: Its id.
        manifest: Its manifest.
        facts: Its facts; None where they are gone or unreadable.
        diff: What changed since; None where that could not be found out.
        diff_problem: Why it could not.
    """

    version: str
    manifest: Manifest
    facts: Facts | None
    diff: VersionDiff | None
    diff_problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything the checks judge.

    Attributes:
        manifest: The version's manifest.
        plan: Its plan; None where plan.json is gone or unreadable.
        settings: What the spec asks for.
        listing: The version's objects by name.
        shards: What was seen of each shard of the manifest that is there whole.
        rejects: What `rejects.jsonl` holds; None where it cannot be read.
        facts: What `facts.json` says of the whole version; None where it is gone or unreadable.
        labels_txt: Lines of `labels.txt`; none where it lists no labels, None where it is gone.
        sample: The sampled records.
        whole: Whole shards as the oracle counted them.
        reader: Who read the sample back.
        reader_crash: How the reader came to an end before its work did; "" where it did not.
        full_scan: Whether the framing of every record was verified.
        images_uri: The staged images; None where nobody may compare with them.
        against: The published version; None where there is nothing to compare with.
        no_base: Why there is not.
    """

    manifest: Manifest
    plan: ConversionPlan | None
    settings: Validation
    listing: Mapping[str, ObjectInfo]
    shards: Sequence[ShardFacts]
    rejects: RejectFacts | None
    facts: Facts | None
    labels_txt: Sequence[str] | None
    sample: Sequence[Sampled]
    whole: Sequence[WholeShard]
    reader: str
    reader_crash: str
    full_scan: bool
    images_uri: str | None
    against: Against | None
    no_base: str

    @property
    def limited(self) -> bool:
        """Whether the version is a rehearsal on some of the rows."""
        return self.plan is not None and self.plan.sample_below is not None
