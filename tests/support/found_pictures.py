"""Pictures that nobody here made: what the installed packages carry, a folder per package."""

from __future__ import annotations

import sysconfig
from pathlib import Path


def copy_found_pictures(root: Path, *, most: int = 200) -> int:
    """Copies up to `most` PNG and JPEG files, no two alike, below `root/<package>/`, and returns how many there are."""
    packages = Path(sysconfig.get_path("purelib"))
    found = sorted(path for ending in ("png", "jpg", "jpeg") for path in packages.rglob(f"*.{ending}"))
    seen: set[bytes] = set()
    for path in found:
        data = path.read_bytes()
        if data in seen or len(seen) == most:
            continue
        seen.add(data)
        target = root / path.relative_to(packages)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return len(seen)
