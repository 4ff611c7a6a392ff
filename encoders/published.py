"""Configurations of published encoder files (pSp, e4e, ReStyle, HyperStyle, W encoders), found from their tensors and options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from encoders.configs import BackboneConfig, EncoderConfig, HyperStyleConfig, modulated_weights
from encoders.heads import COARSE
from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.errors import CheckpointError
from stylegan_core.files import display

Views = Mapping[str, TensorView]
METHOD_OF = {  # the published code's names of its classes → method
    "GradualStyleEncoder": "psp", "ResNetGradualStyleEncoder": "psp", "BackboneEncoder": "psp", "ResNetBackboneEncoder": "psp",
    "BackboneEncoderUsingLastLayerIntoWPlus": "psp", "BackboneEncoderUsingLastLayerIntoW": "w", "SingleStyleCodeEncoder": "w",
    "WEncoder": "w", "Encoder4Editing": "e4e", "ProgressiveBackboneEncoder": "e4e", "ResNetProgressiveBackboneEncoder": "e4e",
}  # fmt: skip
DEFAULT_PASSES = 5  # ReStyle Sec. 4, HS Sec. 3.3


def encoder_config_of(views: Views, options: Mapping[str, Any], *, num_ws: int, method: str | None = None) -> EncoderConfig:
    """views: names without 'encoder.'. options: the file's opts, {} when it has none. num_ws: rows of its decoder or average.

    method: None = by opts. pSp and e4e have the same tensors, so one of the two is needed. Raises CheckpointError.
    """
    backbone = backbone_config_of(views)
    head = "maps" if any(name.startswith("styles.") for name in views) else "grid" if "output_layer_2.3.weight" in views else "pool"
    said = str(options.get("encoder_type", ""))
    chosen = method or METHOD_OF.get(said) or {"grid": "psp", "pool": "w"}.get(head)
    if chosen is None:
        what = f"its encoder_type is {display(said)!r}" if said else "it has no opts"
        raise CheckpointError(f"does not say whether it is a pSp or an e4e ({what}); give method='psp' or method='e4e'")
    side, levels = _heads(views) if head == "maps" else (256, (num_ws, 0, 0))
    last = {"maps": "styles.0.linear.weight", "grid": "output_layer_2.3.weight", "pool": "linear.weight"}[head]
    w_dim = _shape(views, last)[0]
    channels = backbone.in_channels
    is_iterative = channels == 6 and not int(options.get("label_nc") or 0)
    passes = int(options.get("n_iters_per_batch") or DEFAULT_PASSES) if is_iterative else 1
    return EncoderConfig(
        chosen, backbone, head, w_dim=w_dim, num_ws=sum(levels) if head == "maps" else num_ws, level_rows=levels,
        img_channels=channels // 2 if is_iterative else channels, input_shape=(side, side), num_iterations=passes,
        is_iterative=is_iterative).validate()


def backbone_config_of(views: Views) -> BackboneConfig:
    """The backbone whose tensors these are. Raises CheckpointError."""
    numbers = {int(match[1]) for name in views if (match := re.match(r"body\.(\d{1,3})\.", name))}
    count = max(numbers, default=-1) + 1
    if "input_layer.0.weight" in views:
        kind = "ir-se" if "body.0.res_layer.5.fc1.weight" in views else "ir"
        stem, changes = "input_layer.0.weight", "shortcut_layer.0.weight"
        widths = [_shape(views, f"body.{number}.res_layer.3.weight")[0] for number in range(count)]
    elif "conv1.weight" in views:
        is_bottleneck = "body.0.conv3.weight" in views
        kind = "resnet-bottleneck" if is_bottleneck else "resnet"
        stem, changes = "conv1.weight", "downsample.0.weight"
        widths = [_shape(views, f"body.{number}.conv1.weight")[0] for number in range(count)]
    else:
        raise CheckpointError("'input_layer.0.weight' (IR) and 'conv1.weight' (ResNet) are missing: this is no encoder of a known kind")
    starts = sorted({0, *(number for number in range(count) if f"body.{number}.{changes}" in views)})
    if len(starts) != 4:
        raise CheckpointError(f"the backbone has {len(starts)} stages; encoders have 4")
    units = tuple(end - start for start, end in zip(starts, [*starts[1:], count]))
    return BackboneConfig(kind, _shape(views, stem)[1], tuple(widths[start] for start in starts), units).validate()


def hyperstyle_config_of(views: Views, options: Mapping[str, Any], generator: Any) -> HyperStyleConfig:
    """views: names without 'hypernet.'. generator: the file's decoder, whose layers the blocks are numbered by."""
    blocks = {int(match[1]) for name in views if (match := re.match(r"refinement_blocks\.(\d{1,3})\.", name))}
    weights = modulated_weights(generator, tuned=blocks)
    if not blocks or max(blocks) >= len(weights):
        raise CheckpointError(f"{len(blocks)} refinement blocks for a decoder of {len(weights)} modulated layers do not fit")
    for number in blocks:
        is_shared = f"refinement_blocks.{number}.linear.weight" in views
        if is_shared != weights[number].is_shared:
            raise CheckpointError(f"'hypernet.refinement_blocks.{number}' {'shares' if is_shared else 'does not share'} its output layers, "
                                  f"which does not suit {weights[number].name}")
    backbone = backbone_config_of(views)
    own = next((number for number in sorted(blocks) if not weights[number].is_shared), None)
    shared = next((number for number in sorted(blocks) if weights[number].is_shared), None)
    last = max(blocks)
    first = f"refinement_blocks.{last}.convs"
    code = _shape(views, f"{first}.{2 * _count(views, first) - 2}.weight")[0]
    return HyperStyleConfig(
        weights, None, backbone, code_dim=code,
        shared_width=128 if shared is None else _shape(views, f"refinement_blocks.{shared}.convs.0.weight")[0],
        own_width=256 if own is None else _shape(views, f"refinement_blocks.{own}.convs.0.weight")[0],
        is_separable=any(".make_kernel_in." in name for name in views), img_channels=backbone.in_channels // 2,
        input_shape=_hyper_side(views, own, shared, weights),
        num_iterations=int(options.get("n_iters_per_batch") or DEFAULT_PASSES)).validate()


def _hyper_side(views: Views, own: int | None, shared: int | None, weights: Any) -> tuple[int, int]:
    # The convolutions of a block bring the map of stride 16 down to one pixel; a shared block has one more.
    if shared is not None:
        halvings = _count(views, f"refinement_blocks.{shared}.convs") - 1
    else:
        is_averaged = f"refinement_blocks.{own}.output.1.weight" in views
        halvings = _count(views, f"refinement_blocks.{own}.convs") + is_averaged
    return COARSE << halvings, COARSE << halvings


def _heads(views: Views) -> tuple[int, tuple[int, int, int]]:
    """(side of the input, rows of coarse, middle and fine heads), from the number of convolutions of every head."""
    count = max(int(match[1]) for name in views if (match := re.match(r"styles\.(\d{1,3})\.", name))) + 1
    halvings = [_count(views, f"styles.{row}.convs") for row in range(count)]
    least = min(halvings)
    levels = tuple(sum(number == least + level for number in halvings) for level in range(3))
    if halvings != sorted(halvings) or sum(levels) != count or not 1 <= least <= 8:
        raise CheckpointError(f"the heads have {halvings} convolutions; they grow by one from coarse to middle to fine rows")
    return COARSE << least, (levels[0], levels[1], levels[2])


def _count(views: Views, prefix: str) -> int:
    """How many convolutions a chain has; between them are activations without weights."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d{1,3})\.weight")
    return sum(pattern.fullmatch(name) is not None for name in views)


def _shape(views: Views, name: str) -> tuple[int, ...]:
    if name not in views:
        raise CheckpointError(f"{name!r} is missing")
    shape = views[name].shape
    if len(shape) < 2:
        raise CheckpointError(f"{name!r} has the shape {list(shape)}, which no such weight has")
    return shape


