"""What a training run leaves behind: the averaged generator, the discriminator, a sheet of samples, the state to resume from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from stylegan_core.checkpoints.native import save_native
from stylegan_core.files import atomic_write
from stylegan_core.images import picture_proper
from stylegan_core.provenance import version
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.growing import set_lod, stage_at
from stylegan_core.training.state import save_state

STATE_FILE = "state.safetensors"


def write_snapshot(output: Path, networks: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer],
                   values: Mapping[str, Tensor], config: TrainingConfig, data: str, *, step: int, seconds: float,
                   facts: Mapping[str, Any]) -> Path:
    """Writes snapshot-<kimg>.safetensors (G_ema), the same of D, samples-<kimg>.png and, last, the state; returns the first."""
    stage = stage_at(config, step)
    kimg, name = stage.nimg / 1000, snapshot_name(stage.nimg)
    set_lod(networks, stage.lod)
    provenance = {"trainer": version(), "training": config.to_dict(), "data": data, "images_seen": stage.nimg,
                  "seconds": round(seconds, 1), **facts}
    save_native(networks["G_ema"], output / name, provenance=provenance)
    save_native(networks["D"], output / f"discriminator-{kimg:09.1f}.safetensors", provenance=provenance)
    save_samples(networks["G_ema"], output / f"samples-{kimg:09.1f}.png")
    state = {"step": step, "seconds": seconds, "snapshot": name, "training": config.to_dict(), "data": data}
    save_state(output / STATE_FILE, networks, optimisers, values, state)
    return output / name


def snapshot_name(nimg: int) -> str:
    """The file of the averaged generator after nimg images."""
    return f"snapshot-{nimg / 1000:09.1f}.safetensors"


@torch.no_grad()
def save_samples(generator: Any, path: Path, *, columns: int = 12, num_rows: int = 6) -> None:
    """A sheet of the samples of seeds 0, 1, … with their stored noise; a conditional generator shows its classes by turns."""
    z = np.concatenate([np.random.RandomState(seed).randn(1, generator.z_dim) for seed in range(columns * num_rows)])
    device = next(generator.parameters()).device
    c = torch.eye(generator.c_dim)[torch.arange(len(z)) % generator.c_dim] if generator.c_dim else torch.zeros(len(z), 0)
    parts = zip(torch.from_numpy(z).float().split(columns), c.split(columns))
    images = picture_proper(torch.cat([generator(part.to(device), label.to(device)).cpu() for part, label in parts]), generator)
    pictures = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    rows = [torch.cat(list(row), dim=2) for row in pictures.split(columns)]
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0).numpy()
    with atomic_write(path) as temporary:
        Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet).save(temporary, format="PNG")
