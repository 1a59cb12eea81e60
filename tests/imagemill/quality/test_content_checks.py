"""The checks of what the images are, each on a version that has the defect it is for."""

import io
import re
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image
from pydantic import ValidationError

from imagemill.errors import CallerError
from imagemill.quality.checks import CHECKS
from imagemill.quality.report import Severity, Verdict
from imagemill.rows import Row
from imagemill.spec.file import find_spec
from imagemill.spec.validation import CheckName, Validation
from imagemill.version.facts import FACTS
from tests.support.gate import blocked, build, edit_facts, failed, judge, toys
from tests.support.tampering import replace_object
from tests.support.versions import picture


@pytest.fixture
def version(tmp_path):
    return build(tmp_path, toys())


def flat(colour, mode="RGB", image_format="PNG"):
    buffer = io.BytesIO()
    Image.new(mode, (9, 9), colour).save(buffer, image_format)
    return buffer.getvalue()


def test_the_spec_knows_every_check_in_the_order_of_the_report():
    assert get_args(CheckName) == tuple(check.name for check in CHECKS)


def test_clean_toys_have_no_finding(version):
    report = judge(version)
    assert failed(report) == set()


@pytest.mark.parametrize(
    ("edit", "caught_by"),
    [
        pytest.param(lambda f: f["labels"]["train"].update(cat=99), "facts", id="count of a label"),
        pytest.param(lambda f: f["labels"].update(extra={"cat": 1}), "facts", id="another split"),
        pytest.param(lambda f: f["images"].update(records=59), "facts", id="images measured"),
        pytest.param(lambda f: f["images"].update(formats={"png": 59}), "facts", id="formats measured"),
        pytest.param(lambda f: f["images"].update(formats={"png": 59, "tiff": 1}), "image_formats", id="format"),
        pytest.param(lambda f: f["images"]["height"].update(min=0), "image_sizes", id="no height"),
        pytest.param(lambda f: f["images"].update(orientations={"6": 2}), "image_orientation", id="turned"),
    ],
)
def test_facts_that_contradict_are_caught(version, edit, caught_by):
    edit_facts(version, edit)
    report = judge(version)
    assert failed(report) == {caught_by}
    assert report.check(caught_by).places[0].object == FACTS
    assert report.check(caught_by).advice


def test_unreadable_facts_are_a_finding_and_what_needs_them_is_skipped(version):
    replace_object(version, FACTS, b"{}")
    report = judge(version)
    assert failed(report) == {"facts"}
    skipped = {check.name for check in report.checks if check.verdict is Verdict.SKIPPED}
    assert {"image_sizes", "identical_images", "label_conflicts", "split_leaks"} <= skipped


@pytest.mark.parametrize("settings", [{"min_side": 9}, {"max_side": 8}])
def test_sides_out_of_the_limits_are_caught(version, settings):
    report = judge(version, Validation(**settings))
    assert failed(report) == blocked(report) == {"image_sizes"}
    assert "8 pixels high" in str(report.check("image_sizes").places[0]) or settings == {"max_side": 8}


def test_limits_that_contradict_are_refused():
    with pytest.raises(ValidationError, match="No image can have sides from 9 to 8"):
        Validation(min_side=9, max_side=8)


# -- images that several records share


def with_copy(row):
    """Toys, and one more record with the bytes of the first (00000.png, a cat in train)."""
    return toys() | {row: picture(0)}


SHARED = [
    pytest.param(Row("copy.png", "cat", "train"), {"identical_images"}, id="copy"),
    pytest.param(Row("copy.png", "dog", "train"), {"identical_images", "label_conflicts"}, id="conflict"),
    pytest.param(Row("copy.png", "cat", "test"), {"identical_images", "split_leaks"}, id="leak"),
]


@pytest.mark.parametrize(("row", "caught_by"), SHARED)
def test_shared_images_are_told_with_their_keys_and_a_few_are_a_warning(tmp_path, row, caught_by):
    report = judge(build(tmp_path, with_copy(row)), Validation(max_label_conflicts=0.05, max_split_leaks=0.05))
    assert failed(report) == caught_by
    assert report.passed
    for name in caught_by:
        check = report.check(name)
        assert check.severity is Severity.WARNING
        assert check.faults == 1
        assert "00000.png (train, cat)" in check.places[0].detail
        assert f"copy.png ({row.split}, {row.label})" in check.places[0].detail
        assert "1 images are shared by 2 records (3.28%)" in check.observed


@pytest.mark.parametrize(("row", "caught_by"), SHARED)
def test_more_shared_images_than_the_spec_allows_stop_the_version(tmp_path, row, caught_by):
    limits = dict.fromkeys(("max_identical", "max_label_conflicts", "max_split_leaks"), 0.03)
    report = judge(build(tmp_path, with_copy(row)), Validation(**limits))
    assert blocked(report) == caught_by


# -- images of one colour


@pytest.mark.parametrize(
    ("image", "found"),
    [
        pytest.param(flat((200, 10, 3)), True, id="png"),
        pytest.param(flat((200, 10, 3), image_format="JPEG"), True, id="jpeg"),
        pytest.param(flat(7, "L"), True, id="grey"),
        pytest.param(flat(3, "P"), True, id="palette"),
        pytest.param(flat((1, 2, 3, 0), "RGBA"), True, id="transparent"),
        pytest.param(picture(70), False, id="picture"),
    ],
)
def test_an_image_of_one_colour_is_told(tmp_path, image, found):
    report = judge(build(tmp_path, toys() | {Row("flat.png", "cat", "train"): image}))
    assert failed(report) == ({"one_colour"} if found else set())
    assert report.passed
    if found:
        (place,) = report.check("one_colour").places
        assert (place.key, place.offset is not None) == ("flat.png", True)


@pytest.mark.parametrize(("spread", "found"), [(8, True), (9, False)])
def test_noise_of_a_few_values_is_one_colour_too(tmp_path, spread, found):
    image, buffer = Image.new("RGB", (9, 9), (100, 100, 100)), io.BytesIO()
    image.putpixel((3, 3), (100, 100 + spread, 100))
    image.save(buffer, "PNG")
    report = judge(build(tmp_path, toys() | {Row("noise.png", "cat", "train"): buffer.getvalue()}))
    assert failed(report) == ({"one_colour"} if found else set())


def test_many_images_of_one_colour_stop_the_version(tmp_path):
    images = toys() | {Row(f"flat{n}.png", "cat", "train"): flat((n * 9, 0, 0)) for n in range(8)}
    assert blocked(judge(build(tmp_path, images))) == {"one_colour"}


# -- labels and their balance


def test_a_dataset_with_one_label_is_told(tmp_path):
    report = judge(build(tmp_path, toys(labels=("cat",))))
    assert failed(report) == {"label_balance"}
    assert report.passed
    assert "'cat' is the only label" in str(report.check("label_balance").places[0])


def test_a_label_much_larger_than_another_is_told(version):
    assert failed(judge(version, Validation(max_imbalance=1))) == set()  # 20 of each
    more = build(version.folder.parents[1] / "more", toys() | {Row("more.png", "cat", "train"): picture(99)})
    assert failed(judge(more, Validation(max_imbalance=1))) == {"label_balance"}


def test_a_label_without_training_images_is_told(tmp_path):
    images = toys() | {Row(f"x{n}.png", "new", "test"): picture(100 + n) for n in range(3)}
    report = judge(build(tmp_path, images))
    assert failed(report) == {"label_balance"}
    assert "label 'new' has 3 records, and none in split train" in str(report.check("label_balance").places[0])


# -- severities


def test_a_check_that_is_switched_off_is_visibly_skipped(version):
    limits = {"min_side": 9}
    report = judge(version, Validation(**limits, checks={"image_sizes": "skip"}))
    check = report.check("image_sizes")
    assert check.verdict is Verdict.SKIPPED
    assert "switched off" in check.observed
    assert report.passed


def test_the_spec_decides_what_a_failure_means(version):
    told = judge(version, Validation(min_side=9, checks={"image_sizes": "warning"}))
    assert (failed(told), blocked(told)) == ({"image_sizes"}, set())
    edit_facts(version, lambda facts: facts["images"].update(orientations={"6": 2}))
    assert blocked(judge(version, Validation(checks={"image_orientation": "error"}))) == {"image_orientation"}


@pytest.mark.parametrize("checks", [{"image_size": "skip"}, {"image_sizes": "off"}])
def test_unknown_checks_and_levels_are_refused(checks):
    with pytest.raises(ValidationError):
        Validation(checks=checks)


def test_a_misspelt_check_is_told_with_the_near_one(tmp_path):
    spec = tmp_path / "toys.yaml"
    spec.write_text(
        "name: toys\nsource: {type: shapes}\nsplits: {names: [train, test]}\n"
        "validation:\n  checks: {one_color: warning, label_balance: warn}\n"
    )
    with pytest.raises(CallerError) as told:
        find_spec(str(spec))
    assert "`one_color` is none of the choices" in str(told.value)
    assert "Did you mean `one_colour`?" in str(told.value)
    assert "`warn` is none of the choices" in str(told.value)
    assert "Did you mean `warning`?" in str(told.value)


def test_the_documentation_has_every_check_with_its_severity():
    page = (Path(__file__).parents[3] / "docs" / "validation.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (error|warning)", page, flags=re.MULTILINE))
    assert told == {check.name: check.severity.value for check in CHECKS}
