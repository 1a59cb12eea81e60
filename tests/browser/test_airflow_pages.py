"""What a person sees of a refresh in Airflow's own pages, with a real browser. Screenshots go to artifacts/airflow/."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from imagemill.catalog import Catalog
from tests.support.gcs.server import client_environment, emulator
from tests.support.scheduler import airflow_stack

ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "airflow"
CHROMIUM = shutil.which("chromium")
PATIENCE_MILLISECONDS = 60_000

SPEC = """
name: flowers
description: Drawn flowers, for trying things out.
source: {type: shapes, train: 40, test: 10}
splits: {names: [train, test]}
locations: {staging: gs://mill/staging/flowers, output: gs://mill/datasets/flowers}
conversion: {shards: {count: {train: 2, test: 1}}}
validation: {sample: 20}
approval: required
"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        CHROMIUM is None and os.environ.get("CI") != "true", reason="there is no chromium; `apt-get install chromium`"
    ),
]


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=["mill"]) as server:
        yield client_environment(server.url)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, storage):
    with airflow_stack(tmp_path_factory.mktemp("airflow"), storage) as stack:
        stack.spec("flowers", SPEC)
        yield stack


@pytest.fixture(scope="module")
def page(airflow):
    """Airflow's pages, as Ann sees them who has logged in."""
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        # A container's root has no user namespace for the sandbox; the pages come from this machine.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 1100})
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        page.goto(airflow.url)
        page.get_by_label("Username").fill("ann")
        page.get_by_label("Password").fill(airflow.passwords["ann"])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("link", name="Dags").first).to_be_visible()
        yield page
        browser.close()


def shoot(page: Page, name: str) -> None:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png", animations="disabled")


def open_form(page: Page, airflow) -> Locator:
    page.goto(f"{airflow.url}/dags/refresh_flowers")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog")
    expect(start(form)).to_be_enabled()
    return form


def start(form: Locator) -> Locator:
    return form.get_by_role("button", name="Trigger", exact=True)


def section(form: Locator, title: str) -> Locator:
    """Opens a section of the form; the others close."""
    head = form.get_by_role("button", name=title)
    if head.get_attribute("aria-expanded") != "true":
        head.click()
    expect(head).to_have_attribute("aria-expanded", "true")
    return form


def test_the_dags_docs_say_what_a_run_does(page, airflow):
    page.goto(f"{airflow.url}/dags/refresh_flowers")
    page.get_by_role("button", name="Dag Docs").click()
    docs = page.get_by_role("dialog")
    for title in ("flowers", "What a run does", "When a run fails", "Who is told"):
        expect(docs.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(docs.get_by_text("Drawn flowers, for trying things out.")).to_be_visible()
    expect(docs.get_by_role("row").filter(has_text="validate_records")).to_contain_text("Proves the new version")
    shoot(page, "1-docs")


def test_the_form_has_sections_titles_help_and_choices(page, airflow):
    form = open_form(page, airflow)
    section(form, "What to convert")
    expect(form.get_by_label("Convert even when nothing changed")).to_be_visible()
    expect(form.locator("strong", has_text="never published")).to_be_visible()
    shoot(page, "2-form-what")
    section(form, "How to convert it")
    for title in ("Workers", "Shards in each split"):
        expect(form.get_by_role("spinbutton", name=title)).to_have_value("")
    expect(form.locator("strong", has_text="header")).to_be_visible()
    shoot(page, "3-form-how")
    form.get_by_role("combobox", name="Runner").click()
    for runner in ("local", "prism", "flink", "portable", "dataflow"):
        expect(page.get_by_role("option", name=f"{runner}: ")).to_be_visible()
    shoot(page, "4-form-runners")
    page.get_by_role("option", name="prism: ").click()
    section(form, "Publication")
    expect(form.get_by_text("The spec wants an approval, and a run cannot do without.")).to_be_visible()


def test_the_form_refuses_nonsense(page, airflow):
    form = section(open_form(page, airflow), "What to convert")
    rows = form.get_by_role("spinbutton", name="Rehearse on this many rows")
    rows.fill("many")
    rows.blur()
    expect(rows).to_have_value("0")
    rows.fill("1.5")
    rows.blur()
    start(form).click()
    expect(page.get_by_text("Invalid input for param limit: 1.5 is not of type 'integer'")).to_be_visible()
    shoot(page, "5-form-refused")
    assert airflow.runs("refresh_flowers") == []


@pytest.fixture(scope="module")
def run(page, airflow):
    """A run that was started by the form, with a note; it waits for a person."""
    form = section(open_form(page, airflow), "Publication")
    form.locator("#element_note").fill("a look at the new flowers")
    shoot(page, "6-form-note")
    start(form).click()
    page.wait_for_url("**/runs/manual__*")
    run_id = unquote(page.url.split("/runs/")[1].split("/")[0].split("?")[0])
    airflow.wait(lambda: waits_for_a_person(airflow, run_id), "the question", seconds=180)
    return run_id


def waits_for_a_person(airflow, run_id: str) -> bool:
    # The scheduler takes an answer that comes before it has seen the asking process end for a process that was lost.
    words = ("TaskInstance Finished", run_id, "task_id=approve", "state=awaiting_input")
    log = (airflow.home.parent / "scheduler.log").read_text(errors="replace")
    return any(all(word in line for word in words) for line in log.splitlines())


def task_page(airflow, run_id: str, task: str, tab: str) -> str:
    return f"{airflow.url}/dags/refresh_flowers/runs/{quote(run_id, safe=':')}/tasks/{task}/{tab}"


def test_the_form_starts_a_run_that_keeps_the_note_and_the_user(airflow, run):
    started = airflow.run("refresh_flowers", run)
    assert (started["triggering_user_name"], started["conf"]["note"]) == ("ann", "a look at the new flowers")
    assert started["conf"]["workers"] is None


def test_the_conversion_links_to_staging_output_and_report(page, airflow, run):
    version = airflow.result("refresh_flowers", run, "plan_conversion")["version"]
    folder = f"mill/datasets/flowers/versions/{version}"
    console = "https://console.cloud.google.com/storage/browser/"
    page.goto(task_page(airflow, run, "convert_images", "details"))
    links = {
        "Staging": f"{console}mill/staging/flowers",
        "Output": console + folder,
        "Report": f"https://storage.cloud.google.com/{folder}/validation.html",
    }
    for name, url in links.items():
        expect(page.get_by_role("link", name=name, exact=True)).to_have_attribute("href", url)
    expect(page.get_by_role("link", name="Dataflow job")).to_have_count(0)
    shoot(page, "7-links")


def test_a_person_reads_the_question_and_approves_without_a_word(page, airflow, run, storage, monkeypatch):
    page.goto(f"{airflow.url}/required_actions")
    question = page.get_by_role("link").filter(has_text="Publish 2")
    expect(question).to_be_visible()
    shoot(page, "8-required-actions")
    question.click()
    expect(page.get_by_text("nothing is published yet")).to_be_visible()
    expect(page.get_by_text("50 rows became 50 records")).to_be_visible()
    expect(page.get_by_text("validation passed")).to_be_visible()
    expect(page.get_by_text("a look at the new flowers")).to_be_visible()
    report = page.get_by_role("link").filter(has_text="validation.html")
    expect(report).to_have_attribute("href", re.compile("^https://storage.cloud.google.com/mill/.*/validation.html$"))
    approve = page.get_by_role("button", name="Approve")
    expect(approve).to_be_enabled()
    shoot(page, "9-approval")
    approve.click()
    expect(page.get_by_text("from ann")).to_be_visible()
    shoot(page, "10-approved")
    assert airflow.finished("refresh_flowers", run) == "success"
    page.goto(f"{airflow.url}/dags/refresh_flowers/runs/{quote(run, safe=':')}")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    shoot(page, "11-finished")
    for name, value in storage.items():
        monkeypatch.setenv(name, value)
    (entry,) = Catalog("gs://mill/datasets/flowers").history()
    assert entry.by == "ann"
