"""Networks written in the layouts of other code, and files converted from one layout to another.

The tensors are the same numbers in every layout, so a file that is read back has the same `model_sha256`; the settings
that no tensor shows travel as JSON text under the key 'invert', which other code ignores.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.checkpoints.keymap import (
    discriminator_kernels,
    discriminator_pairs,
    generator_kernels,
    generator_pairs,
    to_theirs,
)
from stylegan_core.checkpoints.native import save_native
from stylegan_core.checkpoints.rosinality import AVERAGES
from stylegan_core.checkpoints.rosinality import NETWORKS as ROSINALITY_KEYS
from stylegan_core.checkpoints.strict import DECLARED, W_AVG
from stylegan_core.errors import CheckpointError, UsageError
from stylegan_core.files import atomic_write
from stylegan_core.networks.configs import config_to_dict
from stylegan_core.networks.layer_schedule import bands, fitting_base, formula_widths
from stylegan_core.ops.upfirdn2d import setup_filter

LAYOUTS = ("native", "rosinality", "nvlabs")


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], layout: str = "native", *,
            dtype: torch.dtype = torch.float32, content_box: tuple[int, int, int, int] | None = None) -> list[Path]:
    """Reads every network of `source` and writes them in another layout; returns the files written.

    layout: 'native' (one file per network: the generator as `target`, the discriminator beside it as
    <stem>.discriminator<suffix>, the training copy G as <stem>.G<suffix>), 'rosinality' or 'nvlabs' (all in one file).
    dtype: of a native file. content_box: (left, top, right, bottom) of the picture proper inside a square with margins, kept in
    native files; None = as it is. Raises CheckpointError when the other code could not build the network.
    """
    from stylegan_core.checkpoints.registry import load_network, networks_in

    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r}: one of {', '.join(LAYOUTS)} is allowed")
    path = Path(target)
    networks = {name: load_network(source, name) for name in networks_in(source)}
    if content_box is not None:
        if layout != "native":
            raise UsageError(f"a content box is kept by native files only, not by {layout}; leave one out")
        for module in networks.values():
            if hasattr(module.config, "content_box"):
                module.config = replace(module.config, content_box=content_box).validate()
    if layout != "native":
        _check_official(layout, networks)
        {"rosinality": save_rosinality, "nvlabs": save_nvlabs}[layout](networks, path)
        return [path]
    main = next(iter(networks))
    ends = {"G_ema": ".G_ema", "G": ".G", "D": ".discriminator"}
    written = []
    for name, module in networks.items():
        written.append(path if name == main else path.with_name(f"{path.stem}{ends[name]}{path.suffix}"))
        save_native(module, written[-1], provenance={"converted_from": module.provenance}, dtype=dtype)
    return written


def save_rosinality(networks: Mapping[str, nn.Module], path: str | os.PathLike[str]) -> None:
    """networks: 'G_ema', 'G', 'D' → network. Writes the layout of rosinality's train.py, which encoders read too."""
    content: dict[str, Any] = {}
    for name, module in networks.items():
        config: Any = module.config
        _check_rosinality(name, config)
        state = {key: value.detach().cpu().float() for key, value in module.state_dict().items()}
        if name == "D":
            pairs, kernels = discriminator_pairs(config.resolutions), discriminator_kernels(config.resolutions)
        else:
            pairs = generator_pairs(config.resolutions, config.mapping_layers)
            kernels = generator_kernels(config.resolutions)
            content[AVERAGES[name]] = state[W_AVG].clone()
        filters = {key: setup_filter(list(config.resample_filter)) * gain for key, gain in kernels.items()}
        content[ROSINALITY_KEYS[name]] = _own(to_theirs(state, pairs) | filters)
    content.setdefault("latent_avg", content.get(AVERAGES["G"]))
    _write(content, networks, path)


def save_nvlabs(networks: Mapping[str, nn.Module], path: str | os.PathLike[str]) -> None:
    """networks: 'G_ema', 'G', 'D' → network. Writes official state dictionaries and the arguments that build them.

    With the official classes: `Generator(**file['init_kwargs']['G_ema']).load_state_dict(file['G_ema'])`. A pickle of
    their modules would have to contain their source text, which is not ours to give.
    """
    content: dict[str, Any] = {
        name: _own({key: value.detach().cpu().float() for key, value in module.state_dict().items()})
        for name, module in networks.items()
    }
    content["init_kwargs"] = {name: official_arguments(module.config) for name, module in networks.items()}
    _write(content, networks, path)


def official_arguments(config: Any) -> dict[str, Any]:
    """Keyword arguments of stylegan2-ada-pytorch's Generator or Discriminator, or of stylegan3's, for a configuration of ours."""
    if config.kind == "stylegan3":
        return stylegan3_arguments(config)
    if config.const_shape != (4, 4) or not getattr(config, "demodulate", True):
        raise CheckpointError("the official code has square pictures and demodulation only, and this network has not; write a native file")
    base, limit = _base_and_limit(config)
    shared = {"c_dim": config.c_dim, "img_resolution": config.img_resolution, "img_channels": config.img_channels}
    blocks = {"architecture": config.architecture, "resample_filter": list(config.resample_filter)}
    mapping = {
        "num_layers": config.mapping_layers,
        "embed_features": config.mapping_embed_features,
        "layer_features": config.mapping_layer_features,
        "lr_multiplier": config.mapping_lr_multiplier,
    }
    widths = {"channel_base": base, "channel_max": limit, "conv_clamp": config.conv_clamp}
    if config.kind == "stylegan2":
        mapping |= {"activation": config.mapping_activation, "w_avg_beta": config.w_avg_beta}
        layers = {"activation": config.activation, "use_noise": config.use_noise}
        return {
            **shared, "z_dim": config.z_dim, "w_dim": config.w_dim, "mapping_kwargs": mapping,
            "synthesis_kwargs": {**widths, **blocks, **layers},
        }  # fmt: skip
    statistic = {"mbstd_group_size": config.mbstd_group_size, "mbstd_num_channels": config.mbstd_num_channels}
    architecture = blocks.pop("architecture")
    return {
        **shared, **widths, "architecture": architecture, "cmap_dim": config.cmap_dim,
        "block_kwargs": {**blocks, "activation": config.activation}, "mapping_kwargs": mapping,
        "epilogue_kwargs": {**statistic, "activation": config.activation},
    }  # fmt: skip


def stylegan3_arguments(config: Any) -> dict[str, Any]:
    """Keyword arguments of stylegan3's Generator, whose settings of the layers are flat."""
    fitting = fitting_base(config.widths or formula_widths(config), bands(config)[0])
    if fitting is None:
        raise CheckpointError(f"the official code cannot build the widths {list(config.widths)}: they do not follow its formula")
    base, limit = fitting if config.widths else (config.channel_base, config.channel_max)
    mapping = {name: getattr(config, f"mapping_{name}") for name in ("embed_features", "layer_features", "activation", "lr_multiplier")}
    left_out = ("widths", "content_box", "w_avg_beta", *(name for name in vars(config) if name.startswith("mapping_")))
    flat = {name: value for name, value in vars(config).items() if name not in left_out}
    mapping |= {"num_layers": config.mapping_layers, "w_avg_beta": config.w_avg_beta}
    return {**flat, "channel_base": base, "channel_max": limit, "mapping_kwargs": mapping}


def _base_and_limit(config: Any) -> tuple[int, int]:
    widths = {resolution: config.width(resolution) for resolution in config.resolutions}
    limit = max(widths.values())
    for base in {width * resolution for resolution, width in widths.items()}:
        if all(min(base // resolution, limit) == width for resolution, width in widths.items()):
            return base, limit
    raise CheckpointError(f"the official code cannot build the widths {widths}: not min(base / resolution, maximum)")


def _check_rosinality(name: str, config: Any) -> None:
    if name != "D" and config.kind != "stylegan2":
        raise CheckpointError(f"rosinality's code has StyleGAN2 only, and {name} is a {config.kind}; write --to native or nvlabs")
    fixed: dict[str, Any] = {"c_dim": 0, "img_channels": 3, "activation": "lrelu", "const_shape": (4, 4)}
    if name == "D":
        fixed |= {"architecture": "resnet", "mbstd_group_size": 4, "mbstd_num_channels": 1}
    else:
        fixed |= {
            "architecture": "skip", "use_noise": True, "demodulate": True, "z_dim": config.w_dim, "mapping_activation": "lrelu",
            "mapping_lr_multiplier": 0.01, "mapping_layer_features": None,
        }  # fmt: skip
        if config.w_avg_beta is None:
            raise CheckpointError("rosinality's layout needs an average w, which this network does not have")
    for field, value in fixed.items():
        if getattr(config, field) != value:
            held = getattr(config, field)
            raise CheckpointError(f"rosinality's code has {field} {value!r} only, and this network has {held!r}")


def _check_official(layout: str, networks: Mapping[str, nn.Module]) -> None:
    for name, module in networks.items():
        config: Any = module.config
        if config.kind.startswith("stylegan1"):
            raise CheckpointError(f"{name} is a {config.kind}, which the code of the layout {layout!r} does not have; write --to native")


def _own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.contiguous().clone() for name, value in state.items()}


def _write(content: dict[str, Any], networks: Mapping[str, nn.Module], path: str | os.PathLike[str]) -> None:
    content[DECLARED] = json.dumps({name: config_to_dict(module.config) for name, module in networks.items()})
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
