"""What a StyleGAN (2018) and a progressive GAN (2017) are made of, as flat data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from stylegan_core.errors import CheckpointError
from stylegan_core.networks.config_checks import (
    MAX_WIDTH,
    check_choice,
    check_filter,
    check_range,
    check_resolution,
    resolutions,
    width,
)

ACTIVATIONS = ("lrelu", "relu")
MAX_MAPPING_LAYERS = 64


@dataclass(frozen=True)
class StyleGAN1Config:
    """A StyleGAN generator (SG Fig. 1b, Table 1 row F); switches take away from it down to a progressive GAN (row A)."""

    kind = "stylegan1"
    z_dim: int = 512
    c_dim: int = 0                         # 0 = unconditional
    w_dim: int = 512
    img_resolution: int = 1024             # a power of two
    img_channels: int = 3
    channels: Mapping[int, int] = field(default_factory=dict)  # resolution → width; {} = from channel_base, channel_max
    channel_base: int = 16384
    channel_max: int = 512
    resample_filter: tuple[float, ...] = (1.0, 2.0, 1.0)  # behind nearest-neighbour upsampling; (1,) = none
    blurs_bias: bool = False               # add the bias of an upsampling layer before its low-pass filter, as one port does
    activation: str = "lrelu"              # lrelu, relu
    use_const: bool = True                 # start from a learned constant; False = from w, through a dense layer
    use_styles: bool = True                # scale and shift of every layer from w
    use_instance_norm: bool = True         # before scale and shift
    use_pixel_norm: bool = False           # after every activation, as in a progressive GAN
    use_noise: bool = True
    norm_eps: float = 1e-8                 # of the instance norm; ports to PyTorch have 1e-5
    is_growing: bool = True                # a torgb at every resolution; False = at the last one alone
    lod: float = 0.0                       # halvings that the picture is away from img_resolution, 0 = grown; fractions fade
    mapping_layers: int = 8                # 0 = w is z, normalised
    mapping_embed_features: int | None = None  # width of the label embedding; None = w_dim
    mapping_layer_features: int | None = None  # width of the hidden layers; None = w_dim
    mapping_activation: str = "lrelu"
    mapping_lr_multiplier: float = 0.01
    mapping_joint_norm: bool = False       # normalise z and the embedded label as one vector; False = each by itself
    w_avg_beta: float | None = 0.995    # None = w_avg is not tracked
    content_box: tuple[int, int, int, int] | None = None  # left, top, right, bottom of the picture proper; None = all

    def width(self, resolution: int) -> int:
        """Number of channels at this resolution."""
        return width(self.channels, self.channel_base, self.channel_max, resolution)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, …, img_resolution."""
        return resolutions(self.img_resolution)

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.img_resolution, self.img_resolution

    def validate(self) -> StyleGAN1Config:
        """Returns self; raises CheckpointError before anything is allocated when a value is out of range."""
        check_resolution(self.img_resolution)
        check_range("z_dim", self.z_dim, 1, MAX_WIDTH)
        check_range("c_dim", self.c_dim, 0, 1_000_000)
        check_range("w_dim", self.w_dim, 1, MAX_WIDTH)
        check_range("img_channels", self.img_channels, 1, 64)
        check_range("mapping_layers", self.mapping_layers, 0, MAX_MAPPING_LAYERS)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("mapping_activation", self.mapping_activation, ACTIVATIONS)
        for name in ("mapping_embed_features", "mapping_layer_features"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 1, MAX_WIDTH)
        for resolution in self.resolutions:
            check_range(f"channels at {resolution} px", self.width(resolution), 1, MAX_WIDTH)
        check_filter(self.resample_filter)
        check_lod(self.lod, self.img_resolution, self.is_growing)
        if not 0 < self.norm_eps < 1:
            raise CheckpointError(f"norm_eps {self.norm_eps!r}: a number between 0 and 1 is allowed")
        if self.use_const and not self.use_styles:
            raise CheckpointError("use_const without use_styles: such a generator has no input; leave one of them out")
        embedded = (self.mapping_embed_features or self.w_dim) if self.c_dim else 0
        if self.mapping_layers == 0 and self.w_dim != self.z_dim + embedded:
            raise CheckpointError(f"w_dim {self.w_dim}: without mapping layers it is that of z and the label, {self.z_dim + embedded}")
        return self


@dataclass(frozen=True)
class StyleGAN1DiscriminatorConfig:
    """The discriminator of StyleGAN and of the progressive GAN."""

    kind = "stylegan1-discriminator"
    c_dim: int = 0                         # 0 = unconditional; else one logit per class
    img_resolution: int = 1024
    img_channels: int = 3
    channels: Mapping[int, int] = field(default_factory=dict)  # resolution → width; {} = from channel_base, channel_max
    channel_base: int = 16384
    channel_max: int = 512
    dense_width: int | None = None      # of the last but one layer; None = as a convolution at 2 px would have
    resample_filter: tuple[float, ...] = (1.0, 2.0, 1.0)  # before downsampling by means of 2×2 pixels; (1,) = none
    activation: str = "lrelu"
    mbstd_group_size: int | None = 4    # images per group of the minibatch statistic; None = the whole batch
    mbstd_num_channels: int = 1            # 0 = no minibatch statistic
    is_growing: bool = True                # a fromrgb at every resolution; False = at the first one alone
    lod: float = 0.0                       # as the generator's

    def width(self, resolution: int) -> int:
        """Number of channels at this resolution; at 2 px: of the last but one layer."""
        if resolution == 2:
            return self.dense_width or (self.width(4) if self.channels else min(self.channel_base // 2, self.channel_max))
        return width(self.channels, self.channel_base, self.channel_max, resolution)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, …, img_resolution."""
        return resolutions(self.img_resolution)

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.img_resolution, self.img_resolution

    def validate(self) -> StyleGAN1DiscriminatorConfig:
        """Returns self; raises CheckpointError before anything is allocated when a value is out of range."""
        check_resolution(self.img_resolution)
        check_range("c_dim", self.c_dim, 0, 1_000_000)
        check_range("img_channels", self.img_channels, 1, 64)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_range("mbstd_num_channels", self.mbstd_num_channels, 0, 64)
        if self.mbstd_group_size is not None:
            check_range("mbstd_group_size", self.mbstd_group_size, 1, 1_000_000)
        for resolution in (2, *self.resolutions):
            check_range(f"channels at {resolution} px", self.width(resolution), 1, MAX_WIDTH)
        check_filter(self.resample_filter)
        check_lod(self.lod, self.img_resolution, self.is_growing)
        return self


def check_lod(lod: float, img_resolution: int, is_growing: bool = True) -> None:
    """Raises CheckpointError for a level of detail beyond a picture of 4 px, or for one of a network that does not grow."""
    last = math.log2(img_resolution) - 2 if is_growing else 0.0
    if isinstance(lod, bool) or not isinstance(lod, (int, float)) or not 0 <= lod <= last:
        raise CheckpointError(f"lod {lod!r}: a number from 0 to {last:g} is allowed")
