"""What an encoder sees instead of the picture that it is to make: image-to-image tasks (pSp Sec. 5), and damage for robustness."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.data.distortions import blurred, compressed, noisy
from stylegan_core.errors import UsageError

Transform = Callable[[Tensor, torch.Generator], Tensor]  # images [N, C, H, W] in [-1, 1], a stream on the CPU → [N, C', H, W]

FACTORS = (1, 2, 4, 8, 16)  # of super-resolution (pSp Sec. 5.3)
DAMAGES = (blurred, noisy, compressed)
LARGEST_DAMAGE = 0.3


def low_resolution(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each picture shrunk by one of FACTORS, by area, and brought back to its size."""
    seen = []
    for image in images.split(1):
        factor = FACTORS[int(torch.randint(len(FACTORS), [], generator=rng))]
        shape = [max(1, side // factor) for side in image.shape[2:]]
        small = F.interpolate(image, size=shape, mode="area")
        seen.append(F.interpolate(small, size=image.shape[2:], mode="bilinear", align_corners=False))
    return torch.cat(seen)


def holes(images: Tensor, rng: torch.Generator) -> Tensor:
    """A grey rectangle of a quarter to a half of each side in each picture: inpainting."""
    seen = images.clone()
    for image in seen:
        height, width = image.shape[1:]
        part = torch.rand([2], generator=rng) * 0.25 + 0.25
        size = [max(1, round(float(part[0]) * height)), max(1, round(float(part[1]) * width))]
        top = int(torch.randint(height - size[0] + 1, [], generator=rng))
        left = int(torch.randint(width - size[1] + 1, [], generator=rng))
        image[:, top : top + size[0], left : left + size[1]] = 0
    return seen


def edges(images: Tensor, rng: torch.Generator) -> Tensor:
    """Dark lines on white where brightness changes, [N, 1, H, W]: a sketch."""
    grey = F.pad(images.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    smooth, step = grey.new_tensor([1.0, 2.0, 1.0]) / 4, grey.new_tensor([-1.0, 0.0, 1.0]) / 2
    kernels = torch.stack([smooth[:, None] * step, step[:, None] * smooth])[:, None]  # Sobel
    strength = F.conv2d(grey, kernels).square().sum(dim=1, keepdim=True).sqrt()
    return (1 - 4 * strength).clamp(-1, 1)


TRANSFORMS: Mapping[str, Transform] = {"super-resolution": low_resolution, "inpainting": holes, "sketch": edges}


def source_transform(name: str) -> Transform:
    """By name, or 'package.module:function' for one's own. Raises UsageError."""
    if name in TRANSFORMS:
        return TRANSFORMS[name]
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function) if function else None
    except (ImportError, AttributeError) as error:
        raise UsageError(f"source transform {name!r}: {error}; {', '.join(TRANSFORMS)} or package.module:function are allowed") from None
    if not callable(found):
        raise UsageError(f"source transform {name!r}: {', '.join(TRANSFORMS)} or package.module:function are allowed")
    return found


def checked(transform: Transform, images: Tensor, rng: torch.Generator) -> Tensor:
    """transform(images); raises UsageError unless it gives one picture per picture, of the same size."""
    seen = transform(images, rng)
    if not isinstance(seen, Tensor) or seen.ndim != 4 or len(seen) != len(images) or seen.shape[2:] != images.shape[2:]:
        raise UsageError(f"the source transform gave {getattr(seen, 'shape', type(seen).__name__)} for pictures {tuple(images.shape)}; "
                         "[N, channels, H, W] of the same N and size is needed")
    return seen


def damaged(images: Tensor, prob: float, rng: torch.Generator) -> Tensor:
    """A share `prob` of the pictures with a little blur, noise or compression."""
    amounts = torch.rand([len(images)], generator=rng) * LARGEST_DAMAGE
    is_damaged = torch.rand([len(images)], generator=rng) < prob
    kinds = torch.randint(len(DAMAGES), [len(images)], generator=rng)
    for number, damage in enumerate(DAMAGES):
        rows = (is_damaged & (kinds == number)).nonzero()[:, 0]
        if len(rows):
            here = rows.to(images.device)
            images = images.index_copy(0, here, damage(images[here], amounts[rows], rng))
    return images
