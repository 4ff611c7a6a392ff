"""The settings of NVIDIA's networks that no tensor shows: out of keyword arguments and out of the modules' attributes.

The keyword arguments are nested in stylegan2-ada-pytorch (synthesis_kwargs, block_kwargs, layer_kwargs) and flat in the
stylegan3 repository; attributes of the built modules are read too, because the two repositories have different defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stylegan_core.checkpoints.inert_tree import number_of, plain_value
from stylegan_core.errors import CheckpointError
from stylegan_core.files import display

_DEFAULTS = {"channel_base": 32768, "channel_max": 512}  # in the signatures of both repositories
_HARMLESS = frozenset(  # change speed or training, never what a network computes in float32
    ("num_fp16_res", "use_fp16", "fp16_channels_last", "channels_last", "fused_modconv_default", "freeze_layers")
)
_GENERATOR_SIZES = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
_DISCRIMINATOR_SIZES = ("c_dim", "img_resolution", "img_channels")
_BLOCKS = ("channel_base", "channel_max", "architecture", "activation", "use_noise", "resample_filter", "conv_clamp")
_STYLEGAN3 = (
    "channel_base", "channel_max", "num_layers", "num_critical", "first_cutoff", "first_stopband", "last_stopband_rel", "margin_size",
    "output_scale", "conv_kernel", "filter_size", "lrelu_upsampling", "use_radial_filters", "conv_clamp", "magnitude_ema_beta",
)  # fmt: skip
_MAPPING = {
    "num_layers": "mapping_layers",
    "embed_features": "mapping_embed_features",
    "layer_features": "mapping_layer_features",
    "activation": "mapping_activation",
    "lr_multiplier": "mapping_lr_multiplier",
    "w_avg_beta": "w_avg_beta",
}


@dataclass(frozen=True)
class Module:
    """One persistent object: its class, its state (an nn.Module's attributes) and its source text (never run)."""

    class_name: str
    state: Mapping[Any, Any]
    source: str = ""

    def facts(self, **fields: str) -> dict[str, Any]:
        """field → value of the attributes that the module has, given as attribute=field; numbers, text, None."""
        return {field: _scalar(self.state[name]) for name, field in fields.items() if name in self.state}


def generator_settings(modules: Mapping[str, Module]) -> tuple[dict[str, Any], list[str]]:
    """modules: path → module, '' for the network. Returns (fields of StyleGAN2Config, arguments that nobody knows)."""
    arguments = _arguments(modules[""], _GENERATOR_SIZES)
    mapping = _group(arguments, "mapping_kwargs")
    for group in ("synthesis_kwargs", "block_kwargs", "layer_kwargs"):
        arguments |= _group(arguments, group)
    settings = _DEFAULTS | _taken(arguments, dict.fromkeys((*_GENERATOR_SIZES, *_BLOCKS)))
    settings |= _taken(mapping, _MAPPING)
    convolutions = [module for module in modules.values() if module.class_name == "SynthesisLayer"]
    to_rgb = [module for module in modules.values() if module.class_name == "ToRGBLayer"]
    _compare(_agreed(convolutions + to_rgb, "conv_clamp"), settings)
    _compare(_agreed(convolutions, "activation") | _agreed(convolutions, "use_noise"), settings)
    if "mapping" in modules:
        _compare(modules["mapping"].facts(num_layers="mapping_layers", w_avg_beta="w_avg_beta"), settings)
    if "mapping.fc0" in modules:
        facts = modules["mapping.fc0"].facts(bias_gain="mapping_lr_multiplier", activation="mapping_activation")
        _compare(facts, settings)
    _compare(modules[""].facts(**{name: name for name in _GENERATOR_SIZES}), settings)
    return _tidy(settings), sorted({*arguments, *mapping} - _HARMLESS)


def stylegan3_settings(modules: Mapping[str, Module]) -> tuple[dict[str, Any], list[str]]:
    """The same for a StyleGAN3 generator: fields of StyleGAN3Config."""
    arguments = _arguments(modules[""], _GENERATOR_SIZES)
    mapping = _group(arguments, "mapping_kwargs")
    arguments |= _group(arguments, "synthesis_kwargs")
    settings = _DEFAULTS | _taken(arguments, dict.fromkeys((*_GENERATOR_SIZES, *_STYLEGAN3)))
    settings |= _taken(mapping, _MAPPING)
    layers = [module for module in modules.values() if module.class_name == "SynthesisLayer"]
    for name in ("conv_clamp", "magnitude_ema_beta"):
        _compare(_agreed(layers, name), settings)
    if "synthesis" in modules:
        names = ("num_layers", "num_critical", "margin_size", "output_scale")
        _compare(modules["synthesis"].facts(**{name: name for name in names}), settings)
    if "mapping" in modules:
        _compare(modules["mapping"].facts(num_layers="mapping_layers", w_avg_beta="w_avg_beta"), settings)
    if "mapping.fc0" in modules:
        facts = modules["mapping.fc0"].facts(bias_gain="mapping_lr_multiplier", activation="mapping_activation")
        _compare(facts, settings)
    _compare(modules[""].facts(**{name: name for name in _GENERATOR_SIZES}), settings)
    return settings, sorted({*arguments, *mapping} - _HARMLESS)


def discriminator_settings(modules: Mapping[str, Module]) -> tuple[dict[str, Any], list[str]]:
    """The same for a discriminator: fields of StyleGAN2DiscriminatorConfig."""
    arguments = _arguments(modules[""], _DISCRIMINATOR_SIZES)
    mapping = _group(arguments, "mapping_kwargs")
    for group in ("block_kwargs", "epilogue_kwargs"):
        arguments |= _group(arguments, group)
    wanted = (*_DISCRIMINATOR_SIZES, *_BLOCKS, "cmap_dim", "mbstd_group_size", "mbstd_num_channels")
    settings = _DEFAULTS | _taken(arguments, dict.fromkeys(wanted))
    settings |= _taken(mapping, _MAPPING)
    ends = (".conv0", ".conv1", "b4.conv")
    convolutions = [module for path, module in modules.items() if path.endswith(ends)]
    _compare(_agreed(convolutions, "conv_clamp") | _agreed(convolutions, "activation"), settings)
    if "b4.mbstd" in modules:
        facts = modules["b4.mbstd"].facts(group_size="mbstd_group_size", num_channels="mbstd_num_channels")
        _compare(facts, settings)
    if "mapping" in modules:
        _compare(modules["mapping"].facts(num_layers="mapping_layers"), settings)
    if "mapping.fc0" in modules:
        _compare(modules["mapping.fc0"].facts(bias_gain="mapping_lr_multiplier"), settings)
    for name in ("use_noise", "w_avg_beta", "mapping_activation"):
        settings.pop(name, None)
    if not settings.get("c_dim"):
        settings = {name: value for name, value in settings.items() if not name.startswith(("cmap", "mapping"))}
    _compare(modules[""].facts(**{name: name for name in _DISCRIMINATOR_SIZES}), settings)
    return _tidy(settings), sorted({*arguments, *mapping} - _HARMLESS)


def _scalar(node: Any) -> Any:
    return node if isinstance(node, str) else number_of(node)


def _arguments(root: Module, order: tuple[str, ...]) -> dict[str, Any]:
    keywords, positional = plain_value(root.state.get("_init_kwargs")), plain_value(root.state.get("_init_args"))
    arguments = dict(zip(order, positional)) if isinstance(positional, list) else {}
    return arguments | (keywords if isinstance(keywords, dict) else {})


def _group(arguments: dict[str, Any], name: str) -> dict[str, Any]:
    group = arguments.pop(name, None)
    return dict(group) if isinstance(group, dict) else {}


def _taken(arguments: dict[str, Any], fields: Mapping[str, str | None]) -> dict[str, Any]:
    # argument → field (None: the same name); what is taken is no longer among the arguments.
    return {field or name: arguments.pop(name) for name, field in fields.items() if name in arguments}


def _agreed(modules: list[Module], name: str) -> dict[str, Any]:
    values = {_scalar(module.state[name]) for module in modules if name in module.state}
    if len(values) > 1:
        shown = ", ".join(sorted(map(str, values)))
        raise CheckpointError(f"layers of the network differ in {name} ({shown}), which no network here can do")
    return {name: values.pop()} if values else {}


def _compare(facts: Mapping[str, Any], settings: dict[str, Any]) -> None:
    # Settings stand in a file twice, as arguments and as attributes; where they do not agree, neither is believed.
    for name, value in facts.items():
        if settings.setdefault(name, value) != value:
            shown = display(f"{name} {settings[name]} and {value}", max_length=100)
            raise CheckpointError(f"the file declares {shown} for one network")


def _tidy(settings: dict[str, Any]) -> dict[str, Any]:
    if isinstance(settings.get("resample_filter"), list):
        settings["resample_filter"] = tuple(settings["resample_filter"])
    return settings
