"""What a network is made of, as flat data: read by `build`, found from checkpoints, written into files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stylegan_core.errors import CheckpointError
from stylegan_core.networks.config_checks import MAX_WIDTH
from stylegan_core.networks.config_checks import check_choice as _check_choice
from stylegan_core.networks.config_checks import check_filter as _check_filter
from stylegan_core.networks.config_checks import check_range as _check_range
from stylegan_core.networks.config_checks import check_resolution as _check_resolution
from stylegan_core.networks.config_checks import resolutions as _resolutions
from stylegan_core.networks.config_checks import width as _width
from stylegan_core.networks.stylegan1_configs import StyleGAN1Config, StyleGAN1DiscriminatorConfig

MAX_MAPPING_LAYERS = 64
MIN_CONST, MAX_CONST = 1, 16
ARCHITECTURES = ("skip", "resnet", "orig")
ACTIVATIONS = ("linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish")


@dataclass(frozen=True)
class StyleGAN2Config:
    """A StyleGAN2 generator (SG2 Fig. 2, config F; SG2-ADA). `channels` wins over `channel_base` and `channel_max`."""

    kind = "stylegan2"
    z_dim: int = 512
    c_dim: int = 0                         # 0 = unconditional
    w_dim: int = 512
    img_resolution: int = 1024             # 4 · 2^(blocks - 1), a power of two; the side of square pictures
    img_channels: int = 3
    channels: Mapping[int, int] = field(default_factory=dict)  # resolution → width; {} = from channel_base, channel_max
    channel_base: int = 32768
    channel_max: int = 512
    architecture: str = "skip"             # skip, resnet, orig
    resample_filter: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)
    activation: str = "lrelu"
    conv_clamp: float | None = None     # clamp activations to +-this; None = do not clamp
    use_noise: bool = True
    demodulate: bool = True                # False: styles scale activations without limit (SG2 Sec. 2.2)
    mapping_layers: int = 8
    mapping_embed_features: int | None = None  # width of the label embedding; None = w_dim
    mapping_layer_features: int | None = None  # width of the hidden layers; None = w_dim
    mapping_activation: str = "lrelu"
    mapping_lr_multiplier: float = 0.01
    w_avg_beta: float | None = 0.998    # None = w_avg is not tracked
    const_shape: tuple[int, int] = (4, 4)  # (H, W) of the learned constant; (4, 3) makes pictures of 4:3 upright
    content_box: tuple[int, int, int, int] | None = None  # left, top, right, bottom of the picture proper; None = all

    def width(self, resolution: int) -> int:
        """Number of channels at this resolution."""
        return _width(self.channels, self.channel_base, self.channel_max, resolution)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, …, img_resolution."""
        return _resolutions(self.img_resolution)

    def shape_at(self, resolution: int) -> tuple[int, int]:
        """(H, W) of the features of this block."""
        return self.const_shape[0] * resolution // 4, self.const_shape[1] * resolution // 4

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.shape_at(self.img_resolution)

    def validate(self) -> StyleGAN2Config:
        """Returns self; raises CheckpointError before anything is allocated when a value is out of range."""
        _check_resolution(self.img_resolution)
        _check_range("z_dim", self.z_dim, 1, MAX_WIDTH)
        _check_range("c_dim", self.c_dim, 0, 1_000_000)
        _check_range("w_dim", self.w_dim, 1, MAX_WIDTH)
        _check_range("img_channels", self.img_channels, 1, 64)
        _check_range("mapping_layers", self.mapping_layers, 1, MAX_MAPPING_LAYERS)
        _check_choice("architecture", self.architecture, ARCHITECTURES)
        _check_choice("activation", self.activation, ACTIVATIONS)
        _check_choice("mapping_activation", self.mapping_activation, ACTIVATIONS)
        for name in ("mapping_embed_features", "mapping_layer_features"):
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), 1, MAX_WIDTH)
        for resolution in self.resolutions:
            _check_range(f"channels at {resolution} px", self.width(resolution), 1, MAX_WIDTH)
        _check_filter(self.resample_filter)
        _check_shape(self.const_shape)
        _check_box(self.content_box, self.img_shape)
        return self


@dataclass(frozen=True)
class StyleGAN3Config:
    """A StyleGAN3 generator (SG3 Sec. 3): T as it stands, R with 1×1 kernels and radial filters. `widths` win over the formula."""

    kind = "stylegan3"
    z_dim: int = 512
    c_dim: int = 0                         # 0 = unconditional
    w_dim: int = 512
    img_resolution: int = 1024             # a power of two
    img_channels: int = 3
    widths: tuple[int, ...] = ()           # channels of layers 0 … num_layers - 1; () = from channel_base, channel_max
    channel_base: int = 32768
    channel_max: int = 512
    num_layers: int = 14                   # without the one to colours
    num_critical: int = 2                  # critically sampled ones at the end
    first_cutoff: float = 2.0              # cycles per picture
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3      # of the last cutoff, which is img_resolution / 2
    margin_size: int = 10                  # samples around the picture
    output_scale: float = 0.25
    conv_kernel: int = 3
    filter_size: int = 6                   # taps per sample
    lrelu_upsampling: int = 2              # oversampling of the nonlinearity
    use_radial_filters: bool = False       # radially symmetric low-pass filters
    conv_clamp: float | None = 256.0    # clamp activations to +-this; None = do not clamp
    magnitude_ema_beta: float = 0.5 ** (16 / 20e3)  # of the running mean square of every layer's input
    mapping_layers: int = 2
    mapping_embed_features: int | None = None  # width of the label embedding; None = w_dim
    mapping_layer_features: int | None = None  # width of the hidden layers; None = w_dim
    mapping_activation: str = "lrelu"
    mapping_lr_multiplier: float = 0.01
    w_avg_beta: float | None = 0.998    # None = w_avg is not tracked
    content_box: tuple[int, int, int, int] | None = None  # left, top, right, bottom of the picture proper; None = all

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.img_resolution, self.img_resolution

    def validate(self) -> StyleGAN3Config:
        """Returns self; raises CheckpointError before anything is allocated when a value is out of range."""
        _check_resolution(self.img_resolution)
        ranges = {"z_dim": (1, MAX_WIDTH), "c_dim": (0, 1_000_000), "w_dim": (1, MAX_WIDTH), "img_channels": (1, 64),
                  "mapping_layers": (1, MAX_MAPPING_LAYERS), "num_layers": (1, 64), "num_critical": (0, self.num_layers - 1),
                  "margin_size": (0, 256), "conv_kernel": (1, 15), "filter_size": (1, 32), "lrelu_upsampling": (1, 8),
                  "channel_base": (1, 1 << 30), "channel_max": (1, MAX_WIDTH)}
        for name, (low, high) in ranges.items():
            _check_range(name, getattr(self, name), low, high)
        for name in ("mapping_embed_features", "mapping_layer_features"):
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), 1, MAX_WIDTH)
        _check_choice("mapping_activation", self.mapping_activation, ACTIVATIONS)
        positive = {"first_cutoff": 1e4, "first_stopband": 1e4, "last_stopband_rel": 100.0, "output_scale": 1e6, "magnitude_ema_beta": 1.0}
        for name, most in positive.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
                raise CheckpointError(f"{name} {value!r}: a number above 0 and up to {most:g} is allowed")
        if self.first_stopband <= self.first_cutoff or self.last_stopband_rel <= 1:
            found = f"first_stopband {self.first_stopband} and last_stopband_rel {self.last_stopband_rel}"
            raise CheckpointError(f"{found}: stopbands lie beyond the cutoffs")
        if self.widths and len(self.widths) != self.num_layers:
            raise CheckpointError(f"{len(self.widths)} widths for {self.num_layers} layers; one for each is needed")
        for width in self.widths:
            _check_range("widths", width, 1, MAX_WIDTH)
        return self


@dataclass(frozen=True)
class StyleGAN2DiscriminatorConfig:
    """A StyleGAN2 discriminator (SG2 Fig. 7; projection of labels as in SG2-ADA)."""

    kind = "stylegan2-discriminator"
    c_dim: int = 0                         # 0 = unconditional
    img_resolution: int = 1024             # as in StyleGAN2Config
    img_channels: int = 3
    const_shape: tuple[int, int] = (4, 4)  # (H, W) of the last features, as in StyleGAN2Config
    channels: Mapping[int, int] = field(default_factory=dict)  # resolution → width; {} = from channel_base, channel_max
    channel_base: int = 32768
    channel_max: int = 512
    architecture: str = "resnet"           # resnet, skip, orig
    resample_filter: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)
    activation: str = "lrelu"
    conv_clamp: float | None = None
    cmap_dim: int | None = None         # width of the label projection; None = width at 4 px
    mapping_layers: int = 8
    mapping_embed_features: int | None = None  # None = cmap_dim
    mapping_layer_features: int | None = None  # None = cmap_dim
    mapping_lr_multiplier: float = 0.01
    mbstd_group_size: int | None = 4    # images per group of the minibatch statistic; None = the whole batch
    mbstd_num_channels: int = 1            # 0 = no minibatch statistic

    def width(self, resolution: int) -> int:
        """Number of channels at this resolution."""
        return _width(self.channels, self.channel_base, self.channel_max, resolution)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, …, img_resolution."""
        return _resolutions(self.img_resolution)

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.const_shape[0] * self.img_resolution // 4, self.const_shape[1] * self.img_resolution // 4

    def validate(self) -> StyleGAN2DiscriminatorConfig:
        """Returns self; raises CheckpointError before anything is allocated when a value is out of range."""
        _check_resolution(self.img_resolution)
        _check_range("c_dim", self.c_dim, 0, 1_000_000)
        _check_range("img_channels", self.img_channels, 1, 64)
        _check_choice("architecture", self.architecture, ARCHITECTURES)
        _check_choice("activation", self.activation, ACTIVATIONS)
        _check_range("mapping_layers", self.mapping_layers, 0, MAX_MAPPING_LAYERS)
        _check_range("mbstd_num_channels", self.mbstd_num_channels, 0, 64)
        for resolution in self.resolutions:
            _check_range(f"channels at {resolution} px", self.width(resolution), 1, MAX_WIDTH)
        _check_filter(self.resample_filter)
        _check_shape(self.const_shape)
        return self


@dataclass(frozen=True)
class AttributeNetworkConfig:
    """A small network that predicts attributes; its maps make a perceptual distance."""

    kind = "attribute-network"
    architecture: str = "plain"            # plain, residual
    img_resolution: int = 64               # pictures of other sizes are resampled to it
    widths: tuple[int, ...] = (24, 48, 96, 128)  # one stage per width, each halves the size
    pooled_dim: int = 96                   # length of the vector that the heads read
    embed_dim: int = 0                     # 0 = the pooled vector itself is the embedding
    attributes: tuple[str, ...] = ("attribute",)
    binary: tuple[str, ...] = ()           # those of the attributes that are probabilities, the others are in [-1, 1]
    batch_norm: bool = False               # True only while it trains

    def validate(self) -> AttributeNetworkConfig:
        """Returns self; raises CheckpointError before anything is allocated when a value is out of range."""
        _check_choice("architecture", self.architecture, ("plain", "residual"))
        _check_resolution(self.img_resolution)
        if not 1 <= len(self.widths) <= self.img_resolution.bit_length() - 1:
            raise CheckpointError(f"{len(self.widths)} stages do not fit pictures of {self.img_resolution} px, which are halved by each")
        for width in self.widths:
            _check_range("widths", width, 1, 1024)
        _check_range("pooled_dim", self.pooled_dim, 1, 4096)
        _check_range("embed_dim", self.embed_dim, 0, 4096)
        _check_range("values in the last map", self.widths[-1] * (self.img_resolution >> len(self.widths)) ** 2, 1, 1 << 16)
        names = self.attributes
        if not 1 <= len(names) <= 1024 or len(set(names)) != len(names) or not all(isinstance(name, str) and name for name in names):
            raise CheckpointError("attributes: 1 to 1024 different names are needed")
        if not set(self.binary) <= set(names):
            raise CheckpointError(f"binary {sorted(set(self.binary) - set(names))[0]!r} is not among the attributes")
        return self


GeneratorConfig = StyleGAN1Config | StyleGAN2Config | StyleGAN3Config
DiscriminatorConfig = StyleGAN1DiscriminatorConfig | StyleGAN2DiscriminatorConfig
Config = GeneratorConfig | DiscriminatorConfig | AttributeNetworkConfig
CONFIGS: dict[str, type[Config]] = {
    config.kind: config
    for config in (StyleGAN1Config, StyleGAN1DiscriminatorConfig, StyleGAN2Config, StyleGAN3Config, StyleGAN2DiscriminatorConfig,
                   AttributeNetworkConfig)
}


def config_to_dict(config: Any) -> dict[str, Any]:
    """JSON-ready: the fields and `kind`."""
    values = asdict(config)
    if "channels" in values:
        values["channels"] = {str(resolution): width for resolution, width in config.channels.items()}
    return {"kind": config.kind, **values}


def config_from_dict(values: Mapping[str, Any]) -> Any:
    """The inverse of `config_to_dict`; unknown kinds and fields are CheckpointErrors. The result is validated."""
    fields = dict(values)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in CONFIGS:
        raise CheckpointError(f"unknown network kind {kind!r}; known: {', '.join(CONFIGS)}")
    config_type = CONFIGS[kind]
    unknown = sorted(set(fields) - set(config_type.__dataclass_fields__))
    if unknown:
        raise CheckpointError(f"unknown field {unknown[0]!r} in the configuration of a {kind}; a newer version wrote this file")
    try:
        if "channels" in fields:
            fields["channels"] = {int(resolution): int(width) for resolution, width in fields["channels"].items()}
        if "resample_filter" in fields:
            fields["resample_filter"] = tuple(float(tap) for tap in fields["resample_filter"])
        if fields.get("content_box") is not None:
            fields["content_box"] = tuple(int(edge) for edge in fields["content_box"])
        for name in ("widths", "attributes", "binary", "const_shape"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return config_type(**fields).validate()
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"the configuration of this {kind} is not valid: {error}") from None


def _check_shape(shape: Any) -> None:
    is_pair = isinstance(shape, tuple) and len(shape) == 2
    if not is_pair or not all(type(side) is int and MIN_CONST <= side <= MAX_CONST for side in shape):
        raise CheckpointError(f"const_shape {shape!r}: two whole numbers from {MIN_CONST} to {MAX_CONST} are allowed")


def _check_box(box: Any, shape: tuple[int, int]) -> None:
    if box is None:
        return
    left, top, right, bottom = box
    if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
        raise CheckpointError(f"content_box {box!r}: left < right <= {shape[1]} and top < bottom <= {shape[0]} are needed")
