"""Perceptual path length against the golden figures of the official code, and what its parts are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stylegan_core.errors import UsageError
from stylegan_core.metrics.path_length import EPSILON, Distance, Paths, great_circle, mean_length, path_lengths, prepared
from stylegan_core.metrics.probe import Probe, measure_path_length, paths_of
from stylegan_core.metrics.registry import METRICS
from tests.parity.networks import generator_config, load
from tests.parity.rows import arrays, filled
from tests.tiny import tiny_generator

GOLDEN = {key: torch.from_numpy(np.array(value)) for key, value in arrays("train/ppl").items()}
CASES = [key.removesuffix("_dist") for key in GOLDEN if key.endswith("_dist") and key[0] in "zw"]


def pooled_distance(kernel: int) -> Distance:
    def features(images):
        return F.avg_pool2d((images + 1) * 127.5, kernel).flatten(1) / 255

    return Distance("pooled", lambda a, b: (features(a) - features(b)).square().sum(dim=1))


@pytest.fixture(scope="module")
def generator():
    arguments, state = filled("train/tiny_G")
    return load(generator_config(arguments), state).requires_grad_(False)


@pytest.mark.parametrize("case", CASES)
def test_golden_lengths(generator, case):
    t, z, expected = (GOLDEN[f"{case}_{part}"] for part in ("t", "z", "dist"))
    space, sampling, crop, *step = case.split("_")
    paths = Paths(z[: len(t)], z[len(t) :], t)
    epsilon = 0.1 if step == ["eps0.1"] else EPSILON
    ours = path_lengths(generator, pooled_distance(4), paths, space=space, sampling=sampling, crop=crop == "crop", epsilon=epsilon)
    assert torch.allclose(ours, expected, rtol=1e-4 if step else 0.05, atol=0)


class Waves:
    """The stand-in of the fixture: 512 px from the first two numbers of w, which is z."""

    z_dim = 4

    def mapping(self, z, c=None):
        return z[:, None].repeat(1, 2, 1)

    def synthesis(self, ws, noise_mode, noise):
        y = torch.arange(512) / 512
        angle = 3 * ws[:, 0, 0, None, None] * y[:, None] + 5 * ws[:, 0, 1, None, None] * y
        return torch.sin(angle)[:, None].repeat(1, 3, 1, 1)


def test_golden_crop_and_shrinking():
    t, z, expected = (GOLDEN[f"fake_{part}"] for part in ("t", "z", "dist"))
    shapes = []
    distance = pooled_distance(16)
    seen = Distance("seen", lambda a, b: shapes.append(a.shape) or distance.between(a, b))
    ours = path_lengths(Waves(), seen, Paths(z[:2], z[2:], t), space="w", sampling="full", crop=True)
    assert shapes == [(2, 3, *GOLDEN["fake_feat_input_shape"][2:].tolist())]
    assert torch.allclose(ours, expected.float(), rtol=0.05)


def test_golden_great_circle_and_mean():
    ours = great_circle(GOLDEN["slerp_a"], GOLDEN["slerp_b"], GOLDEN["slerp_t"])
    assert torch.allclose(ours, GOLDEN["slerp_out"], atol=1e-6)
    assert mean_length(GOLDEN["agg_dist"]) == pytest.approx(GOLDEN["agg_ppl"].item(), rel=1e-6)


def test_great_circle_goes_at_constant_speed():
    a, b = (torch.randn(5, 8, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1))
    points = [great_circle(a, b, torch.full([5, 1], t)) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert torch.allclose(points[0], F.normalize(a)) and torch.allclose(points[4], F.normalize(b))
    angles = torch.stack([(p * q).sum(1).clamp(-1, 1).acos() for p, q in itertools.pairwise(points)])
    assert torch.allclose(angles, angles[:1].expand_as(angles), atol=1e-6)


def test_a_linear_generator_has_the_length_of_its_matrix():
    matrix = torch.randn(48, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    class Linear:
        def mapping(self, z, c=None):
            return z[:, None]

        def synthesis(self, ws, noise_mode, noise):
            return (ws[:, 0] @ matrix.T).view(-1, 3, 4, 4)

    z0, z1 = (torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in (3, 4))
    squared = Distance("squared", lambda a, b: (a - b).square().sum(dim=(1, 2, 3)))
    ours = path_lengths(Linear(), squared, Paths(z0, z1, torch.rand(6).double()), space="w", sampling="full")
    assert torch.allclose(ours, ((z1 - z0) @ matrix.T).square().sum(1), rtol=1e-5)


def test_the_two_pictures_of_a_step_share_their_noise_and_paths_depend_on_their_seed_only():
    generator = tiny_generator(noise_strength=1.0)
    one, three = paths_of(generator, [7]), paths_of(generator, [6, 7, 8])
    assert torch.equal(one.z0[0], three.z0[1]) and torch.equal(one.z1[0], three.z1[1]) and torch.equal(one.t[0], three.t[1])
    assert all(torch.equal(one.noise[name][0], three.noise[name][1]) for name in one.noise) and one.noise
    distance = Distance("squared", lambda a, b: (a - b).square().mean(dim=(1, 2, 3)))
    loud = path_lengths(generator, distance, three, space="w", sampling="full")
    none = path_lengths(generator, distance, Paths(three.z0, three.z1, three.t), space="w", sampling="full")
    assert loud.mean() < 10 * none.mean()  # other noise in the second picture would make it millions


def test_grey_is_shown_as_rgb_and_small_pictures_stay():
    assert prepared(torch.zeros(1, 1, 64, 64), crop=False).shape == (1, 3, 64, 64)
    assert prepared(torch.zeros(1, 3, 1024, 1024), crop=False).shape == (1, 3, 256, 256)
    assert prepared(torch.zeros(1, 3, 1024, 1024), crop=True).shape == (1, 3, 128, 128)


def test_unknown_spaces_and_a_stop():
    generator, distance = tiny_generator(), Distance("squared", lambda a, b: (a - b).square().mean(dim=(1, 2, 3)))
    with pytest.raises(UsageError, match="'s'"):
        path_lengths(generator, distance, paths_of(generator, [0]), space="s", sampling="full")
    with pytest.raises(UsageError, match="stopped after 64 of 100 paths in w"):
        measure_path_length(Probe(generator, distance, count=100, callback=lambda *_: False), "w", "end")
    assert sum(name.startswith("ppl-") for name in METRICS) == 8
