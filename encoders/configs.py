"""What an encoder is made of, as flat data: derived from a generator, read from files, written into files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from stylegan_core.errors import CheckpointError, UsageError
from stylegan_core.generator import Generator

STRIDES = (4, 8, 16)          # of the maps that heads read: fine, middle, coarse
PUBLISHED_SIDE = 256          # pSp Sec. 4: pictures are shrunk to it
COARSE_PX, MIDDLE_PX = 8, 32  # the largest resolutions of coarse and middle rows (SG Sec. 3.1)
BACKBONE_KINDS = ("ir", "ir-se", "resnet", "resnet-bottleneck", "strided")
METHODS = ("psp", "e4e", "w")
HEADS = ("maps", "levels", "pool", "grid")
MAX_ROWS, MAX_WIDTH, MAX_UNITS = 256, 8192, 256


@dataclass(frozen=True)
class BackboneConfig:
    """Four stages of residual units at the strides 2, 4, 8 and 16."""

    kind: str = "ir-se"                                  # ir, ir-se; resnet, resnet-bottleneck as in torchvision; strided
    in_channels: int = 3
    widths: tuple[int, ...] = (64, 128, 256, 512)        # of the stages, before a bottleneck's expansion
    units: tuple[int, ...] = (3, 4, 14, 3)               # residual units per stage

    @property
    def expansion(self) -> int:
        """Channels of a stage over its width."""
        return 4 if self.kind == "resnet-bottleneck" else 1

    def channels(self, stride: int) -> int:
        """Of the map at this stride."""
        return self.widths[(2, 4, 8, 16).index(stride)] * self.expansion

    def validate(self) -> BackboneConfig:
        """Returns self; raises CheckpointError before anything is allocated."""
        _check_choice("backbone", self.kind, BACKBONE_KINDS)
        _check_range("in_channels", self.in_channels, 1, 1024)
        if len(self.widths) != 4 or len(self.units) != 4:
            raise CheckpointError(f"a backbone has 4 stages; widths {self.widths}, units {self.units}")
        for width in self.widths:
            _check_range("widths", width, 1, MAX_WIDTH)
        for count in self.units:
            _check_range("units", count, 1, MAX_UNITS)
        return self


BACKBONES: Mapping[str, BackboneConfig] = {
    "ir-50": BackboneConfig("ir"),
    "ir-100": BackboneConfig("ir", units=(3, 13, 30, 3)),
    "ir-152": BackboneConfig("ir", units=(3, 8, 36, 3)),
    "ir-se-50": BackboneConfig("ir-se"),                          # pSp, e4e, ReStyle for faces
    "ir-se-100": BackboneConfig("ir-se", units=(3, 13, 30, 3)),
    "ir-se-152": BackboneConfig("ir-se", units=(3, 8, 36, 3)),
    "resnet-18": BackboneConfig("resnet", units=(2, 2, 2, 2)),
    "resnet-34": BackboneConfig("resnet", units=(3, 4, 6, 3)),    # ReStyle for other domains, HyperStyle
    "resnet-50": BackboneConfig("resnet-bottleneck", units=(3, 4, 6, 3)),
    "resnet-101": BackboneConfig("resnet-bottleneck", units=(3, 4, 23, 3)),
    "light": BackboneConfig("ir-se", widths=(32, 64, 128, 160), units=(1, 2, 2, 2)),   # small generators, CPUs
    "lighter": BackboneConfig("ir-se", widths=(24, 48, 96, 128), units=(1, 2, 2, 2)),  # HyperStyle's, of which there are two
    "strided": BackboneConfig("strided", widths=(24, 48, 96, 128), units=(1, 2, 2, 2)),  # that of portraits-features: five times quicker
    "tiny": BackboneConfig("ir-se", widths=(8, 12, 16, 20), units=(1, 1, 1, 1)),      # tests
}


@dataclass(frozen=True)
class EncoderConfig:
    """An encoder into W or W+: pSp, e4e, a W encoder, alone or inside ReStyle."""

    kind = "encoder"
    method: str                                 # psp: one head per row; e4e: a base w and deltas; w: one w
    backbone: BackboneConfig
    head: str                                   # maps: pSp's heads; levels: shared ones; pool: to W; grid: one layer to W+
    w_dim: int = 512
    num_ws: int = 18
    level_rows: tuple[int, int, int] = (3, 4, 11)  # rows of coarse, middle and fine heads; they add up to num_ws
    img_channels: int = 3                       # of pictures; the generator's
    input_shape: tuple[int, int] = (PUBLISHED_SIDE, PUBLISHED_SIDE)  # (H, W) to which pictures are brought
    num_iterations: int = 1                     # passes of ReStyle; 1 with is_iterative False
    is_iterative: bool = False                  # the input has the picture so far beside the target (ReStyle Eq. 2)

    @property
    def space(self) -> str:
        """Of the latents: w or w+."""
        return "w" if self.method == "w" else "w+"

    def validate(self) -> EncoderConfig:
        """Returns self; raises CheckpointError before anything is allocated."""
        self.backbone.validate()
        _check_choice("method", self.method, METHODS)
        _check_choice("head", self.head, HEADS)
        _check_range("w_dim", self.w_dim, 1, MAX_WIDTH)
        _check_range("num_ws", self.num_ws, 1, MAX_ROWS)
        _check_range("img_channels", self.img_channels, 1, 64)
        _check_range("num_iterations", self.num_iterations, 1, 1000)
        for side in self.input_shape:
            _check_range("input_shape", side, 16, 4096)
        if len(self.level_rows) != 3 or min(self.level_rows) < 0 or sum(self.level_rows) != self.num_ws or not self.level_rows[0]:
            raise CheckpointError(f"level_rows {self.level_rows}: rows of three levels, the first not empty, {self.num_ws} in all, "
                                  "are needed")
        if self.method == "w" and self.head != "pool":
            raise CheckpointError(f"head {self.head!r}: an encoder into W has the head pool")
        if self.method == "e4e" and self.head not in ("maps", "levels"):
            raise CheckpointError(f"head {self.head!r}: e4e has a head for every row (maps, levels)")
        return self


@dataclass(frozen=True)
class ModulatedWeight:
    """A weight that HyperStyle may change: its parameter name in the generator and its shape."""

    name: str
    out_channels: int
    in_channels: int
    kernel_size: int
    is_tuned: bool = True
    is_shared: bool = False  # predicted by the hypernetwork that all weights of this shape share


@dataclass(frozen=True)
class HyperStyleConfig:
    """HyperStyle (HS Sec. 3): an encoder into W, and a hypernetwork that predicts changes of the generator's weights."""

    kind = "hyperstyle"
    weights: tuple[ModulatedWeight, ...]        # of all modulated layers, in execution order
    encoder: EncoderConfig | None               # into W; None = kept in another file
    backbone: BackboneConfig                    # sees target and picture so far
    code_dim: int = 512                         # what a refinement block condenses the map to
    shared_width: int = 128                     # inside blocks that share their output layers
    own_width: int = 256                        # inside blocks with output layers of their own
    is_separable: bool = False                  # output layers of a block's own are products of two kernels
    img_channels: int = 3
    input_shape: tuple[int, int] = (PUBLISHED_SIDE, PUBLISHED_SIDE)
    num_iterations: int = 5                     # HS Sec. 3.3

    def validate(self) -> HyperStyleConfig:
        """Returns self; raises CheckpointError before anything is allocated."""
        self.backbone.validate()
        if self.encoder is not None:
            self.encoder.validate()
        _check_range("weights", len(self.weights), 1, MAX_ROWS)
        for weight in self.weights:
            for size in (weight.out_channels, weight.in_channels):
                _check_range(f"channels of {weight.name}", size, 1, MAX_WIDTH)
            _check_range(f"kernel of {weight.name}", weight.kernel_size, 1, 7)
        for name in ("code_dim", "shared_width", "own_width"):
            _check_range(name, getattr(self, name), 1, MAX_WIDTH)
        shapes = {(w.out_channels, w.in_channels, w.kernel_size) for w in self.weights if w.is_shared}
        if len(shapes) > 1:
            raise CheckpointError(f"shared weights must have one shape; found {sorted(shapes)}")
        if not any(weight.is_tuned for weight in self.weights):
            raise CheckpointError("there is no weight to tune")
        return self


Config = EncoderConfig | HyperStyleConfig


def row_resolutions(generator: Generator) -> tuple[int, ...]:
    """The resolution of the layers that each row of ws steers first; empty where layers are not named by it (StyleGAN3)."""
    found = [re.fullmatch(r"b(\d+)\.(conv\d?|torgb)", name) for name in generator.style_dims]
    if not all(found):
        return ()
    sides = [int(match[1]) for match in found if match is not None and match[2] != "torgb"]
    return (*sides, 2 * sides[-1]) if len(sides) + 1 == generator.num_ws else ()  # the last row steers the last torgb alone


def level_rows(generator: Generator) -> tuple[int, int, int]:
    """Rows of coarse, middle and fine layers (up to 8 px, up to 32 px, beyond); thirds for layers not named by their size."""
    sides, count = row_resolutions(generator), generator.num_ws
    if not sides:
        return count - 2 * (count // 3), count // 3, count // 3
    coarse = sum(side <= COARSE_PX for side in sides)
    middle = sum(COARSE_PX < side <= MIDDLE_PX for side in sides)
    return coarse, middle, count - coarse - middle


def encoder_config(method: str, generator: Generator, *, backbone: str | None = None, input_side: int | None = None,
                   is_iterative: bool = False, num_iterations: int = 5) -> EncoderConfig:
    """For this generator: rows, sizes and channels are its own.

    method: psp, e4e, w. backbone: a name of BACKBONES; None = light below 256 px, else ir-se-50. input_side: of the longer side
    of what the network sees; None = the generator's, at most 256. Raises UsageError.
    """
    if method not in METHODS:
        raise UsageError(f"method {method!r}: one of {', '.join(METHODS)} is allowed")
    base = backbone_of(backbone, generator)
    channels = generator.img_channels
    is_small = base.widths[-1] < 512
    return EncoderConfig(
        method, replace(base, in_channels=channels * (1 + is_iterative)), "pool" if method == "w" else "levels" if is_small else "maps",
        w_dim=generator.w_dim, num_ws=generator.num_ws, level_rows=level_rows(generator), img_channels=channels,
        input_shape=input_shape(generator, input_side), num_iterations=num_iterations if is_iterative else 1, is_iterative=is_iterative,
    ).validate()


def hyperstyle_config(generator: Generator, *, backbone: str | None = None, encoder: EncoderConfig | None = None,
                      input_side: int | None = None, num_iterations: int = 5, is_separable: bool = False) -> HyperStyleConfig:
    """For this generator: one entry per modulated layer; convolutions are tuned, colours are not (HS Sec. 3.2)."""
    is_light = generator.img_resolution < PUBLISHED_SIDE
    base = backbone_of(backbone or ("lighter" if is_light else "resnet-34"), generator)
    inner = encoder or encoder_config("w", generator, backbone=backbone or ("lighter" if is_light else None), input_side=input_side)
    is_small = base.channels(16) < 512
    width = 48 if is_small else 512
    return HyperStyleConfig(
        modulated_weights(generator), inner, replace(base, in_channels=2 * generator.img_channels), code_dim=width,
        shared_width=min(width, 128), own_width=min(width, 256), is_separable=is_separable or is_small, img_channels=generator.img_channels,
        input_shape=input_shape(generator, input_side), num_iterations=num_iterations).validate()


def modulated_weights(generator: Any, *, tuned: set[int] | None = None) -> tuple[ModulatedWeight, ...]:
    """Every modulated layer's weight, in execution order. tuned: their numbers; None = all but the colours.

    Those of the widest square shape share a hypernetwork where there are several (HS Sec. 3.2).
    """
    parameters = dict(generator.named_parameters())
    shapes = {f"synthesis.{layer}.weight": tuple(parameters[f"synthesis.{layer}.weight"].shape) for layer in generator.style_dims}
    is_colour = {name: ".torgb" in name or shape[2] == 1 for name, shape in shapes.items()}
    widest = max((shape[:2] for name, shape in shapes.items() if not is_colour[name]), default=(0, 0))
    kept = {i for i, name in enumerate(shapes) if not is_colour[name]} if tuned is None else tuned
    alike = [i for i, (name, shape) in enumerate(shapes.items()) if i in kept and not is_colour[name] and shape[:2] == widest]
    is_sharing = widest[0] == widest[1] and len(alike) > 1
    return tuple(
        ModulatedWeight(name, shape[0], shape[1], shape[2], i in kept, is_sharing and i in alike)
        for i, (name, shape) in enumerate(shapes.items()))


def backbone_of(name: str | None, generator: Generator) -> BackboneConfig:
    """By name; None = by the generator's size. Raises UsageError."""
    chosen = name or ("light" if generator.img_resolution < PUBLISHED_SIDE else "ir-se-50")
    if chosen not in BACKBONES:
        raise UsageError(f"backbone {chosen!r}: one of {', '.join(BACKBONES)} is allowed")
    return BACKBONES[chosen]


def input_shape(generator: Generator, side: int | None = None) -> tuple[int, int]:
    """(H, W) of what the network sees, with the generator's aspect. side: of the longer side; None = the generator's, at most 256."""
    height, width = generator.img_shape
    longest = side or min(PUBLISHED_SIDE, max(height, width))
    return max(16, round(height * longest / max(height, width))), max(16, round(width * longest / max(height, width)))


def config_to_dict(config: Config) -> dict[str, Any]:
    """JSON-ready: the fields and `kind`."""
    return {"kind": config.kind, **asdict(config)}


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """The inverse of `config_to_dict`, validated; CheckpointError for everything else."""
    fields = dict(values)
    kind = fields.pop("kind", None)
    try:
        if kind == EncoderConfig.kind:
            return _encoder_from(fields)
        if kind != HyperStyleConfig.kind:
            raise CheckpointError(f"unknown encoder kind {kind!r}; known: {EncoderConfig.kind}, {HyperStyleConfig.kind}")
        fields["weights"] = tuple(ModulatedWeight(**weight) for weight in fields["weights"])
        fields["encoder"] = None if fields["encoder"] is None else _encoder_from(fields["encoder"])
        fields["backbone"] = _backbone_from(fields["backbone"])
        fields["input_shape"] = tuple(fields["input_shape"])
        return HyperStyleConfig(**fields).validate()
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"the configuration of this encoder is not valid: {error}") from None


def _encoder_from(values: Mapping[str, Any]) -> EncoderConfig:
    fields = {**values, "backbone": _backbone_from(values["backbone"])}
    for name in ("level_rows", "input_shape"):
        fields[name] = tuple(fields[name])
    return EncoderConfig(**fields).validate()


def _backbone_from(values: Mapping[str, Any]) -> BackboneConfig:
    return BackboneConfig(**{**values, "widths": tuple(values["widths"]), "units": tuple(values["units"])})


def _check_range(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise CheckpointError(f"{name} {value!r}: a whole number from {low} to {high} is allowed")


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise CheckpointError(f"{name} {value!r}: one of {', '.join(allowed)} is allowed")
