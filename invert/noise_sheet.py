"""What the noise inputs of a generator do, as one picture (after StyleGAN Fig. 4 and 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.images import to_rgb
from stylegan_core.noise import Noise
from stylegan_core.sheet import rows_of

if TYPE_CHECKING:
    from stylegan_core.generator import Generator

NUM_DRAWS = 24
COLUMNS = (
    "no noise",
    "stored noise",
    "random noise",
    "another draw",
    f"spread of {NUM_DRAWS} draws",
)
RANGES = (("coarse", 0, 8), ("middle", 16, 32), ("fine", 64, 1 << 20))  # resolutions in pixels, both ends included


@dataclass(frozen=True)
class NoiseSheet:
    """picture: [1, 3, H, W], its last column white where noise moves pixels by `brightest` grey levels or more.

    spread: what varies in each row → mean standard deviation in grey levels.
    """

    picture: Tensor
    spread: dict[str, float]
    brightest: float


@torch.no_grad()
def noise_sheet(generator: Generator, ws: Tensor, *, seed: int = 0) -> NoiseSheet:
    """ws: [1, num_ws, w_dim]. One row for all noise inputs, one for each range of layers alone.

    Raises UsageError for a generator without noise inputs.
    """
    if not generator.noise_shapes:
        raise UsageError("this model has no noise inputs, so there is nothing to show")
    rows: dict[str, list[str]] = {"all layers": list(generator.noise_shapes)}
    for label, low, high in RANGES:
        names = [name for name in generator.noise_shapes if low <= resolution_of(name) <= high]
        if names:
            rows[f"{label} ({_span(names)} px)"] = names
    none, const = Noise.none(generator, 1).maps, Noise.const(generator, 1).maps
    draws = [Noise.random(generator, [(seed, draw)]).maps for draw in range(NUM_DRAWS)]

    def render(active: list[str], maps: dict[str, Tensor]) -> Tensor:
        noise = {name: (maps if name in active else none)[name] for name in none}
        return to_rgb(generator.synthesis(ws, noise=noise)).float().cpu()

    shown, deviations = [], []
    for names in rows.values():
        random = torch.cat([render(names, maps) for maps in draws])
        shown.append(torch.cat([render(names, none), render(names, const), random[:2]]))
        deviations.append(random.std(dim=0, keepdim=True).mean(dim=1, keepdim=True))
    brightest = max(deviations[0].quantile(0.99).item(), 1e-6)
    maps_of_spread = [(deviation / brightest * 2 - 1).clamp(-1, 1).expand(-1, 3, -1, -1) for deviation in deviations]
    picture = rows_of([torch.cat(pair) for pair in zip(shown, maps_of_spread)], min_px=128)
    spread = {label: round(deviation.mean().item() * 127.5, 3) for label, deviation in zip(rows, deviations)}
    return NoiseSheet(picture, spread, brightest * 127.5)


def resolution_of(buffer: str) -> int:
    """The resolution in the name of a noise buffer: 64 for b64.conv0.noise_const."""
    match = re.search(r"\d+", buffer)
    return int(match[0]) if match else 0


def _span(names: list[str]) -> str:
    sizes = sorted({resolution_of(name) for name in names})
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}–{sizes[-1]}"
