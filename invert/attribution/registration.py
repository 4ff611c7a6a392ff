"""Where a picture lies in a generator's frame: as a whole, mirrored, a crop of it, or somewhere in a larger picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from invert.attribution.channel import BLOCK, Box, Channel
from invert.attribution.groundwork import SMALL, Groundwork
from invert.attribution.laundering import Laundering
from stylegan_core.images import resize

SAME_ASPECT = 0.04  # difference of width / height up to which a picture is the whole frame
SCALES = (0.25, 0.33, 0.4, 0.5, 0.65, 0.8, 0.9, 1.0, 1.12, 1.25, 1.45)  # sides of the frame, in smaller sides of the picture
STEPS = 8  # of a frame's side, between places that are tried
SMALLEST_OVERLAP = 0.45  # share of the frame that the picture must show
FLAT = 0.02  # variance that keeps flat places from fitting everything
CLEARLY_NEARER = 0.7  # a placement is tried when its nearest sample is nearer by this factor
SMALLEST_FRAME = 0.45  # of the generator's size, in pixels of the picture
BEYOND = 0.55  # share of a frame that may lie outside of the picture
LARGEST_MOVE = 0.06  # of the frame's side, by one refinement
WORDS = {"whole": "as a whole", "centre": "its centred square", "placed": "placed by search", "native": "a crop at its own size"}


@dataclass(frozen=True)
class Placement:
    """frame: the box of the picture, in pixels, that is the generator's whole frame; it may reach beyond the picture. kind: a key
    of WORDS. is_mirrored: the picture is turned over first (the box is then that of the mirrored picture).
    """

    kind: str
    frame: Box
    is_mirrored: bool = False

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"kind": self.kind, "frame": [round(edge, 2) for edge in self.frame], "mirrored": self.is_mirrored}

    def scale(self, shape: tuple[int, int]) -> float:
        """Pixels of the picture per pixel of the generator."""
        left, top, right, bottom = self.frame
        return math.sqrt((right - left) * (bottom - top) / (shape[0] * shape[1]))

    def is_whole(self, pixels: Tensor) -> bool:
        """Whether the picture shows the whole frame and nothing else, to a pixel."""
        height, width = pixels.shape[2:]
        return all(abs(edge - wanted) < 1 for edge, wanted in zip(self.frame, (0, 0, width, height)))


def hypotheses(pixels: Tensor, ground: Groundwork) -> list[Placement]:
    """The placements that are worth a projection, the simplest first; each also mirrored. pixels: [1, 3, h, w]."""
    height, width = pixels.shape[2:]
    frame_height, frame_width = ground.generator.img_shape
    aspect = (width / height) / (frame_width / frame_height)
    if abs(math.log(aspect)) < SAME_ASPECT:
        found = [Placement("whole", (0.0, 0.0, float(width), float(height)))]
    else:
        found = [Placement("centre", _centred(width, height, frame_width / frame_height))]
    distance = float(_distances(pixels, ground, [found[0].frame])[0])
    if found[0].kind != "whole" or distance > ground.usual_distance:
        nearest, placed = _searched(pixels, ground)
        if nearest < CLEARLY_NEARER * distance:
            found.append(placed)
    if width <= frame_width and height <= frame_height and (width, height) != (frame_width, frame_height):
        found.append(_native(pixels, ground))
    return found + [replace(placement, is_mirrored=True, frame=_turned(placement.frame, width)) for placement in found]


def channel_of(pixels: Tensor, laundering: Laundering | None, placement: Placement, shape: tuple[int, int], blur: float = 0.0) -> Channel:
    """The picture as it is compared: on its own pixels where those are as large as the generator's or larger, else on the
    generator's. laundering: None = its JPEG is not looked at.
    """
    if placement.is_mirrored:
        pixels = pixels.flip(3)
    height, width = pixels.shape[2:]
    left, top, right, bottom = placement.frame
    per_x, per_y = (right - left) / shape[1], (bottom - top) / shape[0]  # pixels of the picture per pixel of the frame
    is_whole = all(abs(edge - round(edge)) < 1e-3 for edge in (left, top))
    if min(per_x, per_y) < 0.999 or (max(per_x, per_y) < 1.001 and is_whole):
        quantiser = None if laundering is None else laundering.quantiser
        down, across = (0, 0) if laundering is None else laundering.offset
        across = (width - across) % BLOCK if placement.is_mirrored else across
        (first_x, last_x), (first_y, last_y) = _inside(left, right, width), _inside(top, bottom, height)
        if quantiser is not None:  # from the first whole block on
            first_x, first_y = first_x + (across - first_x) % BLOCK, first_y + (down - first_y) % BLOCK
        part = pixels[:, :, first_y:last_y, first_x:last_x][:, :, : shape[0], : shape[1]]
        last_x, last_y = first_x + part.shape[3], first_y + part.shape[2]
        box = ((first_x - left) / per_x, (first_y - top) / per_y, (last_x - left) / per_x, (last_y - top) / per_y)
        return Channel.of(part, _clipped(box, shape[1], shape[0]), shape, quantiser=quantiser, blur=blur)
    first_x, last_x = _inside(-left / per_x, (width - left) / per_x, shape[1])
    first_y, last_y = _inside(-top / per_y, (height - top) / per_y, shape[0])
    source = (left + first_x * per_x, top + first_y * per_y, left + last_x * per_x, top + last_y * per_y)
    part = resize(pixels, (last_y - first_y, last_x - first_x), box=_clipped(source, width, height))
    return Channel.of(part, (first_x, first_y, last_x, last_y), shape, blur=blur)


def refined(placement: Placement, pixels: Tensor, render: Tensor) -> Placement:
    """The placement moved and scaled so that the picture lies on the render [1, 3, H, W] (Lucas and Kanade 1981)."""
    if placement.is_mirrored:
        pixels = pixels.flip(3)
    for smooth in (4, 2, 1):
        for _ in range(2):
            placement = _refined_once(placement, pixels, render, smooth)
    left, top, right, bottom = placement.frame
    height, width = render.shape[2:]
    per = (right - left) / width
    if abs(per - 1) < 0.012:  # at the generator's own size: whole pixels
        left, top = round((left + right - width) / 2), round((top + bottom - height) / 2)
        return replace(placement, frame=(float(left), float(top), float(left + width), float(top + height)))
    return placement


def _refined_once(placement: Placement, pixels: Tensor, render: Tensor, smooth: int) -> Placement:
    height, width = render.shape[2:]
    seen, mask = _looked_at(pixels, [placement.frame], (height, width))
    blurred = [F.avg_pool2d(x, smooth) if smooth > 1 else x for x in (seen, render, mask)]
    picture, model, shown = blurred
    grad_x = F.pad((model[..., 2:] - model[..., :-2]) / 2, (1, 1))
    grad_y = F.pad((model[..., 2:, :] - model[..., :-2, :]) / 2, (0, 0, 1, 1))
    rows, columns = model.shape[2:]
    x = (torch.arange(columns, device=model.device) - (columns - 1) / 2).to(model) / columns
    y = (torch.arange(rows, device=model.device) - (rows - 1) / 2).to(model)[:, None] / rows
    weight = (shown > 0.99).to(model)
    columns_of = [grad_x, grad_y, (grad_x * x * columns + grad_y * y * rows)]
    matrix = torch.stack([(value * weight).flatten() for value in columns_of], dim=1).double()
    gap = ((picture - model) * weight).flatten().double()
    damping = 1e-3 * matrix.square().sum(dim=0).mean().clamp_min(1e-9) * torch.eye(3, dtype=torch.float64, device=matrix.device)
    dx, dy, grow = (float(v) for v in torch.linalg.solve(matrix.t() @ matrix + damping, matrix.t() @ gap))
    dx, dy = (max(-LARGEST_MOVE, min(LARGEST_MOVE, move / size)) for move, size in ((dx, columns), (dy, rows)))
    grow = max(-LARGEST_MOVE, min(LARGEST_MOVE, grow))
    left, top, right, bottom = placement.frame
    side_x, side_y = right - left, bottom - top
    centre_x, centre_y = (left + right) / 2 - dx * side_x, (top + bottom) / 2 - dy * side_y
    half_x, half_y = side_x / 2 * math.exp(-grow), side_y / 2 * math.exp(-grow)
    return replace(placement, frame=(centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y))


def _searched(pixels: Tensor, ground: Groundwork) -> tuple[float, Placement]:
    """(relative distance to the nearest sample, the placement that has the smallest)."""
    height, width = pixels.shape[2:]
    frame_height, frame_width = ground.generator.img_shape
    aspect = frame_width / frame_height
    side = min(width / aspect, float(height))
    frames: list[Box] = []
    for scale in SCALES:
        tall, wide = scale * side, scale * side * aspect
        if tall < SMALLEST_FRAME * frame_height:
            continue
        beyond = BEYOND if scale > 1 else 0.0
        across = _places(-beyond * wide, width - wide + beyond * wide, wide / STEPS)
        down = _places(-beyond * tall, height - tall + beyond * tall, tall / STEPS)
        frames += [(x, y, x + wide, y + tall) for x in across for y in down]
    if not frames:
        return float("inf"), Placement("placed", (0.0, 0.0, float(width), float(height)))
    distances = _distances(pixels, ground, frames)
    best = int(distances.argmin())
    return float(distances[best]), Placement("placed", frames[best])


def _native(pixels: Tensor, ground: Groundwork) -> Placement:
    """The best place of the picture in the frame at the generator's own size."""
    height, width = pixels.shape[2:]
    frame_height, frame_width = ground.generator.img_shape
    step = max(1, min(frame_height, frame_width) // 32)
    frames: list[Box] = [(float(-x), float(-y), float(frame_width - x), float(frame_height - y))
                         for x in range(0, frame_width - width + 1, step) for y in range(0, frame_height - height + 1, step)]  # fmt: skip
    return Placement("native", frames[int(_distances(pixels, ground, frames).argmin())])


def _distances(pixels: Tensor, ground: Groundwork, frames: list[Box]) -> Tensor:
    """[len(frames)]: mean squared distance to the nearest sample where both are seen, over the variance there."""
    samples = F.avg_pool2d(ground.thumbnails, ground.thumbnails.shape[2] // SMALL).flatten(1)
    seen, mask = _looked_at(pixels.float().cpu(), frames, (SMALL, SMALL))
    weight = (mask > 0.98).float().expand_as(seen).flatten(1)
    ours, count = seen.flatten(1) * weight, weight.sum(dim=1).clamp_min(1)
    squared = ours.square().sum(dim=1, keepdim=True) - 2 * ours @ samples.t() + weight @ samples.square().t()
    planes, shown = ours.view(len(frames), 3, -1), weight.view(len(frames), 3, -1)
    mean = planes.sum(dim=2, keepdim=True) / shown.sum(dim=2, keepdim=True).clamp_min(1)
    variance = ((planes - mean) * shown).square().sum(dim=(1, 2)) / count
    values = squared.clamp_min(0).min(dim=1).values / count / (variance + FLAT)
    return torch.where(weight.mean(dim=1) >= SMALLEST_OVERLAP, values, torch.full_like(values, float("inf")))


def _looked_at(pixels: Tensor, frames: list[Box], shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """([F, 3, *shape]: what frames of the picture show, each resampled by area and then bilinearly; [F, 1, *shape]: masks)."""
    height, width = pixels.shape[2:]
    seen, mask = pixels.new_zeros(len(frames), 3, *shape), pixels.new_zeros(len(frames), 1, *shape)
    shrinkings = [max(1, round((right - left) / shape[1])) for left, _, right, _ in frames]
    for shrinking in set(shrinkings):
        rows = [i for i, value in enumerate(shrinkings) if value == shrinking]
        below, beside = -height % shrinking, -width % shrinking
        padded = F.pad(pixels, (0, beside, 0, below), mode="replicate") if below or beside else pixels
        small = F.avg_pool2d(padded, shrinking)
        inside = F.avg_pool2d(F.pad(torch.ones_like(pixels[:, :1]), (0, beside, 0, below)), shrinking)
        tall, wide = padded.shape[2:]
        matrices = [[[(r - x) / wide, 0, (x + r) / wide - 1], [0, (b - y) / tall, (y + b) / tall - 1]]
                    for x, y, r, b in (frames[i] for i in rows)]  # fmt: skip
        grid = F.affine_grid(pixels.new_tensor(matrices), [len(rows), 3, *shape], align_corners=False)
        seen[rows] = F.grid_sample(small.expand(len(rows), -1, -1, -1), grid, align_corners=False)
        mask[rows] = F.grid_sample(inside.expand(len(rows), -1, -1, -1), grid, align_corners=False)
    return seen, mask


def _inside(first: float, last: float, size: int) -> tuple[int, int]:
    """The whole numbers from first to last that lie in 0 … size."""
    return max(0, math.ceil(first - 1e-3)), min(size, math.floor(last + 1e-3))


def _clipped(box: Box, width: float, height: float) -> Box:
    left, top, right, bottom = box
    return max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)


def _turned(frame: Box, width: int) -> Box:
    left, top, right, bottom = frame
    return width - right, top, width - left, bottom


def _centred(width: int, height: int, aspect: float) -> Box:
    wide, tall = min(float(width), height * aspect), min(float(height), width / aspect)
    left, top = (width - wide) / 2, (height - tall) / 2
    return left, top, left + wide, top + tall


def _places(first: float, last: float, step: float) -> list[float]:
    if last <= first:
        return [(first + last) / 2]
    count = max(1, math.ceil((last - first) / step))
    return [first + (last - first) * i / count for i in range(count + 1)]
