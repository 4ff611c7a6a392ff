"""How close a render is to its target: PSNR, SSIM, MS-SSIM on 8-bit pictures, as in reports (range 255, own size)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from stylegan_core.errors import UsageError

SSIM_WINDOW_PX, SSIM_SIGMA = 11, 1.5  # Wang et al. 2004, Sec. III-C
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # (K1 · L)², (K2 · L)² with the range L = 1
MAX_PSNR = 100.0  # of equal pictures, so that every figure is finite
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik 2003, Sec. 3.2
SMALL_SCALES = 3  # of MS-SSIM where five do not fit


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
    luminance, structure = _similarity(x, y, window)
    values = (luminance * structure).mean(dim=1)
    if mask is None:
        return values.mean(dim=(1, 2))
    before = (window.numel() - 1) // 2
    weight = mask[:, 0, before : before + values.shape[1], before : before + values.shape[2]].double()
    return (values * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1e-12)


def ms_ssim_name(height: int, width: int) -> str:
    """'ms_ssim' where five scales fit, from 176 px on; else 'ms_ssim_3'. The two figures cannot be compared."""
    return "ms_ssim" if min(height, width) >= SSIM_WINDOW_PX << (len(MS_SSIM_WEIGHTS) - 1) else "ms_ssim_3"


def ms_ssim(target_u8: Tensor, images_u8: Tensor) -> Tensor:
    """[N, H, W, C] uint8 each → [N] (Wang, Simoncelli and Bovik 2003, Eq. 7), by the scales that `ms_ssim_name` says.

    Three scales have the first three weights, scaled to sum 1; negative structure counts as 0. Raises UsageError for
    pictures under 44 px, where even those do not fit.
    """
    height, width = target_u8.shape[1:3]
    weights = MS_SSIM_WEIGHTS if ms_ssim_name(height, width) == "ms_ssim" else MS_SSIM_WEIGHTS[:SMALL_SCALES]
    smallest = SSIM_WINDOW_PX << (SMALL_SCALES - 1)
    if min(height, width) < smallest:
        raise UsageError(f"MS-SSIM of pictures of {width}×{height} px: {smallest} px or more are needed; use SSIM")
    x = target_u8.permute(0, 3, 1, 2).double() / 255
    y = images_u8.permute(0, 3, 1, 2).double() / 255
    window = _window(SSIM_WINDOW_PX)
    result = torch.ones(len(x), dtype=x.dtype, device=x.device)
    for scale, weight in enumerate(weights):
        luminance, structure = _similarity(x, y, window)
        is_last = scale == len(weights) - 1
        values = (luminance * structure if is_last else structure).mean(dim=(1, 2, 3))
        result = result * values.clamp(min=0) ** (weight / sum(weights))
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    return result


def _similarity(x: Tensor, y: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """[N, C, H, W] each → luminance and contrast-structure maps (Wang et al. 2004, Eq. 6 and 9 to 12)."""
    mean_x, mean_y = _blur(x, window), _blur(y, window)
    var_x = _blur(x * x, window) - mean_x.square()
    var_y = _blur(y * y, window) - mean_y.square()
    covariance = _blur(x * y, window) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x.square() + mean_y.square() + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_x + var_y + SSIM_C2)
    return luminance, structure


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
