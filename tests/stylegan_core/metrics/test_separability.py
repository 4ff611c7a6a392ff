"""Separability, contributions, precision and recall, scores: against definitions, closed forms and other implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from torchmetrics.image.inception import InceptionScore

from stylegan_core.errors import UsageError
from stylegan_core.metrics.class_score import class_score, joint_probabilities
from stylegan_core.metrics.contribution import Contribution, branches
from stylegan_core.metrics.diversity import mean_similarity, pair_similarity
from stylegan_core.metrics.precision_recall import inside, precision_recall
from stylegan_core.metrics.reconstruction import ms_ssim
from stylegan_core.metrics.separability import conditional_entropy, separability
from tests.tiny import tiny_generator


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_plane_is_told_and_a_parity_is_not():
    x = normal(4000, 3)
    logits = {"plane": x @ torch.tensor([1.0, -2.0, 0.5]).double(), "parity": x[:, 0] * x[:, 1], "constant": torch.ones(4000).double()}
    result = separability(x, logits)
    assert result.entropies["plane"] < 0.02 and result.entropies["constant"] == 0
    assert result.entropies["parity"] == pytest.approx(math.log(2), abs=0.03) and result.accuracy["plane"] > 0.99
    assert result.score == pytest.approx(math.exp(sum(result.entropies.values()))) and result.kept == 2000
    assert separability(x, logits, counted=["plane"]).score < 1.05 < result.score
    assert result.held_out["plane"] < 0.05 and result.held_out["parity"] == pytest.approx(math.log(2), abs=0.03)


def test_too_few_samples_separate_anything_unless_held_out():
    x, logits = normal(200, 150), {"coin": normal(200, seed=9)}
    result = separability(x, logits)
    assert result.score < 1.01 and result.held_out_score > 1.8


def test_only_the_surer_half_counts():
    x = normal(2000, 1)
    unsure = x[:, 0].abs() < x[:, 0].abs().median()
    logit = torch.where(unsure, -x[:, 0], x[:, 0])  # wrong, and less sure than all that is right
    assert separability(x, {"a": logit}).entropies["a"] < 0.01


def test_conditional_entropy_is_the_definition():
    rng = np.random.default_rng(0)
    label, answer = rng.random(500) < 0.3, rng.random(500) < 0.6
    joint = np.array([[((label == a) & (answer == b)).mean() for a in (False, True)] for b in (False, True)])
    assert conditional_entropy(label, answer) == pytest.approx(entropy(joint.ravel()) - entropy(joint.sum(axis=1)))
    assert conditional_entropy(label, label) == 0
    with pytest.raises(UsageError, match="4 samples"):
        separability(normal(3, 2), {"a": normal(3)})


def test_branches_sum_to_the_picture_up_to_a_constant():
    generator = tiny_generator(dtype=torch.float64)
    with torch.no_grad():
        ws = generator.mapping(normal(3, 16))
        rest = generator.synthesis(ws) - sum(branch for _, branch in branches(generator, ws))
    assert (rest - rest.mean(dim=(2, 3), keepdim=True)).abs().max() < 1e-9


def test_contribution_in_pieces_is_the_deviation_of_all():
    generator = tiny_generator()
    with torch.no_grad():
        ws = generator.mapping(normal(6, 16).float())
        whole = dict(branches(generator, ws))
    gathered = Contribution()
    for part in ws.split(2):
        gathered.update(generator, part)
    for name, value in gathered.deviations().items():
        assert value == pytest.approx(whole[name].double().std(unbiased=False).item(), rel=1e-4)
    assert list(gathered.shares()) == ["b4.torgb", "b8.torgb", "b16.torgb"] and sum(gathered.shares().values()) == pytest.approx(1)
    silent = tiny_generator()
    with torch.no_grad():
        silent.synthesis.b16.torgb.weight.zero_()
    other = Contribution()
    other.update(silent, ws)
    assert other.shares()["b16.torgb"] == 0
    with pytest.raises(UsageError, match="one layer"):
        list(branches(tiny_generator(architecture="orig"), normal(1, 5, 16).float()))


def by_definition(points: np.ndarray, manifold: np.ndarray, k: int) -> float:
    own = np.sort(cdist(manifold, manifold), axis=1)[:, k]
    return float((cdist(points, manifold) <= own[None]).any(axis=1).mean())


def test_precision_and_recall_are_the_definition():
    samples, data = normal(150, 6, seed=1) * 0.7 + 0.5, normal(130, 6, seed=2)
    precision, recall = precision_recall(samples, data)
    assert precision == pytest.approx(by_definition(samples.numpy(), data.numpy(), 3))
    assert recall == pytest.approx(by_definition(data.numpy(), samples.numpy(), 3))
    assert inside(data, data) == 1 and inside(data + 100, data) == 0 and recall < precision
    with pytest.raises(UsageError, match="4 vectors"):
        inside(data, data[:3])


def test_fewer_modes_lower_recall_and_junk_lowers_precision():
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]]).double()
    data = centres.repeat(50, 1) + normal(200, 2, seed=3)
    collapsed = centres[:1].repeat(200, 1) + normal(200, 2, seed=4)
    junk = torch.cat([data[:100] + 0.1, torch.full([100, 2], 4.5).double() + 0.01 * normal(100, 2, seed=5)])
    assert precision_recall(collapsed, data)[0] > 0.9 and precision_recall(collapsed, data)[1] < 0.35
    assert precision_recall(junk, data)[0] < 0.6 and precision_recall(junk, data)[1] > 0.9


class ToyClassifier(torch.nn.Module):
    """uint8 pictures [N, 3, 4, 4] → logits [N, 5], for torchmetrics and for us."""

    num_features = 5

    def forward(self, images):
        weight = torch.randn(5, 48, generator=torch.Generator().manual_seed(0))
        return images.float().flatten(1) / 64 @ weight.T


def test_class_score_is_that_of_torchmetrics():
    pictures = torch.randint(0, 256, (60, 3, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    theirs = InceptionScore(feature=ToyClassifier(), splits=1, normalize=False)
    theirs.update(pictures)
    ours = class_score(ToyClassifier()(pictures).double().softmax(dim=1), splits=1)[0]
    assert ours == pytest.approx(theirs.compute()[0].item(), rel=1e-4)


def test_class_score_of_known_cases():
    sure = torch.eye(4).repeat(25, 1)
    assert class_score(sure, splits=5)[0] == pytest.approx(4) and class_score(torch.full([100, 4], 0.25))[0] == pytest.approx(1)
    joint = joint_probabilities(torch.tensor([[0.9, 0.2], [0.0, 1.0]]).double())
    assert torch.allclose(joint, torch.tensor([[0.08, 0.02, 0.72, 0.18], [0, 1, 0, 0]]).double())
    with pytest.raises(UsageError, match="2 pictures"):
        class_score(torch.ones(1, 4))


def test_diversity_is_the_similarity_of_neighbours():
    images = torch.rand(5, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images_u8 = ((images * 127.5 + 127.5).round()).to(torch.uint8).permute(0, 2, 3, 1)
    assert torch.allclose(pair_similarity(images), ms_ssim(images_u8[[0, 2]], images_u8[[1, 3]]))
    same = images[:1].repeat(4, 1, 1, 1)
    assert mean_similarity(pair_similarity(same)) == pytest.approx(1) and mean_similarity(pair_similarity(images)) < 0.5
    with pytest.raises(UsageError, match="two pictures"):
        mean_similarity(pair_similarity(images[:1]))
