"""What lies between a render and the picture at hand, differentiable: crop, shrinking, JPEG's rounding of cosines.

Every picture is compared on its own pixels, in the corner of a frame of the generator's size, so that pictures with
different histories form one batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.images import resize, to_rgb

BLOCK = 8  # pixels of a cosine block
GREY = 1 / 127.5  # one grey level in [-1, 1]
FLOOR = 1.0  # grey levels that every comparison forgives: rounding, and what a short optimisation leaves
Box = tuple[float, float, float, float]  # left, top, right, bottom
LUMA = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF, rows Y, Cb, Cr


@dataclass(frozen=True)
class Quantiser:
    """JPEG's steps in grey levels. luma, chroma: [8][8], rows are vertical frequencies. is_halved: chroma at half size."""

    luma: tuple[tuple[float, ...], ...]
    chroma: tuple[tuple[float, ...], ...]
    is_halved: bool


@dataclass(frozen=True)
class Channel:
    """N pictures and the way to them from N renders of the size (H, W).

    target: [N, 3, H, W], the picture in the left upper corner. mask: [N, 1, H, W], 1 where the picture is. rows: [N, H, H]
    and columns: [N, W, W] take a render to the picture's grid. spread: [N, 3, 8, 8], the standard deviation in [-1, 1]
    of every cosine of Y, Cb, Cr. is_halved: [N], whether chroma lost every second pixel.
    """

    target: Tensor
    mask: Tensor
    rows: Tensor
    columns: Tensor
    spread: Tensor
    is_halved: Tensor

    @classmethod
    def of(cls, picture: Tensor, box: Box, shape: tuple[int, int], *, quantiser: Quantiser | None = None, blur: float = 0.0) -> Channel:
        """picture: [1, 3, h, w] that shows the box (left, top, right, bottom) of the frame `shape`, h and w at most the box's.

        quantiser: None = the picture is no JPEG on this grid. blur: standard deviation of a Gaussian in pixels of the picture.
        """
        height, width = shape
        left, top, right, bottom = box
        h, w = picture.shape[2:]
        rows, columns = torch.zeros(1, height, height), torch.zeros(1, width, width)
        rows[0, :h] = blurring(h, blur) @ resampling(height, h, top, bottom)
        columns[0, :w] = blurring(w, blur) @ resampling(width, w, left, right)
        edges = (0, width - w, 0, height - h)
        target, mask = F.pad(picture, edges), F.pad(torch.ones_like(picture[:, :1]), edges)
        return cls(target, mask, rows, columns, _spread(quantiser), torch.tensor([quantiser is not None and quantiser.is_halved]))

    @classmethod
    def cat(cls, parts: Sequence[Channel]) -> Channel:
        """One batch."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: Tensor) -> Channel:
        """Those of these pictures. index: [K] whole numbers."""
        return Channel(*(getattr(self, name)[index.to(self.target.device)] for name in self.__dataclass_fields__))

    def to(self, like: Tensor) -> Channel:
        """On the device and in the precision of a tensor."""
        values = {name: getattr(self, name).to(like) for name in self.__dataclass_fields__ if name != "is_halved"}
        return Channel(**values, is_halved=self.is_halved.to(like.device))

    def shown(self, renders: Tensor) -> Tensor:
        """[N, C, H, W] → [N, 3, H, W]: clipped as by a file, then as the picture would show them, before rounding; 0 outside of it."""
        return (self.rows[:, None] @ to_rgb(renders).clamp(-1, 1) @ self.columns[:, None].transpose(2, 3)) * self.mask

    def difference(self, renders: Tensor) -> Tensor:
        """[N, 3, H, W], 0 outside of the picture."""
        return self.shown(renders) - self.target * self.mask

    def whitened(self, renders: Tensor) -> Tensor:
        """[N, 3, H, W]: the difference as cosines of Y, Cb, Cr over their spread; about 1 where only rounding differs."""
        return self.cosines(self.difference(renders)) / self.tiled(self.spread)

    def cosines(self, difference: Tensor) -> Tensor:
        """[N, 3, H, W] → cosines of 8 px blocks of Y, Cb, Cr; chroma that was halved lies in the left upper quarter."""
        planes = torch.einsum("ck,nkhw->nchw", difference.new_tensor(LUMA), difference)
        if bool(self.is_halved.any()):
            halved = F.avg_pool2d(planes[:, 1:], 2)
            halved = F.pad(halved, (0, planes.shape[3] - halved.shape[3], 0, planes.shape[2] - halved.shape[2]))
            chroma = torch.where(self.is_halved[:, None, None, None], halved, planes[:, 1:])
            planes = torch.cat([planes[:, :1], chroma], dim=1)
        return block_cosines(planes)

    def tiled(self, values: Tensor) -> Tensor:
        """[N, 3, 8, 8] → [N, 3, H, W], for every block the same."""
        height, width = self.target.shape[2:]
        return values.repeat(1, 1, -(-height // BLOCK), -(-width // BLOCK))[:, :, :height, :width]

    @property
    def num_values(self) -> Tensor:
        """[N]: values that are compared."""
        count = self.mask.sum(dim=(1, 2, 3))
        return torch.where(self.is_halved, 1.5 * count, 3 * count)


def block_cosines(planes: Tensor) -> Tensor:
    """[N, C, H, W] → orthonormal DCT-II of every block of 8×8, in place; smaller blocks at the edges of odd sizes."""
    height, width = planes.shape[2:]
    return _cosine_matrix(height).to(planes) @ planes @ _cosine_matrix(width).to(planes).t()


@lru_cache(maxsize=32)
def _cosine_matrix(size: int) -> Tensor:
    """[size, size], block diagonal."""
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for first in range(0, size, BLOCK):
        count = min(BLOCK, size - first)
        place = torch.arange(count, dtype=torch.float64)
        basis = torch.cos(math.pi / count * (place[None, :] + 0.5) * place[:, None]) * math.sqrt(2 / count)
        basis[0] *= math.sqrt(0.5)
        matrix[first : first + count, first : first + count] = basis
    return matrix


@lru_cache(maxsize=64)
def resampling(size: int, wanted: int, first: float, last: float) -> Tensor:
    """[wanted, size]: what `images.resize` does along one side with the part from `first` to `last`."""
    range_px = torch.tensor([-2.0, 2.0]).repeat(size, 1)  # two more columns, so that overshoot is not clamped
    unit = torch.cat([torch.eye(size), range_px], dim=1)[None, None]
    return resize(unit, (wanted, size + 2), box=(0, first, size + 2, last))[0, 0, :, :size]


@lru_cache(maxsize=64)
def blurring(size: int, sigma: float) -> Tensor:
    """[size, size]: a Gaussian blur along one side, the edges repeated; sigma 0 = none."""
    if sigma <= 0:
        return torch.eye(size)
    radius = math.ceil(4 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    places = (torch.arange(size)[:, None] + offsets.long()[None]).clamp(0, size - 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(size, -1)).float()


def _spread(quantiser: Quantiser | None) -> Tensor:
    """[1, 3, 8, 8] in [-1, 1]: uniform rounding by q has the variance q² / 12."""
    planes = torch.zeros(1, 3, BLOCK, BLOCK)
    if quantiser is not None:
        luma, chroma = torch.tensor(quantiser.luma), torch.tensor(quantiser.chroma)
        planes = torch.stack([luma, chroma, chroma])[None]
    return (planes.square() / 12 + FLOOR**2).sqrt() * GREY
