"""Decides a conversion before any image is opened: one pass over the index, one over the listing of the images.

Memory does not grow with the dataset: rows are sorted on disk and merged with the listing, which is sorted already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from imagemill.conversion.blocks import Block, read_lines
from imagemill.conversion.census import Census, Images, SplitCount
from imagemill.conversion.resolution import Placement
from imagemill.conversion.survey import Survey
from imagemill.errors import CallerError
from imagemill.external_sort import sorted_lines
from imagemill.labels import assign_labels, parse_labels
from imagemill.manifest import Manifest
from imagemill.plan import PLAN, ConversionPlan, ConversionSettings, SplitPlan, fingerprint_of
from imagemill.records.sharding import ShardPolicy
from imagemill.spec import Shards
from imagemill.storage import MissingObject, open_store, split


def plan_conversion(
    *,
    dataset: str,
    index_uri: str,
    images_uri: str,
    labels_uri: str | None = None,
    declared_labels: Sequence[str] = (),
    settings: ConversionSettings,
    shards: Shards,
    published: Manifest | None = None,
    limit: int | None = None,
) -> ConversionPlan:
    """Returns the plan for the rows and images as they are now; its version has no name yet.

    Args:
        dataset: Name of the dataset.
        index_uri: The index CSV.
        images_uri: Folder or prefix the filenames are relative to.
        labels_uri: Where the source's `labels.txt` stands, if it has one.
        declared_labels: The spec's class names.
        settings: What else determines the version's bytes.
        shards: What shard counts aim at.
        published: The published version, whose labels and shard counts are carried on.
        limit: Convert only this many rows, those with the smallest key hashes, into one shard a split.

    Raises:
        CallerError: There is no index, it has no rows, or none of its images exists.
        UnusableData: No row can become a record.
    """
    survey = Survey(limit)
    index_bytes, ordered = _sorted_rows(index_uri, survey)
    source = _read_labels(labels_uri)
    labels = assign_labels(
        published=published.labels if published else (), declared=declared_labels, source=source, seen=survey.labels
    )
    placement = Placement(labels=labels, settings=settings, sample_below=survey.sample_below)
    census = Census(placement, Images(images_uri), settings.max_image_bytes, shards.count)
    census.count(ordered)
    census.require_records(index_uri=index_uri, images_uri=images_uri)
    plan = ConversionPlan(
        dataset=dataset,
        content_digest=f"{census.tally.content:032x}",
        index=index_uri,
        index_bytes=index_bytes,
        images=images_uri,
        labels=labels,
        labels_closed=bool(declared_labels or source),
        sample_below=survey.sample_below,
        rows=census.rows,
        splits=_split_plans(census, shards, published),
        settings=settings,
    )
    return plan.model_copy(update={"fingerprint": fingerprint_of(plan)})


def write_plan(plan: ConversionPlan, *, version: str, version_uri: str) -> ConversionPlan:
    """Writes `plan.json` into the version's folder, and returns the plan with its version named."""
    named = plan.model_copy(update={"version": version})
    open_store(version_uri).write(PLAN, named.to_json())
    return named


def _sorted_rows(index_uri: str, survey: Survey) -> tuple[int, Iterator[bytes]]:
    """Returns the size of the index and, after reading it to its end, its rows in the order of a listing."""
    folder, name = split(index_uri)
    index = open_store(folder)
    found = index.stat(name)
    if found is None:
        raise MissingObject(f"{index_uri}: there is no such index; prepare and upload the dataset first")
    ordered = sorted_lines(survey.read(read_lines(index, name, Block(0, found.size))), key=bytes)
    first = next(ordered, None)
    if first is None:
        raise CallerError(f"{index_uri} has no rows; the dataset would be empty")
    return found.size, chain([first], ordered)


def _read_labels(uri: str | None) -> tuple[str, ...]:
    if uri is None:
        return ()
    folder, name = split(uri)
    try:
        return parse_labels(open_store(folder).read(name), where=uri)
    except MissingObject:
        return ()


def _split_plans(census: Census, shards: Shards, published: Manifest | None) -> tuple[SplitPlan, ...]:
    unknown = sorted(set(shards.count) - set(census.placement.splits))
    if unknown:
        known = ", ".join(census.placement.splits)
        raise CallerError(f"a shard count is given for the split {unknown[0]!r}, which is not one of: {known}")
    previous = Counter(shard.split for shard in published.shards) if published else Counter[str]()
    return tuple(
        SplitPlan(
            name=name,
            rows=counted.rows,
            bytes=counted.bytes,
            # The rows of a sample have the smallest hashes of all: they are in the first shard, however many there are.
            shards=1 if census.placement.sampled else _count_shards(counted, name, shards, previous.get(name)),
        )
        for name, counted in sorted(census.splits.items())
    )


def _count_shards(counted: SplitCount, split: str, shards: Shards, previous: int | None) -> int:
    asked = shards.count.get(split)
    if asked is not None and len(counted.occupied) == asked:
        return asked
    policy = ShardPolicy(target_bytes=shards.target_bytes, target_records=shards.target_records)
    return policy.shards_for(total_bytes=counted.bytes, records=counted.images, previous=previous)
