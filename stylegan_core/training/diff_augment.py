"""DiffAugment: three cheap augmentations that happen to every picture (Zhao et al. 2020, Sec. 3 and App. A)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.training.augment import outside_box
from stylegan_core.training.draws import Draws

SHIFT = 0.125  # of the picture's size, at most
BOX = 0.5      # of the picture's size


def diff_augment(images: Tensor, policy: Sequence[str], draws: Draws) -> Tensor:
    """images: [N, C, H, W] in [-1, 1] → the same shape. policy: names of POLICIES, in this order."""
    for name in policy:
        images = POLICIES[name](images, draws)
    return images


def jitter(images: Tensor, draws: Draws) -> Tensor:
    """Brightness by ±0.5, saturation times 0 to 2, contrast times 0.5 to 1.5; a fourth channel (opacity) stays."""
    brightness, saturation, contrast = draws.uniform(3).to(images)[:, :, None, None, None].unbind(1)
    colours, rest = images[:, :3], images[:, 3:]
    colours = colours + (brightness - 0.5)
    grey = colours.mean(dim=1, keepdim=True)
    colours = grey + (colours - grey) * (saturation * 2)
    mean = colours.mean(dim=[1, 2, 3], keepdim=True)
    return torch.cat([mean + (colours - mean) * (contrast + 0.5), rest], dim=1)


def shift(images: Tensor, draws: Draws) -> Tensor:
    """By whole pixels, up to an eighth of the size; 0 comes in."""
    height, width = images.shape[2:]
    reach = torch.tensor([int(width * SHIFT + 0.5), int(height * SHIFT + 0.5)])
    starts = (draws.uniform(2) * (2 * reach + 1)).long().minimum(2 * reach)
    x, y = reach.tolist()
    padded = F.pad(images, [x, x, y, y])
    return torch.stack([picture[:, top : top + height, left : left + width] for picture, (left, top) in zip(padded, starts.tolist())])


def cut(images: Tensor, draws: Draws) -> Tensor:
    """A box of half the size becomes 0."""
    height, width = images.shape[2:]
    return images * outside_box(draws.uniform(2), torch.full([len(images)], BOX), height, width).to(images)


POLICIES: Mapping[str, Callable[[Tensor, Draws], Tensor]] = {"color": jitter, "translation": shift, "cutout": cut}
