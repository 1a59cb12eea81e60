"""The steps of the conversion as DoFns: what a stage decides, `imagemill` decides."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from imagemill.accounting import Tally, add_tallies
from imagemill.conversion.batches import Batch
from imagemill.conversion.blocks import Block, cut_blocks
from imagemill.conversion.engine import Step, WrittenShard
from imagemill.conversion.layout import Layout
from imagemill.conversion.reject_lines import write_rejects
from imagemill.conversion.step_pool import Name, Steps, Work, batches_of
from imagemill.manifest import MANIFEST, FileEntry, ShardEntry
from imagemill.plan import ConversionPlan
from imagemill.storage import open_store
from imagemill.version.facts import ImageStatistics, SharingFacts, add_sharing, add_statistics
from imagemill.version.files import version_files

Outcome = ShardEntry | FileEntry | Tally | ImageStatistics | SharingFacts
"""What the manifest and the facts are made of."""

Numbered = tuple[int, Batch]
"""A batch and the number of the bucket, range or shard it belongs to."""

Keyed = tuple[None, Outcome]
"""An outcome with the one key that brings all of them together."""

SHARDS = "shards"
REJECTS = "rejects"
OUTCOMES = "outcomes"
DIGESTS = "digests"

_NAMESPACE = "imagemill"
_log = logging.getLogger(__name__)


class BeginFn(beam.DoFn):
    """Makes the first elements: the blocks of the index, and an empty batch for each planned shard and for the rejects.

    Runners group what there is; so a shard without a reference is written too, and a file without a reject.
    """

    def __init__(self, plan: ConversionPlan, block_bytes: int) -> None:
        self._plan = plan
        self._block_bytes = block_bytes

    def process(self, _: bytes) -> Iterator[Block | TaggedOutput]:
        yield from cut_blocks(self._plan.index_bytes, self._block_bytes)
        for number in range(len(Layout(self._plan).shards)):
            yield TaggedOutput(SHARDS, (number, b""))
        yield TaggedOutput(REJECTS, (0, b""))


class StepFn(beam.DoFn):
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
        number, batches = element
        return number, list(batches)

    def report(self, taken: Any) -> Iterator[Any]:
        """Yields a step's outputs and counts them: metrics are counted on the DoFn's own thread, as Beam needs."""
        raise NotImplementedError


class _PlaceRowsFn(StepFn):
    """A step that packs rows and counts on the way."""

    def report(self, taken: Step) -> Iterator[Numbered | TaggedOutput]:
        _count(taken.tally)
        yield from taken.rows.items()
        for batch in taken.rejects.items():
            yield TaggedOutput(REJECTS, batch)
        yield TaggedOutput(OUTCOMES, (None, taken.tally))


class ReadRowsFn(_PlaceRowsFn):
    """Reads one block of the index."""

    step = "read"

    def arguments(self, element: Block) -> tuple[object, ...]:
        return (element,)


class ResolveRowsFn(_PlaceRowsFn):
    """Decides what the rows of one bucket come to."""

    step = "resolve"

    def arguments(self, element: tuple[int, Iterable[Batch]]) -> tuple[object, ...]:
        return (list(element[1]),)


class WriteShardFn(StepFn):
    """Writes one shard."""

    step = "write"

    def report(self, taken: WrittenShard) -> Iterator[Keyed | TaggedOutput]:
        _count(taken.tally)
        Metrics.counter(_NAMESPACE, "shards").inc()
        Metrics.counter(_NAMESPACE, "record_bytes").inc(taken.entry.bytes)
        _log.info("wrote %s: %d records", taken.entry.name, taken.entry.records)
        for outcome in (taken.entry, taken.images, taken.tally):
            yield None, outcome
        for batch in taken.rejects.items():
            yield TaggedOutput(REJECTS, batch)
        for batch in taken.digests.items():
            yield TaggedOutput(DIGESTS, batch)


class CompareDigestsFn(StepFn):
    """Finds identical images in one range of digests."""

    step = "compare"

    def arguments(self, element: tuple[int, Iterable[Batch]]) -> tuple[object, ...]:
        return (list(element[1]),)

    def report(self, taken: SharingFacts) -> Iterator[Keyed]:
        yield None, taken


class SortRejectsFn(StepFn):
    """Sorts one range of rejects."""

    step = "sort_rejects"

    def report(self, taken: Numbered) -> Iterator[tuple[None, Numbered]]:
        yield None, taken


class WriteRejectsFn(beam.DoFn):
    """Writes all rejects, without ever holding all of them."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def process(self, ranges: tuple[None, Iterable[Numbered]]) -> Iterator[Keyed]:
        version = open_store(self._work.version_uri)
        yield None, write_rejects(ranges[1], batches=batches_of(self._work), version=version)


class WriteVersionFn(beam.DoFn):
    """Writes the small files and then the manifest, once everything else is written."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def process(self, outcomes: tuple[None, Iterable[Outcome]]) -> Iterator[str]:
        every = list(outcomes[1])
        (rejects,) = (entry for entry in every if type(entry) is FileEntry)
        files = version_files(
            plan=self._work.plan,
            shards=[entry for entry in every if isinstance(entry, ShardEntry)],
            rejects=rejects,
            tally=add_tallies(part for part in every if isinstance(part, Tally)),
            images=add_statistics(part for part in every if isinstance(part, ImageStatistics)),
            sharing=add_sharing(part for part in every if isinstance(part, SharingFacts)),
        )
        version = open_store(self._work.version_uri)
        for name, data in files.items():
            version.write(name, data)
        _log.info("wrote %s/%s", self._work.version_uri, MANIFEST)
        yield MANIFEST


def _in_global_window(output: Any) -> WindowedValue | TaggedOutput:
    """Returns an output as the end of a bundle has to give it."""
    if isinstance(output, TaggedOutput):
        return TaggedOutput(output.tag, _in_global_window(output.value))
    return WindowedValue(output, GlobalWindow().max_timestamp(), [GlobalWindow()])


def _count(tally: Tally) -> None:
    """Adds to the job's metrics; called on the DoFn's own thread, as Beam's metrics need."""
    for name in ("rows", "records", "duplicates"):
        Metrics.counter(_NAMESPACE, name).inc(getattr(tally, name).total())
    for reason, count in tally.reasons.items():
        Metrics.counter(_NAMESPACE, f"rejected_{reason}").inc(count)
