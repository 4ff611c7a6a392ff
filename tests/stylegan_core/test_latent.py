from __future__ import annotations

import pytest
import torch

from stylegan_core.errors import LatentError, UsageError
from stylegan_core.latent import Latent, LatentSpace
from tests.tiny import tiny_generator

SPACES = list(LatentSpace)


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


def test_spaces_are_parsed_as_people_write_them() -> None:
    written = {"z": LatentSpace.Z, "W": LatentSpace.W, "w+": LatentSpace.W_PLUS, "wplus": LatentSpace.W_PLUS, "S": LatentSpace.S}
    assert {text: LatentSpace.parse(text) for text in written} == written
    with pytest.raises(UsageError, match=r"space 'x': one of z, w, w\+, s"):
        LatentSpace.parse("x")


@pytest.mark.parametrize("space", SPACES)
def test_every_space_renders_the_same_picture(generator, space: LatentSpace) -> None:
    z = Latent.sample(generator, [3, 4])
    latent = z.lower(generator, to=space)
    assert latent.value.shape[1:] == space.shape(generator)
    assert torch.equal(latent.render(generator), generator(z.value))


@pytest.mark.parametrize("space", SPACES)
def test_centre_is_finite_and_has_the_shape(generator, space: LatentSpace) -> None:
    centre, spread = space.centre(generator), space.spread(generator, num_samples=50)
    assert centre.shape == (1, *space.shape(generator)) == spread.shape
    assert bool((spread > 0).all())


def test_spread_is_that_of_samples(generator) -> None:
    w = Latent.sample(generator, list(range(300))).lower(generator, to="w").value
    spread = LatentSpace.W.spread(generator, num_samples=300)
    assert torch.allclose(w.std(dim=0), spread[0], rtol=0.35)


@pytest.mark.parametrize("here, there", [(a, b) for a in SPACES for b in SPACES if b.depth < a.depth])
def test_uphill_is_an_error_that_says_what_to_do(generator, here: LatentSpace, there: LatentSpace) -> None:
    latent = Latent.sample(generator, [0]).lower(generator, to=here)
    with pytest.raises(LatentError, match=f"uphill.*project the picture again with space={there.value}"):
        latent.lower(generator, to=there)


def test_mean_row_is_the_way_back_that_is_named(generator) -> None:
    w = Latent.sample(generator, [0]).lower(generator, to="w")
    assert torch.allclose(w.lower(generator, to="w+").mean_row().value, w.value, atol=1e-6)
    with pytest.raises(LatentError, match="only W\\+ has rows"):
        w.mean_row()


def test_arithmetic_stays_in_the_space(generator) -> None:
    z = Latent.sample(generator, [0, 1])
    w = z.lower(generator, to="w")
    assert torch.allclose(((w + w) * 0.5 - w).value, torch.zeros_like(w.value))
    assert torch.equal(w.lerp(w[[1, 0]], 1.0).value, w.value.flip(0))
    with pytest.raises(LatentError, match="cannot be combined"):
        _ = w + z
    with pytest.raises(LatentError, match="cannot form one batch"):
        Latent.cat([w, z])


def test_indexing_keeps_the_batch_axis(generator) -> None:
    z = Latent.sample(generator, [0, 1, 2])
    assert z[1].value.shape == (1, generator.z_dim) and torch.equal(z[-1].value, z.value[2:])
    assert len(Latent.cat([z[0], z[2]])) == 2
    with pytest.raises(IndexError):
        z[3]


@pytest.mark.parametrize("value", [torch.zeros(1, 15), torch.full((1, 16), float("nan")), torch.zeros(16)])
def test_a_latent_that_does_not_fit_is_refused(generator, value: torch.Tensor) -> None:
    with pytest.raises(LatentError):
        Latent(value, LatentSpace.W).render(generator)


def test_a_conditional_generator_takes_its_label_along() -> None:
    generator = tiny_generator(c_dim=3)
    c = torch.eye(3)[[0, 2]]
    latent = Latent.sample(generator, [5, 5], c=c)
    assert torch.equal(latent.render(generator), generator(latent.value, c))
    assert torch.equal(latent[1].render(generator), generator(latent.value[1:], c[1:]))
    with pytest.raises(LatentError, match="needs a label"):
        Latent.sample(generator, [5]).lower(generator, to="w")
