"""Faces into the square that face models know, and back: from eye and mouth points to a quad, from photo to crop, from crop to photo.

The quad is that of FFHQ (PG App. C): corners in photo pixels, top left, bottom left, bottom right, top right of the crop. Points and
corners count from the upper left corner of the picture, so that the centre of its first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from stylegan_core.errors import ImageError, UsageError
from stylegan_core.images import PictureShape, to_channels, to_rgb

EYES_FACTOR, MOUTH_FACTOR, CENTRE_SHIFT = 4.0, 3.6, 0.1  # PG App. C
SMALLEST_QUAD = 2.0  # pixels of a side
SQUARENESS = 1e-2  # how far from a parallelogram a quad may be, of its side
FEATHER = 0.12  # of the crop's side
COLOURS = ("none", "border")
MODES = ("replace", "difference")


@dataclass(frozen=True)
class Quad:
    """corners: [4, 2] float64 (x, y): top left, bottom left, bottom right, top right; a parallelogram, mostly a turned square."""

    corners: Tensor

    def __post_init__(self) -> None:
        corners = self.corners
        if tuple(corners.shape) != (4, 2) or not torch.isfinite(corners).all():
            raise UsageError(f"a quad is four points (x, y), not {tuple(corners.shape)}")
        right, down = corners[3] - corners[0], corners[1] - corners[0]
        side = float(min(right.norm(), down.norm()))
        if side < SMALLEST_QUAD or abs(float(right[0] * down[1] - right[1] * down[0])) < SMALLEST_QUAD**2:
            raise UsageError(f"the quad has a side of {side:.1f} px or no area; points in another unit?")
        if float((corners[0] + right + down - corners[2]).norm()) > SQUARENESS * side:
            raise UsageError("the quad is no parallelogram; give its corners top left, bottom left, bottom right, top right")

    @classmethod
    def of(cls, corners: Sequence[Sequence[float]] | Tensor) -> Quad:
        """From four points (x, y)."""
        return cls(torch.as_tensor(corners, dtype=torch.float64))

    @property
    def matrix(self) -> Tensor:
        """[2, 3]: crop coordinates (u, v, 1) in [0, 1] → photo coordinates (x, y)."""
        origin, right, down = self.corners[0], self.corners[3] - self.corners[0], self.corners[1] - self.corners[0]
        return torch.stack([right, down, origin], dim=1)

    @property
    def sides(self) -> tuple[float, float]:
        """(width, height) in photo pixels."""
        return float((self.corners[3] - self.corners[0]).norm()), float((self.corners[1] - self.corners[0]).norm())

    def to_photo(self, points: Tensor) -> Tensor:
        """[N, 2] in crop coordinates → photo coordinates."""
        return points.double() @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_crop(self, points: Tensor) -> Tensor:
        """[N, 2] in photo coordinates → crop coordinates, [0, 1] inside."""
        return (points.double() - self.matrix[:, 2]) @ torch.linalg.inv(self.matrix[:, :2]).T


def quad_of_face(eye_left: Sequence[float], eye_right: Sequence[float], mouth_left: Sequence[float], mouth_right: Sequence[float]) -> Quad:
    """The square of FFHQ around a face, from the eyes and the corners of the mouth, left and right as they are seen (PG App. C)."""
    e0, e1, m0, m1 = (
        torch.tensor([float(v) for v in point], dtype=torch.float64) for point in (eye_left, eye_right, mouth_left, mouth_right)
    )
    across, down = e1 - e0, (m0 + m1) / 2 - (e0 + e1) / 2
    centre = (e0 + e1) / 2 + CENTRE_SHIFT * down
    size = max(EYES_FACTOR * float(across.norm()), MOUTH_FACTOR * float(down.norm()))
    x = across + torch.stack([down[1], -down[0]])  # the eyes say where right is, and so does the mouth, turned by a quarter
    if not float(x.norm()) > 1e-6:
        raise UsageError("the eyes and the mouth lie in one point; give the points in pixels of the photo")
    x = x / x.norm() * size / 2
    y = torch.stack([-x[1], x[0]])
    return Quad(torch.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y]))


def quad_of(geometry: Mapping[str, Any]) -> Quad:
    """The quad of an inversion's geometry, whether it was aligned or cropped by `images.fit`; of the part without pads."""
    if "quad" in geometry:
        return Quad.of(geometry["quad"])
    left, top, right, bottom = geometry["box"]
    return Quad.of([(left, top), (left, bottom), (right, bottom), (right, top)])


def align(photo: Tensor, quad: Quad, generator: PictureShape) -> tuple[Tensor, dict[str, Any]]:
    """photo [1, C, H, W] → (target [1, img_channels, *img_shape], geometry for the inversion). Parts outside of the photo mirror it."""
    height, width = generator.img_shape
    target = crop(to_channels(photo, generator.img_channels), quad, (height, width)).clamp(-1, 1)
    geometry = {
        "mode": "quad",
        "filter": "bicubic, box",
        "source_size": [photo.shape[3], photo.shape[2]],
        "quad": [[round(float(v), 6) for v in corner] for corner in quad.corners],
        "size": [width, height],
        "pads": [0, 0, 0, 0],
    }
    return target, geometry


def crop(images: Tensor, quad: Quad, size: tuple[int, int]) -> Tensor:
    """[N, C, H, W], quad → [N, C, *size]: bicubic at a whole multiple of the size as fine as the photo, then averaged."""
    height, width = size
    factor = max(1, math.ceil(max(quad.sides[0] / width, quad.sides[1] / height) - 1e-6))
    v, u = _centres(height * factor, images), _centres(width * factor, images)
    points = torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1)
    sampled = _sample(images, points, quad.matrix)
    return avg_pool2d(sampled, factor) if factor > 1 else sampled


def paste(
    render: Tensor,
    photo: Tensor,
    geometry: Mapping[str, Any],
    *,
    feather: float = FEATHER,
    colour: str = "none",
    unedited: Tensor | None = None,
    mode: str = "replace",
) -> Tensor:
    """Puts a render [1, C, h, w] back where its inversion's geometry says → the photo [1, 3, H, W]; outside of the quad bit for bit.

    feather: width of the soft edge inside the quad, of its side; 0 = none. colour: 'border' gives the render the mean and contrast
    that the photo has along the edge; 'none'. mode: 'replace', or 'difference': what the edit changed (render - unedited) is added to
    the photo, so that its fine detail stays. unedited: the render before the edit, which 'difference' needs. Raises ImageError for
    another photo.
    """
    if mode not in MODES or colour not in COLOURS or not 0 <= feather <= 0.5:
        raise UsageError(f"mode {mode!r} of {', '.join(MODES)}; colour {colour!r} of {', '.join(COLOURS)}; feather {feather} from 0 to 0.5")
    if mode == "difference" and unedited is None:
        raise UsageError("mode 'difference' needs the render before the edit")
    width, height = geometry["source_size"]
    if tuple(photo.shape[2:]) != (height, width):
        raise ImageError(f"the photo is {photo.shape[3]}×{photo.shape[2]}, the inversion is of {width}×{height}; give the same photo")
    quad, base = quad_of(geometry), to_rgb(photo)
    window = _window(quad, width, height)
    left, top, right, bottom = window
    if right <= left or bottom <= top:
        raise ImageError("the quad of the inversion lies outside of the photo")
    inside = base[:, :, top:bottom, left:right]
    u, v, weight = _inside(quad, window, feather, base)
    fresh = _expand(_proper(render, geometry), quad, u, v).to(base)
    if mode == "difference":
        assert unedited is not None
        blended = inside + (fresh - _expand(_proper(unedited, geometry), quad, u, v).to(base)) * weight
    else:
        if colour == "border":
            fresh = _matched(fresh, inside, _border(u, v))
        blended = torch.lerp(inside, fresh, weight)
    result = base.clone()
    result[:, :, top:bottom, left:right] = torch.where(weight > 0, blended.clamp(-1, 1), inside)
    return result


def _centres(count: int, like: Tensor) -> Tensor:
    return (torch.arange(count, dtype=torch.float64, device=like.device) + 0.5) / count


def _sample(images: Tensor, points: Tensor, matrix: Tensor) -> Tensor:
    """Bicubic values at points [h, w, 2] given in crop coordinates; mirrored beyond the picture."""
    height, width = images.shape[2:]
    matrix = matrix.to(points.device)
    at = points @ matrix[:, :2].T + matrix[:, 2]
    scaled = at / torch.tensor([width, height], dtype=at.dtype, device=at.device) * 2 - 1
    grid = scaled.to(images.dtype)[None].expand(len(images), -1, -1, -1)
    return grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def _window(quad: Quad, width: int, height: int) -> tuple[int, int, int, int]:
    """left, top, right, bottom of the photo's pixels that can lie in the quad."""
    low, high = quad.corners.min(dim=0).values, quad.corners.max(dim=0).values
    return max(0, math.floor(low[0])), max(0, math.floor(low[1])), min(width, math.ceil(high[0])), min(height, math.ceil(high[1]))


def _inside(quad: Quad, window: tuple[int, int, int, int], feather: float, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(u, v [h, w] of the window's pixels in crop coordinates, weight [1, 1, h, w]: 0 outside of the quad, 1 well inside)."""
    left, top, right, bottom = window
    x = torch.arange(left, right, dtype=torch.float64, device=like.device) + 0.5
    y = torch.arange(top, bottom, dtype=torch.float64, device=like.device) + 0.5
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    matrix = quad.matrix.to(like.device)
    at = (grid - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T
    u, v = at[..., 0], at[..., 1]
    edge = torch.stack([u, v, 1 - u, 1 - v]).min(dim=0).values
    if feather > 0:
        t = (edge / feather).clamp(0, 1)
        weight = t * t * (3 - 2 * t)
    else:
        weight = (edge >= 0).double()
    return u, v, weight[None, None].to(like.dtype)


def _proper(render: Tensor, geometry: Mapping[str, Any]) -> Tensor:
    """The part of a render that is picture, RGB."""
    left, top, right, bottom = geometry["pads"]
    return to_rgb(render)[:, :, top : render.shape[2] - bottom, left : render.shape[3] - right].float()


def _expand(render: Tensor, quad: Quad, u: Tensor, v: Tensor) -> Tensor:
    """The render at the window's pixels: bicubic; shrunk first where it is finer than the photo."""
    scale = max(render.shape[3] / quad.sides[0], render.shape[2] / quad.sides[1])
    if scale > 1:
        size = (max(1, round(render.shape[2] / scale)), max(1, round(render.shape[3] / scale)))
        render = interpolate(render, size=size, mode="bicubic", align_corners=False, antialias=True)
    points = torch.stack([u, v], dim=-1).clamp(0, 1)
    grid = (points * 2 - 1).to(render)[None]
    return grid_sample(render, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(-1, 1)


def _border(u: Tensor, v: Tensor) -> Tensor:
    """[1, 1, h, w]: the ring inside the quad along which colours are compared."""
    edge = torch.stack([u, v, 1 - u, 1 - v]).min(dim=0).values
    return ((edge >= 0) & (edge < 0.15))[None, None]


def _matched(fresh: Tensor, photo: Tensor, ring: Tensor) -> Tensor:
    """fresh with the mean and standard deviation of the photo along the ring, per channel."""
    where = ring.expand_as(fresh)
    rows = [(fresh[:, c][where[:, c]], photo[:, c][where[:, c]]) for c in range(fresh.shape[1])]
    if rows[0][0].numel() < 16:
        return fresh
    own = fresh.new_tensor([[float(a.mean()), float(a.std()), float(b.mean()), float(b.std())] for a, b in rows]).view(1, -1, 4, 1, 1)
    gain = (own[:, :, 3] / own[:, :, 1].clamp_min(1e-3)).clamp(0.5, 2)
    return (fresh - own[:, :, 0]) * gain + own[:, :, 2]
