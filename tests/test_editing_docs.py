"""What README and docs/editing.md print about pipelines is what runs: the same steps, and the same pixels, in Python and from the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from invert.pipeline import Pipeline

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "edit.yaml"


def block(file: str, marker: str, language: str) -> str:
    match = re.search(rf"<!-- {re.escape(marker)} -->\n```{language}\n(.*?)```", (ROOT / file).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert match is not None, f"{file} has no block {marker}"
    return match[1]


def printed_pipeline(file: str, marker: str) -> Pipeline:
    """The pipeline of a Python block, built by the lines that import and build it."""
    lines = [line for line in block(file, marker, "python").splitlines() if line.startswith(("from", "import", "pipeline ="))]
    names: dict = {}
    exec("\n".join(lines), names)
    return names["pipeline"]


def test_the_same_steps_everywhere():
    example = Pipeline.load(EXAMPLE)
    assert yaml.safe_load(block("docs/editing.md", "edit.yaml", "yaml")) == yaml.safe_load(EXAMPLE.read_text())
    for file, marker in (("README.md", "pipeline"), ("docs/editing.md", "pipeline.py")):
        assert printed_pipeline(file, marker).steps == example.steps and printed_pipeline(file, marker).model == example.model
    assert "Pipeline([Align(), Project(space=\"w+\"), Edit(\"smile\", 2), Mix(\"seed:3\", rows=\"fine\"), PasteBack()])" in (
        ROOT / "examples" / "edit_photo.py"
    ).read_text()  # fmt: skip


@pytest.mark.slow
def test_as_printed(monkeypatch, tmp_path):
    """README's block, word for word, then the command that its last line names."""
    from invert.cli.app import main
    from stylegan_core.images import load_image, to_u8

    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "photo.png").write_bytes((ROOT / "examples" / "photo.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(block("README.md", "pipeline", "python"), names)
    with pytest.raises(SystemExit) as left:
        main(["edit", "examples/photo.png", "--pipeline", "edit.yaml", "-o", "out"])
    assert not left.value.code
    assert torch.equal(to_u8(load_image("out/photo.edited.png")), to_u8(names["work"].picture))
    photo = load_image("examples/photo.png")
    assert names["work"].picture.shape == photo.shape and not torch.equal(names["work"].picture, photo)
