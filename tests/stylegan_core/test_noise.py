from __future__ import annotations

import pytest
import torch

from stylegan_core.errors import LatentError
from stylegan_core.latent import Latent
from stylegan_core.noise import Noise, normalise_map
from tests.tiny import tiny_generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


def test_const_and_none_are_the_noise_modes(generator) -> None:
    latent = Latent.sample(generator, [0, 1])
    for noise, mode in ((Noise.const(generator, 2), "const"), (Noise.none(generator, 2), "none")):
        assert torch.equal(latent.render(generator, noise=noise.maps), latent.render(generator, noise_mode=mode))


def test_random_noise_depends_on_the_seed_of_the_image_alone(generator) -> None:
    batch, single = Noise.random(generator, [7, 8, 9]), Noise.random(generator, [9])
    assert all(torch.equal(batch.maps[name][2:], single.maps[name]) for name in generator.noise_shapes)
    assert not torch.equal(batch.maps["b16.conv1.noise_const"][0], batch.maps["b16.conv1.noise_const"][1])
    pair = Noise.random(generator, [(9, 1)])
    assert not torch.equal(pair.maps["b4.conv1.noise_const"], single.maps["b4.conv1.noise_const"])


def test_normalisation_is_per_image(generator) -> None:
    noise = Noise.random(generator, [1, 2])
    scaled = Noise({name: torch.cat([value[:1], 5 * value[1:] + 3]) for name, value in noise.maps.items()})
    for name, value in scaled.normalised().maps.items():
        assert torch.allclose(value.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-6)
        assert torch.allclose(value.square().mean(dim=(1, 2, 3)), torch.ones(2), atol=1e-5)
        assert torch.allclose(value, noise.normalised().maps[name], atol=1e-5)


def test_a_constant_map_stays_finite() -> None:
    assert torch.equal(normalise_map(torch.full((1, 1, 4, 4), 2.0)), torch.zeros(1, 1, 4, 4))


def test_a_generator_without_noise_has_no_maps() -> None:
    generator = tiny_generator(use_noise=False)
    assert Noise.random(generator, [0]).maps == {} == Noise.const(generator, 3).maps


def test_noise_that_does_not_fit_is_refused(generator) -> None:
    maps = Noise.const(generator, 2).maps
    with pytest.raises(LatentError, match=r"no noise input 'b99.conv1.noise_const'"):
        Noise({"b99.conv1.noise_const": maps["b4.conv1.noise_const"]}).check(generator, 2)
    with pytest.raises(LatentError, match="has the shape"):
        Noise(maps).check(generator, 3)
    with pytest.raises(LatentError, match="not finite"):
        Noise({"b4.conv1.noise_const": torch.full((2, 1, 4, 4), float("inf"))}).check(generator, 2)


def test_rows_and_cat_are_inverse(generator) -> None:
    noise = Noise.random(generator, [1, 2, 3])
    again = Noise.cat([noise.rows(slice(0, 1)), noise.rows(slice(1, 3))])
    assert all(torch.equal(again.maps[name], value) for name, value in noise.maps.items())
    with pytest.raises(LatentError, match="different generators"):
        Noise.cat([noise, Noise({})])
