"""Keyword arguments of TensorFlow's networks as fields of our configurations; what no network here can do is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylegan_core.errors import CheckpointError
from stylegan_core.files import display

FUSED_FROM = 128  # pixels, where fused_scale is 'auto'
_SIZES = {"resolution": "img_resolution", "num_channels": "img_channels"}
_GENERATOR_SIZES = _SIZES | {"label_size": "c_dim", "latent_size": "z_dim", "dlatent_size": "w_dim"}
_MUST_BE: dict[str, Any] = {
    "use_wscale": True, "normalize_latents": True, "use_spectral_norm": False, "use_pagan": False, "adaptive_dropout": 0, "score_max": 1,
}  # fmt: skip


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises CheckpointError for an argument with which a network is another one than any here."""
    for name, value in _MUST_BE.items():
        if settings.get(name, value) != value:
            said = display(settings[name], max_length=40)
            raise CheckpointError(f"the network was built with {name} {said}; only {value} is known here")


def fused_from(settings: Mapping[str, Any]) -> int | None:
    """Pixels from which on a StyleGAN upsamples by a transposed convolution; None = never."""
    value = settings.get("fused_scale", "auto")
    return FUSED_FROM if value == "auto" else (0 if value else None)


def stylegan1_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of StyleGAN1Config that no shape shows."""
    taken = _taken(settings, _GENERATOR_SIZES | {
        "nonlinearity": "activation", "mapping_nonlinearity": "mapping_activation", "mapping_lrmul": "mapping_lr_multiplier",
        "dlatent_avg_beta": "w_avg_beta", "use_instance_norm": "use_instance_norm", "use_pixel_norm": "use_pixel_norm",
    })  # fmt: skip
    taken.setdefault("use_instance_norm", True)
    return {**taken, **_filter(settings, "blur_filter", (1.0, 2.0, 1.0), (1.0,)), "mapping_joint_norm": bool(taken.get("c_dim"))}


def stylegan1_discriminator_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of StyleGAN1DiscriminatorConfig that no shape shows."""
    taken = _taken(settings, _SIZES | {"nonlinearity": "activation", "mbstd_group_size": "mbstd_group_size"})
    if taken.get("mbstd_group_size") in (0, 1):  # then there is no statistic at all
        taken.pop("mbstd_group_size")
    return {**taken, **_filter(settings, "blur_filter", (1.0, 2.0, 1.0), (1.0,))}


def stylegan2_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of StyleGAN2Config that no shape shows."""
    taken = _taken(settings, _GENERATOR_SIZES | {
        "nonlinearity": "activation", "mapping_nonlinearity": "mapping_activation", "mapping_lrmul": "mapping_lr_multiplier",
        "dlatent_avg_beta": "w_avg_beta", "conv_clamp": "conv_clamp",
    })  # fmt: skip
    taken.setdefault("w_avg_beta", 0.995)
    return {**taken, **_filter(settings, "resample_kernel", (1.0, 3.0, 3.0, 1.0), (1.0, 1.0))}


def stylegan2_discriminator_settings(settings: Mapping[str, Any], *, is_ada: bool) -> dict[str, Any]:
    """Fields of StyleGAN2DiscriminatorConfig that no shape shows; is_ada: the defaults are those of StyleGAN2-ADA."""
    fields = {"nonlinearity": "activation", "mbstd_group_size": "mbstd_group_size", "conv_clamp": "conv_clamp"}
    if settings.get("label_size"):
        fields |= {"label_size": "c_dim", "mapping_lrmul": "mapping_lr_multiplier"}
    taken = _taken(settings, _SIZES | fields)
    taken.setdefault("mbstd_group_size", None if is_ada else 4)
    if taken["mbstd_group_size"] in (0, 1):
        taken.pop("mbstd_group_size")
    if taken.get("c_dim"):
        taken.setdefault("mapping_lr_multiplier", 0.1)
    return {**taken, **_filter(settings, "resample_kernel", (1.0, 3.0, 3.0, 1.0), (1.0, 1.0))}


def _taken(settings: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    return {field: settings[name] for name, field in fields.items() if name in settings}


def _filter(settings: Mapping[str, Any], name: str, default: tuple[float, ...], absent: tuple[float, ...]) -> dict[str, Any]:
    # absent: what None stands for.
    taps = settings.get(name, default)
    if taps is None:
        return {"resample_filter": absent}
    if not isinstance(taps, (list, tuple)) or not all(isinstance(tap, (int, float)) for tap in taps):
        raise CheckpointError(f"the file declares {name} {display(taps, max_length=40)}; a list of numbers is expected")
    return {"resample_filter": tuple(float(tap) for tap in taps)}
