"""What a training run leaves behind: the averaged encoder, a sheet of held-out pictures before and after, the state to resume from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.base import Encoder
from encoders.native import save_encoder
from encoders.training.config import EncoderTrainingConfig
from encoders.training.transforms import Transform
from stylegan_core.generator import Generator
from stylegan_core.images import save_image, to_rgb, to_u8
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.metrics.reconstruction import psnr
from stylegan_core.provenance import version
from stylegan_core.sheet import difference, grid
from stylegan_core.training.state import save_state

STATE_FILE = "state.safetensors"
HELD_OUT = 12            # pictures of the sheet
FIRST_HELD_OUT = 900_000  # seeds from here are kept from training by its own streams


def write_snapshot(output: Path, average: Any, networks: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer],
                   config: EncoderTrainingConfig, names: Mapping[str, Any], *, step: int, seconds: float,
                   transform: Transform | None) -> Path:
    """Writes encoder-<kimg>.safetensors, encoder-<kimg>.png and, last, the state; returns the first."""
    nimg = step * config.batch
    name = snapshot_name(nimg)
    figures = save_sheet(average, output / name.replace(".safetensors", ".png"), transform)
    provenance = {"trainer": version(), "training": config.to_dict(), **names, "images_seen": nimg, "seconds": round(seconds, 1),
                  "held_out": figures}
    save_encoder(average, output / name, provenance=provenance, generator_name=names.get("generator_name"))
    state = {"step": step, "seconds": seconds, "snapshot": name, "training": config.to_dict(), "names": dict(names)}
    save_state(output / STATE_FILE, networks, optimisers, {}, state)
    return output / name


def snapshot_name(nimg: int) -> str:
    """The file of the averaged encoder after nimg pictures."""
    return f"encoder-{nimg / 1000:09.1f}.safetensors"


@torch.no_grad()
def save_sheet(encoder: Encoder, path: Path, transform: Transform | None = None) -> dict[str, float]:
    """Rows of a sheet: held-out samples, what the encoder sees where that differs, the start, the result, the difference.

    Returns the median PSNR of start and result in dB.
    """
    generator = encoder.generator
    target = held_out(generator, HELD_OUT)
    seen = target if transform is None else transform(target, torch.Generator().manual_seed(0))
    before = start_of(encoder, seen).render(generator)
    after = encoder.encode(seen).render(generator)
    rows = [target, *([] if transform is None else [to_rgb(seen)]), before, after]
    panels = [to_rgb(row).cpu() for row in rows] + [difference(target, after).cpu()]
    save_image(grid(torch.cat(panels).clamp(-1, 1), columns=HELD_OUT, gap=1), path)
    return {"psnr_start": median_psnr(before, target), "psnr": median_psnr(after, target), "pictures": HELD_OUT}


def held_out(generator: Generator, count: int) -> Tensor:
    """Samples with their stored noise, [count, C, R, R] in [-1, 1]."""
    c = None
    if generator.c_dim:
        c = torch.eye(generator.c_dim)[torch.arange(count) % generator.c_dim].to(generator.w_avg)
    return Latent.sample(generator, range(FIRST_HELD_OUT, FIRST_HELD_OUT + count), c=c).render(generator).clamp(-1, 1)


def start_of(encoder: Any, images: Tensor) -> Inversion:
    """What the encoder begins from: the average, or for HyperStyle the w of its inner encoder."""
    inner = getattr(encoder, "encoder", None)
    if inner is not None:
        return inner.encode(images)
    ws = encoder.generator.w_avg.expand(len(images), encoder.generator.num_ws, -1)
    return Inversion(Latent(ws.clone(), LatentSpace.W_PLUS))


def median_psnr(images: Tensor, target: Tensor) -> float:
    """Of the pictures as they would be saved, in dB."""
    values = psnr(to_u8(to_rgb(target)).cpu(), to_u8(to_rgb(images)).cpu())
    return round(float(values.double().median()), 3)
