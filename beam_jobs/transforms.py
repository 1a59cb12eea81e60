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

from imagemill.conversion.accounting import Tally, add_tallies
from imagemill.conversion.blocks import Block, block_bytes_for, cut_blocks
from imagemill.conversion.digest_batches import find_shared_images
from imagemill.conversion.engine import Layout, Step, WrittenShard, sort_reject_lines, write_rejects
from imagemill.conversion.step_processes import Name, Steps, Work
from imagemill.manifest import MANIFEST, FileEntry, ShardEntry
from imagemill.plan import ConversionPlan
from imagemill.storage import open_store
from imagemill.version.facts import ImageStatistics, SharingFacts, add_sharing, add_statistics
from imagemill.version.files import version_files

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
    """A step of the conversion; a bundle ends when its last element is done with."""

    step: Name

    def __init__(self, work: Work) -> None:
        self._work = work

    def setup(self) -> None:
        self._steps = Steps(self.step, self._work)

    def process(self, element: Any) -> Iterator[Any]:
        for taken in self._steps.take(*self.arguments(element)):
            yield from self.report(taken)

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        for taken in self._steps.finish():
            for output in self.report(taken):
                yield _in_global_window(output)

    def teardown(self) -> None:
        self._steps.close()

    def arguments(self, element: Any) -> tuple[object, ...]:
        """Returns what the step is called with, all of it fit to be pickled."""
        raise NotImplementedError

    def report(self, taken: Any) -> Iterator[Any]:
        """Yields a step's outputs and counts them: metrics are counted on the DoFn's own thread, as Beam needs."""
        raise NotImplementedError


class _PlaceRowsFn(_StepFn):
    """A step that packs rows and counts on the way."""

    def report(self, taken: Step) -> Iterator[Packed | TaggedOutput]:
        _count(taken.tally)
        yield from taken.rows.items()
        for batch in taken.rejects.items():
            yield TaggedOutput(REJECTS, batch)
        yield TaggedOutput(OUTCOMES, taken.tally)


class _ReadRowsFn(_PlaceRowsFn):
    step = "read"

    def arguments(self, element: Block) -> tuple[object, ...]:
        return (element,)


class _ResolveRowsFn(_PlaceRowsFn):
    step = "resolve"

    def arguments(self, element: tuple[int, Iterable[bytes]]) -> tuple[object, ...]:
        return (list(element[1]),)


class _WriteShardFn(_StepFn):
    step = "write"

    def arguments(self, element: tuple[int, Iterable[bytes]]) -> tuple[object, ...]:
        number, batches = element
        return number, list(batches)

    def report(self, taken: WrittenShard) -> Iterator[Outcome | TaggedOutput]:
        _count(taken.tally)
        Metrics.counter(_NAMESPACE, "shards").inc()
        Metrics.counter(_NAMESPACE, "record_bytes").inc(taken.entry.bytes)
        _log.info("wrote %s: %d records", taken.entry.name, taken.entry.records)
        yield taken.entry
        yield taken.images
        yield taken.tally
        for batch in taken.rejects.items():
            yield TaggedOutput(REJECTS, batch)
        for batch in taken.digests.items():
            yield TaggedOutput(DIGESTS, batch)


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
        work: What to convert.
        block_bytes: Bytes of index that one element stands for.
    """

    work: Work
    block_bytes: int

    def __post_init__(self) -> None:
        super().__init__()
        if self.block_bytes < 1:
            raise ValueError(f"a block of {self.block_bytes} bytes holds nothing")

    def expand(self, start: beam.pvalue.PBegin) -> Resolved:
        outputs = (
            start
            | "List blocks" >> beam.Create(cut_blocks(self.work.plan.index_bytes, self.block_bytes))
            | "Spread blocks" >> beam.Reshuffle()
            | "Read rows" >> _tagged(_ReadRowsFn(self.work), REJECTS, OUTCOMES)
        )
        return Resolved(outputs.main, outputs[REJECTS], outputs[OUTCOMES])


@dataclass
class ResolveRows(beam.PTransform):
    """Decides what the rows of each key come to: one reference, rejects, duplicates."""

    work: Work

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, rows: PCollection[Packed]) -> Resolved:
        outputs = (
            rows
            | "Group by key range" >> beam.GroupByKey()
            | "Resolve rows" >> _tagged(_ResolveRowsFn(self.work), REJECTS, OUTCOMES)
        )
        return Resolved(outputs.main, outputs[REJECTS], outputs[OUTCOMES])


@dataclass
class WriteShards(beam.PTransform):
    """Writes every planned shard, those without a reference too."""

    work: Work

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, references: PCollection[Packed]) -> Written:
        numbers = range(len(Layout(self.work.plan).shards))
        planned = references.pipeline | "List shards" >> beam.Create([(number, b"") for number in numbers])
        outputs = (
            (references, planned)
            | "Add planned shards" >> beam.Flatten()
            | "Group by shard" >> beam.GroupByKey()
            | "Write shard" >> _tagged(_WriteShardFn(self.work), REJECTS, DIGESTS)
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
        block_bytes: Bytes of index that one element stands for; by default what suits the index.
        processes: Processes that each worker uses.
    """

    plan: ConversionPlan
    version_uri: str
    block_bytes: int | None = None
    processes: int = 1

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, start: beam.pvalue.PBegin) -> PCollection[str]:
        work = Work(self.plan, self.version_uri, self.processes)
        block_bytes = self.block_bytes or block_bytes_for(self.plan.index_bytes)
        read = start | "Read index" >> ReadRows(work, block_bytes)
        resolved = read.rows | "Resolve" >> ResolveRows(work)
        written = resolved.rows | "Write shards" >> WriteShards(work)
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
