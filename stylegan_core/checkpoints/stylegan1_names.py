"""Names of StyleGAN (2018) in ports to PyTorch, and ours: one table per port and network, from the resolutions.

genforce: genforce, SeFa, idinvert. interfacegan: InterFaceGAN. lernapparat: lernapparat, GANSpace. rosinality: style-based-gan-pytorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from stylegan_core.checkpoints.renaming import KERNEL, MAP, NO_BATCH, Entry, flipped, minus_one, over_root_two, scaled

FUSED_FROM = 128  # pixels from which on these ports upsample by a transposed convolution, whose kernels are turned
MAX_MAPPING_LAYERS = 64


def interfacegan_generator(resolutions: Sequence[int]) -> list[Entry]:
    """resolutions: 4, 8, …."""
    table = [Entry("truncation.w_avg", "mapping.w_avg"), Entry("truncation.truncation", None), Entry("synthesis.lod", None)]
    for i in range(MAX_MAPPING_LAYERS):
        table.append(Entry(f"mapping.dense{i}.linear.weight", f"mapping.fc{i}.weight"))
        table.append(Entry(f"mapping.dense{i}.wscale.bias", f"mapping.fc{i}.bias", (), over_root_two))
    for level, resolution in enumerate(resolutions):
        for index, part in enumerate(("conv0", "conv1")):
            theirs, ours = f"synthesis.layer{2 * level + index}", f"synthesis.b{resolution}.{part}"
            style = f"{theirs}.epilogue.style_mod.dense"
            table += [
                Entry(f"{theirs}.conv.weight", f"{ours}.weight"),
                Entry(f"{theirs}.weight", f"{ours}.weight", KERNEL, flipped),  # of a transposed convolution
                Entry(f"{theirs}.blur.kernel", None),
                Entry(f"{theirs}.epilogue.bias", f"{ours}.bias"),
                Entry(f"{theirs}.epilogue.apply_noise.weight", f"{ours}.noise_strength"),
                Entry(f"{theirs}.epilogue.apply_noise.noise", f"{ours}.noise_const", MAP),
                Entry(f"{style}.linear.weight", f"{ours}.affine.weight"),
                Entry(f"{style}.wscale.bias", f"{ours}.affine.bias"),
            ]
        table.append(Entry(f"synthesis.output{level}.conv.weight", f"synthesis.b{resolution}.torgb.weight"))
        table.append(Entry(f"synthesis.output{level}.bias", f"synthesis.b{resolution}.torgb.bias"))
    return [*table, Entry("synthesis.layer0.first_layer", "synthesis.b4.const", NO_BATCH)]


def genforce_generator(resolutions: Sequence[int]) -> list[Entry]:
    """resolutions: 4, 8, …."""
    table = [Entry("truncation.w_avg", "mapping.w_avg"), Entry("synthesis.lod", None)]
    for i in range(MAX_MAPPING_LAYERS):
        table += [Entry(f"mapping.dense{i}.weight", f"mapping.fc{i}.weight"),
                  Entry(f"mapping.dense{i}.bias", f"mapping.fc{i}.bias", (), over_root_two)]
    for level, resolution in enumerate(resolutions):
        for index, part in enumerate(("conv0", "conv1")):
            theirs, ours = f"synthesis.layer{2 * level + index}", f"synthesis.b{resolution}.{part}"
            is_turned = part == "conv0" and resolution >= FUSED_FROM
            table += [
                Entry(f"{theirs}.weight", f"{ours}.weight", (), flipped if is_turned else None),
                Entry(f"{theirs}.blur.kernel", None),
                Entry(f"{theirs}.bias", f"{ours}.bias"),
                Entry(f"{theirs}.apply_noise.weight", f"{ours}.noise_strength"),
                Entry(f"{theirs}.apply_noise.noise", f"{ours}.noise_const", MAP),
                Entry(f"{theirs}.style.weight", f"{ours}.affine.weight"),
                Entry(f"{theirs}.style.bias", f"{ours}.affine.bias"),
            ]
        table += [Entry(f"synthesis.output{level}.{end}", f"synthesis.b{resolution}.torgb.{end}") for end in ("weight", "bias")]
    return [*table, Entry("synthesis.layer0.const", "synthesis.b4.const", NO_BATCH)]


def genforce_discriminator(resolutions: Sequence[int]) -> list[Entry]:
    """resolutions: 4, 8, …."""
    table, last = [Entry("lod", None)], len(resolutions) - 1
    parts = {f"input{last}": "b4.fromrgb", f"layer{2 * last}": "b4.conv", f"layer{2 * last + 1}": "b4.fc", f"layer{2 * last + 2}": "b4.out"}
    for level, resolution in enumerate(reversed(resolutions[1:])):
        ours = f"b{resolution}"
        parts |= {f"input{level}": f"{ours}.fromrgb", f"layer{2 * level}": f"{ours}.conv0", f"layer{2 * level + 1}": f"{ours}.conv1"}
    for theirs, ours in parts.items():
        change = over_root_two if ours == "b4.fc" else None
        table += [Entry(f"{theirs}.weight", f"{ours}.weight"), Entry(f"{theirs}.bias", f"{ours}.bias", (), change)]
        table.append(Entry(f"{theirs}.blur.kernel", None))
    return table


def lernapparat_generator(resolutions: Sequence[int]) -> list[Entry]:
    """resolutions: 4, 8, …. There is no stored noise, no average w, and one torgb alone."""
    table = [Entry(f"g_synthesis.torgb.{end}", f"synthesis.b{resolutions[-1]}.torgb.{end}") for end in ("weight", "bias")]
    for i in range(MAX_MAPPING_LAYERS):
        table += [Entry(f"g_mapping.dense{i}.weight", f"mapping.fc{i}.weight"),
                  Entry(f"g_mapping.dense{i}.bias", f"mapping.fc{i}.bias", (), over_root_two)]
    for resolution in resolutions:
        theirs, ours = f"g_synthesis.blocks.{resolution}x{resolution}", f"synthesis.b{resolution}"
        for index, part in enumerate(("conv0", "conv1")):
            table.append(Entry(f"{theirs}.epi{index + 1}.top_epi.noise.weight", f"{ours}.{part}.noise_strength"))
            table += [Entry(f"{theirs}.epi{index + 1}.style_mod.lin.{end}", f"{ours}.{part}.affine.{end}") for end in ("weight", "bias")]
        if resolution == 4:
            table += [Entry(f"{theirs}.const", f"{ours}.const", NO_BATCH), Entry(f"{theirs}.bias", f"{ours}.conv0.bias")]
            table += [Entry(f"{theirs}.conv.{end}", f"{ours}.conv1.{end}") for end in ("weight", "bias")]
            continue
        change = flipped if resolution >= FUSED_FROM else None
        table += [
            Entry(f"{theirs}.conv0_up.weight", f"{ours}.conv0.weight", (), change),
            Entry(f"{theirs}.conv0_up.bias", f"{ours}.conv0.bias"),
            Entry(f"{theirs}.conv0_up.intermediate.kernel", None),
            *(Entry(f"{theirs}.conv1.{end}", f"{ours}.conv1.{end}") for end in ("weight", "bias")),
        ]
    return table


def rosinality_generator(resolutions: Sequence[int]) -> list[Entry]:
    """resolutions: 4, 8, …. Every layer has the gain √2 there, styles and torgb and noise too."""
    table = []
    for i in range(MAX_MAPPING_LAYERS):
        theirs, ours = f"style.{2 * i + 1}.linear", f"mapping.fc{i}"
        table += [Entry(f"{theirs}.weight_orig", f"{ours}.weight"), Entry(f"{theirs}.bias", f"{ours}.bias", (), over_root_two)]
    for level, resolution in enumerate(resolutions):
        theirs, ours = f"generator.progression.{level}", f"synthesis.b{resolution}"
        for index, part in enumerate(("conv0", "conv1"), start=1):
            style = f"{theirs}.adain{index}.style.linear"
            table += [
                Entry(f"{theirs}.noise{index}.weight_orig", f"{ours}.{part}.noise_strength", (1,), _noise_strength),
                Entry(f"{style}.weight_orig", f"{ours}.{part}.affine.weight", (), scaled(math.sqrt(2))),
                Entry(f"{style}.bias", f"{ours}.{part}.affine.bias", (), minus_one),
            ]
        table += [
            Entry(f"{theirs}.conv1.input", f"{ours}.const", NO_BATCH),
            Entry(f"{theirs}.conv1.1.conv.weight_orig", f"{ours}.conv0.weight"),
            Entry(f"{theirs}.conv1.1.conv.bias", f"{ours}.conv0.bias"),
            Entry(f"{theirs}.conv1.0.weight", f"{ours}.conv0.weight", (1, 0, 2, 3), _quarter_turned),  # of a transposed convolution
            Entry(f"{theirs}.conv1.0.bias", f"{ours}.conv0.bias"),
            *(Entry(f"{theirs}.conv1.{place}.{name}", None) for place in (1, 2) for name in ("weight", "weight_flip")),  # low-pass
            Entry(f"{theirs}.conv2.conv.weight_orig", f"{ours}.conv1.weight"),
            Entry(f"{theirs}.conv2.conv.bias", f"{ours}.conv1.bias"),
            Entry(f"generator.to_rgb.{level}.conv.weight_orig", f"{ours}.torgb.weight", (), scaled(math.sqrt(2))),
            Entry(f"generator.to_rgb.{level}.conv.bias", f"{ours}.torgb.bias"),
        ]
    return table


def _noise_strength(weight: Tensor) -> Tensor:
    return weight * math.sqrt(2 / len(weight))


def _quarter_turned(kernel: Tensor) -> Tensor:
    return flipped(kernel) / 4
