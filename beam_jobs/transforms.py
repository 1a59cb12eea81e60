"""The stages of the conversion. Elements are few and packed: a runner's cost is per element, not per byte.

Only references are shuffled, never image bytes. What a stage decides, `imagemill` decides; this module wires.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from imagemill.accounting import Tally, add_tallies
from imagemill.blocks import Block, cut_blocks, read_lines
from imagemill.conversion import (
    Layout,
    Step,
    WrittenShard,
    read_rows,
    resolve_rows,
    sort_reject_lines,
    write_references,
    write_rejects,
)
from imagemill.digest_batches import find_shared_images
from imagemill.facts import ImageStatistics, SharingFacts, add_sharing, add_statistics
from imagemill.manifest import MANIFEST, FileEntry, ShardEntry
from imagemill.plan import ConversionPlan
from imagemill.resolution import Placement
from imagemill.shard_processes import ShardProcesses
from imagemill.storage import open_store, split
from imagemill.version_files import version_files

Outcome = ShardEntry | FileEntry | Tally | ImageStatistics | SharingFacts
"""What the manifest and the facts are made of."""

Packed = tuple[int, bytes]
"""A batch and the number of the bucket, range or shard it belongs to."""

REJECTS = "rejects"
OUTCOMES = "outcomes"
DIGESTS = "digests"

_NAMESPACE = "imagemill"
_log = logging.getLogger(__name__)


class Resolved(NamedTuple):
    """Outputs of `ReadRows` and `ResolveRows`."""

    rows: PCollection[Packed]
    rejects: PCollection[Packed]
    outcomes: PCollection[Outcome]


class Written(NamedTuple):
    """Outputs of `WriteShards`."""

    outcomes: PCollection[Outcome]
    rejects: PCollection[Packed]
    digests: PCollection[Packed]


class _StepFn(beam.DoFn):
    """A step that packs rows and counts on the way."""

    def __init__(self, plan: ConversionPlan) -> None:
        self._plan = plan

    def setup(self) -> None:
        self._layout = Layout(self._plan)
        self._placement = Placement(
            labels=self._plan.labels, settings=self._plan.settings, sample_below=self._plan.sample_below
        )

    def _emit(self, step: Step) -> Iterator[Packed | TaggedOutput]:
        _count(step.tally)
        yield from step.rows.items()
        for batch in step.rejects.items():
            yield TaggedOutput(REJECTS, batch)
        yield TaggedOutput(OUTCOMES, step.tally)


class _ReadRowsFn(_StepFn):
    def process(self, block: Block) -> Iterator[Packed | TaggedOutput]:
        folder, name = split(self._plan.index)
        lines = read_lines(open_store(folder), name, block)
        yield from self._emit(read_rows(lines, placement=self._placement, layout=self._layout))


class _ResolveRowsFn(_StepFn):
    def process(self, bucket: tuple[int, Iterable[bytes]]) -> Iterator[Packed | TaggedOutput]:
        yield from self._emit(resolve_rows(bucket[1], placement=self._placement, layout=self._layout))


class _WriteShardFn(_StepFn):
    def __init__(self, plan: ConversionPlan, version_uri: str) -> None:
        super().__init__(plan)
        self._version_uri = version_uri

    def setup(self) -> None:
        super().setup()
        self._images = open_store(self._plan.images)
        self._version = open_store(self._version_uri)

    def process(self, shard: tuple[int, Iterable[bytes]]) -> Iterator[Outcome | TaggedOutput]:
        number, batches = shard
        yield from self._report(
            write_references(
                batches,
                self._layout.shards[number],
                plan=self._plan,
                layout=self._layout,
                images=self._images,
                version=self._version,
            )
        )

    def _report(self, written: WrittenShard) -> Iterator[Outcome | TaggedOutput]:
        _count(written.tally)
        Metrics.counter(_NAMESPACE, "shards").inc()
        Metrics.counter(_NAMESPACE, "record_bytes").inc(written.entry.bytes)
        _log.info("wrote %s: %d records", written.entry.name, written.entry.records)
        yield written.entry
        yield written.images
        yield written.tally
        for batch in written.rejects.items():
            yield TaggedOutput(REJECTS, batch)
        for batch in written.digests.items():
            yield TaggedOutput(DIGESTS, batch)


class _WriteShardsApartFn(_WriteShardFn):
    """Writes shards in processes of their own, several at once; a bundle ends when its last shard is written."""

    def __init__(self, plan: ConversionPlan, version_uri: str, processes: int) -> None:
        super().__init__(plan, version_uri)
        self._count = processes

    def setup(self) -> None:
        self._processes = ShardProcesses(self._plan, self._version_uri, processes=self._count)

    def process(self, shard: tuple[int, Iterable[bytes]]) -> Iterator[Outcome | TaggedOutput]:
        for written in self._processes.write(*shard):
            yield from self._report(written)

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        for written in self._processes.finish():
            for output in self._report(written):
                yield _in_global_window(output)

    def teardown(self) -> None:
        self._processes.close()


class _SortRejectsFn(beam.DoFn):
    def process(self, lines: tuple[int, Iterable[bytes]]) -> Iterator[tuple[None, Packed]]:
        yield None, (lines[0], sort_reject_lines(lines[1]))


class _WriteRejectsFn(beam.DoFn):
    def __init__(self, version_uri: str) -> None:
        self._version_uri = version_uri

    def process(self, ranges: tuple[None, Iterable[Packed]]) -> Iterator[FileEntry]:
        yield write_rejects(ranges[1], version=open_store(self._version_uri))


class _FindSharedFn(beam.DoFn):
    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels

    def process(self, digests: tuple[int, Iterable[bytes]]) -> Iterator[SharingFacts]:
        yield find_shared_images(digests[1], labels=self._labels)


class _WriteVersionFn(beam.DoFn):
    """Writes the small files and then the manifest, once everything else is written."""

    def __init__(self, plan: ConversionPlan, version_uri: str) -> None:
        self._plan = plan
        self._version_uri = version_uri

    def process(self, outcomes: tuple[None, Iterable[Outcome]]) -> Iterator[str]:
        every = list(outcomes[1])
        (rejects,) = (entry for entry in every if type(entry) is FileEntry)
        files = version_files(
            plan=self._plan,
            shards=[entry for entry in every if isinstance(entry, ShardEntry)],
            rejects=rejects,
            tally=add_tallies(part for part in every if isinstance(part, Tally)),
            images=add_statistics(part for part in every if isinstance(part, ImageStatistics)),
            sharing=add_sharing(part for part in every if isinstance(part, SharingFacts)),
        )
        version = open_store(self._version_uri)
        for name, data in files.items():
            version.write(name, data)
        _log.info("wrote %s/%s", self._version_uri, MANIFEST)
        yield MANIFEST


@dataclass
class ReadRows(beam.PTransform):
    """Reads the index in blocks, and brings the rows of one key together.

    Attributes:
        plan: What to convert.
        block_bytes: Bytes of index that one element stands for.
    """

    plan: ConversionPlan
    block_bytes: int

    def __post_init__(self) -> None:
        super().__init__()
        if self.block_bytes < 1:
            raise ValueError(f"a block of {self.block_bytes} bytes holds nothing")

    def expand(self, start: beam.pvalue.PBegin) -> Resolved:
        outputs = (
            start
            | "List blocks" >> beam.Create(cut_blocks(self.plan.index_bytes, self.block_bytes))
            | "Spread blocks" >> beam.Reshuffle()
            | "Read rows" >> _tagged(_ReadRowsFn(self.plan), REJECTS, OUTCOMES)
        )
        return Resolved(outputs.main, outputs[REJECTS], outputs[OUTCOMES])


@dataclass
class ResolveRows(beam.PTransform):
    """Decides what the rows of each key come to: one reference, rejects, duplicates."""

    plan: ConversionPlan

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, rows: PCollection[Packed]) -> Resolved:
        outputs = (
            rows
            | "Group by key range" >> beam.GroupByKey()
            | "Resolve rows" >> _tagged(_ResolveRowsFn(self.plan), REJECTS, OUTCOMES)
        )
        return Resolved(outputs.main, outputs[REJECTS], outputs[OUTCOMES])


@dataclass
class WriteShards(beam.PTransform):
    """Writes every planned shard, those without a reference too.

    Attributes:
        plan: What to convert.
        version_uri: Folder of the version.
        processes: Processes that each worker writes shards in; 1 is the worker itself.
    """

    plan: ConversionPlan
    version_uri: str
    processes: int = 1

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, references: PCollection[Packed]) -> Written:
        numbers = range(len(Layout(self.plan).shards))
        write = (
            _WriteShardFn(self.plan, self.version_uri)
            if self.processes == 1
            else _WriteShardsApartFn(self.plan, self.version_uri, self.processes)
        )
        planned = references.pipeline | "List shards" >> beam.Create([(number, b"") for number in numbers])
        outputs = (
            (references, planned)
            | "Add planned shards" >> beam.Flatten()
            | "Group by shard" >> beam.GroupByKey()
            | "Write shard" >> _tagged(write, REJECTS, DIGESTS)
        )
        return Written(outputs.main, outputs[REJECTS], outputs[DIGESTS])


@dataclass
class WriteRejects(beam.PTransform):
    """Writes `rejects.jsonl`, sorted, an empty one too."""

    version_uri: str

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, lines: PCollection[Packed]) -> PCollection[FileEntry]:
        none = lines.pipeline | "Start with no reject" >> beam.Create([(0, b"")])
        return (
            (lines, none)
            | "Add none" >> beam.Flatten()
            | "Group by range" >> beam.GroupByKey()
            | "Sort rejects" >> beam.ParDo(_SortRejectsFn())
            | "Gather ranges" >> beam.GroupByKey()
            | "Write rejects" >> beam.ParDo(_WriteRejectsFn(self.version_uri))
        )


@dataclass
class FindSharedImages(beam.PTransform):
    """Finds records that hold the same bytes."""

    plan: ConversionPlan

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, digests: PCollection[Packed]) -> PCollection[SharingFacts]:
        return (
            digests
            | "Group by digest range" >> beam.GroupByKey()
            | "Find shared images" >> beam.ParDo(_FindSharedFn(self.plan.labels))
        )


@dataclass
class ConvertImages(beam.PTransform):
    """The whole conversion: from the plan to the manifest, which is written last.

    Attributes:
        plan: What to convert.
        version_uri: Folder of the version.
        block_bytes: Bytes of index that one element stands for.
        processes: Processes that each worker writes shards in.
    """

    plan: ConversionPlan
    version_uri: str
    block_bytes: int = 4 << 20
    processes: int = 1

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, start: beam.pvalue.PBegin) -> PCollection[str]:
        read = start | "Read index" >> ReadRows(self.plan, self.block_bytes)
        resolved = read.rows | "Resolve" >> ResolveRows(self.plan)
        written = resolved.rows | "Write shards" >> WriteShards(self.plan, self.version_uri, self.processes)
        lines = (read.rejects, resolved.rejects, written.rejects) | "All rejects" >> beam.Flatten()
        rejects = lines | "Rejects" >> WriteRejects(self.version_uri)
        shared = written.digests | "Shared images" >> FindSharedImages(self.plan)
        outcomes = (read.outcomes, resolved.outcomes, written.outcomes, rejects, shared)
        return (
            outcomes
            | "All outcomes" >> beam.Flatten()
            | "To one place" >> beam.WithKeys(None)
            | "Wait for all" >> beam.GroupByKey()
            | "Write manifest" >> beam.ParDo(_WriteVersionFn(self.plan, self.version_uri))
        )


def _in_global_window(output: Outcome | TaggedOutput) -> WindowedValue | TaggedOutput:
    """Returns an output as the end of a bundle has to give it."""
    if isinstance(output, TaggedOutput):
        return TaggedOutput(output.tag, _in_global_window(output.value))
    return WindowedValue(output, GlobalWindow().max_timestamp(), [GlobalWindow()])


def _tagged(fn: beam.DoFn, *tags: str) -> Any:
    return beam.ParDo(fn).with_outputs(*tags, main="main")


def _count(tally: Tally) -> None:
    """Adds to the job's metrics; called on the DoFn's own thread, as Beam's metrics need."""
    for name in ("rows", "records", "duplicates"):
        Metrics.counter(_NAMESPACE, name).inc(getattr(tally, name).total())
    for reason, count in tally.reasons.items():
        Metrics.counter(_NAMESPACE, f"rejected_{reason}").inc(count)
