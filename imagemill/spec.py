"""The spec: the YAML file that describes one dataset. `imagemill.spec_file` reads it and explains its faults."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME_PATTERN = "^[a-z][a-z0-9_]{0,62}$"
"""A dataset's name: also TFDS's rule for builder names, and safe in object keys, DAG ids and job names."""

SPLIT_PATTERN = "^[a-z][a-z0-9_]{0,31}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
SplitName = Annotated[str, Field(pattern=SPLIT_PATTERN)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CifarSource(_Part):
    """A CIFAR-10 or CIFAR-100 archive in its published `.tar.gz` layout."""

    type: Literal["cifar"]
    archive: str
    """Local path, object-store URI or https URL of the archive."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """Pinned checksum of the archive; required for an https URL."""
    variant: Literal["cifar10", "cifar100"] = "cifar10"
    label: Literal["fine", "coarse"] = "fine"
    """Which of CIFAR-100's two labels becomes the class."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.archive.startswith("http") and self.sha256 is None:
            raise ValueError("an archive fetched by URL needs `sha256`; add its published checksum")
        if self.label == "coarse" and self.variant == "cifar10":
            raise ValueError("CIFAR-10 has no coarse labels; drop `label` or use `variant: cifar100`")
        return self


class FolderSource(_Part):
    """A folder per class: `<root>/<label>/…/<image>`, or `<root>/<split>/<label>/…/<image>` with `layout: split`."""

    type: Literal["folder"]
    root: str
    """Local folder."""
    layout: Literal["label", "split"] = "label"
    """`label`: the first folder is the label; `split`: the first is the split, the second the label."""
    symlinks: Literal["skip", "follow"] = "skip"
    """What to do with symbolic links; `follow` admits only targets inside `root`."""
    extensions: tuple[str, ...] = ("png", "jpg", "jpeg", "gif", "bmp", "webp")
    """File name endings (any case) that make a file an input row; others are skipped and counted."""


class IndexSource(_Part):
    """A CSV of `{filename},{label}[,{split}[,{group}]]`, with or without a header."""

    type: Literal["index"]
    index: str
    """Path or URI of the CSV."""
    images: str | None = None
    """Folder or prefix the filenames are relative to; by default the CSV's own folder."""


class ShapesSource(_Part):
    """Coloured shapes, drawn here: a small archive in CIFAR-10's layout, for demos and tests."""

    type: Literal["shapes"]
    train: int = Field(600, ge=10, le=1_000_000)
    """Images in the train split."""
    test: int = Field(120, ge=10, le=1_000_000)
    """Images in the test split."""
    seed: int = 0


Source = Annotated[CifarSource | FolderSource | IndexSource | ShapesSource, Field(discriminator="type")]


class Splits(_Part):
    """Which splits there are, and who decides."""

    names: tuple[SplitName, ...] = ()
    """Splits that the source's rows may name."""
    fractions: dict[SplitName, Fraction] = Field(default_factory=dict)
    """Shares for rows that name none, by hash of group or key; they sum to 1."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.names and not self.fractions:
            raise ValueError("no split at all; give `fractions: {train: 1.0}` or `names: [train]`")
        if self.fractions and abs(sum(self.fractions.values()) - 1) > 1e-9:
            raise ValueError(f"fractions sum to {sum(self.fractions.values()):g}; make them sum to 1")
        if len(set(self.names)) != len(self.names):
            raise ValueError("`names` repeats a split; name each once")
        return self


class Labels(_Part):
    """The classes. Without `names`, ids come from the source or, for textual labels, in append-only order."""

    names: tuple[str, ...] = ()
    """Class names; the position is the id. A row with another label becomes a reject."""


class Locations(_Part):
    """URIs (`gs://bucket/prefix`, `file:///path`) or paths; relative paths start at the spec's folder."""

    staging: str
    """Prefix that mirrors the prepared tree."""
    output: str
    """Folder of the dataset: `CURRENT` and `versions/`."""
    work: str = "${IMAGEMILL_HOME}/work"
    """Local folder for downloads and prepared trees; it may be emptied at any time between runs."""


class Shards(_Part):
    """What the shard counts aim at; counts stay the same between versions until the size drifts by 2x."""

    target_bytes: int = Field(128 << 20, gt=0)
    """Preferred bytes in one shard."""
    target_records: int = Field(10_000, gt=0)
    """Preferred records in one shard, so that small images still spread over the workers."""
    count: dict[SplitName, Annotated[int, Field(ge=1, le=100_000)]] = Field(default_factory=dict)
    """Fixed counts by split, instead of the targets."""


class Conversion(_Part):
    """How images become TFRecords."""

    runner: Literal["local", "prism", "flink", "portable", "dataflow"] = "local"
    """Where the Beam job runs; `local` is Beam's in-process runner."""
    runner_options: dict[str, str | int | float | bool | list[str]] = Field(default_factory=dict)
    """Beam pipeline options, passed on as they are."""
    shards: Shards = Shards()
    formats: tuple[Literal["png", "jpeg", "gif", "bmp", "webp"], ...] = ("png", "jpeg")
    """Image formats that may become records, recognised by content."""
    verification: Literal["header", "decode"] = "header"
    """`header` reads structure and checksums, `decode` every pixel."""
    max_image_bytes: int = Field(64 << 20, gt=0)
    max_image_pixels: int = Field(100_000_000, gt=0)
    compression: Literal["", "gzip"] = ""
    """TFRecord compression. Compressed shards cannot be read at random."""


class Validation(_Part):
    """What a version must satisfy to be published."""

    sample: int = Field(1_000, ge=1)
    """Records decoded by TensorFlow and compared with the staged images, spread over splits and labels."""
    max_rejected: Fraction = 0.0
    """Largest share of rejected rows, of all rows."""
    max_rejected_per_label: Fraction = 1.0
    """Largest share of rejected rows, of the rows of any one label."""
    min_records_per_label: int = Field(1, ge=0)
    """Fewest records any label may have, over all splits."""
    full_scan_bytes: int = Field(4 << 30, ge=0)
    """Up to this size of version, the checksum of every record is verified; above it, of the sample."""


class Retention(_Part):
    """What `prune` leaves."""

    keep: int = Field(5, ge=1)
    """Newest versions kept; the published one always is."""


class Alerts(_Part):
    """Who hears of a failure that retries did not cure."""

    email: tuple[str, ...] = ()
    smtp_conn_id: str = "smtp_default"


class DatasetSpec(_Part):
    """One dataset: where its images come from, what they become, and when that is good enough."""

    name: Name
    """Also the file's name, and the DAG's: `refresh_<name>`."""
    description: str = ""
    """Markdown, shown in Airflow and in the report."""
    source: Source
    splits: Splits = Splits(fractions={"train": 1.0})
    labels: Labels = Labels()
    locations: Locations
    schedule: str | None = None
    """Cron expression or Airflow preset (`@daily`); without one, runs are triggered by hand."""
    conversion: Conversion = Conversion()
    validation: Validation = Validation()
    retention: Retention = Retention()
    alerts: Alerts = Alerts()
    approval: Literal["none", "required"] = "none"
    """`required` puts a person between validation and publishing."""
