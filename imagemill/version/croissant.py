"""`croissant.json`: a version described for other tools, in MLCommons Croissant 1.0.

The format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html. Croissant knows no TFRecord and no index of
ours, so that the shards are described as files; what it can load is the list of the shards, out of the manifest, and
the labels and splits.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from imagemill.manifest import MANIFEST, Manifest
from imagemill.spec import DatasetSpec
from imagemill.version.ids import created_at

CROISSANT = "croissant.json"

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the format prescribes."""

_VERSION = "1.0.0"
"""Croissant wants a version of three numbers; which version of ours it is, the description says."""


def croissant(spec: DatasetSpec, *, version: str, manifest: Manifest, manifest_bytes: bytes) -> bytes:
    """Returns the bytes of `croissant.json`: the same for the same spec and version.

    Args:
        spec: What people have written about the dataset.
        version: The version's id.
        manifest: Its manifest.
        manifest_bytes: The manifest as it is stored, for its checksum.
    """
    about = {
        "license": spec.about.license,
        "citeAs": spec.about.citation,
        "url": spec.about.homepage,
        "creator": {"@type": "sc:Organization", "name": spec.about.creator} if spec.about.creator else "",
    }
    description = spec.description.strip() or f"The image dataset {spec.name}."
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": spec.name,
        "description": f"{description}\n\nVersion {version}, fingerprint {manifest.fingerprint}.",
        "version": _VERSION,
        "datePublished": created_at(version).date().isoformat(),
        **{name: value for name, value in about.items() if value},
        "distribution": [_manifest_file(manifest_bytes), *_shard_files(manifest)],
        "recordSet": [_labels(manifest), _splits(manifest), _shards()],
    }
    return json.dumps(described, indent=1, ensure_ascii=False).encode() + b"\n"


def _manifest_file(data: bytes) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": MANIFEST,
        "name": MANIFEST,
        "description": "Every shard with its records, bytes and checksum.",
        "contentUrl": MANIFEST,
        "contentSize": f"{len(data)} B",
        "encodingFormat": "application/json",
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _split_names(manifest: Manifest) -> list[str]:
    return sorted({shard.split for shard in manifest.shards})


def _shard_files(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{kind}-{split}",
            "name": f"{kind}-{split}",
            "description": text,
            "encodingFormat": "application/octet-stream",
            "includes": f"{manifest.dataset}-{split}.{part}-*",
        }
        for split in _split_names(manifest)
        for kind, part, text in (
            ("shards", "tfrecord", "TFRecord files of tf.train.Example, with ImageNet's feature keys."),
            ("indexes", "index", "For each shard, where each record is and what it holds."),
        )
    ]


def _field(record_set: str, name: str, data_type: str, json_path: str = "") -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": f"{record_set}/{name}",
        "dataType": data_type,
    }
    if json_path:
        field["source"] = {"fileObject": {"@id": MANIFEST}, "extract": {"jsonPath": json_path}}
    return field


def _labels(manifest: Manifest) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "labels",
        "name": "labels",
        "description": "The classes: what `image/class/label` and `image/class/text` of a record mean.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "labels/id"},
        "field": [_field("labels", "id", "sc:Integer"), _field("labels", "name", "sc:Text")],
        "data": [{"labels/id": label, "labels/name": name} for label, name in enumerate(manifest.labels)],
    }


def _splits(manifest: Manifest) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [_field("splits", "name", "sc:Text"), _field("splits", "records", "sc:Integer")],
        "data": [
            {
                "splits/name": split,
                "splits/records": sum(shard.records for shard in manifest.shards if shard.split == split),
            }
            for split in _split_names(manifest)
        ],
    }


def _shards() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "shards",
        "name": "shards",
        "description": "The shards and their indexes.",
        "field": [
            _field("shards", "name", "sc:Text", "$.shards[*].name"),
            _field("shards", "split", "sc:Text", "$.shards[*].split"),
            _field("shards", "records", "sc:Integer", "$.shards[*].records"),
            _field("shards", "bytes", "sc:Integer", "$.shards[*].bytes"),
            _field("shards", "crc32c", "sc:Text", "$.shards[*].crc32c"),
            _field("shards", "index", "sc:Text", "$.shards[*].index.name"),
        ],
    }
