"""Everything that decides what a training run computes, as one frozen record that is written beside its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stylegan_core.errors import UsageError
from stylegan_core.networks.configs import (
    DiscriminatorConfig,
    GeneratorConfig,
    StyleGAN2Config,
    StyleGAN2DiscriminatorConfig,
    StyleGAN3Config,
    config_to_dict,
)
from stylegan_core.training import stylegan1_presets
from stylegan_core.training.growing import Growing, check_growing
from stylegan_core.training.steps import LOSSES


@dataclass(frozen=True)
class TrainingConfig:
    """A run of the trainer (SG2 Sec. 3; SG2-ADA App. B for the rates; SG App. C with `growing`)."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    kimg: float = 1000.0                   # length in thousands of real images shown
    batch: int = 32
    micro_batch: int | None = None      # images per pass, gradients are summed up to the batch; None = the batch
    seed: int = 0
    lr: float = 0.0025                     # both networks
    d_lr: float | None = None           # of the discriminator; None = lr
    beta2: float = 0.99                    # Adam; beta1 is 0
    loss: str = "non-saturating"           # or wgan-gp
    growing: Growing | None = None      # pictures grow while it trains; None = they are of full size throughout
    r1_gamma: float = 0.05
    r1_every: int = 16                     # steps; 1 = in the same step as the loss, 0 = never
    pl_weight: float = 2.0                 # 0 = no path-length regularisation
    pl_every: int = 4
    pl_batch_shrink: int = 2
    pl_decay: float = 0.01
    mixing_prob: float = 0.9               # share of images whose ws come from two z
    ema_kimg: float = 10.0
    ema_rampup: float | None = 0.05     # None = constant half-life
    generator_delay_kimg: float = 0.0      # the discriminator trains alone for this long, after a warm start of the generator
    noise_delay_kimg: float = 0.0          # no noise inputs for this long, so that detail is first drawn from w; then from strength 0
    blur_sigma: float = 0.0                # pixels, of what the discriminator sees at first (SG3 Sec. 3.2); 0 = never
    blur_fade_kimg: float = 0.0            # until it has fallen to 0
    anchor_weight: float = 0.0             # of the distance from G(z_i) to picture i, for data drawn from known z; 0 = none
    mirror: bool = False                   # show every picture mirrored half of the time
    precision: str = "fp32"                # fp32, or bf16 = autocast where the machine has it
    compile: bool = False                  # torch.compile for the passes that are differentiated once
    snapshot_kimg: float = 10.0            # a snapshot and a sheet of samples this often

    def validate(self) -> TrainingConfig:
        """Returns self; raises UsageError before the first step when the numbers cannot work together."""
        micro = self.micro_batch or self.batch
        if self.batch < 1 or self.batch % micro:
            raise UsageError(f"--batch {self.batch} is not a multiple of --micro-batch {micro}")
        group = self.discriminator.mbstd_group_size or micro
        if micro % min(group, micro):
            raise UsageError(f"--micro-batch {micro} is not a multiple of the minibatch statistic's group of {group}")
        if self.precision not in ("fp32", "bf16"):
            raise UsageError(f"--precision {self.precision!r}: fp32 or bf16 is allowed")
        if self.loss not in LOSSES:
            raise UsageError(f"loss {self.loss!r}: one of {', '.join(LOSSES)} is allowed")
        check_growing(self)
        for name in ("img_resolution", "img_channels", "c_dim"):
            if getattr(self.generator, name) != getattr(self.discriminator, name):
                raise UsageError(f"generator and discriminator differ in {name}")
        if self.generator.c_dim > 0:
            raise UsageError(f"this trainer does not read labels yet, so c_dim {self.generator.c_dim} cannot be trained; use c_dim 0")
        if self.anchor_weight < 0:
            raise UsageError(f"--anchor-weight {self.anchor_weight}: it is 0 or more")
        if self.anchor_weight > 0 and self.mirror:
            raise UsageError("--anchor-weight and --mirror: a mirrored picture is not that of its z; leave one out")
        if not 0 <= self.mixing_prob <= 1 or self.kimg <= 0 or self.lr <= 0 or self.snapshot_kimg <= 0:
            raise UsageError("kimg, lr and snapshot_kimg are above 0, mixing_prob is from 0 to 1")
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = asdict(self)
        return {**values, "generator": config_to_dict(self.generator), "discriminator": config_to_dict(self.discriminator)}


@dataclass(frozen=True)
class Preset:
    """What a preset pins; `options` are fields of TrainingConfig."""

    channel_base: int
    channel_max: int
    d_channel_base: int    # of the discriminator
    w_dim: int
    mapping_layers: int
    options: Mapping[str, Any]
    family: str = "stylegan2"
    layers: Mapping[str, Any] = field(default_factory=dict)  # more fields of the generator


_SG3: Mapping[str, Any] = {"batch": 32, "lr": 0.0025, "d_lr": 0.002, "pl_weight": 0.0, "mixing_prob": 0.0}
PRESETS: Mapping[str, Preset] = {
    # the bundled model's, for two CPU cores
    "portraits64": Preset(2048, 192, 1024, 128, 4, {"batch": 16, "lr": 0.002, "r1_gamma": 0.1, "pl_every": 8, "mixing_prob": 0.5}),
    # a GPU of any size
    "small": Preset(4096, 256, 4096, 256, 8, {"batch": 32, "lr": 0.0025, "r1_gamma": 0.1}),
    # SG3 Sec. 3: translation (T), and rotation too (R: 1×1 kernels, twice the channels, radial filters, blur at the start)
    "stylegan3-t": Preset(32768, 512, 32768, 512, 2, _SG3, "stylegan3"),
    "stylegan3-r": Preset(65536, 1024, 32768, 512, 2, {**_SG3, "blur_sigma": 10.0, "blur_fade_kimg": 200.0}, "stylegan3",
                          {"conv_kernel": 1, "use_radial_filters": True}),
    # SG2 Table 1, rows E and F
    "config-e": Preset(16384, 512, 16384, 512, 8, {"batch": 32, "lr": 0.002, "r1_gamma": 10.0}),
    "config-f": Preset(32768, 512, 32768, 512, 8, {"batch": 32, "lr": 0.002, "r1_gamma": 10.0}),
}


def preset_config(name: str, *, resolution: int, img_channels: int = 3, c_dim: int = 0,
                  channel_base: int | None = None, channel_max: int | None = None,  # of both networks; None = the preset's
                  **options: Any) -> TrainingConfig:
    """The TrainingConfig of a preset; options override its fields. Raises UsageError for an unknown name."""
    if name in stylegan1_presets.PRESETS:
        sizes = {"channel_base": channel_base, "channel_max": channel_max}
        options.update({size: value for size, value in sizes.items() if value is not None})
        parts = stylegan1_presets.stylegan1_parts(name, resolution=resolution, img_channels=img_channels, c_dim=c_dim, **options)
        return TrainingConfig(parts[0], parts[1], **parts[2]).validate()
    if name not in PRESETS:
        raise UsageError(f"preset {name!r}: one of {', '.join([*PRESETS, *stylegan1_presets.PRESETS])} is allowed")
    if options.pop("growing_kimg", None) is not None:
        raise UsageError(f"--growing-kimg: the preset {name} does not grow; use one of {', '.join(stylegan1_presets.PRESETS)}")
    preset = PRESETS[name]
    if channel_base is not None:
        preset = replace(preset, channel_base=channel_base, d_channel_base=channel_base)
    if channel_max is not None:
        preset = replace(preset, channel_max=channel_max)
    shared: dict[str, Any] = dict(c_dim=c_dim, img_resolution=resolution, img_channels=img_channels, channel_max=preset.channel_max)
    generator = StyleGAN2Config(z_dim=preset.w_dim, w_dim=preset.w_dim, mapping_layers=preset.mapping_layers, w_avg_beta=0.998,
                                channel_base=preset.channel_base, **shared)
    discriminator = StyleGAN2DiscriminatorConfig(channel_base=preset.d_channel_base, **shared)
    if preset.family == "stylegan3":
        return stylegan3_config(preset, shared, discriminator, options)
    return TrainingConfig(generator, discriminator, **{**preset.options, **options}).validate()


def stylegan3_config(preset: Preset, shared: Mapping[str, Any], discriminator: StyleGAN2DiscriminatorConfig,
                     options: Mapping[str, Any]) -> TrainingConfig:
    """R1 in proportion to the pixels, from 32.8 at 1024 px as officially; magnitudes with a half-life of 20 000 images."""
    chosen = {"r1_gamma": 32.8 * (shared["img_resolution"] / 1024) ** 2, **preset.options, **options}
    generator = StyleGAN3Config(z_dim=preset.w_dim, w_dim=preset.w_dim, mapping_layers=preset.mapping_layers,
                                channel_base=preset.channel_base, magnitude_ema_beta=0.5 ** (chosen["batch"] / 20e3),
                                **{**shared, **preset.layers})
    discriminator = replace(discriminator, channel_max=min(discriminator.channel_max, 512))
    return TrainingConfig(generator, discriminator, **chosen).validate()
