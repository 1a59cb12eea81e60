"""The rejects of a version as an index of their own, to be converted again once their images are mended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagemill.errors import CallerError, UnusableData
from imagemill.index import HEADER
from imagemill.labels import LABELS
from imagemill.plan import PLAN, ConversionPlan, parse_plan
from imagemill.storage import MissingObject, ObjectWriter, join, open_store
from imagemill.storage.object_file import open_object
from imagemill.version.files import REJECTS, parse_reject


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a second conversion of rejects starts from.

    Attributes:
        plan: How the version was made, so that rows keep their splits.
        index: URI of the rejected rows.
        labels: URI of the version's labels, so that they keep their ids.
    """

    plan: ConversionPlan
    index: str
    labels: str


def replay_rejects(version_uri: str, *, output: str) -> Replay:
    """Writes the rejected rows of a version to `<output>/rejects-of-<version>.csv`, as they stood in its index.

    Args:
        version_uri: The version's folder.
        output: Folder of the dataset that the new records go to; not the version's own.

    Raises:
        CallerError: It is no version, it has no rejects, or the output is the version's own dataset.
        UnusableData: Its `rejects.jsonl` is damaged.
    """
    version = open_store(version_uri)
    plan = _plan(version_uri)
    # The labels and the shard counts of what is published there would be carried on, and a good version replaced.
    if version.uri.startswith(f"{output.rstrip('/')}/"):
        raise CallerError(f"{output} holds the version itself; give the rejects an output of their own")
    name = f"rejects-of-{plan.version}.csv"
    try:
        with open_object(version, REJECTS) as lines, open_store(output).writer(name) as index:
            # Without a header, a row such as `path,class` would be taken for one.
            index.write(f"{HEADER}\n".encode())
            if not _copy_rows(lines, index, where=f"{version_uri}/{REJECTS}"):
                raise CallerError(f"{version_uri} has no rejects: there is nothing to convert again")
    except MissingObject as error:
        raise CallerError(f"{version_uri} is not a whole version: it has no {REJECTS}") from error
    return Replay(plan=plan, index=join(output, name), labels=join(version_uri, LABELS))


def _copy_rows(lines: Iterable[bytes], index: ObjectWriter, *, where: str) -> int:
    rows = 0
    for rows, line in enumerate(lines, start=1):
        rejected = parse_reject(line)
        if rejected is None:
            raise UnusableData(f"{where}: line {rows} is no reject; the file is damaged, convert the version again")
        index.write(rejected.row.encode(errors="surrogateescape") + b"\n")
    return rows


def _plan(version_uri: str) -> ConversionPlan:
    where = join(version_uri, PLAN)
    try:
        return parse_plan(open_store(version_uri).read(PLAN), where=where)
    except MissingObject as error:
        raise CallerError(f"{version_uri} is no version: it has no {PLAN}; give the URI of a version") from error
