"""The report as a page: one self-contained HTML file that asks nobody for anything."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from imagemill.quality.report import Report

TEMPLATES = Path(__file__).parent / "templates"

LABELS_SHOWN = 100
"""Labels drawn in the histogram; the page says how many more there are."""

ACCOUNTS_SHOWN = 300
"""Lines of the accounts table; the manifest has all of them."""

_SPLIT_COLOURS = 6
"""Colours the page has for splits; further splits repeat them."""


def render(report: Report) -> str:
    """Returns the page. Text of datasets is escaped: a label `<script>` is shown, not run."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = "{:,}".format
    environment.filters["percent"] = _percent
    environment.filters["bytes"] = _bytes
    environment.filters["code"] = _code
    return environment.get_template("validation.html").render(
        report=report,
        totals={
            name: sum(getattr(account, name) for account in report.accounts)
            for name in ("rows", "records", "rejected", "duplicates")
        },
        accounts=report.accounts[:ACCOUNTS_SHOWN],
        histogram=_histogram(report),
        labels_hidden=max(0, len(report.label_counts) - LABELS_SHOWN),
    )


def _histogram(report: Report) -> dict[str, object]:
    """Returns bars in percent of the longest: by label in the order of the ids, parted by split."""
    shown = list(report.label_counts.items())[:LABELS_SHOWN]
    splits = sorted({split for counts in report.label_counts.values() for split in counts})
    longest = max((sum(counts.values()) for _, counts in shown), default=0) or 1
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
        bars.append({"label": label, "total": sum(counts.values()), "parts": parts})
    legend = [{"split": split, "colour": number % _SPLIT_COLOURS} for number, split in enumerate(splits)]
    return {"bars": bars, "legend": legend}


def _percent(share: float) -> str:
    """Returns a share without rounding certainty into being."""
    if 0.9999 < share < 1:
        return "more than 99.99%"
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def _code(text: str) -> Markup:
    """Returns text with its `backquoted` parts as code, everything escaped."""
    parts = [escape(part) for part in text.split("`")]
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else part  # odd parts stand between backquotes
        for number, part in enumerate(parts)
    )


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
