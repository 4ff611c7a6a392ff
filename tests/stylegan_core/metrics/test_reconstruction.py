"""PSNR and SSIM against definitions and an independent implementation."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from stylegan_core.metrics.reconstruction import MAX_PSNR, psnr, ssim


def _pair(size: int = 32, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, (3, size, size, channels), generator=rng, dtype=torch.uint8)
    smooth = target.float().unfold(1, 1, 1)[..., 0]
    noisy = smooth + torch.randn(smooth.shape, generator=rng) * torch.tensor([0.0, 10.0, 60.0]).view(3, 1, 1, 1)
    return target, noisy.clamp(0, 255).to(torch.uint8)


def test_psnr_is_the_definition():
    target = torch.full((1, 8, 8, 3), 100, dtype=torch.uint8)
    assert psnr(target, target + 5).item() == pytest.approx(
        10 * torch.log10(torch.tensor(255.0**2 / 25)).item(), abs=1e-4
    )
    assert psnr(target, target).item() == MAX_PSNR
    values = psnr(*_pair())
    assert values[0] == MAX_PSNR and values[1] > 25 > values[2]


def _ssim_by_scipy(x: torch.Tensor, y: torch.Tensor) -> float:
    def blur(values):
        return gaussian_filter(values, 1.5, truncate=3.5, axes=(0, 1))[5:-5, 5:-5]

    a, b = x.double().numpy(), y.double().numpy()
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (
        ((2 * mean_a * mean_b + c1) * (2 * cov + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    ).mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_equals_another_implementation(channels):
    target, images = _pair(channels=channels)
    ours = ssim(target, images)
    assert ours[0] == pytest.approx(1)
    for i in range(3):
        assert ours[i].item() == pytest.approx(_ssim_by_scipy(target[i], images[i]), abs=1e-9)


def test_only_what_the_mask_shows_counts():
    target, images = _pair()
    mask = torch.zeros(3, 1, 32, 32)
    mask[:, :, :, :20] = 1
    changed = images.clone()
    changed[:, :, 26:] = 0
    assert torch.equal(psnr(target, images, mask), psnr(target, changed, mask))
    assert torch.allclose(ssim(target, images, mask), ssim(target, changed, mask))
    assert not torch.equal(psnr(target, images), psnr(target, changed))
    ones = torch.ones(3, 1, 32, 32)
    assert torch.allclose(psnr(target, images, ones), psnr(target, images)) and torch.allclose(
        ssim(target, images, ones), ssim(target, images)
    )


def test_tiny_pictures():
    target, images = _pair(size=8)
    assert torch.isfinite(ssim(target, images)).all()
