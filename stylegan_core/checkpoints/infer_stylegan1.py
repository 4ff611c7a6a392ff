"""The configuration of a StyleGAN (2018) out of the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylegan_core.checkpoints.infer import Views, _count, _merged, _resolutions, _Shapes
from stylegan_core.networks.stylegan1_configs import StyleGAN1Config, StyleGAN1DiscriminatorConfig


def infer_stylegan1(views: Views, settings: Mapping[str, Any]) -> StyleGAN1Config:
    """views: native name → view. settings: fields that no shape shows (norms, filters, lod, …); sizes among them are compared.

    Raises CheckpointError when tensors are missing or disagree with a setting.
    """
    resolutions, shapes = _resolutions(views, "synthesis.b", ".conv1.weight"), _Shapes(views)
    widths = {resolution: shapes.of(f"synthesis.b{resolution}.conv1.weight", 4)[0] for resolution in resolutions}
    use_styles, use_const = "synthesis.b4.conv1.affine.weight" in views, "synthesis.b4.const" in views
    reader = "synthesis.b4.conv1.affine.weight" if use_styles else "synthesis.b4.dense"
    w_dim, embed = shapes.of(reader, 2)[1], 0
    found: dict[str, Any] = {"c_dim": 0, "w_dim": w_dim, "img_resolution": resolutions[-1]}
    if "mapping.embed.weight" in views:
        embed, found["c_dim"] = shapes.of("mapping.embed.weight", 2)
        found["mapping_embed_features"] = None if embed == w_dim else embed
    layers = _count(views, "mapping.fc{}.weight")
    if layers > 1:
        hidden = shapes.of("mapping.fc0.weight", 2)[0]
        found["mapping_layer_features"] = None if hidden == w_dim else hidden
    found |= {
        "z_dim": (shapes.of("mapping.fc0.weight", 2)[1] if layers else w_dim) - embed,
        "img_channels": shapes.of(f"synthesis.b{resolutions[-1]}.torgb.weight", 4)[0],
        "mapping_layers": layers,
        "use_const": use_const,
        "use_styles": use_styles,
        "use_noise": any(name.endswith("noise_strength") for name in views),
        "is_growing": "synthesis.b4.torgb.weight" in views,
    }
    return StyleGAN1Config(channels=widths, **_merged(found, widths, settings)).validate()


def infer_stylegan1_discriminator(views: Views, settings: Mapping[str, Any]) -> StyleGAN1DiscriminatorConfig:
    """The same for a discriminator."""
    shapes = _Shapes(views)
    resolutions = (4, *_resolutions(views, "b", ".conv0.weight", first=8))
    widths = {resolution: shapes.of(f"b{resolution}.conv0.weight", 4)[0] for resolution in resolutions[1:]}
    widths[4], with_statistic = shapes.of("b4.conv.weight", 4)[:2]
    logits = shapes.of("b4.out.weight", 2)[0]
    found = {
        "c_dim": 0 if logits == 1 else logits,
        "img_resolution": resolutions[-1],
        "img_channels": shapes.of(f"b{resolutions[-1]}.fromrgb.weight", 4)[1],
        "dense_width": shapes.of("b4.fc.weight", 2)[0],
        "mbstd_num_channels": with_statistic - widths[4],
        "is_growing": "b4.fromrgb.weight" in views,
    }
    widths = dict(sorted(widths.items()))
    return StyleGAN1DiscriminatorConfig(channels=widths, **_merged(found, widths, settings)).validate()
