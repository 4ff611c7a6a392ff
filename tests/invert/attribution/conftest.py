"""A tiny generator with what attribution has to know of it, and little effort."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from invert.attribution.attribute import AttributeOptions, bench_of
from invert.attribution.calibrate import Bench
from invert.attribution.fit import Effort
from invert.loaded import LoadedModel
from stylegan_core.provenance import model_sha256
from tests.tiny import tiny_generator

LITTLE = Effort(starts=2, search_steps=6, w_steps=14, noise_steps=8, plus_steps=4)


@dataclass(frozen=True)
class Tiny:
    """bench: of generator 0; other: generator 1; child: of 0, halfway to 1, with pictures of the same sharpness."""

    generator: Any
    other: Any
    child: Any
    bench: Bench
    cache: Path


def child() -> Any:
    """Generator 0 with the layers of its synthesis halfway to those of generator 1."""
    generator, target = tiny_generator(0).requires_grad_(False), tiny_generator(1)
    for own, wanted in zip(generator.synthesis.parameters(), target.synthesis.parameters()):
        own.lerp_(wanted.detach(), 0.5)
    return generator


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch) -> None:
    monkeypatch.setenv("INVERT_CACHE", str(cache))


@pytest.fixture(scope="session")
def tiny(cache) -> Tiny:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INVERT_CACHE", str(cache))
        generator, other = (tiny_generator(seed).requires_grad_(False) for seed in (0, 1))
        loaded = LoadedModel("tiny", generator, model_sha256(generator), None)
        bench = bench_of(loaded, replace(AttributeOptions("none"), effort=LITTLE))
        return Tiny(generator, other, child(), bench, cache)


def spend_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those who cannot say how much effort is made."""
    monkeypatch.setattr(Effort.__init__, "__defaults__", tuple(asdict(LITTLE).values()))
