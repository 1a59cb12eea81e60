"""The spec: the YAML file that describes one dataset. `imagemill.spec.file` reads it and explains its faults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from imagemill.limits import MAX_SHARDS
from imagemill.spec.alerts import Alerts
from imagemill.spec.contradictions import Contradiction, contradictions, refuse
from imagemill.spec.cron import cron_problem
from imagemill.spec.dataflow import Dataflow
from imagemill.spec.location import check_location
from imagemill.spec.part import Fraction, SpecPart
from imagemill.spec.validation import Validation

NAME_PATTERN = "^[a-z][a-z0-9_]{0,62}$"
"""A dataset's name: also TFDS's rule for builder names, and safe in object keys, DAG ids and job names."""

SPLIT_PATTERN = "^[a-z][a-z0-9_]{0,31}$"
SHA256_PATTERN = "^[0-9a-f]{64}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
SplitName = Annotated[str, Field(pattern=SPLIT_PATTERN)]


def _located(schemes: tuple[str, ...], place: str, info: ValidationInfo) -> str:
    """Checks a location; a relative path starts at the validation context's `folder`, if there is one."""
    check_location(place, schemes=schemes)
    folder = (info.context or {}).get("folder")
    if "://" in place or folder is None:
        return place
    try:
        path = Path(place).expanduser()
    except RuntimeError:  # `~nobody/…`
        user = place.partition("/")[0]
        refuse([Contradiction((), f"`{user}` is nobody's home folder here.", "Write the path in full.")])
    # Lexically: `..` of a linked folder means what the author sees, not where the link leads.
    return os.path.normpath(Path(folder) / path)


Location = Annotated[str, AfterValidator(partial(_located, ("gs", "s3", "az", "file")))]
"""A URI (`gs://bucket/prefix`, `file:///path`) or a path; from a spec file, relative paths start at its folder."""
Download = Annotated[str, AfterValidator(partial(_located, ("gs", "s3", "az", "file", "https", "http")))]
LocalFolder = Annotated[str, AfterValidator(partial(_located, ()))]


def _schedule(expression: str) -> str:
    if problem := cron_problem(expression):
        refuse([Contradiction((), problem, 'Write for example "0 3 * * *" (3:00 every day) or "@daily", in quotes.')])
    return expression


def _asset_name(name: str) -> str:
    if not name.strip() or name != name.strip():
        fix = "Write the name of a dataset, or the name or URI of an Airflow asset."
        refuse([Contradiction((), f"`{name}` is no asset.", fix)])
    return name


class CifarSource(SpecPart):
    """A CIFAR-10 or CIFAR-100 archive in its published `.tar.gz` layout."""

    type: Literal["cifar"]
    archive: Download
    """Path, object-store URI or https URL of the archive; `#sha256=…` at the end of a URL pins its checksum."""
    sha256: str | None = Field(None, pattern=SHA256_PATTERN)
    """Expected checksum of the archive; required, here or in the URL, for an https URL."""
    variant: Literal["cifar10", "cifar100"] = "cifar10"
    """Which of the two layouts the archive has."""
    label: Literal["fine", "coarse"] = "fine"
    """Which of CIFAR-100's two labels becomes the class."""

    @model_validator(mode="before")
    @classmethod
    def _split_fragment(cls, data: Any) -> Any:
        """Moves a URL's `#sha256=…` to `sha256`: an archive given in place of the URL so loses its checksum too."""
        if not isinstance(data, dict) or not isinstance(archive := data.get("archive"), str):
            return data
        url, marker, checksum = archive.partition("#sha256=")
        if not marker or "://" not in url:
            return data
        pinned = data.get("sha256")
        if pinned not in (None, checksum):
            problem = f"The URL pins the checksum {checksum}, and `sha256` says {pinned}."
            refuse([Contradiction(("source", "sha256"), problem, "Keep one of them.")])
        return {**data, "archive": url, "sha256": checksum}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[Contradiction]:
        if self.archive.startswith(("https:", "http:")) and self.sha256 is None:
            yield Contradiction(
                ("source", "archive"),
                "An archive fetched from the web needs a checksum, so that nobody can swap it.",
                "Append its published one to the URL: `#sha256=…`.",
            )
        if self.label == "coarse" and self.variant == "cifar10":
            yield Contradiction(
                ("source", "label"),
                "CIFAR-10 has no coarse labels.",
                "Drop `label`, or use `variant: cifar100`.",
            )


class FolderSource(SpecPart):
    """A folder per class: `<root>/<label>/…/<image>`, or `<root>/<split>/<label>/…/<image>` with `layout: split`."""

    type: Literal["folder"]
    root: LocalFolder
    """Local folder."""
    layout: Literal["label", "split"] = "label"
    """`label`: the first folder is the label; `split`: the first is the split, the second the label."""
    symlinks: Literal["skip", "follow"] = "skip"
    """What to do with symbolic links; `follow` admits only targets inside `root`."""
    extensions: tuple[str, ...] = ("png", "jpg", "jpeg", "gif", "bmp", "webp")
    """File name endings (any case) that make a file an input row; others are skipped and counted."""


class IndexSource(SpecPart):
    """A CSV of `{filename},{label}[,{split}[,{group}]]`, with or without a header."""

    type: Literal["index"]
    index: Location
    """Path or URI of the CSV."""
    images: Location | None = None
    """Folder or prefix the filenames are relative to; by default the CSV's own folder."""


class ShapesSource(SpecPart):
    """Coloured shapes, drawn here: a small archive in CIFAR-10's layout, for demos and tests."""

    type: Literal["shapes"]
    train: int = Field(600, ge=10, le=1_000_000)
    """Images in the train split."""
    test: int = Field(120, ge=10, le=1_000_000)
    """Images in the test split."""
    seed: int = 0
    """What the drawing starts from; another seed draws other pictures."""


Source = Annotated[CifarSource | FolderSource | IndexSource | ShapesSource, Field(discriminator="type")]


class Splits(SpecPart):
    """Which splits there are, and who decides."""

    names: tuple[SplitName, ...] = ()
    """Splits that the source's rows may name."""
    fractions: dict[SplitName, Fraction] = Field(default_factory=dict)
    """Shares for rows that name none, by hash of group or key; they sum to 1."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[Contradiction]:
        if not self.names and not self.fractions:
            yield Contradiction(
                ("splits",), "There is no split at all.", "Give `fractions: {train: 1.0}` or `names: [train]`."
            )
        total = sum(self.fractions.values())
        if self.fractions and abs(total - 1) > 1e-9:
            yield Contradiction(("splits", "fractions"), f"The fractions sum to {total:g}.", "Make them sum to 1.")
        for position, name in enumerate(self.names):
            if name in self.names[:position]:
                yield Contradiction(
                    ("splits", "names", position), f"The split `{name}` is here twice.", "Name each once."
                )


class Labels(SpecPart):
    """The classes. Without `names`, ids come from the source or, for textual labels, in append-only order."""

    names: tuple[str, ...] = ()
    """Class names; the position is the id. A row with another label becomes a reject."""


class Locations(SpecPart):
    """URIs (`gs://bucket/prefix`, `file:///path`) or paths; relative paths start at the spec's folder."""

    staging: Location
    """Prefix that mirrors the prepared tree."""
    output: Location
    """Folder of the dataset: `CURRENT` and `versions/`."""
    work: LocalFolder = "${IMAGEMILL_HOME}/work"
    """Local folder for downloads and prepared trees; it may be emptied at any time between runs."""


class Shards(SpecPart):
    """What the shard counts aim at; counts stay the same between versions until the size drifts by 2x."""

    target_bytes: int = Field(128 << 20, gt=0)
    """Preferred bytes in one shard."""
    target_records: int = Field(10_000, gt=0)
    """Preferred records in one shard, so that small images still spread over the workers."""
    count: dict[SplitName, Annotated[int, Field(ge=1, le=MAX_SHARDS)]] = Field(default_factory=dict)
    """Fixed counts by split, instead of the targets. Where the images are too few, so that a shard would be empty, the
    targets decide after all."""


class Conversion(SpecPart):
    """How images become TFRecords."""

    runner: Literal["local", "prism", "flink", "portable", "dataflow"] = "local"
    """Where the Beam job runs; `local` is Beam's in-process runner."""
    runner_options: dict[str, str | int | float | bool | list[str]] = Field(default_factory=dict)
    """Beam pipeline options of the runner, passed on as they are."""
    dataflow: Dataflow = Dataflow()
    """Google Cloud Dataflow: project, region, machines."""
    shards: Shards = Shards()
    """How many files a version has."""
    formats: tuple[Literal["png", "jpeg", "gif", "bmp", "webp"], ...] = Field(("png", "jpeg"), min_length=1)
    """Image formats that may become records, recognised by content. All but `webp` are read by TensorFlow's
    `tf.io.decode_image`; `webp` needs `tf.io.decode_webp`, so a training job must be written for it."""
    verification: Literal["header", "decode"] = "header"
    """`header` reads structure and checksums, `decode` every pixel."""
    max_image_bytes: int = Field(64 << 20, gt=0)
    """Larger files become rejects, before they are read."""
    max_image_pixels: int = Field(100_000_000, gt=0)
    """Images of more pixels (width times height) become rejects, from their header."""
    compression: Literal["", "gzip"] = ""
    """TFRecord compression. Compressed shards cannot be read at random."""


class Retention(SpecPart):
    """What `prune` leaves."""

    keep: int = Field(5, ge=1)
    """Versions kept, of those that were published, the last ones. The published one always stays, and so does what is
    newer, but for candidates that nobody published in 30 days."""
    min_age_days: float = Field(7.0, ge=0)
    """No version younger than this goes: a training job may have begun with it."""
    grace_hours: float = Field(24.0, ge=0)
    """What goes is marked first and removed after this time, by the next prune, so that readers lose no shard."""


class About(SpecPart):
    """What others should know; it goes into each version's dataset card and `croissant.json`."""

    license: str = ""
    """License of the images, as its URL or SPDX name."""
    citation: str = ""
    """How to cite the dataset."""
    homepage: str = ""
    """URL where the dataset is described."""
    creator: str = ""
    """Who made it."""


class DatasetSpec(SpecPart):
    """One dataset: where its images come from, what they become, and when that is good enough."""

    name: Name
    """Lower-case letters, digits and underscores. Also the file's name, and the DAG's: `refresh_<name>`."""
    description: str = ""
    """Markdown, shown in Airflow and in each version's dataset card."""
    about: About = About()
    """License, citation and the like."""
    source: Source
    """Where the labelled images come from."""
    splits: Splits = Splits(fractions={"train": 1.0})
    """By default everything is `train`."""
    labels: Labels = Labels()
    """By default whatever labels the source has."""
    locations: Locations
    """Where things are kept."""
    schedule: Annotated[str, AfterValidator(_schedule)] | None = None
    """Cron expression or Airflow preset (`@daily`), in UTC. Missed times are not made up for. Without `schedule` and
    `after`, runs are triggered by hand."""
    after: tuple[Annotated[str, AfterValidator(_asset_name)], ...] = ()
    """Assets whose update starts a run, whichever comes first: names of other datasets, or names or URIs of assets that
    other DAGs update. It may stand beside `schedule`."""
    conversion: Conversion = Conversion()
    """How the Beam job works."""
    validation: Validation = Validation()
    """What is checked before training sees a version."""
    retention: Retention = Retention()
    """How long old versions stay."""
    alerts: Alerts = Alerts()
    """Who is told of what."""
    approval: Literal["none", "required"] = "none"
    """`required` puts a person between validation and publishing; the trigger form can ask for it, too."""
    approval_hours: float = Field(168.0, gt=0, le=8760)
    """How long an approver may take. Then the run fails, and the version stays a candidate."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(contradictions(self))
        return self
