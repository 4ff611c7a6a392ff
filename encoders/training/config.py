"""Everything that decides what a training run of an encoder computes, as one frozen record that is written beside its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from encoders.build import config_for
from encoders.configs import Config, EncoderConfig, config_to_dict
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator


@dataclass(frozen=True)
class EncoderTrainingConfig:
    """A run. Weights are of terms with one value per image; 0 leaves a term out."""

    kind: str
    encoder: Config
    kimg: float = 100.0                    # length in thousands of pictures
    batch: int = 8
    micro_batch: int | None = None      # pictures per pass, gradients are summed up to the batch; None = the batch
    seed: int = 0
    backbone_start: str | None = None   # an attribute network, name or file, whose filters the backbone starts from
    lr: float = 1e-4                       # pSp Sec. 4
    decay_kimg: float = 0.0                # the rate falls to 0 as a cosine over the last so many; 0 = constant
    # Pictures.
    samples_share: float = 1.0             # of the generator's own samples in a batch; the rest are real pictures
    mixing_prob: float = 0.5               # share of samples whose rows come from two z (SG Sec. 3.1)
    augment_prob: float = 0.5              # share of pictures that the encoder sees damaged, while the target stays whole
    source_transform: str | None = None # what the encoder sees instead of the picture, see transforms; None = the picture
    # Losses.
    pixel: float = 1.0                     # pSp Eq. 1
    perceptual: float = 0.8                # pSp Eq. 2
    identity: float = 0.0                  # pSp Eq. 4
    w_norm: float = 0.0                    # pSp Eq. 3
    latent: float = 0.0                    # to the true ws of samples, in units of their spread
    delta: float = 0.0                     # e4e Eq. 5, summed over the rows that have a delta
    adversarial: float = 0.0               # e4e Eq. 4
    # Rows one after another (e4e Sec. 4.2).
    progressive_start_kimg: float | None = None  # until then the rows are equal; None = all rows from the start
    progressive_every_kimg: float = 16.0   # one more row so often
    # The discriminator of latents (e4e Sec. 4.2 and App. A).
    discriminator_lr: float = 2e-5
    r1_gamma: float = 10.0
    r1_every: int = 16                     # steps
    pool_size: int = 50                    # past latents that it is shown; 0 = none
    # The run.
    ema_kimg: float = 2.0                  # half-life of the average that is saved; 0 = the weights themselves
    precision: str = "fp32"                # fp32, or bf16 = autocast where the machine has it
    snapshot_kimg: float = 10.0

    def validate(self) -> EncoderTrainingConfig:
        """Returns self; raises UsageError before the first step when the numbers cannot work together."""
        micro = self.micro_batch or self.batch
        if self.batch < 1 or micro < 1 or self.batch % micro:
            raise UsageError(f"--batch {self.batch} is not a multiple of --micro-batch {micro}")
        if self.precision not in ("fp32", "bf16"):
            raise UsageError(f"--precision {self.precision!r}: fp32 or bf16 is allowed")
        for name in ("samples_share", "mixing_prob", "augment_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name)}: 0 to 1 is allowed")
        for name in (*TERMS, "decay_kimg", "ema_kimg", "pool_size", "r1_gamma"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} {getattr(self, name)}: it is 0 or more")
        for name in ("kimg", "lr", "snapshot_kimg", "progressive_every_kimg", "r1_every", "discriminator_lr"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} {getattr(self, name)}: it is above 0")
        if self.progressive_start_kimg is not None and self.method != "e4e":
            raise UsageError(f"progressive training adds deltas of e4e; {self.kind} has none")
        if self.kind == "hyperstyle" and (self.w_norm or self.latent or self.delta or self.adversarial):
            raise UsageError("hyperstyle changes weights and no latents: leave w_norm, latent, delta and adversarial at 0")
        if not any(getattr(self, name) for name in TERMS):
            raise UsageError("every loss has the weight 0")
        return self

    @property
    def method(self) -> str:
        """psp, e4e, w or hyperstyle, with or without ReStyle around it."""
        return self.encoder.method if isinstance(self.encoder, EncoderConfig) else "hyperstyle"

    @property
    def num_samples(self) -> int:
        """Of a batch, how many are the generator's own samples."""
        return round(self.batch * self.samples_share)

    def stage_at(self, nimg: int) -> int:
        """How many rows of an e4e have a delta after so many pictures."""
        last = self.encoder.num_ws - 1 if isinstance(self.encoder, EncoderConfig) else 0
        if self.progressive_start_kimg is None:
            return last
        beyond = nimg - self.progressive_start_kimg * 1000
        return 0 if beyond < 0 else min(last, 1 + int(beyond // (self.progressive_every_kimg * 1000)))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "encoder": config_to_dict(self.encoder)}


TERMS = ("pixel", "perceptual", "identity", "w_norm", "latent", "delta", "adversarial")
E4E_TERMS = {"delta": 2e-4, "adversarial": 0.1}  # e4e App. A

PRESETS: Mapping[str, Mapping[str, Any]] = {  # kind → what differs from the defaults
    "psp": {"w_norm": 0.005},                                                         # pSp Sec. 4
    "e4e": {**E4E_TERMS, "progressive_start_kimg": 160.0},
    "w": {},
    "restyle-psp": {},                                                                # ReStyle App. A
    "restyle-e4e": {**E4E_TERMS, "progressive_start_kimg": 160.0},
    "hyperstyle": {},                                                                 # HS App. B
}  # fmt: skip
LIGHT: Mapping[str, Any] = {"batch": 16, "lr": 1e-3, "latent": 0.1, "w_norm": 0.0}     # ours, for small encoders and known ws
LIGHT_PROGRESS = {"progressive_start_kimg": 20.0, "progressive_every_kimg": 4.0}


def training_config(kind: str, generator: Generator, *, backbone: str | None = None, input_side: int | None = None,
                    num_iterations: int | None = None, in_channels: int | None = None, **options: Any) -> EncoderTrainingConfig:
    """The settings of a kind for this generator; options override them. in_channels: of what a source transform gives."""
    from dataclasses import replace

    passes = num_iterations or (1 if kind == "hyperstyle" else 3)
    encoder = config_for(kind, generator, backbone=backbone, input_side=input_side, num_iterations=passes)
    if in_channels is not None and isinstance(encoder, EncoderConfig) and not encoder.is_iterative:
        encoder = replace(encoder, img_channels=in_channels, backbone=replace(encoder.backbone, in_channels=in_channels)).validate()
    settings: dict[str, Any] = dict(PRESETS[kind])
    if encoder.backbone.widths[-1] < 512:
        light = {name: value for name, value in LIGHT.items() if kind != "hyperstyle" or name not in TERMS}
        settings |= light | (LIGHT_PROGRESS if "progressive_start_kimg" in settings else {})
    return EncoderTrainingConfig(kind, encoder, **{**settings, **options}).validate()
