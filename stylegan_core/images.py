"""Pictures as tensors: [N, C, H, W] float32 in [-1, 1]. Loading, fitting to a generator and back, 8 bits, saving.

Resampling is Lanczos (three lobes, antialiased) on floating-point channels, by Pillow; results are clamped to [-1, 1].
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor
from torch.nn.functional import pad

from stylegan_core.errors import ImageError, OutputError, UsageError
from stylegan_core.files import atomic_write, display
from stylegan_core.image_reader import FIT_MODES, MAX_PIXELS, parse_color, read_image

FILTER = "lanczos"
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class PictureShape(Protocol):
    """What `fit` needs to know about a generator."""

    @property
    def img_channels(self) -> int:
        """1, 3 or 4."""
        ...

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W)."""
        ...


def load_image(path: str | os.PathLike[str], *, background: str | None = "white", max_pixels: int = MAX_PIXELS) -> Tensor:
    """A picture file → [1, 3, H, W] float32 in [-1, 1], RGB, upright. Raises ImageError.

    background: colour under transparent pixels; None keeps transparency, [1, 4, H, W] for a picture that has any.
    """
    pixels = read_image(path, background=background, max_pixels=max_pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous().mul_(2).sub_(1)


def load_mask(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """A grey picture file → [1, 1, H, W] in [0, 1]; white counts, black does not."""
    mask = (to_channels(load_image(path, background="black", max_pixels=max_pixels), 1) + 1) / 2
    if mask.max() <= 0:
        raise ImageError(f"the mask {display(Path(path))} is black everywhere, nothing is left to match; paint what matters white")
    return mask.clamp(0, 1)


def from_pil(image: Image.Image) -> Tensor:
    """A Pillow picture → [1, 3, H, W] float32 in [-1, 1]; transparency is put on white."""
    rgba = image.convert("RGBA")
    array = np.array(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)[None].contiguous() / 127.5 - 1


def to_pil(image: Tensor) -> Image.Image:
    """image: [1, C, H, W] or [C, H, W] → a Pillow picture, L, RGB or RGBA."""
    images = image[None] if image.ndim == 3 else image
    if images.ndim != 4 or images.shape[0] != 1 or images.shape[1] not in _MODES:
        raise ImageError(f"a tensor of shape {tuple(image.shape)} is not one picture; [1, C, H, W] with 1, 3 or 4 channels is")
    array = to_u8(images)[0].cpu().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def to_u8(images: Tensor) -> Tensor:
    """images: [N, C, H, W] in [-1, 1] → uint8 [N, H, W, C], rounded to nearest (halves up, as official scripts)."""
    if not torch.isfinite(images).all():
        raise ImageError("a rendered picture holds NaN or infinity; check the model with `invert models check`")
    return (images.detach().float() * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def from_u8(pixels: Tensor) -> Tensor:
    """uint8 [N, H, W, C] → [N, C, H, W] float32 in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1


def to_rgb(images: Tensor, *, background: str = "white") -> Tensor:
    """[N, 1, 3 or 4, H, W] → [N, 3, H, W]: grey is repeated, opacity is composited. Differentiable."""
    channels = images.shape[1]
    if channels == 3:
        return images
    if channels == 1:
        return images.expand(-1, 3, -1, -1)
    if channels == 4:
        opacity = ((images[:, 3:] + 1) / 2).clamp(0, 1)
        under = images.new_tensor(parse_color(background)).view(1, 3, 1, 1) / 127.5 - 1
        return images[:, :3] * opacity + under * (1 - opacity)
    raise ImageError(f"pictures with {channels} channels cannot be shown; grey (1), RGB (3) and RGBA (4) can")


def to_channels(images: Tensor, img_channels: int) -> Tensor:
    """[N, 1, 3 or 4, H, W] → [N, img_channels, H, W]: BT.601 luma for grey, full opacity where there was none."""
    if images.shape[1] == img_channels:
        return images
    rgb = to_rgb(images)
    if img_channels == 1:
        return (rgb * rgb.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    if img_channels == 3:
        return rgb
    if img_channels == 4:
        return torch.cat([rgb, torch.ones_like(rgb[:, :1])], dim=1)
    raise ImageError(f"a model of {img_channels} channels cannot take a picture; models with 1, 3 or 4 channels can")


def resize(images: Tensor, size: tuple[int, int], *, box: tuple[float, float, float, float] | None = None) -> Tensor:
    """[N, C, H, W] → [N, C, *size], size = (H, W), by antialiased Lanczos.

    box: (left, top, right, bottom) of the source, None = all of it. Nothing is computed when
    the box has the wanted size already.
    """
    height, width = size
    left, top, right, bottom = box if box is not None else (0, 0, images.shape[3], images.shape[2])
    if (right - left, bottom - top) == (width, height) and all(float(edge).is_integer() for edge in (left, top)):
        return images[:, :, int(top) : int(bottom), int(left) : int(right)].clone()
    planes = images.detach().float().cpu().reshape(-1, *images.shape[2:]).numpy()
    resized = [_resize_plane(plane, (width, height), (left, top, right, bottom)) for plane in planes]
    stacked = torch.from_numpy(np.stack(resized)).view(*images.shape[:2], height, width)
    return stacked.clamp_(images.min().item(), images.max().item()).to(images.device)


def fit(image: Tensor, generator: PictureShape, *, mode: str = "crop") -> tuple[Tensor, dict[str, Any], Tensor | None]:
    """image [1, C, H, W] → (target [1, img_channels, *img_shape], geometry, mask [1, 1, *img_shape] or None).

    mode: 'crop' takes the largest centred part of the right shape, 'pad' keeps everything and repeats the edges
    (the mask is 0 there), 'stretch' ignores the shape. geometry is JSON-ready and lets `paste` undo it: mode, filter,
    source_size [W, H], box [left, top, right, bottom] in source pixels, size [W, H] of the target, pads [left, top,
    right, bottom] in it.
    """
    if mode not in FIT_MODES:
        raise UsageError(f"fit {mode!r}: one of {', '.join(FIT_MODES)} is allowed")
    height, width = image.shape[2:]
    full_height, full_width = generator.img_shape
    left, top, right, bottom = _content_box(generator)
    out_width, out_height = right - left, bottom - top
    box = _centred_box(width, height, out_width / out_height) if mode == "crop" else (0, 0, width, height)
    inner_width, inner_height = out_width, out_height
    if mode == "pad":
        scale = min(out_width / width, out_height / height)
        inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    before_x, before_y = (out_width - inner_width) // 2, (out_height - inner_height) // 2
    edges = (before_x, out_width - inner_width - before_x, before_y, out_height - inner_height - before_y)
    margins = (left, full_width - right, top, full_height - bottom)
    inner = resize(to_channels(image, generator.img_channels), (inner_height, inner_width), box=box)
    target = pad(pad(inner, edges, mode="replicate"), margins, value=-1.0)  # such models were trained with black margins
    mask = pad(pad(torch.ones_like(inner[:, :1]), edges), margins, value=1.0) if any(edges) else None
    pads = [left + edges[0], top + edges[2], full_width - right + edges[1], full_height - bottom + edges[3]]
    geometry = {
        "mode": mode,
        "filter": FILTER,
        "source_size": [width, height],
        "box": list(box),
        "size": [full_width, full_height],
        "pads": pads,
    }
    return target, geometry, mask


def fit_mask(mask: Tensor, geometry: Mapping[str, Any]) -> Tensor:
    """mask [1, 1, H, W] of the source picture → [1, 1, *target], by the geometry of `fit`; 0 in the pads."""
    width, height = geometry["source_size"]
    if tuple(mask.shape[2:]) != (height, width):
        raise ImageError(f"the mask is {mask.shape[3]}×{mask.shape[2]}, the picture {width}×{height}; they must have the same size")
    out_width, out_height = geometry["size"]
    if "quad" in geometry:
        from stylegan_core.align import crop, quad_of

        return crop(mask, quad_of(geometry), (out_height, out_width)).clamp(0, 1)
    left, top, right, bottom = geometry["pads"]
    inner = resize(mask, (out_height - top - bottom, out_width - left - right), box=tuple(geometry["box"]))
    return pad(inner, (left, right, top, bottom)).clamp(0, 1)


def picture_proper(images: Tensor, generator: PictureShape) -> Tensor:
    """Cuts away margins that are no part of the picture (a model of 4:3 cars on a square); most have none."""
    left, top, right, bottom = _content_box(generator)
    return images[:, :, top:bottom, left:right]


def paste(render: Tensor, photo: Tensor, geometry: Mapping[str, Any]) -> Tensor:
    """Puts a render [1, C, R, R] back into the photo [1, 3, H, W] that `fit` or `align` took it from → [1, 3, H, W]."""
    if "quad" in geometry:
        from stylegan_core.align import paste as paste_quad

        return paste_quad(render, photo, geometry)
    width, height = geometry["source_size"]
    if tuple(photo.shape[2:]) != (height, width):
        raise ImageError(f"the photo is {photo.shape[3]}×{photo.shape[2]}, the inversion is of {width}×{height}; give the same photo")
    left, top, right, bottom = geometry["box"]
    pad_left, pad_top, pad_right, pad_bottom = geometry["pads"]
    inner = to_rgb(render)[:, :, pad_top : render.shape[2] - pad_bottom, pad_left : render.shape[3] - pad_right]
    result = to_rgb(photo).clone()
    result[:, :, top:bottom, left:right] = resize(inner, (bottom - top, right - left)).to(result)
    return result


def save_image(image: Tensor, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None) -> None:
    """image: [1, C, H, W] or [C, H, W] in [-1, 1] → PNG, JPEG or WebP by the suffix, whole or not at all.

    metadata: texts for a PNG that say how the picture was made; other formats carry none.
    """
    target = Path(path)
    kind = _WRITERS.get(target.suffix.lower())
    if kind is None:
        raise OutputError(f"cannot write {display(target)}: pictures are written as {', '.join(_WRITERS)}")
    picture = to_pil(image)
    options: dict[str, Any] = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    if kind == "JPEG" and picture.mode == "RGBA":
        picture = to_pil(to_rgb(image if image.ndim == 4 else image[None]))
    if kind == "PNG" and metadata:
        texts = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            texts.add_itxt(key, value.encode("utf-8", "backslashreplace").decode("utf-8"))
        options["pnginfo"] = texts
    with atomic_write(target) as temporary:
        picture.save(temporary, format=kind, **options)


def _resize_plane(plane: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box=box))


def _content_box(generator: PictureShape) -> tuple[int, int, int, int]:
    """left, top, right, bottom of the picture proper; all of it for most models."""
    height, width = generator.img_shape
    box = getattr(getattr(generator, "config", None), "content_box", None)
    return (0, 0, width, height) if box is None else tuple(box)


def _centred_box(width: int, height: int, aspect: float) -> tuple[int, int, int, int]:
    """The largest centred box of this aspect (width / height), in whole pixels."""
    box_width = min(width, max(1, round(height * aspect)))
    box_height = min(height, max(1, round(width / aspect)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
