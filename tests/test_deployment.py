"""The example of docs/deployment.md runs."""

import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    document = (ROOT / "docs/deployment.md").read_text("utf-8")
    example = re.search(r"```python\n(from data.*?)```", document, re.DOTALL)[1]
    Image.new("RGB", (24, 24), (200, 150, 120)).save(tmp_path / "lesion.jpg")
    monkeypatch.chdir(ROOT)
    values = {}
    exec(example.replace("lesion.jpg", str(tmp_path / "lesion.jpg")), values)
    assert values["images"].shape == (1, 192, 192, 3)
    assert values["predictions"].y_prob.sum() == pytest.approx(1)
