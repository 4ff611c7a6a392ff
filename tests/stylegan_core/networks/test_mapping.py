"""The mapping network: conditions, the running mean, errors."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.errors import LatentError
from stylegan_core.networks.layers import FullyConnectedLayer, normalize_2nd_moment
from stylegan_core.networks.mapping import MappingNetwork


def test_unit_second_moment() -> None:
    assert torch.allclose(normalize_2nd_moment(torch.randn(3, 64) * 7).square().mean(dim=1), torch.ones(3), atol=1e-4)


@pytest.mark.parametrize("activation", ["linear", "lrelu"])
def test_equalised_learning_rate(activation: str) -> None:
    layer, x = FullyConnectedLayer(6, 4, activation=activation, lr_multiplier=0.01, bias_init=2.0), torch.randn(3, 6)
    y = x @ layer.weight.t() * (0.01 / 6**0.5) + layer.bias * 0.01
    expected = y if activation == "linear" else torch.where(y > 0, y, 0.2 * y) * 2**0.5
    assert torch.allclose(layer(x), expected, atol=1e-6)
    assert abs(layer.weight.std().item() * 0.01 - 1) < 0.5


def test_labels_matter_and_are_asked_for() -> None:
    mapping = MappingNetwork(8, 3, 5, 4, num_layers=2)
    z, labels = torch.randn(2, 8), torch.eye(3)
    assert mapping(z, labels[:2]).shape == (2, 4, 5)
    assert not torch.allclose(mapping(z, labels[:2]), mapping(z, labels[1:]))
    with pytest.raises(LatentError, match=r"needs a label c \[N, 3\]; none was given"):
        mapping(z)
    with pytest.raises(LatentError, match=r"takes \[N, 8\]"):
        mapping(torch.randn(2, 7), labels[:2])


def test_the_mean_of_w_is_tracked_when_asked() -> None:
    mapping = MappingNetwork(8, 0, 5, 4, num_layers=2, w_avg_beta=0.9)
    z = torch.randn(16, 8)
    mapping(z)
    assert not mapping.w_avg.any()
    mapping(z, update_emas=True)
    assert torch.allclose(mapping.w_avg, 0.1 * mapping.to_w(z).mean(dim=0), atol=1e-6)


def test_without_a_mean_there_is_no_truncation() -> None:
    mapping = MappingNetwork(8, 0, 5, 4, num_layers=2, w_avg_beta=None)
    assert mapping(torch.randn(1, 8)).shape == (1, 4, 5)
    with pytest.raises(LatentError, match="no w_avg"):
        mapping(torch.randn(1, 8), truncation_psi=0.5)


def test_without_rows_it_gives_w() -> None:
    assert MappingNetwork(0, 3, 5, None, num_layers=2)(None, torch.eye(3)).shape == (3, 5)
