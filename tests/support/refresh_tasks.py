"""What a refresh consists of, and how its tasks end."""

TASKS = [
    "prepare_images",
    "upload_images",
    "plan_conversion",
    "convert_images",
    "validate_records",
    "approve",
    "publish",
    "prune_versions",
]
PUBLISHED = dict.fromkeys(TASKS, "success") | {"approve": "skipped"}
UNCHANGED = dict.fromkeys(TASKS[:3], "success") | dict.fromkeys(TASKS[3:], "skipped")
REHEARSED = dict.fromkeys(TASKS[:5], "success") | dict.fromkeys(TASKS[5:], "skipped")
