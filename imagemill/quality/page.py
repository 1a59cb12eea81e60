"""The report as a page: one self-contained HTML file that asks nobody for anything."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from imagemill.quality.gallery import Gallery
from imagemill.quality.plots import LABELS_SHOWN, histogram, shares, size_dots
from imagemill.quality.report import Report

TEMPLATES = Path(__file__).parent / "templates"

ACCOUNTS_SHOWN = 300
"""Lines of the accounts table; the manifest has all of them."""


def render(report: Report, gallery: Gallery | None = None) -> str:
    """Returns the page. Text of datasets is escaped: a label `<script>` is shown, not run."""
    dots, reach = size_dots(report)
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
        histogram=histogram(report),
        dots=dots,
        reach=reach,
        formats=shares(report.images.formats) if report.images else [],
        gallery=gallery.by_label if gallery else {},
        labels_hidden=max(0, len(report.label_counts) - LABELS_SHOWN),
    )


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
