"""How close a render is to its target: PSNR and SSIM on 8-bit pictures, as reports give them (range 255, own size)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

SSIM_WINDOW_PX, SSIM_SIGMA = 11, 1.5  # Wang et al. 2004, Sec. III-C
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # (K1 · L)², (K2 · L)² with the range L = 1
MAX_PSNR = 100.0  # of equal pictures, so that every figure is finite


def psnr(target_u8: Tensor, images_u8: Tensor, mask: Tensor | None = None) -> Tensor:
    """[N, H, W, C] uint8 each → dB [N], at most MAX_PSNR. mask: [N, 1, H, W] weights; None = all count."""
    error = (target_u8.double() - images_u8.double()).square().mean(dim=3)
    if mask is None:
        mse = error.mean(dim=(1, 2))
    else:
        weight = mask[:, 0].double()
        mse = (error * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1e-12)
    return (10 * torch.log10(255.0**2 / mse.clamp(min=1e-12))).clamp(max=MAX_PSNR)


def ssim(target_u8: Tensor, images_u8: Tensor, mask: Tensor | None = None) -> Tensor:
    """[N, H, W, C] uint8 each → [N], averaged over channels and windows (Wang et al. 2004, Eq. 13).

    Windows lie wholly inside the picture and shrink with pictures under 11 px. mask: a window counts by the weight at
    its centre.
    """
    x = target_u8.permute(0, 3, 1, 2).double() / 255
    y = images_u8.permute(0, 3, 1, 2).double() / 255
    window = _window(min(SSIM_WINDOW_PX, *x.shape[2:]))
    mean_x, mean_y = _blur(x, window), _blur(y, window)
    var_x = _blur(x * x, window) - mean_x.square()
    var_y = _blur(y * y, window) - mean_y.square()
    covariance = _blur(x * y, window) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x.square() + mean_y.square() + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_x + var_y + SSIM_C2)
    values = (luminance * structure).mean(dim=1)
    if mask is None:
        return values.mean(dim=(1, 2))
    before = (window.numel() - 1) // 2
    weight = mask[:, 0, before : before + values.shape[1], before : before + values.shape[2]].double()
    return (values * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1e-12)


def _window(size: int) -> Tensor:
    """[size] Gaussian weights that sum to 1."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.tensor([math.exp(-0.5 * (float(x) / SSIM_SIGMA) ** 2) for x in offsets], dtype=torch.float64)
    return weights / weights.sum()


def _blur(images: Tensor, window: Tensor) -> Tensor:
    flat = images.flatten(0, 1)[:, None]
    kernel = window.to(flat)
    blurred = conv2d(conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return blurred.view(*images.shape[:2], *blurred.shape[2:])
