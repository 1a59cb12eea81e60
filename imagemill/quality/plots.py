"""The numbers behind the page's drawings: bars and dots in the coordinates of their SVG."""

from __future__ import annotations

import math
from typing import NamedTuple

from imagemill.quality.report import Report

LABELS_SHOWN = 100
"""Labels drawn in the histogram; the page says how many more there are."""

_SPLIT_COLOURS = 6
"""Colours the page has for splits; further splits repeat them."""


class Dot(NamedTuple):
    """Sampled images of one size, in a square of 100 by 100 whose origin is at the bottom left."""

    x: float
    y: float
    radius: float
    width: int
    height: int
    images: int


def histogram(report: Report) -> dict[str, object]:
    """Returns bars in percent of the longest: by label in the order of the ids, parted by split."""
    shown = list(report.label_counts.items())[:LABELS_SHOWN]
    before = report.base.label_counts if report.base else {}
    splits = sorted({split for counts in report.label_counts.values() for split in counts})
    totals = [max(sum(counts.values()), before.get(label, 0)) for label, counts in shown]
    longest = max(totals, default=0) or 1
    bars = []
    for label, counts in shown:
        start, parts = 0.0, []
        for number, split in enumerate(splits):
            width = 100 * counts.get(split, 0) / longest
            parts.append(
                {
                    "split": split,
                    "count": counts.get(split, 0),
                    "x": round(start, 3),
                    "width": round(width, 3),
                    "colour": number % _SPLIT_COLOURS,
                }
            )
            start += width
        was = before.get(label, 0)
        bars.append(
            {
                "label": label,
                "total": sum(counts.values()),
                "parts": parts,
                "was": was,
                "mark": round(min(99.4, 100 * was / longest), 3) if report.base else None,
            }
        )
    legend = [{"split": split, "colour": number % _SPLIT_COLOURS} for number, split in enumerate(splits)]
    return {"bars": bars, "legend": legend}


def size_dots(report: Report) -> tuple[list[Dot], int]:
    """Returns the sampled images by width and height, and the pixels that the axes reach to."""
    sizes = report.sample.sizes if report.sample else ()
    reach = max((max(width, height) for width, height, _ in sizes), default=0)
    if not reach:
        return [], 0
    most = max(count for _, _, count in sizes)
    return [
        Dot(
            x=round(100 * width / reach, 2),
            y=round(100 - 100 * height / reach, 2),
            radius=round(1 + 3 * math.sqrt(count / most), 2),
            width=width,
            height=height,
            images=count,
        )
        for width, height, count in sizes
    ], reach


def shares(counts: dict[str, int]) -> list[dict[str, object]]:
    """Returns bars in percent of all, the largest first."""
    total = sum(counts.values()) or 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return [{"name": name, "count": count, "width": round(100 * count / total, 2)} for name, count in ranked]
