"""Names of TensorFlow's variables and ours: one table per network, from the resolutions (StyleGAN, StyleGAN2 and its ADA).

A generator's variables carry the name of their component in front: mapping/…, synthesis/….
"""

from __future__ import annotations

from collections.abc import Sequence

from stylegan_core.checkpoints.renaming import DENSE, KERNEL, MAP, NO_BATCH, Change, Entry, flipped, over_root_two, plus_one

MAX_MAPPING_LAYERS = 64


def stylegan1_generator(resolutions: Sequence[int], *, fused_from: int | None = 128) -> list[Entry]:
    """fused_from: pixels from which on upsampling is a transposed convolution, whose kernels are turned; None = never."""
    table = [Entry("dlatent_avg", "mapping.w_avg"), Entry("lod", None), Entry("synthesis/lod", None)]
    table.append(Entry("mapping/LabelConcat/weight", "mapping.embed.weight", DENSE))
    table += _mapping(over_root_two)
    for level, resolution in enumerate(resolutions):
        theirs, ours = f"synthesis/{resolution}x{resolution}", f"synthesis.b{resolution}"
        if resolution == 4:
            table += [Entry(f"{theirs}/Const/const", f"{ours}.const", NO_BATCH), Entry(f"{theirs}/Dense/weight", f"{ours}.dense", DENSE)]
            table += _styled_layer(f"{theirs}/Const", f"{ours}.conv0") + _styled_layer(f"{theirs}/Dense", f"{ours}.conv0")
            names = {"Conv": "conv1"}
        else:
            names = {"Conv0_up": "conv0", "Conv1": "conv1"}
        for theirs_part, part in names.items():
            is_turned = part == "conv0" and fused_from is not None and resolution >= fused_from
            weight = Entry(f"{theirs}/{theirs_part}/weight", f"{ours}.{part}.weight", KERNEL, flipped if is_turned else None)
            table += [weight, *_styled_layer(f"{theirs}/{theirs_part}", f"{ours}.{part}")]
        table += [Entry(f"synthesis/noise{2 * level + i}", f"{ours}.conv{i}.noise_const", MAP) for i in (0, 1)]
        table += _convolution(f"synthesis/ToRGB_lod{len(resolutions) - 1 - level}", f"{ours}.torgb")
    return table


def stylegan1_discriminator(resolutions: Sequence[int]) -> list[Entry]:
    """resolutions: 4, 8, …."""
    table = [Entry("lod", None)]
    for level, resolution in enumerate(resolutions):
        theirs, ours = f"{resolution}x{resolution}", f"b{resolution}"
        table += _convolution(f"FromRGB_lod{len(resolutions) - 1 - level}", f"{ours}.fromrgb")
        if resolution > 4:
            table += _convolution(f"{theirs}/Conv0", f"{ours}.conv0") + _convolution(f"{theirs}/Conv1_down", f"{ours}.conv1")
    table += _convolution("4x4/Conv", "b4.conv")
    table += [Entry("4x4/Dense0/weight", "b4.fc.weight", DENSE), Entry("4x4/Dense0/bias", "b4.fc.bias", (), over_root_two)]
    return [*table, Entry("4x4/Dense1/weight", "b4.out.weight", DENSE), Entry("4x4/Dense1/bias", "b4.out.bias")]


def stylegan2_generator(resolutions: Sequence[int]) -> list[Entry]:
    """The networks of 2019 and 2020, those that grow too (configurations B to D), of which the last torgb is the one that counts."""
    table = [Entry("dlatent_avg", "mapping.w_avg"), Entry("lod", None), Entry("synthesis/lod", None)]
    table.append(Entry("synthesis/4x4/Const/const", "synthesis.b4.const", NO_BATCH))
    table += [Entry("mapping/LabelEmbed/weight", "mapping.embed.weight", DENSE), Entry("mapping/LabelEmbed/bias", "mapping.embed.bias")]
    table += _mapping(None)
    for level, resolution in enumerate(resolutions):
        theirs, ours = f"synthesis/{resolution}x{resolution}", f"synthesis.b{resolution}"
        names = {"Conv": "conv1"} if resolution == 4 else {"Conv0_up": "conv0", "Conv1": "conv1"}
        for index, (theirs_part, part) in enumerate(names.items()):
            table += _modulated(f"{theirs}/{theirs_part}", f"{ours}.{part}", flipped if part == "conv0" else None)
            table.append(Entry(f"{theirs}/{theirs_part}/noise_strength", f"{ours}.{part}.noise_strength"))
            row = 0 if resolution == 4 else 2 * level - 1 + index
            table.append(Entry(f"synthesis/noise{row}", f"{ours}.{part}.noise_const", MAP))
        table += _modulated(f"{theirs}/ToRGB", f"{ours}.torgb", None)
        table.append(Entry(f"{theirs}/Skip/weight", f"{ours}.skip.weight", KERNEL, flipped))
        lod = len(resolutions) - 1 - level
        growing = _modulated(f"synthesis/ToRGB_lod{lod}", f"{ours}.torgb", None)
        table += growing if lod == 0 else [Entry(entry.theirs, None) for entry in growing]
    return table


def stylegan2_discriminator(resolutions: Sequence[int]) -> list[Entry]:
    """resolutions: 4, 8, …."""
    table = [Entry("lod", None)]
    for level, resolution in enumerate(resolutions):
        theirs, ours = f"{resolution}x{resolution}", f"b{resolution}"
        table += _convolution(f"{theirs}/FromRGB", f"{ours}.fromrgb")
        lod = len(resolutions) - 1 - level
        growing = _convolution(f"FromRGB_lod{lod}", f"{ours}.fromrgb")
        table += growing if lod == 0 else [Entry(entry.theirs, None) for entry in growing]
        if resolution > 4:
            table += _convolution(f"{theirs}/Conv0", f"{ours}.conv0") + _convolution(f"{theirs}/Conv1_down", f"{ours}.conv1")
            table.append(Entry(f"{theirs}/Skip/weight", f"{ours}.skip.weight", KERNEL))
    for theirs, ours in {"LabelEmbed": "mapping.embed", "4x4/Dense0": "b4.fc", "Output": "b4.out"}.items():
        table += [Entry(f"{theirs}/weight", f"{ours}.weight", DENSE), Entry(f"{theirs}/bias", f"{ours}.bias")]
    for i in range(MAX_MAPPING_LAYERS):
        table += [Entry(f"Mapping{i}/weight", f"mapping.fc{i}.weight", DENSE), Entry(f"Mapping{i}/bias", f"mapping.fc{i}.bias")]
    return table + _convolution("4x4/Conv", "b4.conv")


def _mapping(bias: Change | None) -> list[Entry]:
    table = []
    for i in range(MAX_MAPPING_LAYERS):
        table.append(Entry(f"mapping/Dense{i}/weight", f"mapping.fc{i}.weight", DENSE))
        table.append(Entry(f"mapping/Dense{i}/bias", f"mapping.fc{i}.bias", (), bias))
    return table


def _styled_layer(theirs: str, ours: str) -> list[Entry]:
    return [
        Entry(f"{theirs}/bias", f"{ours}.bias"),
        Entry(f"{theirs}/Noise/weight", f"{ours}.noise_strength"),
        Entry(f"{theirs}/StyleMod/weight", f"{ours}.affine.weight", DENSE),
        Entry(f"{theirs}/StyleMod/bias", f"{ours}.affine.bias"),
    ]


def _modulated(theirs: str, ours: str, change: Change | None) -> list[Entry]:
    return [
        Entry(f"{theirs}/weight", f"{ours}.weight", KERNEL, change),
        Entry(f"{theirs}/bias", f"{ours}.bias"),
        Entry(f"{theirs}/mod_weight", f"{ours}.affine.weight", DENSE),
        Entry(f"{theirs}/mod_bias", f"{ours}.affine.bias", (), plus_one),
    ]


def _convolution(theirs: str, ours: str) -> list[Entry]:
    return [Entry(f"{theirs}/weight", f"{ours}.weight", KERNEL), Entry(f"{theirs}/bias", f"{ours}.bias")]
