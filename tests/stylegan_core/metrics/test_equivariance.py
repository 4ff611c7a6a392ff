"""EQ-T, EQ-T frac and EQ-R: high for a generator that is equivariant by construction, low for a StyleGAN2."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from stylegan_core.errors import UsageError
from stylegan_core.input_transform import pose_of
from stylegan_core.metrics.equivariance import (
    eq_r,
    eq_t,
    eq_t_frac,
    kept_by_turning,
    rendered_moved,
    shifted,
    translated,
    turned,
    turning_kernel,
)
from tests.tiny import tiny_generator, tiny_stylegan3

EQUIVARIANCE = (eq_t, eq_t_frac, eq_r)


class Waves(nn.Module):
    """A sum of plane waves, evaluated wherever the input's transform says: every motion of the input moves the picture exactly."""

    z_dim = w_dim = num_ws = 8
    c_dim = 0
    img_channels = 3

    def __init__(self, resolution: int = 48):
        super().__init__()
        self.img_resolution = resolution
        self.synthesis = nn.Module()
        self.synthesis.input = nn.Module()
        self.synthesis.input.register_buffer("transform", torch.eye(3))
        self.synthesis.forward = self.render
        self.w_avg = torch.zeros(8)

    def mapping(self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0) -> Tensor:
        return z[:, None].repeat(1, 8, 1)

    def render(self, ws: Tensor, noise_mode: str = "const") -> Tensor:
        place = (torch.arange(self.img_resolution) + 0.5) / self.img_resolution - 0.5
        y, x = torch.meshgrid(place, place, indexing="ij")
        at = torch.stack([x, y, torch.ones_like(x)], dim=2) @ self.synthesis.input.transform.reshape(-1, 3, 3)[0].t()
        freqs = ws[0, 0].reshape(4, 2) * 2  # cycles per picture, far below what the grid holds
        waves = torch.sin(2 * math.pi * (at[:, :, :2] @ freqs.t()) + torch.arange(4))
        return torch.stack([waves[..., 0] + waves[..., 1], waves[..., 2], waves[..., 3]])[None] / 2


@pytest.mark.parametrize("metric, least", [(eq_t, 90), (eq_t_frac, 45), (eq_r, 45)])
def test_an_equivariant_generator_scores_high(metric, least: float) -> None:
    assert metric(Waves(), count=8) > least


@pytest.mark.parametrize("metric", EQUIVARIANCE)
def test_a_stylegan2_scores_low_and_a_stylegan3_high(metric) -> None:
    low = metric(tiny_generator(img_resolution=32, noise_strength=0.3), count=4)
    radial = {"conv_kernel": 1, "use_radial_filters": True}
    high = metric(tiny_stylegan3(**(radial if metric is eq_r else {})), count=4)
    assert low < 20 and low + 10 < high


def test_the_same_twice_and_it_leaves_the_generator_alone() -> None:
    generator = tiny_stylegan3()
    before = generator.synthesis.input.transform.clone()
    assert eq_t_frac(generator, count=2) == eq_t_frac(generator, count=2) != eq_t_frac(generator, count=2, seed=5)
    assert torch.equal(generator.synthesis.input.transform, before)


def test_a_picture_moves_as_said() -> None:
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    y, known = shifted(x, 2, -1)
    assert torch.equal(y[0, 0, :3, 2:], x[0, 0, 1:, :4]) and known.sum() == 12 and known[0, 0, 3].sum() == 0 == known[0, 0, :, :2].sum()
    waves = Waves()
    ws = waves.mapping(torch.randn(1, 8, generator=torch.Generator().manual_seed(0)))
    still, there = waves.render(ws), rendered_moved(waves, ws, pose_of(0, (2.5 / 48, -1.25 / 48)))
    moved, known = translated(still, 2.5, -1.25)
    assert 0.6 < known.mean() < 1 and ((moved - there).abs() * known).max() < 0.02
    turned_picture, known = turned(still, 0.5)
    expected, inside = kept_by_turning(rendered_moved(waves, ws, torch.tensor([[0.5, 0.0, 0.0]])), 0.5)
    assert known.mean() > 0.3 and ((turned_picture - expected).abs() * known * inside).max() < 0.02


def test_the_filter_of_a_turn() -> None:
    """No turn: the whole square. 45°: what lies beyond both squares is gone."""
    still, diagonal = (turning_kernel(angle)[::8, ::8] for angle in (0.0, math.pi / 4))
    centre = still.shape[0] // 2
    assert abs(float(still[centre, centre]) - 1) < 1e-9 and still[centre, :centre].abs().max() < 1e-9
    response = torch.fft.fft2(diagonal, [64, 64]).abs()
    assert response[4, 4] > 0.95 and response[30, 30] < 0.05 and response[0, 20] > 0.9
    area = 2 * (math.sqrt(2) - 1)  # of a regular octagon around a circle of diameter 1
    assert abs(float(diagonal[centre, centre]) - area) < 1e-3


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(UsageError, match="one sample or more"):
        eq_t(Waves(), count=0)
    with pytest.raises(UsageError, match="too small"):
        eq_r(Waves(resolution=8), count=1)
    lonely = Waves()
    del lonely.synthesis.input
    lonely.synthesis.forward = lambda ws, noise_mode: torch.zeros(1, 3, 48, 48)
    with pytest.raises(UsageError, match="neither an input transform nor a learned constant"):
        eq_t(lonely, count=1)
