"""Diversity as MS-SSIM of pairs of samples (Odena, Olah and Shlens 2017, Sec. 4.2): low where pictures differ."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.images import to_u8
from stylegan_core.metrics.reconstruction import ms_ssim


def pair_similarity(images: Tensor) -> Tensor:
    """MS-SSIM of picture 0 and 1, 2 and 3, …: images [N, C, H, W] in [-1, 1] → [N // 2]; an odd one is left out.

    Pictures below 176 px have three scales, and the figure is called ms_ssim_3 then, see `reconstruction.ms_ssim_name`.
    """
    images = images.cpu() if images.device.type == "mps" else images  # which has no float64
    images_u8 = to_u8(images)[: len(images) // 2 * 2]
    return ms_ssim(images_u8[0::2], images_u8[1::2]) if len(images_u8) else torch.zeros(0, dtype=torch.float64)


def mean_similarity(similarity: Tensor | None) -> float:
    """Mean over the pairs. Raises UsageError when there are none."""
    if similarity is None or len(similarity) == 0:
        raise UsageError("diversity needs two pictures or more whose similarity was taken")
    return float(similarity.double().mean())
