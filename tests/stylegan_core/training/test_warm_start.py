"""The warm start: z of a portrait is complete and standard normal, and regression brings pictures nearer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import beta, norm

from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.data.images import portraits
from stylegan_core.data.portrait_person import IDENTITY_TRAITS
from stylegan_core.data.portraits import (
    ATTRIBUTES,
    POSE_LAW,
    Portrait,
    _draw_attributes,
    portrait_normals,
    render_portrait,
    sample_portrait,
    twin_normals,
)
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
from stylegan_core.training.anchor import complete, pyramid_distance, twin_distance
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.loop import train_generator
from stylegan_core.training.warm_start import fit_mapping, warm_start


class Gradients:
    """Pictures whose colour is a function of two numbers."""

    name, shape, channels, c_dim = "gradients", (16, 16), 3, 0

    def __len__(self) -> int:
        return 64

    def normals(self, indices):
        return np.stack([np.random.default_rng(int(i)).standard_normal(2) for i in indices])

    def twins(self, indices, rng):
        return self.normals(indices)

    def shown(self, indices):
        return self.normals(indices)

    def expect(self, indices):
        pass

    def labels(self, indices):
        return np.zeros([len(indices), 0], np.float32)

    def images_u8(self, indices):
        level = 127 + 60 * np.tanh(self.normals(indices))
        pictures = np.zeros([len(indices), 3, 16, 16])
        pictures[:, :2] = level[:, :, None, None]
        return pictures.astype(np.uint8)


def test_regression_brings_pictures_nearer_and_writes_a_model(tmp_path: Path) -> None:
    config = StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=16, channel_base=128, channel_max=16, mapping_layers=2)
    path = warm_start(config, Gradients(), tmp_path, kimg=2.4, batch=16)
    records = [json.loads(line) for line in (tmp_path / "warm-start.0.jsonl").read_text().splitlines()]
    assert records[-1]["psnr"] > records[0]["psnr"] + 6 and len(records) == 150
    generator = load_generator(path)
    assert generator.w_avg.abs().sum() > 0
    assert (tmp_path / "warm-start.png").exists()


def test_portrait_normals_are_standard_and_independent() -> None:
    values = np.stack([portrait_normals(1000, i) for i in range(1500)])
    assert values.shape == (1500, 54)
    assert np.abs(values.mean(0)).max() < 0.12 and np.abs(values.std(0) - 1).max() < 0.12
    assert np.abs(np.corrcoef(values.T) - np.eye(54)).max() < 0.13
    assert np.array_equal(portrait_normals(1000, 7), values[7])


def portrait_of(normals: np.ndarray, detail_seed: int) -> Portrait:
    """The portrait that these numbers draw, by the distributions that the docstring of portrait_normals names."""
    uniforms = norm.cdf(normals[5:])

    class Draws:
        beta = staticmethod(lambda *_: beta.ppf(uniforms[:5], *POSE_LAW))
        standard_normal = staticmethod(lambda _: normals[:5])
        uniform = staticmethod(lambda *_, size=None: uniforms[5:8] if size else 2 * uniforms[8] - 1)

    attributes = _draw_attributes(Draws(), "correlated")
    return Portrait(attributes, dict(zip(IDENTITY_TRAITS, 2 * uniforms[9:] - 1)), detail_seed)


def test_twins_draw_the_same_picture_from_other_numbers() -> None:
    rng = np.random.default_rng(3)
    for index in range(12):
        portrait, twin = sample_portrait(1000, index), twin_normals(1000, index, rng)
        pictures = [render_portrait(p, 64).astype(int) for p in (portrait, portrait_of(twin, portrait.detail_seed))]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
        assert np.abs(twin - portrait_normals(1000, index)).max() > 0.1


def test_twin_distance_is_a_share_of_the_distance_of_strangers() -> None:
    w = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(twin_distance(w, w), torch.zeros(4000))
    assert abs(float(twin_distance(w, w.roll(1, 0)).mean()) - 1) < 0.05


def test_completed_z_lies_on_the_sphere_and_keeps_the_numbers() -> None:
    rng = torch.Generator().manual_seed(0)
    normals = torch.randn(5, 6, generator=rng)
    z = complete(normals, 32, rng)
    assert z.shape == (5, 32) and torch.allclose(z.norm(dim=1), torch.full([5], 32**0.5), atol=1e-4)
    assert torch.equal(z[:, :6], normals)


def test_pyramid_distance_is_per_image() -> None:
    images = torch.zeros(3, 3, 16, 16)
    target = images.clone()
    target[1] = 0.5
    assert torch.allclose(pyramid_distance(images, target), torch.tensor([0.0, 2.0, 0.0]))


def test_a_fitted_mapping_holds_what_pictures_show() -> None:
    torch.manual_seed(0)
    generator = build(StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=16, channel_base=128, channel_max=16, mapping_layers=2))
    assert fit_mapping(generator, Gradients(), num_steps=1000, batch=64) < 0.4


def test_what_a_portrait_shows_has_unit_size_and_no_hidden_traits() -> None:
    values = portraits(400, 16, seed=1000).shown(range(400))
    sizes = np.sqrt((values**2).mean(axis=0))
    assert values.shape == (400, 54) and sizes.max() < 1.2
    bare = values[:, list(ATTRIBUTES).index("hat")] < 0
    hidden = [14 + k for k, name in enumerate(IDENTITY_TRAITS) if name.startswith("hat_")]
    assert bare.any() and not values[bare][:, hidden].any() and values[~bare][:, hidden].all()


def test_an_anchor_brings_every_picture_nearer_to_its_own_z(tmp_path: Path) -> None:
    sizes = dict(img_resolution=16, channel_base=128, channel_max=16)
    config = TrainingConfig(
        StyleGAN2Config(z_dim=8, w_dim=8, mapping_layers=2, **sizes), StyleGAN2DiscriminatorConfig(**sizes),
        kimg=0.8, batch=8, lr=0.01, mixing_prob=0.5, snapshot_kimg=0.8, anchor_weight=20.0)  # fmt: skip
    distances = []
    train_generator(config, Gradients(), tmp_path, callback=lambda info: distances.append(float(info.parts["anchor"].mean())))
    assert np.mean(distances[-10:]) < 0.7 * np.mean(distances[:10])
