"""The noise inputs of a synthesis network: stored maps, random ones, maps given by name, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from stylegan_core.errors import LatentError
from stylegan_core.generator import RNG

NOISE_MODES = ("const", "random", "none")


def noise_maps(styles: Tensor, shapes: Mapping[str, tuple[int, int]], stored: Callable[[str], Tensor], *, noise_mode: str = "const",
               noise: Mapping[str, Tensor] | None = None, rng: RNG = None) -> dict[str, Tensor]:
    """Buffer name → [N or 1, 1, H, W] with the dtype and device of styles [N, …]; noise_mode none: {}.

    shapes: name → (H, W). stored: name → buffer [H, W]. noise: maps that replace those of their name. rng: where random maps come
    from, one generator or one per image; None = torch's own.
    """
    if noise_mode not in NOISE_MODES:
        raise LatentError(f"noise_mode {noise_mode!r}: one of {', '.join(NOISE_MODES)} is allowed")
    maps = {}
    for name, size in shapes.items() if noise_mode != "none" else ():
        if noise is not None and name in noise:
            maps[name] = noise[name].to(styles)
        elif noise_mode == "const":
            maps[name] = stored(name).to(styles.dtype)[None, None]
        else:
            maps[name] = random_normal((styles.shape[0], 1, *size), rng).to(styles)
    return maps


def random_normal(shape: Sequence[int], rng: RNG) -> Tensor:
    """Standard normal numbers; one generator per image makes image i the same in a batch of any size."""
    if rng is None or isinstance(rng, torch.Generator):
        return torch.randn(*shape, generator=rng, device=None if rng is None else rng.device)
    if len(rng) != shape[0]:
        raise LatentError(f"{len(rng)} random generators for a batch of {shape[0]}; give one, or one per image")
    return torch.stack([torch.randn(*shape[1:], generator=generator, device=generator.device) for generator in rng])
