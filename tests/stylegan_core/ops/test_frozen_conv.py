"""Every way of convolving with a frozen weight gives the same, and every adjoint is the transposed map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stylegan_core.ops.frozen_conv import FrozenConv

WAYS = [("matrix", False), ("winograd", False), ("direct", False), ("folded", False), ("matrix", True), ("direct", True), ("folded", True)]


def only(conv: FrozenConv, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "_suits_matrix", lambda *sizes: way == "matrix")
    monkeypatch.setattr(conv, "_suits_winograd", lambda *sizes: way == "winograd")
    monkeypatch.setattr(conv, "_suits_folding", lambda *sizes: way == "folded")


@pytest.mark.parametrize("way, up", WAYS)
def test_ways_agree(way: str, up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    batch = 1 if way == "folded" else 3
    x = torch.randn(batch, 8, 4, 5, generator=rng, dtype=torch.float64)
    weight = torch.randn(6, 5, 3, 3, generator=rng, dtype=torch.float64)
    before, after = torch.rand(batch, 5, generator=rng, dtype=torch.float64), torch.rand(batch, 6, generator=rng, dtype=torch.float64)
    conv = FrozenConv(weight, up)
    only(conv, way, monkeypatch)
    scaled = (x * before[:, None, None]).permute(0, 3, 1, 2)
    expected = F.conv_transpose2d(scaled, weight.transpose(0, 1), stride=2) if up else F.conv2d(scaled, weight, padding=1)
    expected = expected.permute(0, 2, 3, 1) * after[:, None, None]
    y = conv.forward(x, before, after)
    assert torch.allclose(y, expected) and y.is_contiguous()
    g = torch.randn(expected.shape, generator=rng, dtype=torch.float64)
    adjoint = conv.adjoint(g, before, after)
    assert adjoint.shape == x.shape and adjoint.is_contiguous()
    assert torch.allclose((g * expected).sum(), (adjoint * x).sum())  # ⟨g, A x⟩ = ⟨Aᵀ g, x⟩
    (by_autograd,) = torch.autograd.grad(reference(x.requires_grad_(), weight, before, after, up), x, g)
    assert torch.allclose(adjoint, by_autograd)


def reference(x: torch.Tensor, weight: torch.Tensor, before: torch.Tensor, after: torch.Tensor, up: bool) -> torch.Tensor:
    x = (x * before[:, None, None]).permute(0, 3, 1, 2)
    y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2) if up else F.conv2d(x, weight, padding=1)
    return y.permute(0, 2, 3, 1) * after[:, None, None]


def test_the_ways_are_chosen_by_size() -> None:
    wide, narrow = FrozenConv(torch.zeros(256, 256, 3, 3), up=False), FrozenConv(torch.zeros(16, 16, 3, 3), up=False)
    assert wide._suits_winograd(1, 64, 64) and not wide._suits_winograd(1, 6, 64) and not wide._suits_winograd(1, 4, 4)
    assert not narrow._suits_winograd(8, 64, 64)
    assert wide._suits_matrix(16) and not wide._suits_matrix(4096)
    assert narrow._suits_folding(1, 4096) and not narrow._suits_folding(2, 4096) and not wide._suits_folding(1, 256)


def test_the_power_is_the_sum_over_taps() -> None:
    weight = torch.randn(4, 3, 3, 3)
    assert torch.allclose(FrozenConv(weight, False).power, (weight**2).sum(dim=(2, 3)))
