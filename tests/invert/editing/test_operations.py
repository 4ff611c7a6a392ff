"""Mixing, truncation, walks, masks, rules, blending: each keeps what it must keep."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from invert.editing.blending import blend, swap_layers
from invert.editing.direction import Direction
from invert.editing.interpolation import METHODS, Walk, interpolate, slerp
from invert.editing.labels import draw
from invert.editing.masks import render_masked
from invert.editing.mixing import mix
from invert.editing.notes import edits_of
from invert.editing.sweep import parse_strengths, safe_name, sheet, strength_label, strip, sweep, there_and_back
from invert.editing.truncation import centroids, truncate
from invert.editing.units import with_unit
from invert.editing.until import Distance, Score, apply_until
from stylegan_core.errors import LatentError, UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.noise import Noise
from tests.invert.editing.worlds import scores
from tests.tiny import tiny_generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


def inversion_of(generator, seed: int = 1, space: str = "w+", **fields) -> Inversion:
    latent = Latent.sample(generator, [seed]).lower(generator, to=space)
    if space == "w+":
        latent = latent + 0.1 * torch.randn(latent.value.shape, generator=torch.Generator().manual_seed(seed))
    return Inversion(latent, Noise.random(generator, [seed]).maps, **fields)


# Mixing.


def test_rows_are_taken_over(generator):
    base, other = inversion_of(generator, 1), inversion_of(generator, 2, "w")
    before = base.latent.value.clone()
    mixed = mix(base, other, "middle", generator=generator)
    lent = other.latent.lower(generator, to="w+").value
    assert torch.equal(mixed.latent.value[:, :3], base.latent.value[:, :3]) and torch.equal(mixed.latent.value[:, 3:], lent[:, 3:])
    assert torch.equal(base.latent.value, before) and mixed.noise.keys() == base.noise.keys()
    assert edits_of(mixed)[0]["step"] == "mix" and edits_of(mixed)[0]["rows"] == "3-5"
    assert torch.equal(mix(base, other, None, generator=generator).latent.value, lent)
    half = mix(base, other, "from 3", generator=generator, amount=0.5).latent.value
    assert torch.allclose(half[:, 3:], (base.latent.value + lent)[:, 3:] / 2) and torch.equal(half[:, :3], base.latent.value[:, :3])


def test_mixing_refuses(generator):
    base = inversion_of(generator, 1)
    with pytest.raises(UsageError, match="crossover"):
        mix(base, base, "from 9", generator=generator)
    with pytest.raises(UsageError, match="s has none"):
        mix(base, Inversion(base.latent.lower(generator, to="s")), "coarse", generator=generator)
    with pytest.raises(UsageError, match="give one"):
        mix(base, Inversion.cat([base, base]), generator=generator)


# Truncation.


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_truncation_to_the_mean(generator, space):
    inversion = inversion_of(generator, 1, space)
    mean = truncate(inversion, 0, generator=generator).render(generator)
    expected = Inversion(Latent(generator.w_avg[None], LatentSpace.W), inversion.noise).render(generator)
    assert torch.allclose(mean, expected, atol=1e-5)
    assert torch.allclose(truncate(inversion, 1, generator=generator).render(generator), inversion.render(generator), atol=1e-6)


def test_truncation_is_that_of_the_mapping(generator):
    z = Latent.sample(generator, [4])
    expected = generator.mapping(z.value, truncation_psi=0.6, truncation_cutoff=3)
    found = truncate(Inversion(z.lower(generator, to="w+")), 0.6, generator=generator, rows="0-2").latent.value
    assert torch.allclose(found, expected, atol=1e-6)


def test_other_centres(generator):
    inversion = inversion_of(generator, 1)
    other = inversion_of(generator, 2)
    assert torch.equal(truncate(inversion, 0, generator=generator, centre=other).latent.value, other.latent.value)
    seeded = Latent.sample(generator, [7]).lower(generator, to="w+").value
    assert torch.allclose(truncate(inversion, 0, generator=generator, centre=7).latent.value, seeded)
    centres = centroids(generator, 4, num_samples=400)
    nearest = truncate(inversion, 0, generator=generator, centre="clusters:4")
    assert centres.shape == (4, 16) and nearest.latent.value.shape == inversion.latent.value.shape
    for bad in ("median", "clusters:0", "clusters:x"):
        with pytest.raises(UsageError, match="clusters"):
            truncate(inversion, 0.5, generator=generator, centre=bad)


# Walks.


@pytest.mark.parametrize("is_loop", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_walks_pass_through_their_keys(generator, method, is_loop):
    keys = tuple(inversion_of(generator, seed) for seed in (1, 2, 3))
    walk = Walk(generator, keys, method, is_loop)
    for k, key in enumerate(keys):
        assert torch.allclose(walk.at(k).render(generator), key.render(generator), atol=1e-5)
    frames = list(walk.frames(4))
    assert len(frames) == (12 if is_loop else 9)
    if is_loop:
        assert torch.allclose(walk.at(walk.num_segments).render(generator), keys[0].render(generator), atol=1e-5)
        last, first = walk.at(walk.num_segments - 1e-4).latent.value, walk.at(1e-4).latent.value
        assert (last - first).abs().max() < 1e-2
    steps = [(b.latent.value - a.latent.value).norm() for (_, a), (_, b) in pairwise(frames)]
    assert max(steps) < 4 * (sum(steps) / len(steps))


def test_a_spline_has_no_corners(generator):
    keys = tuple(inversion_of(generator, seed, "w") for seed in (1, 2, 3))

    def corner(method: str) -> float:
        walk = Walk(generator, keys, method)
        before, at, after = (walk.at(t).latent.value.double() for t in (1 - 1e-2, 1.0, 1 + 1e-2))
        return float((after - 2 * at + before).norm() / (after - before).norm())

    assert corner("spline") < 0.1 * corner("linear")


def test_slerp_keeps_lengths():
    centre = torch.zeros(1, 8)
    one, other = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), dim=1).split(1)
    lengths = [float(slerp(one, other, t, centre).norm()) for t in (0.0, 0.25, 0.5, 1.0)]
    assert lengths == pytest.approx([1] * 4, abs=1e-5)
    angles = [float((slerp(one, other, t, centre) * one).sum().acos()) for t in (0.25, 0.5)]
    assert angles[1] == pytest.approx(2 * angles[0], rel=1e-4)
    assert torch.allclose(slerp(one, one, 0.5, centre), one)


def test_local_length_is_the_derivative(generator):
    """d / ε² of a squared distance is the squared speed of the maps: doubling the walk's length makes it four times as large."""
    one, other = inversion_of(generator, 1, "w"), inversion_of(generator, 2, "w")
    other = replace(other, noise=one.noise)
    far = replace(other, latent=one.latent + 2 * (other.latent.value - one.latent.value))
    near, wide = (Walk(generator, (one, end)) for end in (other, far))
    lengths = [walk.local_length(0.0, lambda images: [images], epsilon=1e-3) for walk in (near, wide)]
    assert lengths[1] == pytest.approx(4 * lengths[0], rel=0.05)


def test_interpolate_and_what_it_refuses(generator):
    keys = [inversion_of(generator, seed) for seed in (1, 2)]
    frames = interpolate(keys, generator=generator, frames=3)
    assert len(frames) == 4 and torch.equal(frames[0].latent.value, keys[0].latent.value)
    with pytest.raises(UsageError, match="at least two"):
        interpolate(keys[:1], generator=generator)
    with pytest.raises(UsageError, match="linear, slerp"):
        interpolate(keys, generator=generator, method="round")
    strangers = [replace(key, metadata={"model_sha256": str(k)}) for k, key in enumerate(keys)]
    with pytest.raises(LatentError, match="different models"):
        interpolate(strangers, generator=generator)


def test_walks_through_spaces_and_weights(generator):
    delta = {"synthesis.b8.conv1.weight": torch.full((1, *generator.synthesis.b8.conv1.weight.shape), 0.1)}
    keys = (inversion_of(generator, 1, "z"), inversion_of(generator, 2, "s", weight_deltas=delta))
    walk = Walk(generator, keys)
    for k, key in enumerate(keys):
        assert torch.allclose(walk.at(k).render(generator), key.render(generator), atol=1e-5)
    assert float(walk.at(0.5).weight_deltas["synthesis.b8.conv1.weight"].mean()) == pytest.approx(0.05)


# Masks.


@pytest.mark.parametrize("through", ["features", "pixels"])
def test_masks(generator, through):
    original, edited = inversion_of(generator, 1), inversion_of(generator, 2)
    edited = replace(edited, noise=original.noise)
    ones, half = torch.ones(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    half[..., 8:] = 1
    assert torch.allclose(render_masked(original, edited, ones, generator, through=through), edited.render(generator), atol=1e-5)
    mixed = render_masked(original, edited, half, generator, through=through)
    a, b = original.render(generator), edited.render(generator)
    assert torch.allclose(mixed[..., :6], a[..., :6], atol=1e-5)
    if through == "pixels":
        assert torch.equal(mixed[..., 10:], b[..., 10:])
    else:  # what lies behind the seam is drawn from features of both
        assert (mixed - b)[..., 10:].abs().mean() < 0.3 * (a - b)[..., 10:].abs().mean()
    assert not torch.allclose(mixed, b) and not torch.allclose(mixed, a)


def test_masks_that_are_none(generator):
    one = inversion_of(generator, 1)
    with pytest.raises(UsageError, match="empty"):
        render_masked(one, one, torch.zeros(1, 1, 16, 16), generator)
    with pytest.raises(UsageError, match="features, pixels"):
        render_masked(one, one, torch.ones(1, 1, 16, 16), generator, through="paint")
    with pytest.raises(UsageError, match="shape"):
        render_masked(one, one, torch.ones(16, 16), generator)


# Rules.


def bright(generator) -> Direction:
    """Moves brightness: the gradient at the average picture."""
    w = generator.w_avg[None].clone().requires_grad_()
    (slope,) = torch.autograd.grad(Latent(w, LatentSpace.W).render(generator).mean(), w)
    return with_unit(Direction("bright", LatentSpace.W, slope[0]), generator)


def test_as_strong_as_it_takes(generator):
    inversion, direction = inversion_of(generator, 1, "w"), bright(generator)
    start = float(scores(inversion.render(generator).clamp(-1, 1))["brightness"])
    rule = Score(scores, "brightness", start + 0.02)
    outcome = apply_until(direction, inversion, generator, reached=rule, max_strength=8)
    assert outcome.reason == "reached" and outcome.strength > 0
    reached = float(scores(outcome.inversion.render(generator).clamp(-1, 1))["brightness"])
    less = direction.apply(inversion, outcome.strength - 0.05, generator=generator)
    assert reached >= start + 0.02 > float(scores(less.render(generator).clamp(-1, 1))["brightness"])
    other_way = apply_until(
        direction, inversion, generator, reached=Score(scores, "brightness", start - 0.02, is_below=True), max_strength=-8
    )
    assert other_way.reason == "reached" and other_way.strength < 0
    by_itself = apply_until(direction, inversion, generator, reached=Score(scores, "brightness", start - 0.02, is_below=True))
    assert by_itself.reason == "reached" and by_itself.strength == pytest.approx(other_way.strength, abs=0.02)
    assert apply_until(direction, inversion, generator, reached=Score(scores, "brightness", 9.0), max_strength=1).reason == "limit"
    assert apply_until(direction, inversion, generator, reached=Score(scores, "brightness", -9.0)).strength == 0


def test_no_further_than_a_bound(generator):
    class Pixels:
        def distance(self, a, b):
            return (a - b).square().mean(dim=(1, 2, 3))

    inversion, direction = inversion_of(generator, 1, "w"), bright(generator)
    outcome = apply_until(direction, inversion, generator, bounds=[Distance(Pixels(), 0.002)], max_strength=8)
    assert outcome.reason == "bound" and 0 < outcome.strength < 8
    unedited = inversion.render(generator).clamp(-1, 1)
    assert float(Pixels().distance(outcome.inversion.render(generator).clamp(-1, 1), unedited)) <= 0.002
    further = direction.apply(inversion, outcome.strength + 0.1, generator=generator).render(generator).clamp(-1, 1)
    assert float(Pixels().distance(further, unedited)) > 0.002
    for options in ({}, {"bounds": [Distance(Pixels(), 1.0)], "max_strength": 0}):
        with pytest.raises(UsageError):
            apply_until(direction, inversion, generator, **options)


# Blending of models.


def test_a_model_blended_with_itself_is_itself(generator):
    z = Latent.sample(generator, [1, 2])
    for result in (blend(generator, generator, amount=0.3), swap_layers(generator, generator, resolution=8)):
        assert all(torch.equal(value, generator.state_dict()[name]) for name, value in result.state_dict().items())
        assert torch.equal(z.render(result), z.render(generator))


def test_layers_are_swapped_where_it_was_said(generator):
    child = tiny_generator(seed=1)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    result = swap_layers(generator, child, resolution=8)
    for name, value in result.state_dict().items():
        source = child if name.startswith("synthesis.b16.") else generator
        assert torch.equal(value, source.state_dict()[name]), name
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    half = blend(generator, child, amount=0.5).synthesis.b8.conv1.weight
    assert torch.allclose(half, (generator.synthesis.b8.conv1.weight + child.synthesis.b8.conv1.weight) / 2, atol=1e-6)
    soft = swap_layers(generator, child, resolution=4, width=2.0)
    assert not torch.equal(soft.synthesis.b8.conv1.weight, child.synthesis.b8.conv1.weight)


def test_unrelated_models_are_refused(generator):
    with pytest.raises(UsageError, match="different architectures"):
        blend(generator, tiny_generator(w_dim=8))
    with pytest.raises(UsageError, match="one of 4, 8 is allowed"):
        swap_layers(generator, generator, resolution=16)


# Strengths, names, sheets.


def test_strengths():
    assert (
        parse_strengths("-3:3:7") == [-3, -2, -1, 0, 1, 2, 3] and parse_strengths("2") == [2] and parse_strengths("-2, 0,2") == [-2, 0, 2]
    )
    assert [strength_label(value) for value in (2, -0.5, 0, -0.001)] == ["+2.00", "-0.50", "+0.00", "+0.00"]
    for bad in ("", "a", "1:2", "1:2:0", "1:2:1", "1:2:x", "1,,2", "nan", "inf", "1,1.001", "0:1:200", "1e9"):
        with pytest.raises(UsageError, match="strength"):
            parse_strengths(bad)
    assert (
        safe_name("b16.conv0:37") == "b16-conv0-37" and safe_name("a photo of /etc") == "a-photo-of-etc" and safe_name("..") == "direction"
    )


def test_sweeps_and_sheets(generator):
    inversion = Inversion(draw(generator, 2, space="w"))[0]
    direction = bright(generator)
    versions = sweep(inversion, direction, [-1, 0, 1], generator)
    assert torch.equal(versions[1].latent.value, inversion.latent.value)
    absolute = sweep(inversion, direction, [2.0], generator, is_absolute=True)[0]
    assert float(direction.measure(absolute)) == pytest.approx(2, abs=1e-4)
    pictures = [version.render(generator) for version in versions]
    assert strip(pictures, min_px=16).shape[2] == 16 + 8 and sheet([pictures, pictures[:1]], min_px=16).shape[3] == 3 * 20 + 4
    assert there_and_back([1, 2, 3]) == [1, 2, 3, 2] and there_and_back([1]) == [1]
