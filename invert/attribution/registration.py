"""Where a picture lies in a generator's frame: as a whole, mirrored, a crop of it, or somewhere in a larger picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from invert.attribution.channel import BLOCK, Box, Channel
from invert.attribution.frame_prior import FramePrior
from invert.attribution.groundwork import Groundwork
from invert.attribution.laundering import Laundering
from stylegan_core.images import resize

SAME_ASPECT = 0.04  # difference of width / height up to which a picture is the whole frame
SCALES = (0.25, 0.33, 0.4, 0.5, 0.65, 0.8, 0.9, 1.0, 1.12, 1.25, 1.45)  # sides of the frame, in smaller sides of the picture
STEPS = 8  # of a frame's side, between places that are tried
SMALLEST_OVERLAP = 0.45  # share of the frame that the picture must show
SMALLEST_FRAME = 0.45  # of the generator's size, in pixels of the picture
BEYOND = 0.55  # share of a frame that may lie outside of the picture
CLEARLY_LIKELIER = 0.6  # logarithm per value: by less than that, a picture of the model's shape is taken as a whole
MUCH_LIKELIER = 1.2  # the same for one of the model's very size
LIKELIEST = 4  # places of the coarse search that are looked at again
FINER = ((0.06, 0.05), (0.03, 0.025), (0.015, 0.012))  # rounds around the best: moves as shares of the side, and of the size
OWN_SIZE = 0.06  # of the generator's size: a placement as near to it is one at its own size where that is possible
LEAST_LEFT = 0.6  # share of what is seen that must be left when it begins with a whole block of JPEG
SNAP = 0.012  # of the generator's size: a placement as near to it is at it
LARGEST_MOVE = 0.06  # of the frame's side, by one refinement
WORDS = {"whole": "as a whole", "centre": "its centred square", "placed": "placed by search", "native": "a crop at its own size"}


@dataclass(frozen=True)
class Placement:
    """frame: the box of the picture, in pixels, that is the generator's whole frame; it may reach beyond the picture. kind: a key
    of WORDS. is_mirrored: the picture is turned over first (the box is then that of the mirrored picture). likelihood: logarithm,
    per value, of what is seen there; see `FramePrior`.
    """

    kind: str
    frame: Box
    is_mirrored: bool = False
    likelihood: float = 0.0

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"kind": self.kind, "frame": [round(edge, 2) for edge in self.frame], "mirrored": self.is_mirrored}

    def scale(self, shape: tuple[int, int]) -> float:
        """Pixels of the picture per pixel of the generator."""
        left, top, right, bottom = self.frame
        return math.sqrt((right - left) * (bottom - top) / (shape[0] * shape[1]))

    def overlap(self, pixels: Tensor) -> float:
        """The share of the frame that the picture shows."""
        left, top, right, bottom = self.frame
        across = max(0.0, min(float(pixels.shape[3]), right) - max(0.0, left)) / (right - left)
        down = max(0.0, min(float(pixels.shape[2]), bottom) - max(0.0, top)) / (bottom - top)
        return across * down


def hypotheses(pixels: Tensor, ground: Groundwork) -> list[Placement]:
    """The placements that are worth a projection: first the upright ones, the plainest before others, then the mirrored ones.

    pixels: [1, 3, h, w]. A picture of the generator's shape that looks like its samples is only tried as a whole.
    """
    height, width = pixels.shape[2:]
    frame_height, frame_width = ground.generator.img_shape
    aspect = (width / height) / (frame_width / frame_height)
    if abs(math.log(aspect)) < SAME_ASPECT:
        plain = Placement("whole", (0.0, 0.0, float(width), float(height)))
    else:
        plain = Placement("centre", _centred(width, height, frame_width / frame_height))
    has_size = (width, height) == (frame_width, frame_height)
    plainly = float(_likelihoods(pixels, ground.frame_prior, [plain.frame])[0])
    is_usual = plain.kind == "whole" and plainly > ground.usual_likelihood
    enough = plainly + (MUCH_LIKELIER if has_size else CLEARLY_LIKELIER)
    found = []
    for side in (False, True):
        picture = pixels.flip(3) if side else pixels
        frames = {plain.kind: _turned(plain.frame, width) if side else plain.frame}
        if width <= frame_width and height <= frame_height and not has_size:
            frames["native"] = _native(picture, ground)
        placed = None if is_usual else _searched(picture, ground)
        if placed is not None and not ("native" in frames and abs((placed[2] - placed[0]) / frame_width - 1) < OWN_SIZE):
            frames["placed"] = placed
        values = _likelihoods(picture, ground.frame_prior, list(frames.values())).tolist()
        found += [Placement(kind, frame, side, value) for (kind, frame), value in zip(frames.items(), values)
                  if kind != "placed" or plain.kind != "whole" or value > enough]  # fmt: skip
    return found


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
        if quantiser is not None:  # from the first whole block on, where enough is left
            aligned_x, aligned_y = first_x + (across - first_x) % BLOCK, first_y + (down - first_y) % BLOCK
            left_over = max(0, last_x - aligned_x) * max(0, last_y - aligned_y)
            is_enough = left_over >= LEAST_LEFT * (last_x - first_x) * (last_y - first_y)
            first_x, first_y, quantiser = (aligned_x, aligned_y, quantiser) if is_enough else (first_x, first_y, None)
        part = pixels[:, :, first_y:last_y, first_x:last_x][:, :, : shape[0], : shape[1]]
        last_x, last_y = first_x + part.shape[3], first_y + part.shape[2]
        box = ((first_x - left) / per_x, (first_y - top) / per_y, (last_x - left) / per_x, (last_y - top) / per_y)
        return Channel.of(part, _clipped(box, shape[1], shape[0]), shape, quantiser=quantiser, blur=blur)
    first_x, last_x = _inside(-left / per_x, (width - left) / per_x, shape[1])
    first_y, last_y = _inside(-top / per_y, (height - top) / per_y, shape[0])
    source = (left + first_x * per_x, top + first_y * per_y, left + last_x * per_x, top + last_y * per_y)
    part = resize(pixels, (last_y - first_y, last_x - first_x), box=_clipped(source, width, height))
    return Channel.of(part, (first_x, first_y, last_x, last_y), shape, blur=blur)


def snapped(placement: Placement, pixels: Tensor, shape: tuple[int, int]) -> Placement:
    """In whole pixels where the picture has the generator's own size."""
    left, top, right, bottom = placement.frame
    height, width = shape
    if placement.kind != "native" and abs((right - left) / width - 1) >= SNAP:
        return placement
    x, y = round((left + right - width) / 2), round((top + bottom - height) / 2)
    if placement.kind == "native":  # the picture stays inside of the frame
        x, y = min(0, max(pixels.shape[3] - width, x)), min(0, max(pixels.shape[2] - height, y))
    return replace(placement, frame=(float(x), float(y), float(x + width), float(y + height)))


def refined(placement: Placement, pixels: Tensor, render: Tensor) -> Placement:
    """The placement moved and scaled so that the picture lies on the render [1, 3, H, W] (Lucas and Kanade 1981)."""
    if placement.is_mirrored:
        pixels = pixels.flip(3)
    for smooth in (4, 2, 1):
        for _ in range(2):
            placement = _refined_once(placement, pixels, render, smooth)
    return snapped(placement, pixels, (render.shape[2], render.shape[3]))


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


def _searched(pixels: Tensor, ground: Groundwork) -> Box | None:
    """The frame in which what is seen is likeliest, of any size; None where the picture is too small for any."""
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
        return None
    found = _best_frames(pixels, ground.coarse_prior, frames, LIKELIEST)
    for move, growth in FINER:
        nudges = [(i * move, j * move, k * growth) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]
        near = [_nudged(frame, (x, y), grown) for frame in found for x, y, grown in nudges]
        found = _best_frames(pixels, ground.frame_prior, near, 1)
    return found[0]


def _native(pixels: Tensor, ground: Groundwork) -> Box:
    """The likeliest place of the picture in the frame at the generator's own size."""
    height, width = pixels.shape[2:]
    frame_height, frame_width = ground.generator.img_shape
    across, down = range(frame_width - width + 1), range(frame_height - height + 1)
    step = max(1, min(frame_height, frame_width) // 32)
    coarse = [_native_box(x, y, ground) for x in across[::step] for y in down[::step]]
    near = set()
    for left, top, _, _ in _best_frames(pixels, ground.coarse_prior, coarse, LIKELIEST):
        x, y = round(-left), round(-top)
        near |= {(i, j) for i in range(x - step, x + step + 1) for j in range(y - step, y + step + 1) if i in across and j in down}
    return _best_frames(pixels, ground.frame_prior, [_native_box(x, y, ground) for x, y in sorted(near)], 1)[0]


def _native_box(x: int, y: int, ground: Groundwork) -> Box:
    height, width = ground.generator.img_shape
    return float(-x), float(-y), float(width - x), float(height - y)


def _nudged(frame: Box, move: tuple[float, float], growth: float) -> Box:
    """Moved by shares of its sides, and grown by a share."""
    left, top, right, bottom = frame
    wide, tall = right - left, bottom - top
    x, y = (left + right) / 2 + move[0] * wide, (top + bottom) / 2 + move[1] * tall
    wide, tall = wide * (1 + growth) / 2, tall * (1 + growth) / 2
    return x - wide, y - tall, x + wide, y + tall


def _best_frames(pixels: Tensor, prior: FramePrior, frames: list[Box], count: int) -> list[Box]:
    return [frames[index] for index in _likelihoods(pixels, prior, frames).argsort(descending=True)[:count].tolist()]


def _likelihoods(pixels: Tensor, prior: FramePrior, frames: list[Box]) -> Tensor:
    """[len(frames)]; minus infinity where too little of the frame is seen."""
    seen, mask = _looked_at(pixels.float().cpu(), frames, (prior.side, prior.side))
    mask = (mask > 0.98).float()
    values = prior.log_likelihood(seen, mask)
    return torch.where(mask.mean(dim=(1, 2, 3)) >= SMALLEST_OVERLAP, values, torch.full_like(values, -float("inf")))


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
