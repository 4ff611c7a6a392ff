"""Every golden vector is met at its tolerance."""

from __future__ import annotations

import importlib

import pytest

MODULES = ("ops", "networks", "stylegan1", "stylegan3", "losses", "augmentation", "checkpoints", "projection", "lpips", "encoders",
           "encoder_files")


@pytest.mark.parametrize("module", MODULES)
def test_golden_vectors(module: str) -> None:
    rows = list(importlib.import_module(f"tests.parity.{module}").rows())
    assert len(rows) > 10
    bad = [row for row in rows if not row.ratio <= 1]
    assert not bad, "\n".join(f"{row.fixture}: {row.largest_error:g} (tolerance {row.tolerance})" for row in bad[:10])
