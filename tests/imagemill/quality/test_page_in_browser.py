"""The report in a real browser: it asks nobody, says no error, fits a phone. Screenshots go to artifacts/."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from imagemill.quality.gallery import Gallery
from imagemill.quality.report import REPORT_PAGE
from imagemill.quality.validate import write_report
from imagemill.rows import Row
from imagemill.spec.validation import Validation
from tests.support.gate import LATER, build, judge, toys
from tests.support.versions import picture

ARTIFACTS = Path(__file__).parents[3] / "artifacts" / "report"
EVIL = "<script>document.title='run'</script>"
CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="there is no chromium; `apt-get install chromium`"
)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # A container's root has no user namespace for the sandbox; the pages are our own files.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A first version, one that changed a little, and one that must not be published."""
    root = tmp_path_factory.mktemp("pages")
    labels = ["cat", "dog", "owl", EVIL]
    images = toys(80, labels=tuple(labels))
    first = build(root / "first", images, labels=labels)
    changed = dict(list(images.items())[3:]) | {Row("new.png", "cat", "test"): picture(500)}
    second = build(root / "second", changed, version=LATER, labels=labels)
    third = build(root / "third", dict(list(images.items())[:30]), version=LATER, labels=labels)
    found = {}
    for name, version, base in (("first", first, None), ("changed", second, first), ("failed", third, first)):
        gallery = Gallery()
        report = judge(version, Validation(), gallery=gallery, published_uri=str(base.folder) if base else None)
        assert report.passed == (name != "failed")
        write_report(report, gallery)
        found[name] = (version.folder / REPORT_PAGE).as_uri()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("desk", (1200, 900)), ("phone", (390, 800))])
@pytest.mark.parametrize("name", ["first", "changed", "failed"])
def test_the_page_in_a_browser(browser, pages, name, device, size, scheme):
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name])
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}-{device}-{scheme}.png", full_page=True)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [pages[name]]
    assert page.title() != "run"
    assert page.locator("h3", has_text=EVIL).count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.locator("img").count() >= 20
    page.close()


def test_the_page_prints(browser, pages, tmp_path):
    page = browser.new_page()
    page.goto(pages["failed"])
    assert page.pdf(path=tmp_path / "page.pdf").startswith(b"%PDF")
    page.close()


def test_on_paper_nothing_is_folded_away(browser, pages):
    page = browser.new_page()
    page.goto(pages["changed"])
    examples = page.locator("details:has(summary:text('removed')) li").first
    assert not examples.is_visible()
    page.emulate_media(media="print")
    assert examples.is_visible()
    page.close()
