from pathlib import Path

from imagemill.spec.file import load_spec
from imagemill.spec.introspection import sections
from imagemill.spec.reference import reference

PAGE = Path(__file__).parents[3] / "docs/spec.md"


def test_the_page_is_current():
    assert PAGE.read_text() == reference(), "run: python -m imagemill.spec.reference > docs/spec.md"


def test_every_key_is_described():
    undescribed = [
        f"{path}.{name}"
        for path, models in sections().items()
        for model in models
        for name, field in model.model_fields.items()
        if not field.description and name != "type"
    ]
    assert undescribed == []


def test_the_least_example_of_the_page_loads(tmp_path):
    example = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "pets.yaml").write_text(example)
    assert load_spec(tmp_path / "pets.yaml", environment={}).name == "pets"
