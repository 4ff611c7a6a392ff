"""The same pictures into snapshots of rising quality, a transferred child and a model that was never trained (I2S Sec. 3)."""

from __future__ import annotations

from typing import Any

import torch

from invert.robustness.embedding import Embedded, embedded_subject, figures_of
from invert.robustness.panels import strips
from invert.robustness.setting import Outcome, Setting
from stylegan_core.networks.build import build

KINDS = ("portraits", "ink", "scenes")
UNTRAINED = "untrained"
SNAPSHOTS = {"portraits64": ("portraits64-early", "portraits64", "portraits64-ink")}  # beside a model when nothing is named


def models(setting: Setting) -> Outcome:
    """Never trained, then the setting's snapshots in their order."""
    generators = {UNTRAINED: untrained(setting.generator, setting.seed), **ordered(setting)}
    rows: list[dict[str, Any]] = []
    shown: list[list[Embedded]] = []
    for name, generator in generators.items():
        shown.append([embedded_subject(setting, kind, generator=generator) for kind in KINDS])
        rows += [{"model": name, "pictures": kind, **figures_of(setting, cell)} for kind, cell in zip(KINDS, shown[-1], strict=True)]
    own = [cell for name, cells in zip(generators, shown, strict=True) if name == setting.model for cell in cells]
    panels = [[cell.targets[:1] for cell in own] * 2]
    panels += [[getattr(cell, kind)[:1] for kind in ("latent_images", "images") for cell in cells] for cells in shown]
    caption = (f"Rows: the picture; then {', '.join(generators)}. Columns: {', '.join(KINDS)} by the latent alone with the stored noise, "
               "then with the found noise.")
    return Outcome(rows, strips(panels), caption)


def ordered(setting: Setting) -> dict[str, Any]:
    """The snapshots in their order; the model itself comes last unless it is among them."""
    return {**setting.snapshots, **({} if setting.model in setting.snapshots else {setting.model: setting.generator})}


def untrained(generator: Any, seed: int) -> Any:
    """The same architecture with fresh weights, and the mean of its own w."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh: Any = build(generator.config)
        z = torch.randn(1000, fresh.z_dim)
        c = torch.eye(fresh.c_dim)[torch.arange(1000) % fresh.c_dim] if fresh.c_dim else None
    with torch.no_grad():
        fresh.mapping.w_avg.copy_(fresh.mapping.to_w(z, c).mean(dim=0))
    return fresh.eval().requires_grad_(False).to(generator.w_avg.device)
