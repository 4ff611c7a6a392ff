"""Every script of examples/ runs, and says what it should."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name: str) -> dict[str, Any]:
    """The names of a script that was not started."""
    return runpy.run_path(str(EXAMPLES / name), run_name="example")


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_it_is_in_the_index_and_can_be_started(script: str) -> None:
    assert f"`{script}`" in (EXAMPLES / "README.md").read_text()
    assert callable(load(script)["main"])


def test_toy_divergences_meets_its_closed_forms() -> None:
    script = load("toy_divergences.py")
    found = list(script["closed_forms"]())
    assert len(found) == 5
    for what, trained, closed in found:
        assert trained == pytest.approx(closed, abs=0.02), what


def test_toy_divergences_shows_the_vanishing_gradient() -> None:
    found = list(load("toy_divergences.py")["gradients_under_a_good_discriminator"]())
    (_, _, first, _), (_, mean, minimax, non_saturating) = found[0], found[-1]
    assert mean < 1e-3 and minimax < first / 100 and non_saturating > 100 * minimax


@pytest.mark.slow
def test_toy_divergences_finds_modes_by_loss() -> None:
    """A critic of WGAN-GP has to keep up: with one step for one of G hardly a mode is found, with five (of this seed) all are."""
    ring = load("toy_divergences.py")["ring"]
    assert ring("wgan-gp")[0] <= 2 and ring("wgan-gp", d_steps=5)[0] == 8
    assert ring("hinge", seed=1)[0] < 8 == ring("non-saturating", seed=1)[0]


def test_toy_divergences_finds_every_mode_with_r1() -> None:
    modes, share = load("toy_divergences.py")["ring"]("non-saturating", r1_gamma=0.3)
    assert modes == 8 and share > 0.5
