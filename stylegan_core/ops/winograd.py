"""3×3 convolution with a quarter of the multiplications (Winograd 1980; Lavin and Gray 2016, F(4×4, 3×3)), for weights that stay.

A tile of 6×6 pixels and the weight are both changed to 36 numbers in which convolving is multiplying, so the work becomes 36 matrix
products over tiles. The interpolation points 0, ±7/10, ±7/5, ∞ keep float32 errors at a millionth of the result's standard deviation.
Pictures are [N, H, W, C] here, with H and W multiples of 4.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

OUTPUTS, TAPS = 4, 3
TILE = OUTPUTS + TAPS - 1
POINTS = (Fraction(0), Fraction(7, 10), Fraction(-7, 10), Fraction(7, 5), Fraction(-7, 5))


class Transforms(NamedTuple):
    """Matrices for flattened tiles: of pixels [36, 36], of weights [36, 9] and back to pixels [16, 36]."""

    pixels: Tensor
    weights: Tensor
    outputs: Tensor


@lru_cache(maxsize=8)
def transforms(dtype: torch.dtype, device: torch.device) -> Transforms:
    """The matrices of Toom and Cook for the points above; exact fractions, rounded once."""
    pixels, weights, outputs = [], [], []
    for point in POINTS:
        others = [other for other in POINTS if other != point]
        scale = _power_of_two(point, others)
        product = Fraction(1)
        for other in others:
            product *= point - other
        pixels.append([value * scale for value in _polynomial(others)] + [Fraction(0)])
        weights.append([point**k / product / scale for k in range(TAPS)])
        outputs.append([point**k for k in range(OUTPUTS)])
    pixels.append(_polynomial(list(POINTS)))
    weights.append([Fraction(0)] * (TAPS - 1) + [Fraction(1)])
    outputs.append([Fraction(0)] * (OUTPUTS - 1) + [Fraction(1)])
    flat = []
    for rows in (pixels, weights, outputs):
        matrix = torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)
        flat.append(torch.kron(matrix, matrix))
    return Transforms(*(matrix.to(device, dtype) for matrix in (flat[0], flat[1], flat[2].t().contiguous())))


def transform_weight(weight: Tensor) -> Tensor:
    """[O, I, 3, 3] → [36, I, O]."""
    out_channels, in_channels = weight.shape[:2]
    taps = weight.detach().permute(2, 3, 1, 0).reshape(TAPS**2, -1)
    matrix = transforms(torch.float64, weight.device).weights
    chunks = [matrix @ part.double() for part in taps.split(1 << 20, dim=1)]  # doubles of a large weight would not fit well
    return torch.cat([chunk.to(weight.dtype) for chunk in chunks], dim=1).view(TILE**2, in_channels, out_channels)


def convolve(x: Tensor, transformed: Tensor, in_scale: Tensor | None = None, out_scale: Tensor | None = None) -> Tensor:
    """Correlation of x [N, H, W, I] with zero padding 1 → [N, H, W, O]; the scales [N, I] and [N, O] cost nothing."""
    batch, height, width, channels = x.shape
    rows, columns, out_channels = height // OUTPUTS, width // OUTPUTS, transformed.shape[2]
    matrices = transforms(x.dtype, x.device)
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    image, row, column, _ = padded.stride()
    tiles = padded.as_strided((TILE, TILE, batch, rows, columns, channels), (row, column, image, OUTPUTS * row, OUTPUTS * column, 1))
    gathered = x.new_empty(tiles.shape)
    if in_scale is None:
        gathered.copy_(tiles)
    else:
        torch.mul(tiles, in_scale[:, None, None, :], out=gathered)
    changed = torch.mm(matrices.pixels, gathered.view(TILE**2, -1)).view(TILE**2, -1, channels)
    products = torch.bmm(changed, transformed)
    y = torch.mm(matrices.outputs, products.view(TILE**2, -1)).view(OUTPUTS, OUTPUTS, batch, rows, columns, out_channels)
    y = y.permute(2, 3, 0, 4, 1, 5)
    out = x.new_empty(y.shape)
    if out_scale is None:
        out.copy_(y)
    else:
        torch.mul(y, out_scale[:, None, None, None, None, :], out=out)
    return out.view(batch, height, width, out_channels)


def _polynomial(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of Π (x - root), the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)])]
    return coefficients


def _power_of_two(point: Fraction, others: list[Fraction]) -> Fraction:
    """Balances a row of the pixel transform against its row of the weight transform without rounding."""
    norm = sum(float(value) ** 2 for value in _polynomial(others)) ** 0.5
    return Fraction(2) ** -round(math.log2(norm))
