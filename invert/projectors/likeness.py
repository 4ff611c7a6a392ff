"""How a picture looks beside a model's samples: how near, how well placed, how alike in structure and in colour.

Everything is measured on thumbnails, so that it costs a fraction of a second and needs no other network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.images import to_rgb

SIDE, SMALL = 32, 16  # of thumbnails, and of those that are registered
FLAT = 0.02  # variance that keeps flat pictures from fitting everything
SMALLEST_OVERLAP = 0.3
RANK = 10  # structure is that of the tenth best sample: one look-alike is luck
SCALES = (0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 1.9)
SHIFTS = (-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6)
ANGLES = (-40.0, -20.0, 0.0, 20.0, 40.0)
STARTS = 6  # of the coarse placements that are refined
Placement = tuple[float, float, float, float]  # scale, shift right, shift down (of half a side), angle in degrees
IN_PLACE: Placement = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Likeness:
    """One picture beside the samples.

    distance: to the nearest sample, as a share of the picture's own variance. placed: the same after the best similarity
    transform, `placement`. structure: correlation of edges with look-alikes and with the mean, at most 1. style: distance of
    colour statistics from those of samples, in standard deviations of all of them together (Mahalanobis).
    """

    distance: float
    placed: float
    placement: Placement
    structure: float
    style: float

    def cues(self) -> tuple[float, ...]:
        """What a cause is told by: the measures, and how far the placement is from that of samples."""
        scale, right, down, degrees = self.placement
        gain = self.placed / max(self.distance, 1e-6)
        shift = max(abs(right), abs(down))
        return (self.distance, self.placed, gain, self.structure, self.style, abs(math.log(scale)), shift, abs(degrees) / 10)


@dataclass(frozen=True)
class Gallery:
    """Thumbnails of samples, and what of them is compared. thumbnails: [K, 3, 32, 32] in [-1, 1]."""

    thumbnails: Tensor
    small: Tensor
    edges: Tensor
    style_mean: Tensor
    style_precision: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Gallery:
        """images: [K, C, h, w], K of at least 8."""
        thumbnails = thumbnail(images)
        styles = style_of(thumbnails)
        covariance = torch.cov(styles.t()) + 1e-4 * torch.eye(styles.shape[1])
        small = F.avg_pool2d(thumbnails, SIDE // SMALL)
        return cls(thumbnails, small, edges_of(thumbnails), styles.mean(dim=0), torch.linalg.inv(covariance))

    def likeness(self, image: Tensor) -> Likeness:
        """image: [1, C, H, W]."""
        picture = thumbnail(image)
        small = F.avg_pool2d(picture, SIDE // SMALL)
        distance = float(self._distances(small, [IN_PLACE])[0])
        placed, placement = self._placed(small)
        edges, usual = edges_of(picture), F.normalize(self.edges.mean(dim=0), dim=0)
        alike = (edges @ self.edges.t()).topk(min(RANK, len(self.edges))).values[0, -1]
        structure = (alike + edges[0] @ usual) / 2
        offset = style_of(picture)[0] - self.style_mean
        style = float((offset @ self.style_precision @ offset).clamp_min(0).sqrt())
        return Likeness(distance, min(placed, distance), placement, float(structure), style)

    def own_distances(self, count: int) -> Tensor:
        """[count]: the same distance for the first samples, each to the nearest of the others."""
        count = min(count, len(self.small))
        flat = self.small.flatten(1)
        squared = torch.cdist(flat[:count], flat).square() / flat.shape[1]
        squared[torch.arange(count), torch.arange(count)] = float("inf")
        return squared.min(dim=1).values / (_variance(self.small[:count], torch.ones_like(self.small[:count, :1])) + FLAT)

    def _placed(self, small: Tensor) -> tuple[float, Placement]:
        """The smallest distance over similarity transforms: a coarse search, then around its best."""
        coarse = [(s, x, y, a) for s in SCALES for x in SHIFTS for y in SHIFTS for a in ANGLES]
        order = self._distances(small, coarse).argsort()[:STARTS]
        best, placement = float("inf"), IN_PLACE
        for index in order.tolist():
            s, x, y, a = coarse[index]
            near = [
                (s * f, x + u, y + v, a + b)
                for f in (0.9, 1.0, 1.1) for u in (-0.1, 0.0, 0.1) for v in (-0.1, 0.0, 0.1) for b in (-10.0, 0.0, 10.0)
            ]  # fmt: skip
            distances = self._distances(small, near)
            lowest = int(distances.argmin())
            if float(distances[lowest]) < best:
                best, placement = float(distances[lowest]), near[lowest]
        return best, placement

    def _distances(self, small: Tensor, placements: list[Placement]) -> Tensor:
        """[len(placements)]: to the nearest sample where both are seen, over the variance of what is seen."""
        count = len(placements)
        grid = F.affine_grid(_matrices(placements), [count, 3, SMALL, SMALL], align_corners=False)
        moved = F.grid_sample(small.expand(count, -1, -1, -1), grid, align_corners=False)
        seen = F.grid_sample(torch.ones(count, 1, SMALL, SMALL), grid, align_corners=False)
        seen = (seen > 0.99).float()
        weights = seen.expand(-1, 3, -1, -1).flatten(1)
        ours, samples = moved.flatten(1) * weights, self.small.flatten(1)
        squared = ours.square().sum(dim=1, keepdim=True) - 2 * ours @ samples.t() + weights @ samples.square().t()
        nearest = squared.clamp_min(0).min(dim=1).values / weights.sum(dim=1).clamp_min(1)
        values = nearest / (_variance(moved, seen) + FLAT)
        return torch.where(seen.mean(dim=(1, 2, 3)) >= SMALLEST_OVERLAP, values, torch.full_like(values, float("inf")))


def thumbnail(images: Tensor) -> Tensor:
    """[N, C, H, W] → [N, 3, 32, 32] float32 on the CPU, in [-1, 1]."""
    rgb = to_rgb(images.detach()).float().cpu().clamp(-1, 1)
    if min(rgb.shape[2:]) < SIDE:
        return F.interpolate(rgb, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return F.interpolate(rgb, size=(SIDE, SIDE), mode="area")


def edges_of(thumbnails: Tensor) -> Tensor:
    """[N, 256] of length 1: where edges are, relative to how many there are, whatever the colours."""
    grey = F.avg_pool2d(thumbnails.mean(dim=1, keepdim=True), 3, 1, 1)
    across = grey[..., 1:, 1:] - grey[..., 1:, :-1]
    down = grey[..., 1:, 1:] - grey[..., :-1, 1:]
    strength = (across.square() + down.square()).sqrt()
    relative = (strength / (strength.mean(dim=(2, 3), keepdim=True) + 1e-3)).clamp_max(3)
    cells = F.avg_pool2d(F.pad(relative, (0, 1, 0, 1)), 2).flatten(1)
    cells = cells - cells.mean(dim=1, keepdim=True)
    return cells / cells.norm(dim=1, keepdim=True).clamp_min(1e-6)


def style_of(thumbnails: Tensor) -> Tensor:
    """[N, 9]: mean and spread of every colour, and how colourful the picture is (mean, spread, ninth decile)."""
    x = F.avg_pool2d(thumbnails, SIDE // SMALL)
    colourful = (x - x.mean(dim=1, keepdim=True)).norm(dim=1).flatten(1)
    parts = [x.mean(dim=(2, 3)), x.std(dim=(2, 3)), colourful.mean(dim=1, keepdim=True),
             colourful.std(dim=1, keepdim=True), colourful.quantile(0.9, dim=1, keepdim=True)]  # fmt: skip
    return torch.cat(parts, dim=1)


def _variance(images: Tensor, seen: Tensor) -> Tensor:
    """[N]: mean square over the seen pixels of what differs from the mean colour there."""
    weight = seen.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    mean = (images * seen).sum(dim=(2, 3), keepdim=True) / weight
    return ((images - mean) * seen).square().sum(dim=(1, 2, 3)) / (3 * weight[:, 0, 0, 0])


def _matrices(placements: list[Placement]) -> Tensor:
    rows = []
    for scale, right, down, degrees in placements:
        c, s = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
        rows.append([[c, -s, right], [s, c, down]])
    return torch.tensor(rows, dtype=torch.float32)
