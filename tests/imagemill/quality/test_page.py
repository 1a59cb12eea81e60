import re
from html.parser import HTMLParser

import pytest

from imagemill.quality.page import render
from imagemill.quality.report import (
    AccountRow,
    CheckResult,
    Place,
    RejectExample,
    RejectGroup,
    Report,
    SampleFacts,
    Severity,
    Verdict,
)

EVIL = "<script>alert('x')</script>"


def make_report(*, verdict=Verdict.PASSED, severity=Severity.ERROR, labels=3, **changes):
    check = CheckResult(
        name="labels",
        severity=severity,
        verdict=verdict,
        observed=EVIL,
        expected="nothing of the kind",
        advice="Set `validation.max_rejected`.",
        places=(Place(object="s", offset=12, key=EVIL, detail=EVIL),),
        faults=7,
    )
    facts = {
        "dataset": "toys",
        "version": "v",
        "version_uri": "/data/v",
        "fingerprint": "f",
        "manifest_sha256": "0",
        "checks": (check,),
        "sample": SampleFacts(records=10, population=60_000, seed=1, reader=EVIL, confidence=0.99999),
        "accounts": (AccountRow(split="train", label=EVIL, rows=1234, records=1233, rejected=1, duplicates=0),),
        "label_counts": {EVIL if n == 0 else f"label {n}": {"train": 2, "test": n} for n in range(labels)},
        "rejects": (
            RejectGroup(reason="empty", count=1, examples=(RejectExample(key=EVIL, label=EVIL, detail=EVIL),)),
        ),
        "provenance": {"index": EVIL, EVIL: ""},
    }
    return Report(**(facts | changes))


class Outline(HTMLParser):
    """Collects tags, what they refer to, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.references, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}]

    def handle_data(self, data):
        self.text += data


def test_text_of_the_dataset_is_shown_not_run():
    outline = Outline(render(make_report(verdict=Verdict.FAILED)))
    assert "script" not in outline.tags
    # observed (twice), place (key and detail), reader, account, histogram, reject, provenance
    assert outline.text.count(EVIL) >= 10


def test_the_page_asks_nobody_for_anything():
    page = render(make_report())
    assert Outline(page).references == ["data:,"]
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\(", page)


@pytest.mark.parametrize(
    ("report", "heading"),
    [
        pytest.param(make_report(), "Passed", id="passed"),
        pytest.param(make_report(verdict=Verdict.FAILED), "Failed", id="failed"),
        pytest.param(make_report(verdict=Verdict.FAILED, severity=Severity.WARNING), "Passed", id="warned"),
        pytest.param(
            make_report(accounts=(), label_counts={}, rejects=(), sample=None, provenance={}), "Passed", id="empty"
        ),
    ],
)
def test_the_verdict_comes_first(report, heading):
    text = Outline(render(report)).text
    assert re.search(r"toys · v\s+" + heading, text)


def test_a_finding_has_its_advice_and_says_how_many_more_there_are():
    page = render(make_report(verdict=Verdict.FAILED))
    assert "Set <code>validation.max_rejected</code>." in page
    assert "s at byte 12" in page
    assert "and 6 more" in page
    assert "What to do" not in render(make_report())


def test_a_chance_below_one_never_reads_as_certainty():
    assert "more than 99.99%" in render(make_report())


def test_a_thousand_labels_and_accounts_are_cut_and_counted():
    account = make_report().accounts[0]
    page = render(make_report(labels=1_000, accounts=(account,) * 1_000))
    assert "and 900 more labels" in page
    assert "first 300 of 1,000 lines" in page
    assert len(page) < 300_000
