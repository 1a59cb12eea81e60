"""The steps of a refresh as plain functions. The CLI and Airflow's tasks call these, and nothing beneath them.

Each returns a small value that survives JSON; each can be repeated without harm.
"""

from imagemill.steps.planning import plan_conversion
from imagemill.steps.publication import prune_versions, publish
from imagemill.steps.results import Inputs, Planned, Published, Validated
from imagemill.steps.staging import inputs, prepare_images, tree_folder, upload_images
from imagemill.steps.validation import validate_records, write_descriptions

__all__ = [
    "Inputs",
    "Planned",
    "Published",
    "Validated",
    "inputs",
    "plan_conversion",
    "prepare_images",
    "prune_versions",
    "publish",
    "tree_folder",
    "upload_images",
    "validate_records",
    "write_descriptions",
]
