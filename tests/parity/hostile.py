"""What becomes of every file of golden/adversarial, for docs/parity.md; tests/test_security.py asserts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.errors import InvertError
from stylegan_core.inversion import Inversion
from tests.parity.rows import GOLDEN


@dataclass(frozen=True)
class Outcome:
    """file: its name. expected: the manifest's word. outcome: 'loads' or the kind of the refusal. reason: its message."""

    file: str
    expected: str
    outcome: str
    reason: str


def outcomes() -> Iterator[Outcome]:
    """One per file, in the order of the manifest."""
    folder = GOLDEN / "adversarial"
    for entry in json.loads((folder / "manifest.json").read_text())["files"]:
        path = folder / entry["file"]
        load = Inversion.load if path.suffix in (".npy", ".npz") else load_generator
        try:
            load(path)
        except InvertError as error:
            reason = str(error).removeprefix(f"{path}: ")
            yield Outcome(path.name, entry["expect"], type(error).__name__, reason)
        else:
            yield Outcome(path.name, entry["expect"], "loads", "")
