"""Everything that decides what a training run computes, as one frozen record that is written beside its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stylegan_core.errors import UsageError
from stylegan_core.losses.gan import gan_loss
from stylegan_core.networks.configs import (
    MAX_CONST,
    DiscriminatorConfig,
    GeneratorConfig,
    StyleGAN2Config,
    StyleGAN2DiscriminatorConfig,
    StyleGAN3Config,
    config_to_dict,
)
from stylegan_core.training import stylegan1_presets
from stylegan_core.training.augment import build_augmenter
from stylegan_core.training.growing import Growing, check_growing


@dataclass(frozen=True)
class TrainingConfig:
    """A run of the trainer (SG2 Sec. 3; SG2-ADA App. B for the rates; SG App. C with `growing`)."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    kimg: float = 1000.0                   # length in thousands of real images shown
    batch: int = 32
    micro_batch: int | None = None      # images per pass, gradients are summed up to the batch; None = the batch
    seed: int = 0
    loss: str = "non-saturating"           # of losses.gan.GAN_LOSSES
    d_steps: int = 1                       # steps of the discriminator for one of the generator, each on other pictures
    lr: float = 0.0025                     # both networks
    d_lr: float | None = None           # of the discriminator; None = lr
    beta2: float = 0.99                    # Adam; beta1 is 0
    growing: Growing | None = None      # pictures grow while it trains; None = they are of full size throughout
    r1_gamma: float = 0.05
    r2_gamma: float = 0.0                  # the same penalty at generated pictures
    r1_every: int = 16                     # steps, also of R2; 1 = in the same step as the loss (SG2 configurations A and B), 0 = never
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
    augment: str = "none"                  # of what the discriminator sees: a name of augment_config, diff, diff-color,…
    augment_p: float | None = None      # probability of each augmentation; None = adaptive, and 1 for diff
    ada_target: float = 0.6                # mean sign of the discriminator on real pictures that the adaptive p holds
    ada_kimg: float = 500.0                # p could go from 0 to 1 in this time
    ada_every: int = 4                     # steps
    freeze_d: int = 0                      # the first layers of the discriminator that stay as they are
    precision: str = "fp32"                # fp32, or bf16 = autocast where the machine has it
    compile: bool = False                  # torch.compile for the passes that are differentiated once
    checkpoint_activations: bool = False   # keep less in memory, compute it again for the gradient
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
        check_growing(self)
        for name in ("img_shape", "img_channels", "c_dim"):
            if getattr(self.generator, name) != getattr(self.discriminator, name):
                raise UsageError(f"generator and discriminator differ in {name}")
        self._check_options()
        if self.anchor_weight < 0:
            raise UsageError(f"--anchor-weight {self.anchor_weight}: it is 0 or more")
        if self.anchor_weight > 0 and self.mirror:
            raise UsageError("--anchor-weight and --mirror: a mirrored picture is not that of its z; leave one out")
        if not 0 <= self.mixing_prob <= 1 or self.kimg <= 0 or self.lr <= 0 or self.snapshot_kimg <= 0:
            raise UsageError("kimg, lr and snapshot_kimg are above 0, mixing_prob is from 0 to 1")
        return self

    def _check_options(self) -> None:
        gan_loss(self.loss)
        if self.augment != "none":
            build_augmenter(self.augment)
        elif self.augment_p is not None:
            raise UsageError(f"--augment-p {self.augment_p} without --augment NAME has nothing to be the probability of")
        if self.augment_p is not None and not 0 <= self.augment_p <= 1:
            raise UsageError(f"--augment-p {self.augment_p}: from 0 to 1 is allowed")
        if not -1 <= self.ada_target <= 1 or self.ada_kimg <= 0 or self.ada_every < 1:
            raise UsageError("--target is from -1 to 1, ada_kimg above 0, ada_every 1 or more")
        if self.anchor_weight > 0 and self.generator.c_dim > 0:
            raise UsageError("--anchor-weight and --cond: z alone does not say which picture is its own; leave one out")
        if self.d_steps < 1 or self.d_steps > 100:
            raise UsageError(f"--d-steps {self.d_steps}: from 1 to 100 is allowed")
        if min(self.r1_gamma, self.r2_gamma, self.r1_every, self.pl_weight, self.freeze_d) < 0 or self.pl_every < 1:
            raise UsageError("gamma, intervals and weights are 0 or more, pl_every 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = asdict(self)
        return {**values, "generator": config_to_dict(self.generator), "discriminator": config_to_dict(self.discriminator)}


@dataclass(frozen=True)
class Preset:
    """What a preset pins; `options` are fields of TrainingConfig, `generator` and `discriminator` of the networks' configurations."""

    channel_base: int
    channel_max: int
    d_channel_base: int    # of the discriminator
    w_dim: int
    mapping_layers: int
    options: Mapping[str, Any]
    generator: Mapping[str, Any] = field(default_factory=dict)
    discriminator: Mapping[str, Any] = field(default_factory=dict)
    family: str = "stylegan2"


def _config_e(g: str, d: str) -> Preset:
    """SG2 Table 2: architectures of generator and discriminator."""
    return Preset(16384, 512, 16384, 512, 8, {"batch": 32, "lr": 0.002, "r1_gamma": 100.0, "ema_rampup": None},
                  {"architecture": g}, {"architecture": d})


ORIG: Mapping[str, Any] = {"architecture": "orig"}
SG2: Mapping[str, Any] = {"batch": 32, "lr": 0.002, "r1_gamma": 10.0, "ema_rampup": None}  # SG2 App. B
ADA: Mapping[str, Any] = {"kimg": 25000.0, "ema_rampup": None, "augment": "bgc"}
SG3: Mapping[str, Any] = {"batch": 32, "lr": 0.0025, "d_lr": 0.002, "pl_weight": 0.0, "mixing_prob": 0.0}
PRESETS: Mapping[str, Preset] = {
    # the bundled model's, for two CPU cores
    "portraits64": Preset(2048, 192, 1024, 128, 4, {"batch": 16, "lr": 0.002, "r1_gamma": 0.1, "pl_every": 8, "mixing_prob": 0.5}),
    # a GPU of any size
    "small": Preset(4096, 256, 4096, 256, 8, {"batch": 32, "lr": 0.0025, "r1_gamma": 0.1}),
    # the same without demodulation: what the norms of styles are worth (SG2 Sec. 2.2)
    "no-demodulation": Preset(4096, 256, 4096, 256, 8, {"batch": 32, "lr": 0.0025, "r1_gamma": 0.1}, {"demodulate": False}),
    # SG2 Table 1, rows B to F: demodulation, lazy regularisation, path length, new architectures, large networks; B to D without growing
    "config-b": Preset(16384, 512, 16384, 512, 8, {**SG2, "r1_every": 1, "pl_weight": 0.0}, ORIG, ORIG),
    "config-c": Preset(16384, 512, 16384, 512, 8, {**SG2, "pl_weight": 0.0}, ORIG, ORIG),
    "config-d": Preset(16384, 512, 16384, 512, 8, SG2, ORIG, ORIG),
    "config-e": _config_e("skip", "resnet"),
    "config-f": Preset(32768, 512, 32768, 512, 8, SG2),
    **{f"config-e-G{g}-D{d}": _config_e(g, d) for g in ("orig", "resnet", "skip") for d in ("orig", "resnet", "skip")},
    # SG2-ADA App. C and its code; `auto` is a function below
    "stylegan2": Preset(32768, 512, 32768, 512, 8, {**SG2, "kimg": 25000.0}),
    "paper256": Preset(16384, 512, 16384, 512, 8, {**ADA, "batch": 64, "lr": 0.0025, "r1_gamma": 1.0, "ema_kimg": 20.0},
                       {}, {"mbstd_group_size": 8}),
    "paper512": Preset(32768, 512, 32768, 512, 8, {**ADA, "batch": 64, "lr": 0.0025, "r1_gamma": 0.5, "ema_kimg": 20.0},
                       {}, {"mbstd_group_size": 8}),
    "paper1024": Preset(32768, 512, 32768, 512, 8, {**ADA, "batch": 32, "lr": 0.002, "r1_gamma": 2.0}),
    "cifar": Preset(32768, 512, 32768, 512, 2,
                    {**ADA, "kimg": 100_000.0, "batch": 64, "lr": 0.0025, "r1_gamma": 0.01, "ema_kimg": 500.0, "ema_rampup": 0.05,
                     "pl_weight": 0.0, "mixing_prob": 0.0}, {}, {**ORIG, "mbstd_group_size": 32}),
    # SG3 Sec. 3: translation (T), and rotation too (R: 1×1 kernels, twice the channels, radial filters, blur at the start)
    "stylegan3-t": Preset(32768, 512, 32768, 512, 2, SG3, family="stylegan3"),
    "stylegan3-r": Preset(65536, 1024, 32768, 512, 2, {**SG3, "blur_sigma": 10.0, "blur_fade_kimg": 200.0},
                          {"conv_kernel": 1, "use_radial_filters": True}, family="stylegan3"),
}
PRESET_NAMES = (*PRESETS, "auto", *stylegan1_presets.PRESETS)


def auto_preset(resolution: int, num_processes: int = 1) -> Preset:
    """Rates and sizes from the resolution and the number of processes, as in SG2-ADA's `auto` (its code)."""
    batch = max(min(num_processes * min(4096 // resolution, 32), 64), num_processes)
    base = 32768 if resolution >= 512 else 16384
    options = {**ADA, "batch": batch, "lr": 0.002 if resolution >= 1024 else 0.0025, "r1_gamma": 0.0002 * resolution**2 / batch,
               "ema_kimg": batch * 10 / 32, "ema_rampup": 0.05}
    return Preset(base, 512, base, 512, 2, options, {}, {"mbstd_group_size": min(batch // num_processes, 4)})


def preset_config(name: str, *, resolution: int | tuple[int, int], img_channels: int = 3, c_dim: int = 0, num_processes: int = 1,
                  channel_base: int | None = None, channel_max: int | None = None, **options: Any) -> TrainingConfig:
    """The TrainingConfig of a preset; options override its fields. Raises UsageError for an unknown name.

    resolution: the side, or (H, W). channel_base, channel_max: narrower or wider networks; None = the preset's.
    """
    if name not in PRESET_NAMES:
        raise UsageError(f"preset {name!r}: one of {', '.join(PRESET_NAMES)} is allowed")
    shape = (resolution, resolution) if isinstance(resolution, int) else resolution
    nominal, const_shape = blocks_for(shape)
    preset = PRESETS.get(name, auto_preset(max(shape), num_processes) if name == "auto" else None)
    if (preset is None or preset.family != "stylegan2") and const_shape != (4, 4):
        raise UsageError(f"--resolution {shape[0]}x{shape[1]}: preset {name} makes squares of 4, 8, 16, … px; choose one of these, or a "
                         "preset of StyleGAN2")
    options = {**gan_loss(options["loss"]).options, **options} if "loss" in options else options
    if preset is None:
        sizes = {"channel_base": channel_base, "channel_max": channel_max}
        options.update({size: value for size, value in sizes.items() if value is not None})
        parts = stylegan1_presets.stylegan1_parts(name, resolution=nominal, img_channels=img_channels, c_dim=c_dim, **options)
        return TrainingConfig(parts[0], parts[1], **parts[2]).validate()
    if options.pop("growing_kimg", None) is not None:
        raise UsageError(f"--growing-kimg: the preset {name} does not grow; use one of {', '.join(stylegan1_presets.PRESETS)}")
    shared: dict[str, Any] = dict(c_dim=c_dim, img_resolution=nominal, img_channels=img_channels,
                                  channel_max=channel_max or preset.channel_max)
    discriminator = StyleGAN2DiscriminatorConfig(channel_base=channel_base or preset.d_channel_base, const_shape=const_shape, **shared,
                                                 **preset.discriminator)
    generator: dict[str, Any] = dict(z_dim=preset.w_dim, w_dim=preset.w_dim, mapping_layers=preset.mapping_layers,
                                     channel_base=channel_base or preset.channel_base, **shared, **preset.generator)
    if preset.family == "stylegan3":
        return stylegan3_config(generator, discriminator, {**preset.options, **options})
    networks = StyleGAN2Config(w_avg_beta=0.998, const_shape=const_shape, **generator), discriminator
    return TrainingConfig(*networks, **{**preset.options, **options}).validate()


def stylegan3_config(generator: Mapping[str, Any], discriminator: StyleGAN2DiscriminatorConfig,
                     options: Mapping[str, Any]) -> TrainingConfig:
    """R1 in proportion to the pixels, from 32.8 at 1024 px as officially; magnitudes with a half-life of 20 000 images."""
    chosen = {"r1_gamma": 32.8 * (generator["img_resolution"] / 1024) ** 2, **options}
    config = StyleGAN3Config(magnitude_ema_beta=0.5 ** (chosen["batch"] / 20e3), **generator)
    discriminator = replace(discriminator, channel_max=min(discriminator.channel_max, 512))
    return TrainingConfig(config, discriminator, **chosen).validate()


def blocks_for(shape: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """(H, W) → (img_resolution, const_shape): as many doublings as leave a constant of 4 or more on its longer side."""
    height, width = shape
    doublings = 0
    while height % 2 == 0 and width % 2 == 0 and max(height, width) // 2 >= 4:
        height, width, doublings = height // 2, width // 2, doublings + 1
    if not 1 <= min(height, width) <= max(height, width) <= MAX_CONST or max(height, width) < 4:
        step = 1 << max((max(shape) - 1).bit_length() - 3, 0)
        near = "x".join(str(max(4, round(side / step) * step)) for side in shape)
        raise UsageError(f"--resolution {shape[0]}x{shape[1]}: sizes are a few pixels, at most {MAX_CONST}, doubled again and again, "
                         f"such as {near}")
    return 4 << doublings, (height, width)
