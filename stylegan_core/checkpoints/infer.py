"""The configuration of a network out of the names and shapes of its tensors: sizes are found, never asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.errors import CheckpointError
from stylegan_core.files import display
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig, StyleGAN3Config
from stylegan_core.networks.layer_schedule import bands, fitting_base, formula_widths

MAX_LAYERS = 100
MAX_FILTER_NUMBERS = 1024
Views = Mapping[str, TensorView]


def infer_generator(views: Views, settings: Mapping[str, Any]) -> StyleGAN2Config:
    """views: native name → view. settings: fields that no shape shows (activation, conv_clamp, …); sizes among them are
    compared. Raises CheckpointError when tensors are missing or disagree with a setting."""
    resolutions = _resolutions(views, "synthesis.b", ".conv1.weight")
    last = f"synthesis.b{resolutions[-1]}"
    shapes = _Shapes(views)
    found = _mapping_facts(views, shapes) | {
        "img_resolution": resolutions[-1],
        "img_channels": shapes.of(f"{last}.torgb.weight", 4)[0],
        "architecture": _generator_architecture(views, resolutions, settings),
        "const_shape": shapes.of("synthesis.b4.const", 3)[1:],
        "use_noise": any(name.endswith("noise_strength") for name in views),
    }
    widths = {resolution: shapes.of(f"synthesis.b{resolution}.conv1.weight", 4)[0] for resolution in resolutions}
    found |= _filter(views, "synthesis.b4.resample_filter", settings)
    return StyleGAN2Config(channels=widths, **_merged(found, widths, settings)).validate()


def infer_stylegan3(views: Views, settings: Mapping[str, Any]) -> StyleGAN3Config:
    """The same for a StyleGAN3 generator, whose layers have sizes in their names."""
    layers = {}
    for name in views:
        match = re.fullmatch(r"synthesis\.L(\d{1,2})_(\d{1,4})_(\d{1,5})\.weight", name)
        if match:
            layers[int(match[1])] = (name, int(match[2]))
    if sorted(layers) != list(range(len(layers))) or len(layers) < 2:
        raise CheckpointError(f"the {len(layers)} layers that were found are not numbered from 0 on without a gap")
    shapes = _Shapes(views)
    weights = [shapes.of(layers[i][0], 4) for i in range(len(layers))]
    found = _mapping_facts(views, shapes) | {
        "img_resolution": layers[len(layers) - 1][1],
        "img_channels": weights[-1][0],
        "num_layers": len(layers) - 1,
        "conv_kernel": weights[0][2],
    }
    widths = tuple(weight[0] for weight in weights[:-1])
    filters = [view for name, view in views.items() if name.endswith(".down_filter")]
    if filters:
        found["use_radial_filters"] = any(len(view.shape) == 2 for view in filters)
    formula = {name: settings[name] for name in ("channel_base", "channel_max") if name in settings}
    config = StyleGAN3Config(**_merged(found, {}, {name: settings[name] for name in settings if name not in formula})).validate()
    if formula:
        config = replace(config, **formula).validate()
        if formula_widths(config) != widths:
            said = display(f"channel_base {config.channel_base} and channel_max {config.channel_max}", max_length=80)
            raise CheckpointError(f"the file declares {said}, but its tensors have the widths {list(widths)}")
        return config
    fitting = fitting_base(widths, bands(config)[0])
    if fitting is None:
        return replace(config, widths=widths).validate()
    return replace(config, channel_base=fitting[0], channel_max=fitting[1]).validate()


def infer_discriminator(views: Views, settings: Mapping[str, Any]) -> StyleGAN2DiscriminatorConfig:
    """The same for a discriminator."""
    shapes = _Shapes(views)
    resolutions = (4, *_resolutions(views, "b", ".conv0.weight", first=8))
    widths = {resolution: shapes.of(f"b{resolution}.conv0.weight", 4)[0] for resolution in resolutions[1:]}
    widths[4], with_statistic = shapes.of("b4.conv.weight", 4)[:2]
    found: dict[str, Any] = {
        "c_dim": 0,
        "img_resolution": resolutions[-1],
        "img_channels": shapes.of(f"b{resolutions[-1]}.fromrgb.weight", 4)[1],
        "mbstd_num_channels": with_statistic - widths[4],
        "architecture": "orig",
    }
    if "b8.skip.weight" in views:
        found["architecture"] = "resnet"
    elif "b4.fromrgb.weight" in views:
        found["architecture"] = "skip"
    if "mapping.embed.weight" in views:
        embed, found["c_dim"] = shapes.of("mapping.embed.weight", 2)
        found["mapping_layers"] = _count(views, "mapping.fc{}.weight")
        found["cmap_dim"] = cmap_dim = shapes.of("b4.out.weight", 2)[0]
        found["mapping_embed_features"] = None if embed == cmap_dim else embed
        hidden = shapes.of("mapping.fc0.weight", 2)[0] if found["mapping_layers"] > 1 else cmap_dim
        found["mapping_layer_features"] = None if hidden == cmap_dim else hidden
    widths = dict(sorted(widths.items()))
    found |= _filter(views, f"b{resolutions[-1]}.resample_filter", settings)
    return StyleGAN2DiscriminatorConfig(channels=widths, **_merged(found, widths, settings)).validate()


def taps_of(view: TensorView, name: str) -> tuple[float, ...]:
    """The filter along one axis, smallest tap 1, of a stored 2-D (or 1-D) filter. Raises CheckpointError for others."""
    if len(view.shape) not in (1, 2) or not 1 <= view.numel <= MAX_FILTER_NUMBERS:
        raise CheckpointError(f"{name!r} is not a filter")
    rows = view.to_tensor().double().reshape(view.shape[0], -1).sum(dim=1)
    smallest = float(rows.abs().min())
    taps = rows / (smallest if smallest > 1e-6 else 1.0)
    taps = taps.round() if torch.allclose(taps, taps.round(), atol=1e-3) else taps
    held = view.to_tensor().double()
    derived = torch.outer(taps, taps) if len(view.shape) == 2 else taps
    if held.shape != derived.shape or not torch.allclose(held / held.sum(), derived / derived.sum(), atol=1e-4):
        raise CheckpointError(f"{name!r} is a filter that is not the same along both axes")
    return tuple(taps.tolist())


class _Shapes:
    def __init__(self, views: Views) -> None:
        self.views = views

    def of(self, name: str, num_dimensions: int) -> tuple[int, ...]:
        if name not in self.views:
            part = " (there is no mapping network)" if name == "mapping.fc0.weight" else ""
            raise CheckpointError(f"{name!r} is missing{part}")
        shape = self.views[name].shape
        if len(shape) != num_dimensions or min(shape) < 1:
            raise CheckpointError(f"{name!r} has the shape {list(shape)}; {num_dimensions} sizes from 1 are expected")
        return shape


def _mapping_facts(views: Views, shapes: _Shapes) -> dict[str, Any]:
    # Sizes of z, c, w and of the mapping network of a generator.
    z_and_c, embed = shapes.of("mapping.fc0.weight", 2)[1], 0
    features: dict[str, int] = {}
    mapping_layers = _count(views, "mapping.fc{}.weight")
    found: dict[str, Any] = {"c_dim": 0}
    if "mapping.embed.weight" in views:
        embed, found["c_dim"] = shapes.of("mapping.embed.weight", 2)
        features["mapping_embed_features"] = embed
    if mapping_layers > 1:
        features["mapping_layer_features"] = shapes.of("mapping.fc0.weight", 2)[0]
    w_dim = shapes.of(f"mapping.fc{mapping_layers - 1}.weight", 2)[0]
    found |= {"z_dim": z_and_c - embed, "w_dim": w_dim, "mapping_layers": mapping_layers}
    return found | {name: None if width == w_dim else width for name, width in features.items()}


def _resolutions(views: Views, prefix: str, suffix: str, first: int = 4) -> tuple[int, ...]:
    # 4, 8, … without a gap, from the blocks that have any tensor at all.
    blocks = {name[len(prefix) :].split(".", 1)[0] for name in views if name.startswith(prefix)}
    held = sorted(int(block) for block in blocks if block.isascii() and block.isdigit() and len(block) < 6)
    last = held[-1] if held else first
    resolutions = tuple(2**power for power in range(2, 14) if first <= 2**power <= last)
    for resolution in resolutions:
        if f"{prefix}{resolution}{suffix}" not in views:
            raise CheckpointError(f"'{prefix}{resolution}{suffix}' is missing")
    if not resolutions or resolutions[-1] != last:
        raise CheckpointError(f"there is a block of {last} px; powers of two are expected")
    return resolutions


def _filter(views: Views, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    # From the stored filter of a block where nothing declares it.
    return {} if "resample_filter" in settings or name not in views else {"resample_filter": taps_of(views[name], name)}


def _count(views: Views, pattern: str) -> int:
    count = 0
    while count < MAX_LAYERS and pattern.format(count) in views:
        count += 1
    return count


def _generator_architecture(views: Views, resolutions: tuple[int, ...], settings: Mapping[str, Any]) -> str:
    if "synthesis.b8.skip.weight" in views:
        return "resnet"
    if len(resolutions) == 1:  # nothing tells them apart, and they do the same
        return str(settings.get("architecture", "skip"))
    with_rgb = [resolution for resolution in resolutions if f"synthesis.b{resolution}.torgb.weight" in views]
    return "orig" if with_rgb == [resolutions[-1]] else "skip"


def _merged(found: Mapping[str, Any], widths: Mapping[int, int], settings: Mapping[str, Any]) -> dict[str, Any]:
    # Where the file declares one thing and its tensors say another, neither is believed.
    merged = dict(settings)
    base, limit = merged.pop("channel_base", None), merged.pop("channel_max", None)
    if base is not None and limit is not None:
        for resolution, width in widths.items():
            if type(base) is not int or type(limit) is not int or min(base // resolution, limit) != width:
                said = display(f"channel_base {base} and channel_max {limit}", max_length=80)
                held = f"{width} channels at {resolution} px"
                raise CheckpointError(f"the file declares {said}, but its tensors have {held}")
    default = found.get("w_dim", found.get("cmap_dim"))
    for name, value in found.items():
        if name in ("mapping_embed_features", "mapping_layer_features") and merged.get(name) == default:
            merged[name] = None  # declared, but the default
        if name in merged and merged[name] != value and not (name == "cmap_dim" and merged[name] is None):
            said = display(merged[name], max_length=40)
            raise CheckpointError(f"the file declares {name} {said}, but its tensors say {value}")
        merged[name] = value
    _check_numbers(merged)
    return merged


def _check_numbers(settings: Mapping[str, Any]) -> None:
    ranges = {"conv_clamp": (1e-3, 1e9), "w_avg_beta": (0.0, 1.0), "mapping_lr_multiplier": (1e-9, 1e9)}
    for name, (low, high) in ranges.items():
        value = settings.get(name, low)
        if value is None and name != "mapping_lr_multiplier":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            shown = display(value, max_length=40)
            raise CheckpointError(f"the file declares {name} {shown}; {low} to {high} is allowed")
    group = settings.get("mbstd_group_size")
    if group is not None and (type(group) is not int or group < 1):
        shown = display(group, max_length=40)
        raise CheckpointError(f"the file declares mbstd_group_size {shown}; 1 or more is allowed")
