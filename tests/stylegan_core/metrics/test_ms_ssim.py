"""MS-SSIM against torchmetrics, scale by scale, with windows that lie inside the picture."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure

from stylegan_core.errors import UsageError
from stylegan_core.metrics.reconstruction import MS_SSIM_WEIGHTS, ms_ssim, ms_ssim_name, ssim


def pair(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(size)
    target = torch.randint(0, 256, (3, size, size, 3), generator=rng, dtype=torch.uint8)
    noise = torch.randn(target.shape, generator=rng) * torch.tensor([2.0, 30.0, 120.0]).view(3, 1, 1, 1)
    return target, (target + noise).clamp(0, 255).to(torch.uint8)


def planes(images_u8: torch.Tensor) -> torch.Tensor:
    return images_u8.permute(0, 3, 1, 2).double() / 255


def inner_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # torchmetrics also averages over windows that hang over the edge; its full map lets us leave them out.
    _, full = structural_similarity_index_measure(y, x, data_range=1.0, reduction="none", return_full_image=True)
    return full[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))


def contrast(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    _, values = structural_similarity_index_measure(y, x, data_range=1.0, reduction="none", return_contrast_sensitivity=True)
    return values


def test_ssim_is_that_of_torchmetrics():
    target, recon = pair(48)
    assert torch.allclose(ssim(target, recon), inner_ssim(planes(target), planes(recon)), atol=1e-6)


@pytest.mark.parametrize("size, scales", [(44, 3), (64, 3), (175, 3), (176, 5)])
def test_ms_ssim_is_the_product_of_its_scales(size, scales):
    target, recon = (images[1:2] for images in pair(size))
    x, y = planes(target), planes(recon)
    weights = torch.tensor(MS_SSIM_WEIGHTS[:scales], dtype=torch.float64)
    weights = weights / weights.sum()
    expected = torch.ones(1, dtype=torch.float64)
    for scale in range(scales):
        value = inner_ssim(x, y) if scale == scales - 1 else contrast(x, y)
        expected = expected * value.clamp(min=0) ** weights[scale]
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    assert torch.allclose(ms_ssim(target, recon), expected, atol=1e-6)
    assert ms_ssim_name(size, size) == ("ms_ssim" if scales == 5 else "ms_ssim_3")


def test_order_and_limits():
    target, recon = pair(64)
    values = ms_ssim(target, recon)
    assert values[0] > values[1] > values[2] and torch.allclose(ms_ssim(target, target), torch.ones(3).double())
    assert ms_ssim_name(400, 64) == "ms_ssim_3"
    with pytest.raises(UsageError, match="44 px"):
        ms_ssim(*pair(43))
