"""Names of rosinality's tensors and ours: one table of pairs per network, from the sizes; its inverse is derived.

The numbers are the same in both; some of rosinality's shapes have extra axes of size 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.errors import CheckpointError


@dataclass(frozen=True)
class Pair:
    """One tensor under both names. before, after: how many axes of size 1 theirs has around ours."""

    theirs: str
    ours: str
    before: int = 0
    after: int = 0


def generator_pairs(resolutions: Iterable[int], mapping_layers: int) -> list[Pair]:
    """resolutions: 4, 8, …. Every tensor of a generator of architecture skip, except filters and w_avg."""
    pairs = [Pair("input.input", "synthesis.b4.const", before=1)]
    for i in range(mapping_layers):
        pairs += [Pair(f"style.{i + 1}.{part}", f"mapping.fc{i}.{part}") for part in ("weight", "bias")]
    for level, resolution in enumerate(resolutions):
        block = f"synthesis.b{resolution}"
        if level == 0:
            pairs += _layer("conv1", f"{block}.conv1", 0)
            pairs += _to_rgb("to_rgb1", f"{block}.torgb")
        else:
            pairs += _layer(f"convs.{2 * level - 2}", f"{block}.conv0", 2 * level - 1)
            pairs += _layer(f"convs.{2 * level - 1}", f"{block}.conv1", 2 * level)
            pairs += _to_rgb(f"to_rgbs.{level - 1}", f"{block}.torgb")
    return pairs


def generator_kernels(resolutions: Iterable[int]) -> dict[str, float]:
    """Names of rosinality's stored low-pass filters → their sum (they are made for upsampling by 2 along two axes)."""
    kernels: dict[str, float] = {}
    for i in range(len(list(resolutions)) - 1):
        kernels |= {f"convs.{2 * i}.conv.blur.kernel": 4.0, f"to_rgbs.{i}.upsample.kernel": 4.0}
    return kernels


def discriminator_pairs(resolutions: Iterable[int]) -> list[Pair]:
    """resolutions: 4, 8, …. Every tensor of an unconditional discriminator of architecture resnet, except filters."""
    falling = sorted(resolutions, reverse=True)[:-1]
    pairs = [
        Pair("convs.0.0.weight", f"b{falling[0]}.fromrgb.weight"),
        Pair("convs.0.1.bias", f"b{falling[0]}.fromrgb.bias"),
    ]
    for index, resolution in enumerate(falling, start=1):
        theirs, ours = f"convs.{index}", f"b{resolution}"
        pairs += [
            Pair(f"{theirs}.conv1.0.weight", f"{ours}.conv0.weight"),
            Pair(f"{theirs}.conv1.1.bias", f"{ours}.conv0.bias"),
            Pair(f"{theirs}.conv2.1.weight", f"{ours}.conv1.weight"),
            Pair(f"{theirs}.conv2.2.bias", f"{ours}.conv1.bias"),
            Pair(f"{theirs}.skip.1.weight", f"{ours}.skip.weight"),
        ]
    pairs += [Pair("final_conv.0.weight", "b4.conv.weight"), Pair("final_conv.1.bias", "b4.conv.bias")]
    for i, name in enumerate(("fc", "out")):
        pairs += [Pair(f"final_linear.{i}.{part}", f"b4.{name}.{part}") for part in ("weight", "bias")]
    return pairs


def discriminator_kernels(resolutions: Iterable[int]) -> dict[str, float]:
    """Names of rosinality's stored low-pass filters → their sum."""
    parts = ("conv2.0.kernel", "skip.0.kernel")
    return {f"convs.{i}.{part}": 1.0 for i in range(1, len(list(resolutions))) for part in parts}


def to_ours(views: Mapping[str, TensorView], pairs: Iterable[Pair]) -> dict[str, TensorView]:
    """Views under our names and in our shapes; those that no pair names are left out."""
    renamed = {}
    for pair in pairs:
        view = views.get(pair.theirs)
        if view is None:
            continue
        inner = slice(pair.before, len(view.shape) - pair.after)
        shape = view.shape[inner]
        if view.shape != (1,) * pair.before + shape + (1,) * pair.after:
            raise CheckpointError(f"{pair.theirs!r} has the shape {list(view.shape)}, which does not fit its place")
        renamed[pair.ours] = replace(view, shape=shape, strides=view.strides[inner])
    return renamed


def to_theirs(state: Mapping[str, Tensor], pairs: Iterable[Pair]) -> dict[str, Tensor]:
    """The inverse, for a complete state of ours."""
    return {
        pair.theirs: state[pair.ours].reshape((1,) * pair.before + tuple(state[pair.ours].shape) + (1,) * pair.after)
        for pair in pairs
    }


def _layer(theirs: str, ours: str, noise_index: int) -> list[Pair]:
    return [
        Pair(f"{theirs}.conv.weight", f"{ours}.weight", before=1),
        Pair(f"{theirs}.conv.modulation.weight", f"{ours}.affine.weight"),
        Pair(f"{theirs}.conv.modulation.bias", f"{ours}.affine.bias"),
        Pair(f"{theirs}.noise.weight", f"{ours}.noise_strength", before=1),
        Pair(f"{theirs}.activate.bias", f"{ours}.bias"),
        Pair(f"noises.noise_{noise_index}", f"{ours}.noise_const", before=2),
    ]


def _to_rgb(theirs: str, ours: str) -> list[Pair]:
    return [
        Pair(f"{theirs}.conv.weight", f"{ours}.weight", before=1),
        Pair(f"{theirs}.conv.modulation.weight", f"{ours}.affine.weight"),
        Pair(f"{theirs}.conv.modulation.bias", f"{ours}.affine.bias"),
        Pair(f"{theirs}.bias", f"{ours}.bias", before=1, after=2),
    ]
