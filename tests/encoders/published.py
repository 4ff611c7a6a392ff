"""Files in the published layouts, at small size, with random numbers."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from encoders.build import build_network
from encoders.configs import BACKBONES, EncoderConfig, HyperStyleConfig, hyperstyle_config
from encoders.hypernet import HyperNetwork
from stylegan_core.checkpoints.keymap import generator_kernels, generator_pairs, to_theirs
from tests.tiny import tiny_generator

IR, RESNET = BACKBONES["tiny"], replace(BACKBONES["resnet-18"], widths=(8, 12, 16, 20), units=(1, 1, 1, 1))
W_DIM, NUM_WS = 20, 6


def decoder(**options: Any) -> Any:
    """A generator of 16 px with six rows."""
    widths = {4: 16, 8: 16, 16: 12}
    return tiny_generator(w_dim=W_DIM, z_dim=W_DIM, mapping_layers=8, channels=widths, **options).requires_grad_(False)


def config(method: str, head: str, *, backbone: Any = IR, channels: int = 3, levels: tuple[int, int, int] = (3, 3, 0)) -> EncoderConfig:
    """As the loader finds it from the file."""
    is_iterative = channels == 6
    return EncoderConfig(
        method, replace(backbone, in_channels=channels), head, w_dim=W_DIM, num_ws=NUM_WS, level_rows=levels, input_shape=(256, 256),
        is_iterative=is_iterative, num_iterations=2 if is_iterative else 1)


def network(chosen: EncoderConfig, seed: int = 0) -> Any:
    """Random weights, small outputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = build_network(chosen).eval()
    for name, value in found.named_buffers():
        if name.endswith("running_var"):
            value.fill_(1.5)
    return found.requires_grad_(False)


def encoder_state(found: Any, prefix: str = "encoder.") -> dict[str, torch.Tensor]:
    """Under the published names."""
    state = {}
    for name, value in found.state_dict().items():
        first, _, rest = name.partition(".")
        state[prefix + (rest.removeprefix("pyramid.") if first in ("backbone", "head") else name)] = value
    return state


def decoder_state(generator: Any) -> dict[str, torch.Tensor]:
    """Under rosinality's names, with its filters."""
    resolutions = generator.config.resolutions
    state = to_theirs(generator.state_dict(), generator_pairs(resolutions, generator.config.mapping_layers))
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0])
    filters = {name: kernel[:, None] * kernel / 64 * gain for name, gain in generator_kernels(resolutions).items()}
    return {f"decoder.{name}": value for name, value in {**state, **filters}.items()}


def write(path: Path, state: Mapping[str, torch.Tensor], encoder_type: str, average: torch.Tensor | None, **options: Any) -> Path:
    """As the published trainers save: state_dict, opts, and the average under its own name."""
    content: dict[str, Any] = {"state_dict": dict(state), "opts": {"encoder_type": encoder_type, "start_from_latent_avg": True, **options}}
    if average is not None:
        content["latent_avg"] = average
    if options.get("as_namespace"):
        content["opts"] = Namespace(**content["opts"])
    torch.save(content, path)
    return path


def average_of(generator: Any) -> torch.Tensor:
    """[num_ws, w_dim]."""
    return generator.w_avg.repeat(generator.num_ws, 1)


def hyper(generator: Any, **options: Any) -> tuple[HyperStyleConfig, HyperNetwork]:
    """A small hypernetwork, with everything having an effect."""
    found = hyperstyle_config(generator, backbone="tiny", **options)
    found = replace(found, backbone=replace(RESNET, in_channels=6), encoder=None, code_dim=10, shared_width=6, own_width=8,
                    input_shape=(128, 128), num_iterations=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return found, HyperNetwork(found).eval().requires_grad_(False)


def hyper_state(found: HyperNetwork) -> dict[str, torch.Tensor]:
    """Under the published names, with an alias of the shared layers in every block that uses them."""
    state = {}
    for name, value in found.state_dict().items():
        state["hypernet." + name.removeprefix("backbone.")] = value
    for number, weight in enumerate(found.weights):
        if weight.is_shared:
            for part in ("w1", "b1", "w2", "b2"):
                state[f"hypernet.refinement_blocks.{number}.hypernet.{part}"] = getattr(found.shared_weight_hypernet, part).data
    return state
