"""StyleGAN3: the input and what moves it, equivariance, magnitudes, settings that no public model has."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from stylegan_core.errors import CheckpointError, UsageError
from stylegan_core.input_transform import BUFFER, delta_of, has_input_transform, moved, pose_from_delta, pose_of, set_pose, transform_of
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN3Config
from stylegan_core.networks.filters import design_lowpass_filter
from stylegan_core.networks.layer_schedule import bands, fitting_base, formula_widths, layer_plans
from stylegan_core.weight_deltas import call_with
from tests.tiny import tiny_generator, tiny_stylegan3

F64 = torch.float64


def picture(generator: Any, pose: torch.Tensor | None = None, seed: int = 0) -> torch.Tensor:
    with torch.no_grad():
        ws = generator.mapping(torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(generator.w_avg))
        deltas = {} if pose is None else {BUFFER: delta_of(pose.to(ws))}
        return call_with(generator, deltas, lambda moving: moving.synthesis(ws))


def test_a_pose_and_its_transform() -> None:
    pose = torch.tensor([[0.7, 0.1, -0.3], [-2.9, 0.0, 0.2], [0.0, 0.0, 0.0]], dtype=F64)
    assert torch.allclose(pose_from_delta(delta_of(pose)), pose)
    point = torch.tensor([0.2, 0.1, 1.0], dtype=F64)  # right and below of the centre
    quarter = torch.linalg.inv(transform_of(pose_of(90, (0.05, 0.0)).double()))[0] @ point
    assert torch.allclose(quarter[:2], torch.tensor([0.1 + 0.05, -0.2], dtype=F64), atol=1e-6)  # counter-clockwise, then right
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 2, 5] = 1
    right, seen = moved(image, pose_of(0, (2 / 8, 1 / 8)))
    assert right[0, 0, 3, 7] > 0.99 and seen[0, 0, 0, 4] == 0 and seen[0, 0, 4, 4] == 1


def test_the_picture_moves_with_its_input() -> None:
    generator = tiny_stylegan3()
    still, there = picture(generator), picture(generator, pose_of(0, (4 / 32, -2 / 32)))
    inner = slice(8, 24)
    error = (there[:, :, inner, inner] - still[:, :, 10:26, 4:20]).abs().mean()
    assert error < 0.05 * still.std() < (there - still)[:, :, inner, inner].abs().mean()


def test_only_radial_filters_turn() -> None:
    errors = []
    for is_radial in (True, False):
        generator = tiny_stylegan3(conv_kernel=1 if is_radial else 3, use_radial_filters=is_radial)
        still, there = picture(generator), picture(generator, pose_of(90))
        errors.append(float((there - still.rot90(1, [2, 3]))[:, :, 8:24, 8:24].square().mean().sqrt() / still.std()))
    assert errors[0] < 0.02 < 0.2 < errors[1]


def test_the_users_buffer_is_that_of_the_official_scripts() -> None:
    generator = tiny_stylegan3()
    assert has_input_transform(generator) and not has_input_transform(tiny_generator())
    pose = pose_of(20, (0.1, 0.05))
    expected = picture(generator, pose)
    generator.synthesis.input.transform.copy_(transform_of(pose)[0])
    assert torch.allclose(picture(generator), expected, atol=1e-5)
    set_pose(generator, pose_of())
    batch = torch.cat([pose, pose_of()])
    ws = torch.zeros(2, generator.num_ws, generator.w_dim)
    both = call_with(generator, {BUFFER: delta_of(batch)}, lambda moving: moving.synthesis(ws))
    assert not torch.allclose(both[0], both[1])
    assert torch.allclose(both[1:], generator.synthesis(ws[:1]), atol=1e-5)


def test_magnitudes_follow_in_training_and_nowhere_else() -> None:
    generator = tiny_stylegan3()
    before = copy.deepcopy(generator.state_dict())
    z = torch.randn(4, generator.z_dim)
    generator(z)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    generator(z, update_emas=True)
    changed = {name for name, value in generator.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"mapping.w_avg", *(name for name in before if name.endswith("magnitude_ema"))}
    layer = getattr(generator.synthesis, generator.synthesis.layer_names[0])
    x, style = torch.full((2, layer.in_channels, 36, 36), 3.0), torch.ones(2, layer.in_channels)
    layer.magnitude_ema.fill_(1.0)
    layer(x, style, update_emas=True)
    beta = layer.magnitude_ema_beta
    assert math.isclose(float(layer.magnitude_ema), beta + (1 - beta) * 9, rel_tol=1e-5)


def test_a_clamp_holds() -> None:
    generator = tiny_stylegan3(conv_clamp=0.01)
    assert picture(generator).abs().max() <= 0.01 * generator.synthesis.output_scale * (1 + 1e-6)


@pytest.mark.parametrize("options", [
    {"img_resolution": 4, "num_layers": 4}, {"img_resolution": 64, "filter_size": 4, "lrelu_upsampling": 1, "margin_size": 4},
    {"num_critical": 0, "conv_kernel": 5}, {"widths": (8, 7, 6, 5, 4, 3), "img_channels": 1, "conv_clamp": None}])
def test_unusual_settings_build_and_render(options: dict[str, Any]) -> None:
    small = {"z_dim": 8, "w_dim": 8, "img_resolution": 16, "channel_base": 64, "channel_max": 8, "num_layers": 6}
    config = StyleGAN3Config(**{**small, **options})
    generator = build(config)
    images = generator(torch.randn(2, 8))
    assert images.shape == (2, config.img_channels, config.img_resolution, config.img_resolution) and torch.isfinite(images).all()


@pytest.mark.parametrize("options, message", [
    ({"num_layers": 10**9}, "num_layers"), ({"num_critical": 14}, "num_critical"), ({"widths": (3, 4)}, "2 widths for 14 layers"),
    ({"first_cutoff": float("nan")}, "first_cutoff"), ({"first_stopband": 1.0}, "beyond the cutoffs"),
    ({"margin_size": 10**6}, "margin_size"),
    ({"img_resolution": 48}, "power of two"), ({"magnitude_ema_beta": 2}, "magnitude_ema_beta"), ({"conv_kernel": 0}, "conv_kernel")])
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build(StyleGAN3Config(**options))


def test_widths_find_their_formula() -> None:
    for resolution in (16, 256, 1024):
        for base, limit in ((512, 24), (16384, 512), (65536, 1024)):
            config = StyleGAN3Config(img_resolution=resolution, channel_base=base, channel_max=limit)
            widths, cutoffs = formula_widths(config), bands(config)[0]
            found = fitting_base(widths, cutoffs)
            assert found is not None
            again = StyleGAN3Config(img_resolution=resolution, channel_base=found[0], channel_max=found[1])
            assert formula_widths(again) == widths
    assert fitting_base((8, 1, 8), (2.0, 4.0, 8.0)) is None
    assert [plan.out_channels for plan in layer_plans(StyleGAN3Config(widths=tuple(range(1, 15))))] == [*range(1, 15), 3]


def test_filters_pass_what_lies_below_their_cutoff() -> None:
    line = design_lowpass_filter(24, 10.0, 12.0, 128)
    response = torch.fft.rfft(line, 1280).abs()  # ten values per cycle
    assert response[20] > 0.97 and abs(float(response[100]) - 0.5) < 0.03 and response[200:].max() < 0.01
    disc = design_lowpass_filter(24, 10.0, 12.0, 128, radial=True)
    across = torch.fft.fft2(disc, [512, 512]).abs()
    assert abs(float(across[0, 40] - across[28, 28])) < 0.02  # 40 ≈ 28·√2: the same along an axis and a diagonal
    with pytest.raises(UsageError, match="above 0"):
        design_lowpass_filter(12, -1.0, 1.0, 4)
