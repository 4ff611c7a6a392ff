"""Fréchet and kernel distances, moments and coverage against definitions and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from stylegan_core.errors import UsageError
from stylegan_core.metrics.coverage import marginal_variation, pair_variation, total_variation
from stylegan_core.metrics.frechet import frechet_distance
from stylegan_core.metrics.kernel import kernel_distance, unbiased_mmd
from stylegan_core.metrics.moments import Moments, gathered

CLOUDS = [(400, 6), (50, 20), (10, 20)]  # the last one has fewer vectors than dimensions


class ToyExtractor(torch.nn.Module):
    """uint8 pictures [N, 3, 4, 4] → [N, 6], the same for torchmetrics and for us."""

    num_features = 6

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.double().flatten(1) / 255
        weight = torch.randn(6, x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return torch.tanh(x @ weight.T).float()


def cloud(count: int, dim: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=rng, dtype=torch.float64)
    return torch.randn(count, dim, generator=rng, dtype=torch.float64) @ mix + seed


def pictures(count: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 200 + 20 * seed, (count, 3, 4, 4), dtype=np.uint8))


@pytest.mark.parametrize("count, dim", CLOUDS)
def test_moments_in_pieces_are_those_of_numpy(count, dim):
    x = cloud(count, dim, 1)
    moments = gathered(x.split(7))
    assert moments.count == count and np.allclose(moments.mean, x.numpy().mean(axis=0))
    assert np.allclose(moments.covariance, np.cov(x.numpy(), rowvar=False))


@pytest.mark.parametrize("count, dim", CLOUDS)
def test_frechet_distance_is_that_of_scipy(count, dim):
    x, y = cloud(count, dim, 1), cloud(count, dim, 2)
    cov_x, cov_y = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    root = sqrtm(cov_x @ cov_y).real
    expected = np.square(x.numpy().mean(0) - y.numpy().mean(0)).sum() + np.trace(cov_x + cov_y - 2 * root)
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(Moments.of(y), Moments.of(x)) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(Moments.of(x), Moments.of(x)) == pytest.approx(0, abs=1e-6 * np.trace(cov_x))


def test_frechet_distance_of_known_gaussians():
    # Diagonal covariances: the distance is the sum of squared differences of means and of standard deviations.
    first = Moments(11, torch.zeros(3, dtype=torch.float64), 10 * torch.diag(torch.tensor([1.0, 4.0, 9.0]).double()))
    second = Moments(11, torch.tensor([1.0, 0, 0]).double(), 10 * torch.diag(torch.tensor([4.0, 4.0, 1.0]).double()))
    assert frechet_distance(first, second) == pytest.approx(1 + 1 + 0 + 4)


def test_frechet_distance_is_that_of_torchmetrics():
    real, fake = pictures(300, 0), pictures(300, 1)
    theirs = FrechetInceptionDistance(feature=ToyExtractor(), normalize=False, input_img_size=(3, 4, 4))
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    ours = frechet_distance(*(Moments.of(ToyExtractor()(images)) for images in (real, fake)))
    assert ours == pytest.approx(theirs.compute().item(), rel=1e-3)


def test_kernel_distance_is_that_of_torchmetrics():
    real, fake = pictures(60, 0), pictures(60, 2)
    theirs = KernelInceptionDistance(feature=ToyExtractor(), subsets=1, subset_size=60, normalize=False)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    ours, spread = kernel_distance(ToyExtractor()(real), ToyExtractor()(fake))
    assert ours == pytest.approx(theirs.compute()[0].item(), rel=1e-3) and spread == 0


def test_kernel_distance_has_no_bias():
    values = [unbiased_mmd(cloud(40, 4, 3)[:20], cloud(40, 4, 3)[20:]) for _ in range(1)]
    rng = torch.Generator().manual_seed(0)
    for _ in range(200):
        x = torch.randn(20, 4, generator=rng, dtype=torch.float64)
        y = torch.randn(20, 4, generator=rng, dtype=torch.float64)
        values.append(unbiased_mmd(x, y))
    mean, error = np.mean(values[1:]), np.std(values[1:]) / np.sqrt(200)
    assert abs(mean) < 4 * error and min(values[1:]) < 0 < max(values[1:])


def test_marginal_variation_counts_what_is_missing():
    data = {"age": torch.linspace(-1, 1, 1001)[:-1], "hat": torch.tensor([0.1, 0.9]).repeat(500)}
    half = {"age": data["age"].abs(), "hat": torch.full([1000], 0.2)}  # nobody is young, nobody has a hat
    assert marginal_variation(data, data, binary=("hat",)) == {"age": 0, "hat": 0}
    missing = marginal_variation(half, data, binary=("hat",))
    assert missing["age"] == pytest.approx(0.5, abs=0.01) and missing["hat"] == pytest.approx(0.5)


def test_pair_variation_sees_what_marginals_do_not():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(20_000, generator=rng) * 2 - 1
    bound = {"a": x, "b": x}
    free = {"a": x, "b": torch.rand(20_000, generator=rng) * 2 - 1}
    assert max(marginal_variation(bound, free).values()) < 0.03
    assert pair_variation(bound, free)["a", "b"] == pytest.approx(1 - 1 / 5, abs=0.02)


def test_total_variation_of_histograms():
    assert total_variation(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 8])) == 1
    assert total_variation(torch.tensor([3, 1]), torch.tensor([1, 1])) == pytest.approx(0.25)


def test_what_cannot_be_compared():
    with pytest.raises(UsageError, match="6 and of 4"):
        frechet_distance(Moments.of(cloud(10, 6, 0)), Moments.of(cloud(10, 4, 0)))
    with pytest.raises(UsageError, match="2 vectors"):
        _ = Moments.of(cloud(1, 4, 0)).covariance
    with pytest.raises(UsageError, match="2 vectors"):
        kernel_distance(cloud(1, 4, 0), cloud(5, 4, 0))
    with pytest.raises(UsageError, match="hat"):
        marginal_variation({"hat": torch.zeros(2)}, {"age": torch.zeros(2)})
    with pytest.raises(UsageError, match="no vectors"):
        gathered([])
