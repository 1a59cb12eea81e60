"""Which places a spec may name: URIs of the stores, and paths."""

from __future__ import annotations

import re

from imagemill.spec.contradictions import Contradiction, refuse

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://.")
_STORES = ("gs", "s3", "az", "file")
_SLASH_TYPO = re.compile(r"(gs|s3|az|file|https?):", re.IGNORECASE)


def check_location(place: str, *, schemes: tuple[str, ...] = _STORES) -> None:
    """Refuses a location that is empty, misspelt, or of a scheme that nothing here can open.

    Args:
        place: URI or path.
        schemes: URI schemes that fit; none for a place that must be a local path.

    Raises:
        ContradictionError: It does not fit.
    """
    fits = " or ".join([*(f"`{scheme}://…`" for scheme in schemes), "a path"])
    if not place.strip() or "\0" in place:
        refuse([Contradiction((), "This location is empty.", f"Give {fits}.")])
    if uri := _URI.match(place):
        if uri.group(1) not in schemes:
            wanted = "" if schemes else ", and only a local folder can be used"
            refuse([Contradiction((), f"`{place}` cannot be used here{wanted}.", f"Give {fits}.")])
    elif typo := _SLASH_TYPO.match(place):
        refuse(
            [
                Contradiction(
                    (), f"`{place}` is neither a URI nor a path.", f"Write `{typo.group(1).lower()}://bucket/prefix`."
                )
            ]
        )
