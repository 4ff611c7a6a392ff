"""Crops, mirrored crops and pasted pictures are found again; what is compared is what the placement says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from invert.attribution.frame_prior import FramePrior, smoothed
from invert.attribution.laundering import laundering_of
from invert.attribution.registration import Placement, channel_of, hypotheses, refined, snapped

SIDE = 64


def scenes(count: int, seed: int = 0) -> torch.Tensor:
    """Pictures whose parts have their places: a bright disc a little off the middle, a dark bar below, colours that vary."""
    rng = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    pictures = []
    for _ in range(count):
        a = torch.rand(8, generator=rng)
        disc = torch.sigmoid(20 * (0.35 + 0.1 * a[0] - ((x - 0.1 - 0.1 * a[1]) ** 2 + (y + 0.1 * a[2]) ** 2).sqrt()))
        bar = torch.sigmoid(25 * (0.12 - (y - 0.7).abs())) * torch.sigmoid(25 * (0.5 + 0.2 * a[3] - (x + 0.2).abs()))
        colour = torch.stack([disc * (a[4] - 0.3) - 0.6 * bar, disc * a[5] * 0.6 + 0.4 * bar, disc * (0.5 - a[6]) + 0.3 * bar])
        pictures.append((colour * 1.4 - 0.3 + 0.3 * a[7] * x).clamp(-1, 1))
    return torch.stack(pictures)


class Ground:
    """What `hypotheses` looks at of a model."""

    def __init__(self) -> None:
        small = F.avg_pool2d(scenes(200), 2)
        self.frame_prior = FramePrior.of(small)
        self.coarse_prior = self.frame_prior.coarse()
        own = self.frame_prior.log_likelihood(small[:50], torch.ones(50, 1, 32, 32))
        self.usual_likelihood = float(own.quantile(0.1)) - 0.1
        self.generator = type("Frame", (), {"img_shape": (SIDE, SIDE), "img_resolution": SIDE})()


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground()


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return scenes(3, seed=1)[1:2]


def best(pixels: torch.Tensor, ground: Ground, kind: str, mirrored: bool = False) -> Placement:
    (found,) = [one for one in hypotheses(pixels, ground) if one.kind == kind and one.is_mirrored is mirrored]
    return found


def test_a_whole_picture_is_tried_upright_and_mirrored_only(ground, picture) -> None:
    found = hypotheses(picture, ground)
    assert [(one.kind, one.is_mirrored, one.frame) for one in found] == [("whole", side, (0, 0, SIDE, SIDE)) for side in (False, True)]
    assert found[0].likelihood > found[1].likelihood
    larger = F.interpolate(picture, scale_factor=1.5, mode="bilinear", align_corners=False)
    assert hypotheses(larger, ground)[0].frame == (0, 0, 96, 96) and hypotheses(larger, ground)[0].scale((SIDE, SIDE)) == 1.5


def test_a_crop_at_its_own_size_is_found_to_a_pixel(ground, picture) -> None:
    found = best(picture[:, :, 7:60, 3:61], ground, "native")
    assert max(abs(found.frame[0] + 3), abs(found.frame[1] + 7)) <= 1
    turned = best(picture[:, :, 7:60, 3:61].flip(3), ground, "native", mirrored=True)
    assert max(abs(turned.frame[0] + 3), abs(turned.frame[1] + 7)) <= 1 and turned.likelihood > found.likelihood - 0.1


def test_a_picture_pasted_into_a_larger_one_is_found(ground, picture) -> None:
    larger = torch.rand(1, 3, 10, 13, generator=torch.Generator().manual_seed(3)) * 2 - 1
    larger = F.interpolate(larger, size=(150, 200), mode="bicubic", align_corners=False).clamp(-1, 1)
    larger[:, :, 40:104, 90:154] = picture
    found = refined(best(larger, ground, "placed"), larger, picture)
    assert found.frame == (90.0, 40.0, 154.0, 104.0)


@pytest.mark.parametrize("frame", [(0.0, 0.0, 64.0, 64.0), (-3.0, -7.0, 61.0, 57.0), (-4.2, -6.4, 80.3, 78.1), (0.0, 0.0, 41.0, 41.0)])
def test_the_channel_of_a_placement_shows_the_render_where_the_picture_is(picture, frame) -> None:
    left, top, right, bottom = frame
    matrix = torch.tensor([[[64 / (right - left), 0, 0], [0, 64 / (bottom - top), 0]]])
    size = (round(min(bottom, 50 if bottom < 60 else 58)), round(min(right, 50 if right < 60 else 60)))
    y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    grid = torch.stack([2 * (x - left) / (right - left) - 1, 2 * (y - top) / (bottom - top) - 1], dim=-1)[None]
    pixels = F.grid_sample(picture, grid, mode="bicubic", align_corners=False) if matrix.numel() else picture
    channel = channel_of(pixels, None, Placement("placed", frame), (SIDE, SIDE))
    right_gap = channel.difference(picture).square().sum() / channel.num_values
    wrong = channel_of(pixels, None, Placement("placed", (left + 3, top, right + 3, bottom)), (SIDE, SIDE))
    assert right_gap < 2e-3 and wrong.difference(picture).square().sum() / wrong.num_values > 5 * right_gap


def test_refining_moves_a_placement_onto_the_render_and_snaps_it(picture) -> None:
    start = Placement("placed", (2.0, -1.5, 66.5, 63.0))
    assert refined(start, picture, picture).frame == (0.0, 0.0, 64.0, 64.0)
    mirrored = replace(start, is_mirrored=True)
    assert refined(mirrored, picture.flip(3), picture).frame == (0.0, 0.0, 64.0, 64.0)
    assert snapped(Placement("native", (-9.4, 2.0, 54.6, 66.0)), picture[:, :, :50, :50], (SIDE, SIDE)).frame[:2] == (-9.0, 0.0)


def test_overlap_is_the_share_of_the_frame_that_is_seen(picture) -> None:
    assert Placement("placed", (-32.0, 0.0, 32.0, 64.0)).overlap(picture) == 0.5
    assert Placement("placed", (70.0, 0.0, 134.0, 64.0)).overlap(picture) == 0.0


def test_jpeg_blocks_are_used_where_they_begin(picture) -> None:
    from invert.attribution.chains import as_jpeg
    from stylegan_core.images import to_pil

    saved = as_jpeg(to_pil(picture), 50)
    laundering = laundering_of(saved.pixels, saved.content)
    whole = channel_of(saved.pixels, laundering, Placement("whole", (0.0, 0.0, 64.0, 64.0)), (SIDE, SIDE))
    crop = channel_of(saved.pixels, laundering, Placement("native", (-3.0, -7.0, 61.0, 57.0)), (SIDE, SIDE))
    moved = channel_of(saved.pixels, laundering, Placement("placed", (-3.5, -7.0, 67.0, 63.5)), (SIDE, SIDE))
    assert bool(whole.is_halved.all()) and bool(crop.is_halved.all()) and not bool(moved.is_halved.any())


def test_the_prior_completes_what_is_not_seen(ground, picture) -> None:
    small = F.avg_pool2d(picture, 2)
    mask = torch.ones(1, 1, 32, 32)
    mask[:, :, :, :10] = 0
    completed = ground.frame_prior.completed(small * mask, mask)
    hidden = (1 - mask).expand_as(small) > 0
    usual = ground.frame_prior.mean.view(1, 3, 32, 32)
    assert torch.equal(completed * mask, small * mask)
    truth = smoothed(small, torch.ones_like(mask))
    assert (completed - truth)[hidden].square().mean() < 0.3 * (usual - truth)[hidden].square().mean()


def test_the_likelihood_is_that_of_the_gaussian(ground, picture) -> None:
    prior, small = ground.coarse_prior, F.avg_pool2d(picture, 4)
    mask = torch.ones(2, 1, 16, 16)
    mask[1, :, 3:, :5] = 0
    seen = small.expand(2, -1, -1, -1) * mask
    found = prior.log_likelihood(seen, mask)
    for i in range(2):
        at = mask[i].expand(3, -1, -1).flatten() > 0
        covariance = (prior.loadings.t() @ prior.loadings + prior.variance * torch.eye(768))[at][:, at].double()
        law = torch.distributions.MultivariateNormal(prior.mean[at].double(), covariance)
        value = law.log_prob(smoothed(seen[i : i + 1], mask[i : i + 1]).flatten()[at].double())
        constant = -0.5 * math.log(2 * math.pi)
        assert float(found[i]) == pytest.approx(float(value) / int(at.sum()) - constant, rel=1e-2)
