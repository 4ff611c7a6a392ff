"""How much each resolution draws of a picture: standard deviation of every tRGB branch in it (SG2 Sec. 4.2, Fig. 8)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator

TORGB = "torgb"


def torgb_layers(generator: Generator) -> dict[str, slice]:
    """Name of a tRGB layer → its columns in the styles. Raises UsageError for a generator that does not sum branches."""
    found, start = {}, 0
    for name, width in generator.style_dims.items():
        if name.endswith(TORGB):
            found[name] = slice(start, start + width)
        start += width
    if len(found) < 2:
        raise UsageError("this generator draws its picture in one layer, so resolutions have no branches to compare")
    return found


def branches(generator: Generator, ws: Tensor) -> Iterator[tuple[str, Tensor]]:
    """(tRGB layer, what it adds to the pictures [N, C, H, W] beside its bias), from the lowest resolution upwards.

    The picture is the sum of its branches, and a tRGB layer without style draws nothing but its bias: a branch is the picture
    less the picture without its style. Noise is that of the generator.
    """
    layers = torgb_layers(generator)
    styles = generator.synthesis.affine(ws)
    whole = generator.synthesis.render(styles, noise_mode="const")
    for name, columns in layers.items():
        without = styles.clone()
        without[:, columns] = 0
        yield name, whole - generator.synthesis.render(without, noise_mode="const")


class Contribution:
    """Gathers the spread of every branch over pixels, channels and pictures, batch by batch."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, generator: Generator, ws: Tensor) -> None:
        """ws: [N, num_ws, w_dim]."""
        for name, branch in branches(generator, ws):
            values = branch.cpu().double()
            count = torch.tensor(float(values.numel()), dtype=torch.float64)
            parts = torch.stack([count, values.sum(), values.square().sum()])
            self._sums[name] = self._sums.get(name, torch.zeros(3, dtype=torch.float64)) + parts

    def deviations(self) -> dict[str, float]:
        """tRGB layer → standard deviation."""
        return {name: float((total / n - (s / n) ** 2).clamp(min=0).sqrt()) for name, (n, s, total) in self._sums.items()}

    def shares(self) -> dict[str, float]:
        """tRGB layer → its deviation over the sum of all; they sum to 1."""
        deviations = self.deviations()
        whole = max(sum(deviations.values()), 1e-12)
        return {name: value / whole for name, value in deviations.items()}
