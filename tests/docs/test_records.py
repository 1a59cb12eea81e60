"""The code of docs/records.md runs."""

import re
from pathlib import Path

from imagemill.rows import Row
from tests.support.versions import stage

PAGE = Path(__file__).parents[2] / "docs/records.md"


def test_makes_writes_and_verifies(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    stage(tmp_path / "photos", [Row("cat/1.png", "cat"), Row("dog/7.png", "dog")])
    names = {"PHOTOS": str(tmp_path / "photos"), "PETS": str(tmp_path / "pets")}
    exec(compile(code, str(PAGE), "exec"), names)
    assert names["report"].entry.records == 2
    assert names["record"].facts.format == "png"
    assert b"cat/1.png" in names["record"].example
