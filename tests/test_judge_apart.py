"""portraits-judge only ever evaluates: nothing that optimises or trains against an objective may know of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OBJECTIVES = ("invert/projectors", "invert/editing", "invert/attribution", "encoders", "stylegan_core/losses")
JUDGES = ("stylegan_core.metrics.report", "stylegan_core.metrics.prediction", "stylegan_core.metrics.registry")
TRAINERS = ("loop.py", "steps.py", "ema.py", "config.py", "snapshot.py", "augment.py")


def files() -> list[Path]:
    found = [file for folder in OBJECTIVES for file in (ROOT / folder).rglob("*.py")]
    return sorted(found + [ROOT / "stylegan_core" / "training" / name for name in TRAINERS])


def imported(file: Path) -> set[str]:
    """Modules that a file imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("file", [file for file in files() if file.is_file()], ids=lambda file: file.name)
def test_no_objective_knows_the_judge(file):
    assert "judge" not in file.read_text(encoding="utf-8").lower(), f"{file.relative_to(ROOT)} mentions the judge"
    assert not imported(file) & set(JUDGES), f"{file.relative_to(ROOT)} imports what measures with the judge"


def test_the_search_finds_something_to_search():
    assert len([file for file in files() if file.is_file()]) > 10
    assert any("judge" in file.read_text(encoding="utf-8") for file in (ROOT / "stylegan_core" / "metrics").glob("*.py"))


def test_the_distance_of_objectives_is_not_the_judge():
    from stylegan_core.checkpoints.catalog import cards

    assert {card.perceptual for card in cards().values()} <= {"features", "vgg", "alex", "squeeze"}
