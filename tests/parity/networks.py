"""StyleGAN2 generators and discriminators against golden/nets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
from tests.parity.rows import Row, arrays, compare, compare_images, filled

PEER = "stylegan2-ada-pytorch d72cc7d0"
GENERATORS = ("sg2_skip32", "sg2_resnet32", "sg2_orig32", "sg2_cond16_nonoise", "sg2_filter121_16")
LARGE_GENERATORS = ("sg2_paper256", "sg2_ffhq1024_configf")
DISCRIMINATORS = ("sg2D_resnet16_g4", "sg2D_skip16_g2", "sg2D_orig16_gNone", "sg2D_resnet16_nombstd", "sg2D_resnet32_cond_g4_f2")


def rows(large: bool = True) -> Iterator[Row]:
    for name in GENERATORS + (LARGE_GENERATORS if large else ()):
        yield from generator_rows(name)
    for name in DISCRIMINATORS:
        yield from discriminator_rows(name)


@torch.no_grad()
def generator_rows(name: str) -> Iterator[Row]:
    arguments, state = filled(f"nets/{name}")
    generator = load(generator_config(arguments), state)
    data = {key: torch.from_numpy(np.array(value)) for key, value in arrays(f"nets/{name}").items()}
    c = data.get("c")
    cutoff, mix = int(data["cutoff"]), int(data["mix_index"])
    ws = generator.mapping(data["z"], c)
    ws2 = generator.mapping(data["z2"], c)
    mixed = torch.cat([ws[:, :mix], ws2[:, mix:]], dim=1)
    latents = {
        "ws": ws, "ws_psi07": generator.mapping(data["z"], c, truncation_psi=0.7),
        "ws_psi07_cutoff": generator.mapping(data["z"], c, truncation_psi=0.7, truncation_cutoff=cutoff), "ws_mixed": mixed}
    chosen = {"ws": [0], "ws_psi07": [0], "ws_psi07_cutoff": [0, cutoff - 1, cutoff, -1], "ws_mixed": [0, mix - 1, mix, -1]}
    for key, value in latents.items():
        if value.shape != data[key].shape:  # the large networks store a few rows
            value = value[:, chosen[key]]
        yield compare(f"nets/{name} {key}", PEER, value, data[key], absolute=1e-5)
    pictures = {"img_const": (ws, "const"), "img_none": (ws, "none"), "img_psi07_cutoff_const": (latents["ws_psi07_cutoff"], "const"),
                "img_mixed_const": (mixed, "const")}
    for key, (value, noise_mode) in pictures.items():
        yield from image_rows(f"nets/{name}", PEER, key, generator.synthesis(value, noise_mode=noise_mode), data)


@torch.no_grad()
def discriminator_rows(name: str) -> Iterator[Row]:
    arguments, state = filled(f"nets/{name}")
    discriminator = load(discriminator_config(arguments), state)
    data = {key: torch.from_numpy(np.array(value)) for key, value in arrays(f"nets/{name}").items()}
    c = data.get("c")
    yield compare_images(f"nets/{name} logits", PEER, discriminator(data["img_in"], c), data["logits"])
    first = discriminator(data["img_in"][:1], None if c is None else c[:1])
    yield compare_images(f"nets/{name} logits_first1", PEER, first, data["logits_first1"])


def image_rows(fixture: str, peer: str, key: str, images: torch.Tensor, data: dict[str, torch.Tensor]) -> Iterator[Row]:
    """A whole picture, or what the large fixtures keep of it: every k-th pixel, moments per channel, a centre crop."""
    if key in data:
        yield compare_images(f"{fixture} {key}", peer, images, data[key])
        return
    size, step = images.shape[-1], images.shape[-1] // data[f"{key}_sub"].shape[-1]
    yield compare_images(f"{fixture} {key}_sub", peer, images[:, :, ::step, ::step], data[f"{key}_sub"])
    yield compare_images(f"{fixture} {key}_mean", peer, images.mean(dim=[2, 3]), data[f"{key}_mean"])
    yield compare_images(f"{fixture} {key}_std", peer, images.std(dim=[2, 3], correction=0), data[f"{key}_std"])
    if f"{key}_crop" in data:
        half = data[f"{key}_crop"].shape[-1] // 2
        crop = images[:, :, size // 2 - half : size // 2 + half, size // 2 - half : size // 2 + half]
        yield compare_images(f"{fixture} {key}_crop", peer, crop, data[f"{key}_crop"])


def generator_config(arguments: dict[str, Any]) -> StyleGAN2Config:
    """From the constructor arguments of the official class."""
    mapping, synthesis = arguments.get("mapping_kwargs", {}), dict(arguments.get("synthesis_kwargs", {}))
    if "resample_filter" in synthesis:
        synthesis["resample_filter"] = tuple(float(tap) for tap in synthesis["resample_filter"])
    facts = {key: arguments[key] for key in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")}
    return StyleGAN2Config(
        **facts, **synthesis, mapping_layers=mapping.get("num_layers", 8), mapping_embed_features=mapping.get("embed_features"),
        mapping_layer_features=mapping.get("layer_features"))


def discriminator_config(arguments: dict[str, Any]) -> StyleGAN2DiscriminatorConfig:
    """From the constructor arguments of the official class."""
    facts = {key: value for key, value in arguments.items() if key != "epilogue_kwargs"}
    return StyleGAN2DiscriminatorConfig(**facts, **arguments.get("epilogue_kwargs", {}))


def load(config: Any, state: dict[str, torch.Tensor]) -> Any:
    """Build and load; only filters, which the architecture defines, may be absent from the state."""
    network = build(config)
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected and all(key.endswith("resample_filter") for key in missing), (missing, unexpected)
    return network
