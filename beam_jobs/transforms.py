"""The stages of the conversion. Elements are few and packed: a runner's cost is per element, not per byte.

Only references are shuffled, never image bytes; where all stages run on one machine, only where the references are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_jobs.step_fns import (
    DIGESTS,
    OUTCOMES,
    REJECTS,
    CompareDigestsFn,
    Numbered,
    Outcome,
    ReadRowsFn,
    ResolveRowsFn,
    SortRejectsFn,
    WriteRejectsFn,
    WriteShardFn,
    WriteVersionFn,
)
from imagemill.conversion.blocks import block_bytes_for, cut_blocks
from imagemill.conversion.layout import Layout
from imagemill.conversion.step_processes import Work
from imagemill.manifest import FileEntry
from imagemill.version.facts import SharingFacts


class Resolved(NamedTuple):
    """Outputs of `ReadRows` and `ResolveRows`."""

    rows: PCollection[Numbered]
    rejects: PCollection[Numbered]
    outcomes: PCollection[Outcome]


class Written(NamedTuple):
    """Outputs of `WriteShards`."""

    outcomes: PCollection[Outcome]
    rejects: PCollection[Numbered]
    digests: PCollection[Numbered]


@dataclass
class _Stage(beam.PTransform):
    work: Work

    def __post_init__(self) -> None:
        super().__init__()


@dataclass
class ReadRows(_Stage):
    """Reads the index in blocks, and brings the rows of one key together.

    Attributes:
        work: What to convert.
        block_bytes: Bytes of index that one element stands for.
    """

    block_bytes: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block_bytes < 1:
            raise ValueError(f"a block of {self.block_bytes} bytes holds nothing")

    def expand(self, start: PBegin) -> Resolved:
        blocks = cut_blocks(self.work.plan.index_bytes, self.block_bytes)
        # `Create` spreads them over the workers; where there is but one, that would be a stage for nothing.
        outputs = (
            start
            | "List blocks" >> beam.Create(blocks, reshuffle=not self.work.spooled)
            | "Read rows" >> _tagged(ReadRowsFn(self.work), REJECTS, OUTCOMES)
        )
        return Resolved(outputs.main, outputs[REJECTS], outputs[OUTCOMES])


@dataclass
class ResolveRows(_Stage):
    """Decides what the rows of each key come to: one reference, rejects, duplicates."""

    def expand(self, rows: PCollection[Numbered]) -> Resolved:
        outputs = (
            rows
            | "Group by key range" >> beam.GroupByKey()
            | "Resolve rows" >> _tagged(ResolveRowsFn(self.work), REJECTS, OUTCOMES)
        )
        return Resolved(outputs.main, outputs[REJECTS], outputs[OUTCOMES])


@dataclass
class WriteShards(_Stage):
    """Writes every planned shard, those without a reference too."""

    def expand(self, references: PCollection[Numbered]) -> Written:
        numbers = range(len(Layout(self.work.plan).shards))
        planned = references.pipeline | "List shards" >> _without_batches(*numbers)
        outputs = (
            (references, planned)
            | "Add planned shards" >> beam.Flatten()
            | "Group by shard" >> beam.GroupByKey()
            | "Write shard" >> _tagged(WriteShardFn(self.work), REJECTS, DIGESTS)
        )
        return Written(outputs.main, outputs[REJECTS], outputs[DIGESTS])


@dataclass
class WriteRejects(_Stage):
    """Writes `rejects.jsonl`, sorted, an empty one too."""

    def expand(self, lines: PCollection[Numbered]) -> PCollection[FileEntry]:
        none = lines.pipeline | "Start with no reject" >> _without_batches(0)
        return (
            (lines, none)
            | "Add none" >> beam.Flatten()
            | "Group by range" >> beam.GroupByKey()
            | "Sort rejects" >> beam.ParDo(SortRejectsFn(self.work))
            | "Gather ranges" >> beam.GroupByKey()
            | "Write rejects" >> beam.ParDo(WriteRejectsFn(self.work))
        )


@dataclass
class FindSharedImages(_Stage):
    """Finds records that hold the same bytes."""

    def expand(self, digests: PCollection[Numbered]) -> PCollection[SharingFacts]:
        return (
            digests
            | "Group by digest range" >> beam.GroupByKey()
            | "Find shared images" >> beam.ParDo(CompareDigestsFn(self.work))
        )


@dataclass
class ConvertImages(_Stage):
    """The whole conversion: from the plan to the manifest, which is written last.

    Attributes:
        work: What to convert, into which folder.
        block_bytes: Bytes of index that one element stands for; by default what suits the index.
    """

    block_bytes: int | None = None

    def expand(self, start: PBegin) -> PCollection[str]:
        work = self.work
        read = start | "Read index" >> ReadRows(work, self.block_bytes or block_bytes_for(work.plan.index_bytes))
        resolved = read.rows | "Resolve" >> ResolveRows(work)
        written = resolved.rows | "Write shards" >> WriteShards(work)
        lines = (read.rejects, resolved.rejects, written.rejects) | "All rejects" >> beam.Flatten()
        rejects = lines | "Rejects" >> WriteRejects(work)
        shared = written.digests | "Shared images" >> FindSharedImages(work)
        outcomes = (read.outcomes, resolved.outcomes, written.outcomes, rejects, shared)
        return (
            outcomes
            | "All outcomes" >> beam.Flatten()
            | "To one place" >> beam.WithKeys(None)
            | "Wait for all" >> beam.GroupByKey()
            | "Write manifest" >> beam.ParDo(WriteVersionFn(work))
        )


def _without_batches(*numbers: int) -> beam.Create:
    """Returns what makes a runner group these numbers too, if nothing else does."""
    return beam.Create([(number, b"") for number in numbers], reshuffle=False)


def _tagged(fn: beam.DoFn, *tags: str) -> Any:
    return beam.ParDo(fn).with_outputs(*tags, main="main")
