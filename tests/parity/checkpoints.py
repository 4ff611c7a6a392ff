"""Files that the peers' code wrote, read by our loader, against what the peers computed from them (golden/ckpt)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from stylegan_core.checkpoints.keymap import Pair, discriminator_pairs, generator_pairs
from stylegan_core.checkpoints.registry import load_discriminator, load_generator, networks_in
from tests.parity.networks import discriminator_config, generator_config, image_rows, load
from tests.parity.rows import GOLDEN, Row, arrays, compare, compare_images, filled

ADA = "stylegan2-ada-pytorch d72cc7d0"
SG3 = "stylegan3 c233a919"
ROSINALITY = "stylegan2-pytorch bef283a1"
FILES = {
    "sg2ada_uncond.pkl": ADA,
    "sg2ada_cond.pkl": ADA,
    "sg2ada_resnet_proto4.pkl": ADA,
    "sg3repo_sg2_32.pkl": SG3,
    "ros_g32.pt": ROSINALITY,
    "ros_g64_legacyfmt.pt": ROSINALITY,
}


@torch.no_grad()
def rows() -> Iterator[Row]:
    for name, peer in FILES.items():
        yield from generator_rows(name, peer)
        yield from discriminator_rows(name, peer)
    yield from filled_rosinality_rows()


def generator_rows(name: str, peer: str) -> Iterator[Row]:
    """Latents, pictures, truncation and mixing of G_ema, and the pictures of G."""
    data, fixture = _data(name), f"ckpt/{name}"
    generator = load_generator(GOLDEN / "ckpt" / name)
    c, z, z2 = data.get("c"), data["z"], data["z2"]
    ws = generator.mapping(z, c)
    yield compare(f"{fixture} ws", peer, ws if data["ws"].ndim == 3 else ws[:, 0], data["ws"], absolute=1e-5)
    half = generator.mapping(z, c, truncation_psi=0.7)
    mixed = ws.clone()
    start = int(data["mix_index"] if "mix_index" in data else data["inject_index"])
    mixed[:, start:] = generator.mapping(z2, c)[:, start:]
    pictures = {key: (ws, "const") for key in ("img_const", "img")} | {"img_none": (ws, "none")}
    pictures |= {"img_psi07_const": (half, "const"), "img_mixed_const": (mixed, "const"), "img_mixed": (mixed, "const")}
    if "cutoff" in data:
        cut = generator.mapping(z, c, truncation_psi=0.7, truncation_cutoff=int(data["cutoff"]))
        yield compare(f"{fixture} ws_psi07", peer, half, data["ws_psi07"], absolute=1e-5)
        yield compare(f"{fixture} ws_psi07_cutoff", peer, cut, data["ws_psi07_cutoff"], absolute=1e-5)
        pictures |= {"img_psi07_cutoff_const": (cut, "const"), "img_psi07_cutoff": (cut, "const")}
    for key, (latents, noise_mode) in pictures.items():
        if key in data or f"{key}_sub" in data:
            yield from image_rows(fixture, peer, key, generator.synthesis(latents, noise_mode=noise_mode), data)
    for key in ("img_G_const", "img_G"):
        if key in data:
            raw = load_generator(GOLDEN / "ckpt" / name, network="G")
            yield from image_rows(fixture, peer, key, raw(z, c), data)


def discriminator_rows(name: str, peer: str) -> Iterator[Row]:
    data = _data(name)
    if "D" not in networks_in(GOLDEN / "ckpt" / name) or "D_in" not in data:
        return
    discriminator = load_discriminator(GOLDEN / "ckpt" / name)
    yield compare_images(f"ckpt/{name} logits", peer, discriminator(data["D_in"], data.get("D_c")), data["logits"])
    if "D_in8" in data:
        yield compare_images(f"ckpt/{name} logits8", peer, discriminator(data["D_in8"]), data["logits8"])


def filled_rosinality_rows() -> Iterator[Row]:
    """rosinality's own sizes, filled by the recipe under its names, through our table of names."""
    arguments, state = filled("nets/ros_256_cm2")
    size, w_dim = arguments["size"], arguments["style_dim"]
    facts = {"z_dim": w_dim, "c_dim": 0, "w_dim": w_dim, "img_resolution": size, "img_channels": 3}
    config = generator_config({**facts, "synthesis_kwargs": {"channel_base": 16384 * arguments["channel_multiplier"]}})
    data = {key: torch.from_numpy(np.array(value)) for key, value in arrays("nets/ros_256_cm2").items()}
    ours = {pair.ours: _squeezed(state[pair.theirs], pair) for pair in generator_pairs(config.resolutions, 8)}
    generator = load(config, {**ours, "mapping.w_avg": data["latent_avg"]})
    ws = generator.mapping(data["z"])
    yield compare("nets/ros_256_cm2 ws", ROSINALITY, ws[:, 0], data["ws"], absolute=1e-5)
    half = generator.mapping(data["z"], truncation_psi=0.7)
    for key, latents, noise_mode in (("img_none", ws, "none"), ("img_psi07_const", half, "const")):
        images = generator.synthesis(latents, noise_mode=noise_mode)
        yield from image_rows("nets/ros_256_cm2", ROSINALITY, key, images, data)
    arguments, state = filled("nets/ros_D64_cm1")
    config = discriminator_config({"c_dim": 0, "img_resolution": 64, "img_channels": 3, "channel_base": 16384})
    discriminator = load(config, {pair.ours: state[pair.theirs] for pair in discriminator_pairs(config.resolutions)})
    data = {key: torch.from_numpy(np.array(value)) for key, value in arrays("nets/ros_D64_cm1").items()}
    yield compare_images("nets/ros_D64_cm1 logits", ROSINALITY, discriminator(data["img_in"]), data["logits"])


def _squeezed(value: torch.Tensor, pair: Pair) -> torch.Tensor:
    shape = tuple(value.shape)
    return value.reshape(shape[pair.before : len(shape) - pair.after])


def _data(name: str) -> dict[str, torch.Tensor]:
    stem = name.rsplit(".", 1)[0]
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays(f"ckpt/{stem}.expected").items()}
