"""Gathers what the checks need of the published version."""

from __future__ import annotations

from imagemill.diff.model import VersionDiff
from imagemill.errors import CallerError, UnusableData
from imagemill.manifest import MANIFEST, parse_manifest
from imagemill.quality.evidence import Against
from imagemill.storage import MissingObject, Store, open_store
from imagemill.version.facts import FACTS, Facts


def read_base(published_uri: str, version_uri: str, *, limited: bool) -> tuple[Against | None, str]:
    """Returns the published version as the checks see it, or None and why there is nothing to compare with.

    Args:
        published_uri: The published version.
        version_uri: The version that is judged.
        limited: That one holds some of the rows only, so that no comparison means anything.
    """
    if limited:
        return None, "the version holds a limited sample of the rows"
    base = open_store(published_uri)
    version = base.uri.rstrip("/").rpartition("/")[2]
    if base.uri.rstrip("/") == open_store(version_uri).uri.rstrip("/"):
        return None, "it is the published version itself"
    try:
        manifest = parse_manifest(base.read(MANIFEST), where=f"{base.uri.rstrip('/')}/{MANIFEST}")
    except (CallerError, UnusableData) as error:  # gone, damaged, or of a newer imagemill
        return None, f"the published version cannot be read: {error}"
    diff, problem = _diff(published_uri, version_uri)
    return Against(version=version, manifest=manifest, facts=read_facts(base), diff=diff, diff_problem=problem), ""


def _diff(published_uri: str, version_uri: str) -> tuple[VersionDiff | None, str]:
    from imagemill.diff.compare import diff_versions  # NumPy, which only this needs

    try:
        return diff_versions(published_uri, version_uri), ""
    except (CallerError, UnusableData) as error:  # a damaged index of this version is a finding of its own
        return None, f"the indexes could not be compared: {error}"


def read_facts(store: Store) -> Facts | None:
    """Returns a version's facts, None where they are gone or unreadable."""
    try:
        return Facts.model_validate_json(store.read(FACTS))
    except (MissingObject, ValueError):  # pydantic's ValidationError is a ValueError
        return None
