from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stylegan_core.losses.pixel import mean_absolute, mean_square, multi_scale_square


def pictures(seed: int, count: int = 2, side: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_values_are_means_over_the_picture() -> None:
    a, b = pictures(0), pictures(1)
    assert torch.allclose(mean_square(a, b), torch.stack([F.mse_loss(x, y) for x, y in zip(a, b)]))
    assert torch.allclose(mean_absolute(a, b), torch.stack([F.l1_loss(x, y) for x, y in zip(a, b)]))
    levels = [F.mse_loss(F.avg_pool2d(a, k), F.avg_pool2d(b, k)) for k in (1, 2, 4)]
    assert torch.allclose(multi_scale_square(a, b).mean(), torch.stack(levels).mean())


@pytest.mark.parametrize("distance", [mean_square, mean_absolute, multi_scale_square])
def test_what_the_mask_hides_does_not_count(distance) -> None:
    a, b = pictures(0), pictures(1)
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 3:9, 2:7] = 1
    changed = a + (1 - mask) * pictures(2)
    assert torch.allclose(distance(a, b, mask), distance(changed, b, mask), atol=1e-6)
    assert not torch.allclose(distance(a, b), distance(changed, b), atol=1e-3)
    assert torch.allclose(distance(a, b, torch.ones_like(mask)), distance(a, b), atol=1e-6)
    gradient = torch.autograd.grad(distance(a.requires_grad_(), b, mask).sum(), a)[0]
    assert float((gradient * (1 - mask)).abs().max()) == 0


def test_multi_scale_sees_a_shift_that_single_pixels_do_not() -> None:
    line = -torch.ones(1, 3, 16, 16)
    line[..., 4] = 1
    near, far = line.roll(1, 3), line.roll(6, 3)
    assert torch.allclose(mean_square(near, line), mean_square(far, line))
    assert multi_scale_square(near, line) < 0.8 * multi_scale_square(far, line)


def test_a_batch_is_its_single_images() -> None:
    a, b = pictures(0, 3), pictures(1, 3)
    singles = torch.cat([multi_scale_square(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    assert torch.allclose(multi_scale_square(a, b), singles, atol=1e-7)
