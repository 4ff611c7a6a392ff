"""Two kinds of damage that leave each other's subject alone: texture scrambled under the same shapes, shapes warped under the
same texture. Arguments as in `distortions`; at equal pixel error they tell what a metric looks at.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.data.distortions import Distortion, blurred

COARSE = 1.0      # amount of blur that leaves shapes only, see `distortions.blurred`
PATCHES = 8       # a side of the picture is cut into so many pieces
NODES = 4         # of the field that warps, along a side
LARGEST_WARP = 0.12  # standard deviation of the displacement, in widths


def scrambled(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """What a blur takes away is cut into patches and laid out anew; what it leaves stays."""
    count, _, height, width = images.shape
    shape = blurred(images, torch.full([count], COARSE), rng)
    detail = images - shape
    rows, columns = height // PATCHES, width // PATCHES
    inner = detail[:, :, : rows * PATCHES, : columns * PATCHES]
    patches = inner.unflatten(2, (PATCHES, rows)).unflatten(4, (PATCHES, columns))  # [N, C, P, rows, P, columns]
    patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = torch.stack([torch.randperm(PATCHES**2, generator=rng) for _ in range(count)]).to(images.device)
    moved = patches[torch.arange(count, device=images.device)[:, None], order]
    moved = moved.unflatten(1, (PATCHES, PATCHES)).permute(0, 3, 1, 4, 2, 5).reshape(inner.shape)
    other = detail.clone()
    other[:, :, : rows * PATCHES, : columns * PATCHES] = moved
    return shape + torch.lerp(detail, other, amounts.to(images).view(-1, 1, 1, 1))


def warped(images: Tensor, amounts: Tensor, rng: torch.Generator) -> Tensor:
    """A smooth random field moves the pixels; the edge is repeated."""
    count, _, height, width = images.shape
    nodes = torch.randn(count, 2, NODES, NODES, generator=rng).to(images)
    field = F.interpolate(nodes, size=(height, width), mode="bicubic", align_corners=True)
    field = field * (amounts.to(images).view(-1, 1, 1, 1) * (2 * LARGEST_WARP))  # the width is 2 in grid coordinates
    straight = F.affine_grid(torch.eye(2, 3).to(images)[None].expand(count, -1, -1), list(images.shape), align_corners=False)
    grid = straight + field.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def amount_of_error(distortion: Distortion, images: Tensor, wanted: float, *, seed: int = 0, steps: int = 12) -> float:
    """The amount in [0, 1] at which the mean squared error of images is `wanted`; 1 if even that is less. By bisection."""
    return bisected(lambda amount: mean_error(distortion, images, amount, seed), wanted, steps)


def mean_error(distortion: Distortion, images: Tensor, amount: float, seed: int) -> float:
    """Mean squared difference that this amount makes."""
    damaged = distortion(images, torch.full([len(images)], amount), torch.Generator().manual_seed(seed))
    return float((damaged - images).square().mean())


def bisected(rising: Callable[[float], float], wanted: float, steps: int) -> float:
    """Where a rising function on [0, 1] has the wanted value; 1 where it has not."""
    if rising(1.0) <= wanted:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2
