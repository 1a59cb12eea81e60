"""The stages of the conversion. Elements are few and packed: a runner's cost is per element, not per byte.

Only references are shuffled, never image bytes; where all stages run on one machine, only where the references are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_jobs.dofns import (
    DIGESTS,
    OUTCOMES,
    REJECTS,
    SHARDS,
    BeginFn,
    CompareDigestsFn,
    Keyed,
    Numbered,
    ReadRowsFn,
    ResolveRowsFn,
    SortRejectsFn,
    WriteRejectsFn,
    WriteShardFn,
    WriteVersionFn,
)
from imagemill.conversion.blocks import Block, block_bytes_for
from imagemill.conversion.step_pool import Work


class Begun(NamedTuple):
    """Outputs of `Begin`."""

    blocks: PCollection[Block]
    shards: PCollection[Numbered]
    rejects: PCollection[Numbered]


class Resolved(NamedTuple):
    """Outputs of `ReadRows` and `ResolveRows`."""

    rows: PCollection[Numbered]
    rejects: PCollection[Numbered]
    outcomes: PCollection[Keyed]


class Written(NamedTuple):
    """Outputs of `WriteShards`."""

    outcomes: PCollection[Keyed]
    rejects: PCollection[Numbered]
    digests: PCollection[Numbered]


@dataclass
class _Stage(beam.PTransform):
    work: Work

    def __post_init__(self) -> None:
        super().__init__()


@dataclass
class Begin(_Stage):
    """Makes the first elements of all stages, as few transforms as that takes: each costs, before any row is read.

    Attributes:
        work: What to convert.
        block_bytes: Bytes of index that one element stands for; by default what suits the index.
    """

    block_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block_bytes is not None and self.block_bytes < 1:
            raise ValueError(f"a block of {self.block_bytes} bytes holds nothing")

    def expand(self, start: PBegin) -> Begun:
        plan = self.work.plan
        begin = BeginFn(plan, self.block_bytes or block_bytes_for(plan.index_bytes))
        outputs = start | "Start" >> beam.Impulse() | "List blocks" >> _tagged(begin, SHARDS, REJECTS)
        # Where there is but one worker, nothing is to be spread.
        blocks = outputs.main if self.work.spooled else outputs.main | "Spread blocks" >> beam.Reshuffle()
        return Begun(blocks, outputs[SHARDS], outputs[REJECTS])


@dataclass
class ReadRows(_Stage):
    """Reads the index in blocks."""

    def expand(self, blocks: PCollection[Block]) -> Resolved:
        outputs = blocks | "Read rows" >> _tagged(ReadRowsFn(self.work), REJECTS, OUTCOMES)
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
    """Writes shards; takes references, and an empty batch for each shard that may have none."""

    def expand(self, references: tuple[PCollection[Numbered], ...]) -> Written:
        outputs = (
            references
            | "All references" >> beam.Flatten()
            | "Group by shard" >> beam.GroupByKey()
            | "Write shard" >> _tagged(WriteShardFn(self.work), REJECTS, DIGESTS)
        )
        return Written(outputs.main, outputs[REJECTS], outputs[DIGESTS])


@dataclass
class WriteRejects(_Stage):
    """Writes `rejects.jsonl`, sorted."""

    def expand(self, lines: tuple[PCollection[Numbered], ...]) -> PCollection[Keyed]:
        return (
            lines
            | "All rejects" >> beam.Flatten()
            | "Group by range" >> beam.GroupByKey()
            | "Sort rejects" >> beam.ParDo(SortRejectsFn(self.work))
            | "Gather ranges" >> beam.GroupByKey()
            | "Write rejects" >> beam.ParDo(WriteRejectsFn(self.work))
        )


@dataclass
class FindSharedImages(_Stage):
    """Finds records that hold the same bytes."""

    def expand(self, digests: PCollection[Numbered]) -> PCollection[Keyed]:
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
        block_bytes: As in `Begin`.
    """

    block_bytes: int | None = None

    def expand(self, start: PBegin) -> PCollection[str]:
        work = self.work
        begun = start | "Begin" >> Begin(work, self.block_bytes)
        read = begun.blocks | "Read index" >> ReadRows(work)
        resolved = read.rows | "Resolve" >> ResolveRows(work)
        written = (resolved.rows, begun.shards) | "Write shards" >> WriteShards(work)
        rejected = (begun.rejects, read.rejects, resolved.rejects, written.rejects)
        rejects = rejected | "Rejects" >> WriteRejects(work)
        shared = written.digests | "Shared images" >> FindSharedImages(work)
        return (
            (read.outcomes, resolved.outcomes, written.outcomes, rejects, shared)
            | "All outcomes" >> beam.Flatten()
            | "Wait for all" >> beam.GroupByKey()
            | "Write manifest" >> beam.ParDo(WriteVersionFn(work))
        )


def _tagged(fn: beam.DoFn, *tags: str) -> Any:
    return beam.ParDo(fn).with_outputs(*tags, main="main")
