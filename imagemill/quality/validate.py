"""Validates one version: gathers the evidence, has the checks judge it, and writes the report.

Bounded in cost: sizes and checksums come from one listing, records are sampled through the shard indexes, and every
record's framing is verified only up to `full_scan_bytes`. Bounded in memory: one shard's index and one record for each
thread, whatever the version.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imagemill.diff.model import DIFF
from imagemill.errors import CallerError, ImagemillError, UnusableData
from imagemill.labels import LABELS, parse_labels
from imagemill.manifest import MANIFEST, Manifest, ShardEntry, parse_manifest
from imagemill.plan import PLAN, ConversionPlan, parse_plan
from imagemill.progress import Progress, Silent
from imagemill.quality.checks import CHECKS
from imagemill.quality.comparison import read_base, read_facts
from imagemill.quality.evidence import Evidence, ShardFacts
from imagemill.quality.gallery import Gallery
from imagemill.quality.provenance import read_provenance
from imagemill.quality.readers import ReaderChoice, open_reader
from imagemill.quality.rejects import read_rejects
from imagemill.quality.report import REPORT, REPORT_PAGE, AccountRow, Base, RejectGroup, Report, SampleFacts
from imagemill.quality.sample_reader import SAMPLE_FILE, SampleFindings, read_sample
from imagemill.quality.sampling import confidence, draw
from imagemill.quality.shard_scan import scan_shard
from imagemill.spec.validation import Validation
from imagemill.storage import open_store
from imagemill.storage.store import MissingObject, ObjectInfo, Store

SIZES_KEPT = 300
"""Sizes of sampled images that the report tells, for its plot."""


def validate_version(
    version_uri: str,
    *,
    settings: Validation,
    images_uri: str | None,
    published_uri: str | None = None,
    no_base: str = "no published version was named to compare with",
    seed: int | None = None,
    reader: ReaderChoice = "auto",
    gallery: Gallery | None = None,
    progress: Progress | None = None,
) -> Report:
    """Judges one version; a failed check is in the report, not an exception. Nothing is written.

    Args:
        version_uri: The version folder.
        settings: What the spec asks for.
        images_uri: Root of the staged images, to compare the sample with byte for byte; None compares with nothing.
        published_uri: The published version, to compare with; None compares with nothing.
        no_base: Why there is none, for the report.
        seed: Decides which records are sampled; by default it comes from the version's fingerprint.
        reader: Who reads the sample back; `auto` is TensorFlow where it is installed.
        gallery: Collects thumbnails of sampled images.
        progress: Told of shards and sampled records.

    Raises:
        CallerError: Nothing is there, or the version was written by a newer imagemill, or the reader is not installed.
        UnusableData: There is no readable manifest, so that nothing says what the version should be.
    """
    started = time.monotonic()
    store = open_store(version_uri)
    manifest, manifest_sha256 = _read_manifest(store)
    seed = int(manifest.fingerprint[:8], 16) if seed is None else seed
    # The reader is opened first: TensorFlow imports while the shards are scanned.
    with open_reader(reader) as opened, tempfile.TemporaryDirectory(prefix="imagemill-") as folder:
        inspection = _Inspection(store, manifest, settings, seed, progress or Silent())
        shards = inspection.scan()
        images = open_store(images_uri) if images_uri is not None else None
        progress = inspection.progress
        progress.begin("read the sample back", total=sum(len(facts.drawn) for facts in shards), unit="records")
        findings = read_sample(
            shards, version=store, images=images, reader=opened, folder=Path(folder), advance=progress.advance
        )
        progress.end()
        if gallery is not None:
            gallery.collect(Path(folder) / SAMPLE_FILE, manifest.labels)
    evidence = inspection.evidence(shards, findings, images_uri, published_uri, no_base)
    return _report(
        evidence,
        seed=seed,
        version_uri=store.uri,
        manifest_sha256=manifest_sha256,
        provenance=read_provenance(store, evidence.plan),
        seconds=time.monotonic() - started,
    )


def write_report(report: Report, gallery: Gallery | None = None) -> None:
    """Writes `diff.json`, `validation.html` and then `validation.json`, which `publish` reads, into the version."""
    from imagemill.quality.page import render

    store = open_store(report.version_uri)
    if report.base and report.base.diff:
        store.write(DIFF, report.base.diff.to_json())
    store.write(REPORT_PAGE, render(report, gallery).encode())
    store.write(REPORT, report.to_json())


class _Inspection:
    """One pass over a version."""

    def __init__(self, store: Store, manifest: Manifest, settings: Validation, seed: int, progress: Progress) -> None:
        self._store, self._manifest, self._settings, self._seed = store, manifest, settings, seed
        self.progress = progress
        self._listing: dict[str, ObjectInfo] = {info.key: info for info in store.list(checksums=True)}
        size = sum(entry.bytes for entry in manifest.shards)
        self._full = size <= settings.full_scan_bytes

    def scan(self) -> list[ShardFacts]:
        """Looks at every shard that is there in its size; the others are findings of `shards_present`."""
        there = [entry for entry in self._manifest.shards if self._is_whole(entry)]
        drawn = draw(there, size=self._settings.sample, seed=self._seed)
        places = _places(self._manifest.shards)
        wanted = [entry for entry in there if self._full or entry.name in drawn]
        self.progress.begin("verify records" if self._full else "open shard indexes", total=len(wanted), unit="shards")
        shards = []
        # Threads pay where reads wait for a network; on a local disk this work holds the interpreter lock.
        with ThreadPoolExecutor(self._store.parallel_reads, thread_name_prefix="scan") as pool:
            tasks = [
                pool.submit(
                    scan_shard,
                    self._store,
                    entry,
                    place=places[entry.name],
                    drawn=drawn.get(entry.name, {}),
                    full=self._full,
                )
                for entry in wanted
            ]
            for task in tasks:
                shards.append(task.result())
                self.progress.advance()
        self.progress.end()
        return shards

    def _is_whole(self, entry: ShardEntry) -> bool:
        found = self._listing.get(entry.name)
        return found is not None and found.size == entry.bytes

    def evidence(
        self,
        shards: Sequence[ShardFacts],
        findings: SampleFindings,
        images_uri: str | None,
        published_uri: str | None,
        no_base: str,
    ) -> Evidence:
        plan = _read_plan(self._store)
        limited = plan is not None and plan.sample_below is not None
        against = None
        if published_uri is not None:
            against, no_base = read_base(published_uri, self._store.uri, limited=limited)
        return Evidence(
            manifest=self._manifest,
            plan=plan,
            settings=self._settings,
            listing=self._listing,
            shards=shards,
            rejects=read_rejects(self._store),
            facts=read_facts(self._store),
            labels_txt=_read_labels(self._store),
            sample=findings.sampled,
            whole=findings.whole,
            reader=findings.reader,
            reader_crash=findings.crash,
            full_scan=self._full,
            images_uri=images_uri,
            against=against,
            no_base=no_base,
        )


def _read_manifest(store: Store) -> tuple[Manifest, str]:
    where = f"{store.uri}/{MANIFEST}"
    try:
        data = store.read(MANIFEST)
    except MissingObject as error:
        if next(store.list(), None) is None:
            raise CallerError(f"{store.uri} has nothing in it; name the folder of a version") from error
        raise UnusableData(f"{where} is not there: the conversion did not finish; run the refresh again") from error
    try:
        return parse_manifest(data, where=where), hashlib.sha256(data).hexdigest()
    except UnusableData as error:
        raise UnusableData(
            f"{error}\nThe version is damaged: restore it from a backup, or roll back if it is the published one and "
            "run the refresh with --force"
        ) from error


def _read_plan(store: Store) -> ConversionPlan | None:
    try:
        return parse_plan(store.read(PLAN), where=f"{store.uri}/{PLAN}")
    except (MissingObject, UnusableData):  # a finding of `plan`
        return None


def _read_labels(store: Store) -> tuple[str, ...] | None:
    try:
        return parse_labels(store.read(LABELS), where=LABELS)
    except MissingObject:
        return None
    except ImagemillError:  # what it lists is no list of labels
        return ()


def _places(shards: Sequence[ShardEntry]) -> dict[str, tuple[int, int]]:
    """Returns each shard's number within its split, and how many the split has."""
    by_split: dict[str, list[str]] = defaultdict(list)
    for entry in shards:
        by_split[entry.split].append(entry.name)
    return {name: (number, len(names)) for names in by_split.values() for number, name in enumerate(sorted(names))}


def _report(
    evidence: Evidence,
    *,
    seed: int,
    version_uri: str,
    manifest_sha256: str,
    provenance: dict[str, str],
    seconds: float,
) -> Report:
    manifest = evidence.manifest
    read = sum(1 for sampled in evidence.sample if sampled.found is not None)
    return Report(
        dataset=manifest.dataset,
        version=version_uri.rstrip("/").rpartition("/")[2],
        version_uri=version_uri,
        fingerprint=manifest.fingerprint,
        manifest_sha256=manifest_sha256,
        checks=tuple(check.run(evidence) for check in CHECKS),
        sample=SampleFacts(
            records=read,
            population=manifest.records,
            seed=seed,
            reader=evidence.reader,
            confidence=confidence(population=manifest.records, sample=read),
            sizes=_sizes(evidence),
        ),
        accounts=tuple(AccountRow.model_validate(account.model_dump()) for account in manifest.accounts),
        label_counts=_label_counts(manifest),
        rejects=_rejects(evidence),
        images=evidence.facts.images if evidence.facts else None,
        base=_base(evidence),
        total_bytes=sum(entry.bytes for entry in manifest.entries),
        provenance=provenance,
        seconds=round(seconds, 3),
    )


def _sizes(evidence: Evidence) -> tuple[tuple[int, int, int], ...]:
    sizes = Counter(sampled.found.stated_size for sampled in evidence.sample if sampled.found is not None)
    return tuple((width, height, count) for (height, width), count in sizes.most_common(SIZES_KEPT) if height and width)


def _label_counts(manifest: Manifest) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {name: Counter() for name in manifest.labels}
    for shard in manifest.shards:
        for label, count in shard.labels.items():
            if 0 <= label < len(manifest.labels):
                counts[manifest.labels[label]][shard.split] += count
    return {name: dict(sorted(by_split.items())) for name, by_split in counts.items()}


def _base(evidence: Evidence) -> Base | None:
    if evidence.against is None:
        return None
    counts = {name: sum(by_split.values()) for name, by_split in _label_counts(evidence.against.manifest).items()}
    return Base(version=evidence.against.version, label_counts=counts, diff=evidence.against.diff)


def _rejects(evidence: Evidence) -> tuple[RejectGroup, ...]:
    counts = Counter(evidence.manifest.reject_reasons)
    examples = evidence.rejects.examples if evidence.rejects else {}
    return tuple(
        RejectGroup(reason=reason, count=count, examples=tuple(examples.get(reason, ())))
        for reason, count in counts.most_common()
        if count
    )
