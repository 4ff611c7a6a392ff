"""The rows of StyleGAN's Table 1, from the progressive GAN to the whole: networks, loss and schedule of growing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stylegan_core.networks.stylegan1_configs import StyleGAN1Config, StyleGAN1DiscriminatorConfig
from stylegan_core.training.growing import Growing

BATCH = 32  # where `BATCHES` has none
LR = 0.001
BATCHES = {4: 512, 8: 256, 16: 128, 32: 64, 64: 32}  # images per step, for the memory of 8 GPUs of 2018 (SG App. C)
LRS = {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003}
TICKS_KIMG = {4: 1600.0, 8: 1400.0, 16: 1200.0, 32: 1000.0, 64: 800.0, 128: 600.0, 256: 400.0, 512: 300.0, 1024: 200.0}
SIZE_KIMG = 600.0  # one size is trained for this long, and the next one faded in for as long


@dataclass(frozen=True)
class Row:
    """A row. generator: fields of its configuration. kimg: of the paper's run, of which growing takes the same share in a shorter one."""

    title: str
    kimg: float
    initial_resolution: int
    generator: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)  # fields of TrainingConfig
    resample_filter: tuple[float, ...] = (1.0, 2.0, 1.0)


R1: Mapping[str, Any] = {"r1_gamma": 10.0, "r1_every": 1}
WGAN_GP: Mapping[str, Any] = {"loss": "wgan-gp", "r1_gamma": 0.0, "r1_every": 1}
NO_STYLES: Mapping[str, Any] = {
    "use_styles": False, "use_instance_norm": False, "use_pixel_norm": True, "use_const": False, "use_noise": False, "mapping_layers": 0,
}  # fmt: skip
PRESETS: Mapping[str, Row] = {  # SG Table 1; FID on FFHQ as the paper has it
    "stylegan1-a": Row("baseline progressive GAN", 12_000, 4, NO_STYLES, WGAN_GP, (1.0,)),                  # 8.04
    "stylegan1-b": Row("tuning, bilinear up and down", 25_000, 8, NO_STYLES, R1),                                      # 5.25
    "stylegan1-c": Row("mapping and styles", 25_000, 8, {"use_const": False, "use_noise": False}, R1),                 # 4.85
    "stylegan1-d": Row("no traditional input", 25_000, 8, {"use_noise": False}, R1),                                   # 4.88
    "stylegan1-e": Row("noise inputs", 25_000, 8, {}, R1),                                                             # 4.42
    "stylegan1-f": Row("mixing regularisation", 25_000, 8, {}, {**R1, "mixing_prob": 0.9}),                            # 4.40
    "config-a": Row("where StyleGAN2's Table 1 begins: row f", 25_000, 8, {}, {**R1, "mixing_prob": 0.9}),             # 4.40
}


def stylegan1_parts(name: str, *, resolution: int, img_channels: int = 3, c_dim: int = 0, w_dim: int = 512, channel_base: int = 16384,
                    channel_max: int = 512, growing_kimg: float | None = None, **given: Any,
                    ) -> tuple[StyleGAN1Config, StyleGAN1DiscriminatorConfig, dict[str, Any]]:
    """(generator, discriminator, fields of TrainingConfig) of a row.

    growing_kimg: of every size and of every fade; None = the paper's share of the run. given: fields that override the row's; a batch
    and a learning rate that are given hold for every size.
    """
    row = PRESETS[name]
    shared: dict[str, Any] = dict(c_dim=c_dim, img_resolution=resolution, img_channels=img_channels, channel_base=channel_base,
                                  channel_max=channel_max, resample_filter=row.resample_filter)
    fields: dict[str, Any] = {"z_dim": w_dim, "w_dim": w_dim, "mapping_layers": 8, **row.generator, **shared}
    kimg = float(given.get("kimg", row.kimg))
    length = max(kimg * SIZE_KIMG / row.kimg, 0.001) if growing_kimg is None else growing_kimg
    share = length / SIZE_KIMG
    growing = Growing(
        initial_resolution=min(row.initial_resolution, resolution), training_kimg=length, transition_kimg=length,
        batches={} if "batch" in given else BATCHES, lrs={} if "lr" in given else LRS,
        snapshots_kimg={} if "snapshot_kimg" in given else {side: round(ticks * share, 6) for side, ticks in TICKS_KIMG.items()})
    options: dict[str, Any] = {"kimg": kimg, "batch": BATCH, "lr": LR, "pl_weight": 0.0, "mixing_prob": 0.0,
                               "growing": growing, **row.options, **given}
    if c_dim and not fields["mapping_layers"]:
        fields["w_dim"] = fields["z_dim"] + fields["w_dim"]
        fields["mapping_embed_features"] = w_dim
    return StyleGAN1Config(**fields), StyleGAN1DiscriminatorConfig(**shared), options
