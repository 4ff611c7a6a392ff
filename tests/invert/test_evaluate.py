"""The table of methods: figures are those of the pictures, truth is used where it is known."""

from __future__ import annotations

import torch

from invert.evaluate import evaluate_methods, held_out_portraits, own_samples, records, table
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config


def tiny() -> torch.nn.Module:
    torch.manual_seed(0)
    generator = build(StyleGAN2Config(z_dim=16, w_dim=16, img_resolution=16, channel_base=128, channel_max=16, mapping_layers=2))
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.1)
    return generator.requires_grad_(False)


def test_own_samples_come_with_their_w_and_are_what_a_file_would_hold() -> None:
    generator = tiny()
    images, w = own_samples(generator, 3)
    assert images.shape == (3, 3, 16, 16) and w.shape == (3, 16)
    levels = images * 127.5 + 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-4) and images.abs().max() <= 1
    again, _ = own_samples(generator, 1)
    assert torch.equal(again, images[:1])


def test_held_out_portraits_fit_the_generator() -> None:
    images, truth = held_out_portraits(tiny(), 2)
    assert images.shape == (2, 3, 16, 16) and truth is None and not torch.equal(images[0], images[1])


def test_a_table_has_a_row_per_method_and_more_steps_do_better() -> None:
    generator = tiny()

    class Pixels:
        """Stands for a judge."""

        def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a - b).square().mean(dim=[1, 2, 3])

    method = dict(spaces=("w",), presets=("fast",), subjects=("samples",), count=1, perceptual="none")
    few = evaluate_methods(generator, steps=1, judge=Pixels(), **method)
    many = evaluate_methods(generator, steps=60, judge=Pixels(), **method)
    assert many[0].psnr > few[0].psnr and many[0].w_error is not None and many[0].distance is not None
    assert many[0].distance < few[0].distance
    assert table(many).count("\n") == 2 and records(many)[0]["space"] == "w"
