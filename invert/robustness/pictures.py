"""Pictures inside a model's domain, near it and outside of it, and portraits that are moved, turned and scaled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invert.evaluate import PORTRAIT_SEED
from stylegan_core.errors import UsageError
from stylegan_core.images import fit, from_u8, load_image

INSIDE, OUTSIDE = "portraits", "scenes"  # where a part compares only two
PHOTOS = ("china.jpg", "flower.jpg")     # the photographs of scikit-learn
OVERSAMPLING = 4                         # portraits are moved in pictures this much larger, so that moving does not blur them
LARGEST_DRAWING = 4096


def portraits(generator: Any, count: int) -> Tensor:
    """Of the test seed, as `evaluate` takes them: [count, C, R, R]."""
    from stylegan_core.data.portraits import portrait_u8

    return _fitted(generator, [portrait_u8(PORTRAIT_SEED, i, generator.img_resolution)[0] for i in range(count)])


def ink(generator: Any, count: int) -> Tensor:
    """The same portraits drawn in ink: the subject of portraits64 in another style."""
    from stylegan_core.data.portraits import portrait_u8

    return _fitted(generator, [portrait_u8(PORTRAIT_SEED, i, generator.img_resolution, style="ink")[0] for i in range(count)])


def scenes(generator: Any, count: int) -> Tensor:
    """Houses in landscapes of the test seed."""
    from stylegan_core.data.scenes import scene_u8

    return _fitted(generator, [scene_u8(PORTRAIT_SEED, i, generator.img_resolution) for i in range(count)])


def photos(generator: Any, count: int) -> Tensor:
    """The largest centred squares of the two photographs that scikit-learn ships; never more than these two."""
    folder = resources.files("sklearn.datasets.images")
    targets = []
    for name in PHOTOS[:count]:
        with resources.as_file(folder / name) as path:
            targets.append(fit(load_image(path), generator)[0])
    return torch.cat(targets).to(generator.w_avg)


SUBJECTS: Mapping[str, Callable[[Any, int], Tensor]] = {"portraits": portraits, "ink": ink, "scenes": scenes, "photos": photos}


def subject(name: str, generator: Any, count: int) -> Tensor:
    """[N, C, R, R] in [-1, 1] of the generator's size. Raises UsageError for a name that the table does not have."""
    if name not in SUBJECTS:
        raise UsageError(f"pictures {name!r}: one of {', '.join(SUBJECTS)} is allowed")
    return SUBJECTS[name](generator, count)


@dataclass(frozen=True)
class Move:
    """What is done to a picture: scaled and turned counter-clockwise about its centre, then moved to the right by pixels of its own."""

    name: str
    right: float = 0.0
    degrees: float = 0.0
    scale: float = 1.0


STILL = Move("as drawn")
SHIFTS = tuple(Move(f"right by {px} px", right=px) for px in (1, 2, 4, 8))
TURNS = tuple(Move(f"turned by {angle}°", degrees=angle) for angle in (5, 15, 45))
SCALES = tuple(Move(f"scaled by {scale}", scale=scale) for scale in (0.8, 0.9, 1.1, 1.25))
MOVES = (STILL, *SHIFTS, *TURNS, *SCALES)


def moved_portraits(generator: Any, count: int, move: Move) -> Tensor:
    """Portraits of the test seed, moved while they are large and then averaged; what comes in from outside repeats the edge."""
    from stylegan_core.data.portraits import portrait_u8

    side = generator.img_resolution
    large = min(OVERSAMPLING, LARGEST_DRAWING // side) * side
    pictures = from_u8(torch.from_numpy(np.stack([portrait_u8(PORTRAIT_SEED, i, large)[0] for i in range(count)])))
    averaged = F.interpolate(moved(pictures, move, side), size=(side, side), mode="area")
    return torch.cat([fit(one, generator)[0] for one in averaged.split(1)]).to(generator.w_avg)


def moved(images: Tensor, move: Move, side: int) -> Tensor:
    """images: [N, C, H, H], bilinear. side: the size that the pixels of the move belong to."""
    angle = math.radians(move.degrees)
    c, s = math.cos(angle) / move.scale, math.sin(angle) / move.scale
    right = 2 * move.right / side  # the positions of a grid run from -1 to 1
    theta = images.new_tensor([[c, -s, -c * right], [s, c, -s * right]]).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _fitted(generator: Any, pictures: Sequence[np.ndarray]) -> Tensor:
    return torch.cat([fit(from_u8(torch.from_numpy(one)[None]), generator)[0] for one in pictures]).to(generator.w_avg)
