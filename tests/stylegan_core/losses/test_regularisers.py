from __future__ import annotations

import torch

from stylegan_core.losses.regularisers import (
    WPrior,
    noise_correlation,
    noise_power,
    p_from_w,
    row_spread,
    w_from_p,
)
from tests.tiny import tiny_generator


def maps(count: int = 2) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {f"b{side}": torch.randn(count, 1, side, side, generator=rng) for side in (4, 8, 32)}


def test_smooth_noise_costs_more_than_white_noise() -> None:
    white = maps()
    smooth = {name: value.roll(1, 2) + value for name, value in white.items()}
    assert bool((noise_correlation(smooth) > 5 * noise_correlation(white)).all())


def test_correlation_and_power_are_per_image() -> None:
    noise = maps(3)
    for function in (noise_correlation, noise_power):
        singles = torch.cat([function({name: value[i : i + 1] for name, value in noise.items()}) for i in range(3)])
        assert torch.allclose(function(noise), singles, rtol=1e-5)
    assert torch.allclose(noise_power({name: torch.ones_like(value) for name, value in noise.items()}), torch.ones(3))


def test_row_spread_is_zero_in_w_only() -> None:
    w = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0)).expand(-1, 5, -1)
    assert torch.allclose(row_spread(w), torch.zeros(2), atol=1e-12)
    assert bool((row_spread(w + torch.arange(5.0)[:, None]) > 1).all())


def test_whitened_samples_are_standard_normal_and_come_back() -> None:
    generator = tiny_generator()
    w = generator.mapping.to_w(torch.randn(4000, 16, generator=torch.Generator().manual_seed(1))).detach()
    for is_p_space in (False, True):
        prior = WPrior.from_samples(w, is_p_space=is_p_space)
        v = prior.whiten(w)
        assert torch.allclose(v.mean(dim=0), torch.zeros(16), atol=1e-3)
        assert torch.allclose(v.t() @ v / len(v), torch.eye(16), atol=1e-2)
        assert torch.allclose(prior.unwhiten(v), w, atol=1e-3)
        assert torch.allclose(prior.penalty(w[:, None].expand(-1, 3, -1)).mean(), torch.tensor(1.0), atol=1e-2)
        far = prior.mean + 10 * prior.scales @ prior.components
        assert float(prior.penalty((w_from_p(far) if is_p_space else far).expand(1, 3, -1))) > 10


def test_p_space_undoes_the_last_activation() -> None:
    w = torch.tensor([-0.4, 0.0, 2.0])
    assert torch.allclose(p_from_w(w), torch.tensor([-2.0, 0.0, 2.0])) and torch.allclose(w_from_p(p_from_w(w)), w)


def test_samples_of_fewer_dimensions_do_not_divide_by_zero() -> None:
    w = torch.randn(100, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0] * 4 + [0.0] * 4)
    assert bool(torch.isfinite(WPrior.from_samples(w).whiten(w)).all())
