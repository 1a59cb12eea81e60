"""What a spec may not say: settings that are each valid and together cannot work."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from imagemill.rows import UNASSIGNED

if TYPE_CHECKING:
    from imagemill.spec import DatasetSpec

_CLOUD_OPTIONS = {
    "project": "the Google Cloud project that runs the job",
    "region": "where it runs, such as europe-west1",
    "temp_location": "a gs:// prefix for the job's temporary files",
}

_JOB_SERVER = ("job_endpoint", "the job server's address", "host:8099")
_RUNNER_NEEDS = {
    "flink": _JOB_SERVER,
    "portable": _JOB_SERVER,
    # Beam would download it.
    "prism": ("prism_location", "the path of Prism's binary", "/usr/local/bin/prism"),
}

BEAM_OPTIONS = {
    "project": "project",
    "region": "region",
    "temp_location": "temp_location",
    "staging_location": "staging_location",
    "worker_zone": "zone",
    "service_account_email": "service_account",
    "impersonate_service_account": "impersonate",
    "network": "network",
    "subnetwork": "subnetwork",
    "no_use_public_ips": "public_ips",
    "use_public_ips": "public_ips",
    "machine_type": "machine_type",
    "worker_machine_type": "machine_type",
    "disk_size_gb": "disk_gb",
    "num_workers": "num_workers",
    "max_num_workers": "max_num_workers",
    "autoscaling_algorithm": "autoscaling",
    "labels": "labels",
    "sdk_container_image": "worker_image",
    "extra_package": "worker_wheel",
    "extra_packages": "worker_wheel",
    "experiments": "experiments",
    "dataflow_service_options": "service_options",
    "dataflow_endpoint": "endpoint",
}
"""The spec's key in `conversion.dataflow` for each of Beam's options that has one."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One contradiction.

    Attributes:
        key: Keys from the top of the spec to the value to look at; empty for the value being validated.
        problem: What does not fit, naming the values.
        fix: What to do about it.
    """

    key: tuple[str | int, ...]
    problem: str
    fix: str


class ContradictionError(ValueError):
    """Contradictions found while a model is validated; `imagemill.spec.file` shows each at its line."""

    def __init__(self, contradictions: Iterable[Contradiction]) -> None:
        self.contradictions = tuple(contradictions)
        super().__init__(" ".join(f"{each.problem} {each.fix}" for each in self.contradictions))


def refuse(contradictions: Iterable[Contradiction]) -> None:
    """Raises `ContradictionError` if there are any."""
    if found := tuple(contradictions):
        raise ContradictionError(found)


def contradictions(spec: DatasetSpec, *, sound: Iterable[str] | None = None) -> Iterator[Contradiction]:
    """Yields what contradicts what.

    Args:
        spec: The spec; only what is `sound` need be there.
        sound: What is valid in itself, such as `labels` or `conversion.runner`; by default all. A check runs if
            everything that it reads is among it.
    """
    given = None if sound is None else set(sound)
    for needs, check in _CHECKS:
        if given is None or needs <= given:
            yield from check(spec)


def _splits_of_the_source(spec: DatasetSpec) -> Iterator[Contradiction]:
    source, splits = spec.source, spec.splits
    named = ", ".join(splits.names) or "none"
    if source.type in ("cifar", "shapes") and not {"train", "test"} <= set(splits.names):
        yield Contradiction(
            ("splits", "names"),
            f"The rows of a `{source.type}` source name the splits train and test, but `splits.names` has {named}.",
            "Write `splits: {names: [train, test]}`.",
        )
    if source.type == "folder" and source.layout == "split" and not splits.names:
        yield Contradiction(
            ("splits", "names"),
            "With `layout: split` the first folder names the split, but `splits.names` has none.",
            "List the folders that are splits: `splits: {names: [train, test]}`.",
        )
    if source.type == "folder" and source.layout == "label" and not splits.fractions:
        yield Contradiction(
            ("splits", "fractions"),
            "With `layout: label` no image names a split, and there are no `splits.fractions` to decide.",
            "Give `fractions: {train: 0.9, test: 0.1}`, or use `layout: split`.",
        )


def _fixed_counts(spec: DatasetSpec) -> Iterator[Contradiction]:
    known = list(dict.fromkeys([*spec.splits.names, *spec.splits.fractions]))
    for split in spec.conversion.shards.count:
        if split not in known:
            yield Contradiction(
                ("conversion", "shards", "count", split),
                f"`shards.count` fixes the split `{split}`, which does not exist.",
                f"The splits are {', '.join(known)}.",
            )


def _label_names(spec: DatasetSpec) -> Iterator[Contradiction]:
    seen: dict[str, int] = {}
    for position, name in enumerate(spec.labels.names):
        key = ("labels", "names", position)
        if name in seen:
            problem = f"The label `{name}` is here twice, as id {seen[name]} and id {position}."
            yield Contradiction(key, problem, "Name each class once.")
        seen.setdefault(name, position)
        if not name.strip() or not name.isprintable() or name == UNASSIGNED:
            yield Contradiction(key, f"{name!r} cannot be a label.", "Use one line of visible text.")
        elif name.isascii() and name.isdigit() and name != str(position):
            yield Contradiction(
                key,
                f"A row that says `{name}` could mean the label `{name}` (id {position}) or the id {name}.",
                f'Put the label at the position of its number, or give it a word, such as "class {name}".',
            )


def _after_others(spec: DatasetSpec) -> Iterator[Contradiction]:
    for position, name in enumerate(spec.after):
        if name == spec.name:
            problem = f"`{name}` would start itself over and over: it is its own publication that updates `{name}`."
            yield Contradiction(("after", position), problem, "Name another asset.")


def _places(spec: DatasetSpec) -> Iterator[Contradiction]:
    places = {
        ("locations", "staging"): spec.locations.staging,
        ("locations", "output"): spec.locations.output,
        ("locations", "work"): spec.locations.work,
    }
    for (one, first), (two, second) in combinations(places.items(), 2):
        if how := _overlap(first, second):
            yield Contradiction(
                two,
                f"`{two[-1]}` ({second}) {how} `{one[-1]}` ({first}); each would delete the other's files.",
                "Give them separate folders.",
            )


def _source_apart(spec: DatasetSpec) -> Iterator[Contradiction]:
    if spec.source.type != "folder":
        return
    for name in ("staging", "output", "work"):
        place = getattr(spec.locations, name)
        if how := _overlap(spec.source.root, place):
            yield Contradiction(
                ("locations", name),
                f"`{name}` ({place}) {how} the source's `root` ({spec.source.root}); your images would be overwritten, "
                "or copies of them taken for new images.",
                "Put it elsewhere.",
            )


def _overlap(first: str, second: str) -> str | None:
    """Returns how `second` lies to `first`: is it, is inside it, contains it; or None if they are apart."""
    one, two = (_canonical(place) for place in (first, second))
    if one == two:
        return "is the same as"
    if two.startswith(one):
        return "is inside"
    return "contains" if one.startswith(two) else None


def _canonical(place: str) -> str:
    scheme, separator, rest = place.partition("://")
    if not separator:
        scheme, rest = "file", place
    return f"{scheme.lower()}://{posixpath.normpath(rest)}".rstrip("/") + "/"


def _runner_needs(spec: DatasetSpec) -> Iterator[Contradiction]:
    conversion = spec.conversion
    options, runner = conversion.runner_options, conversion.runner
    at = ("conversion", "runner_options")
    for name in options:
        if name.startswith("-"):
            plain = name.lstrip("-")
            yield Contradiction((*at, name), f"`{name}` has dashes.", f"Write the bare name: `{plain}`.")
        elif name == "runner":
            yield Contradiction((*at, name), "The runner is set twice.", "Set it in `conversion.runner` only.")
    if runner in _RUNNER_NEEDS:
        name, meaning, example = _RUNNER_NEEDS[runner]
        if not options.get(name):
            problem = f"`runner: {runner}` needs {meaning}."
            yield Contradiction(at, problem, f"Add `{name}: {example}` to `runner_options`.")


def _dataflow_needs(spec: DatasetSpec) -> Iterator[Contradiction]:
    conversion, at = spec.conversion, ("conversion", "dataflow")
    if conversion.runner != "dataflow":
        return
    for name, meaning in _CLOUD_OPTIONS.items():
        if not getattr(conversion.dataflow, name):
            yield Contradiction(at, f"`runner: dataflow` needs `{name}`.", f"Add `{name}: …`, {meaning}.")
    for name in conversion.runner_options:
        if key := BEAM_OPTIONS.get(name):
            problem = f"`{name}` has a key of its own for Dataflow, where it is checked."
            yield Contradiction(
                ("conversion", "runner_options", name), problem, f"Write it as `dataflow: {{{key}: …}}`."
            )


def _cloud_places(spec: DatasetSpec) -> Iterator[Contradiction]:
    if spec.conversion.runner != "dataflow":
        return
    for name in ("staging", "output"):
        place = getattr(spec.locations, name)
        if not place.startswith("gs://"):
            yield Contradiction(
                ("locations", name),
                f"`runner: dataflow` works in the cloud and cannot reach `{name}` at {place}.",
                f"Set `{name}: gs://bucket/prefix`, or choose another runner.",
            )


def _sides_and_pixels(spec: DatasetSpec) -> Iterator[Contradiction]:
    least, most = spec.validation.min_side, spec.conversion.max_image_pixels
    if least * least > most:
        yield Contradiction(
            ("validation", "min_side"),
            f"An image with sides of {least} pixels has {least * least} of them, and more than {most} are rejected by "
            "`conversion.max_image_pixels`: no image can pass.",
            "Lower `min_side`, or raise `max_image_pixels`.",
        )


_Check = Callable[["DatasetSpec"], Iterator[Contradiction]]
_CHECKS: tuple[tuple[set[str], _Check], ...] = (
    ({"source", "splits"}, _splits_of_the_source),
    ({"splits", "conversion.shards"}, _fixed_counts),
    ({"labels"}, _label_names),
    ({"name", "after"}, _after_others),
    ({"locations"}, _places),
    ({"source", "locations"}, _source_apart),
    ({"conversion.runner", "conversion.runner_options"}, _runner_needs),
    ({"conversion.runner", "conversion.runner_options", "conversion.dataflow"}, _dataflow_needs),
    ({"conversion.runner", "locations"}, _cloud_places),
    ({"conversion.max_image_pixels", "validation"}, _sides_and_pixels),
)
