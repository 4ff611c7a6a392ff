"""Edits in a region: the edited picture inside a mask, the unedited one outside, blended through features or pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from invert.editing.stylespace import load_region
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.images import fit_mask, load_mask
from stylegan_core.inversion import Inversion
from stylegan_core.weight_deltas import call_with

THROUGH = ("features", "pixels")


@torch.no_grad()
def render_masked(
    original: Inversion, edited: Inversion, mask: Tensor | str | os.PathLike[str], generator: Generator, *, through: str = "features"
) -> Tensor:
    """→ images [N, C, H, W]: `edited` where the mask is 1, `original` where it is 0.

    mask: [1, 1, H, W] in [0, 1], or a picture file. through: 'features' blends what every block of the synthesis network gives, so that
    seams are drawn by the layers behind; 'pixels' blends the two renders. Raises UsageError for an empty mask.
    """
    if through not in THROUGH:
        raise UsageError(f"through {through!r}: one of {', '.join(THROUGH)} is allowed")
    if len(original) != len(edited):
        raise UsageError(f"the original has {len(original)} image(s), the edited one {len(edited)}")
    region = load_region(mask, generator)
    if through == "pixels":
        return torch.lerp(original.render(generator), edited.render(generator), region.expand(len(edited), -1, -1, -1))
    return torch.cat([_through_features(original[i], edited[i], region, generator) for i in range(len(edited))])


def region_of(mask: Tensor | str | os.PathLike[str], geometry: Mapping[str, Any], generator: Generator) -> Tensor:
    """[1, 1, *img_shape]: a mask as large as the photo is cut and turned as the photo was (geometry), any other is of the aligned square.

    Raises UsageError, ImageError.
    """
    region = mask if isinstance(mask, Tensor) else load_mask(mask)
    size = geometry.get("source_size")
    if size is not None and region.ndim == 4 and list(region.shape[:1:-1]) == list(size):
        region = fit_mask(region, geometry)
    return load_region(region, generator)


def _through_features(original: Inversion, edited: Inversion, region: Tensor, generator: Generator) -> Tensor:
    """One image: the maps of the original are kept in a first pass and blended into those of the edited one in a second."""
    kept: dict[str, list[Tensor]] = {}
    blocks = _blocks(generator)

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            kept[name] = [part.detach() for part in _maps(output)]

        return hook

    def blend(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            blended = [torch.lerp(before, part, _mask_of(region, part)) for before, part in zip(kept[name], _maps(output), strict=True)]
            return _like(output, blended)

        return hook

    _render_with(original, generator, blocks, keep)
    if not kept:
        raise UsageError("this model's layers cannot be blended in a region; use --through pixels")
    return _render_with(edited, generator, {name: block for name, block in blocks.items() if name in kept}, blend)


def _blocks(generator: Generator) -> dict[str, nn.Module]:
    """The parts of the synthesis network, first to last. Raises UsageError where their maps are not the picture's own grid."""
    synthesis: Any = generator.synthesis
    blocks = dict(synthesis.named_children())
    if not generator.noise_shapes:
        raise UsageError("this model's layers reach beyond the picture, so features cannot be blended in a region; use --through pixels")
    return blocks


def _render_with(inversion: Inversion, generator: Generator, blocks: dict[str, nn.Module], hook_of: Any) -> Tensor:
    """Renders one image with a hook on every block. Tuned weights change no module, so the hooks see them too."""
    one = inversion.to(generator.w_avg.device, generator.w_avg.dtype)
    handles = [block.register_forward_hook(hook_of(name)) for name, block in blocks.items()]
    try:
        deltas = {name: value[0] if isinstance(value, Tensor) else value for name, value in one.weight_deltas.items()}
        return call_with(generator, deltas, lambda network: one.latent.render(network, noise=one.noise))
    finally:
        for handle in handles:
            handle.remove()


def _maps(output: Any) -> list[Tensor]:
    """The 4-dimensional tensors of what a block gives."""
    parts = output if isinstance(output, (tuple, list)) else [output]
    return [part for part in parts if isinstance(part, Tensor) and part.ndim == 4]


def _like(output: Any, maps: list[Tensor]) -> Any:
    if isinstance(output, Tensor):
        return maps[0]
    queue = list(maps)
    return tuple(queue.pop(0) if isinstance(part, Tensor) and part.ndim == 4 else part for part in output)


def _mask_of(region: Tensor, maps: Tensor) -> Tensor:
    return interpolate(region.to(maps), size=maps.shape[2:], mode="area").expand(maps.shape[0], -1, -1, -1)
