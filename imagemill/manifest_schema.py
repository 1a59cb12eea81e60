"""Prints the manifest's JSON Schema: `python -m imagemill.manifest_schema > docs/manifest.schema.json`."""

import json

from imagemill.manifest import manifest_schema

if __name__ == "__main__":
    print(json.dumps(manifest_schema(), indent=1))
