"""Edits see the Generator protocol only: the same on StyleGAN, StyleGAN2 and StyleGAN3, and on the codes of an encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.build import encoder_for
from invert.editing.arithmetic import restrict, to_styles
from invert.editing.direction import Direction
from invert.editing.ganspace import GANSpace
from invert.editing.interpolation import Walk
from invert.editing.jacobian import Jacobian
from invert.editing.labels import draw
from invert.editing.layers import RANGES, affine_of_rows, is_torgb, parse_rows, row_of_layer
from invert.editing.masks import render_masked
from invert.editing.mixing import mix
from invert.editing.regression import Regression
from invert.editing.sefa import SeFa
from invert.editing.stylespace import StyleSpace
from invert.editing.truncation import truncate
from invert.editing.units import with_unit
from stylegan_core.errors import UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import LatentSpace
from tests.invert.editing.worlds import scores
from tests.tiny import sample_pictures, tiny_generator, tiny_stylegan1, tiny_stylegan3

BUILDERS = {"stylegan1": tiny_stylegan1, "stylegan2": tiny_generator, "stylegan3": tiny_stylegan3}


@pytest.fixture(scope="module", params=BUILDERS)
def generator(request):
    return BUILDERS[request.param]().requires_grad_(False)


def test_rows_are_those_of_the_network(generator):
    assert row_of_layer(generator) == generator.synthesis.rows
    if generator.noise_shapes:
        assert parse_rows("coarse", generator) == tuple(range(len(parse_rows("coarse", generator))))
    else:
        for name in RANGES:
            with pytest.raises(UsageError, match="give rows by number"):
                parse_rows(name, generator)
    assert parse_rows("0-1", generator) == (0, 1)


def test_sefa_is_numpys_decomposition_sorted(generator):
    layers = [name for name in generator.style_dims if not is_torgb(name)]
    stacked = np.concatenate([affine_of_rows(generator)[name].double().numpy() for name in layers])
    ws = torch.randn(2, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(0))
    ws[1] = ws[0]
    ws[1] += torch.ones(generator.w_dim)
    moved = (lambda s: s[1] - s[0])(generator.synthesis.affine(ws))
    summed = torch.cat([affine_of_rows(generator)[name].sum(dim=1) for name in generator.style_dims])
    assert torch.allclose(moved, summed, atol=1e-4)  # the weights are what the network applies
    _, values, vectors = np.linalg.svd(stacked, full_matrices=False)
    found = SeFa(num_components=5).find(generator)
    got = [direction.provenance["figures"]["singular_value"] for direction in found]
    assert got == sorted(got, reverse=True) and np.allclose(got, values[:5], rtol=1e-5)
    for direction, vector in zip(found, vectors):
        unit = (direction.vector / direction.vector.norm()).numpy()
        assert min(np.abs(unit - vector).max(), np.abs(unit + vector).max()) < 1e-5


def test_every_finder_finds(generator):
    finders = {
        "ganspace": GANSpace(num_components=1, num_samples=300),
        "jacobian": Jacobian(num_components=1),
        "regression": Regression(scores, num_samples=200),
        "stylespace": StyleSpace("redness", labels=scores, num_samples=8, num_components=1),
    }
    inversion = Inversion(draw(generator, 2, seed=5, space="w+"))
    for name, finder in finders.items():
        for direction in finder.find(generator):
            moved = direction.apply(inversion, 2, generator=generator).render(generator)
            assert torch.isfinite(moved).all() and not torch.allclose(moved, inversion.render(generator), atol=1e-4), name


def test_operations(generator):
    one, other = (Inversion(draw(generator, 2, seed=seed, space="w+"))[0] for seed in (1, 2))
    direction = with_unit(Direction("x", LatentSpace.W, torch.ones(generator.w_dim)), generator)
    rows = restrict(direction, "1-2", generator)
    moved = rows.apply(one, 2)
    assert torch.allclose(
        to_styles(rows, generator).apply(one, 2, generator=generator).render(generator), moved.render(generator), atol=1e-4
    )
    mixed = mix(one, other, "2-3", generator=generator)
    assert torch.equal(mixed.latent.value[:, 2:4], other.latent.value[:, 2:4])
    walk = Walk(generator, (one, other), "slerp")
    assert torch.allclose(walk.at(1).render(generator), other.render(generator), atol=1e-5)
    assert torch.allclose(truncate(one, 1, generator=generator).render(generator), one.render(generator), atol=1e-5)
    half = torch.zeros(1, 1, *generator.img_shape)
    half[..., generator.img_shape[1] // 2 :] = 1
    pixels = render_masked(one, other, half, generator, through="pixels")
    assert torch.equal(pixels[..., : generator.img_shape[1] // 2], one.render(generator)[..., : generator.img_shape[1] // 2])
    if generator.noise_shapes:
        assert torch.isfinite(render_masked(one, other, half, generator)).all()
    else:
        with pytest.raises(UsageError, match="--through pixels"):
            render_masked(one, other, half, generator)


def test_the_three_edits_of_e4e_work_on_its_codes():
    """Direction, PCA and SeFa (e4e Sec. 5) on the w+ codes of an encoder: each moves the picture, none changes the codes."""
    generator = tiny_generator().requires_grad_(False)
    encoder = encoder_for(generator, "e4e", backbone="tiny")
    codes = encoder.encode(sample_pictures(generator, [1000, 1001])[0])
    assert codes.latent.space is LatentSpace.W_PLUS
    before, plain = codes.latent.value.clone(), codes.render(generator)
    directions = [Regression(scores, num_samples=200).find(generator)[0], GANSpace(num_components=1, num_samples=300).find(generator)[0],
                  SeFa(rows="coarse", num_components=1).find(generator)[0]]  # fmt: skip
    for direction in directions:
        moved = direction.apply(codes, 2, generator=generator)
        assert not torch.allclose(moved.render(generator), plain, atol=1e-3) and torch.equal(codes.latent.value, before)
        assert torch.allclose(direction.measure(moved) - direction.measure(codes), torch.tensor(2.0), atol=1e-3)
