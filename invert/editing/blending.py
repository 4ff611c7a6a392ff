"""Related generators, such as a model and its fine-tuned child, blended: weights in between, or layers of one in the other."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import torch

from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.provenance import model_sha256


@torch.no_grad()
def blend(first: Generator, second: Generator, *, amount: float | Callable[[str], float] = 0.5) -> Any:
    """A new generator with weights `amount` of the way from the first to the second (Wang et al. 2019, Sec. 3).

    amount: one number, or a function of a parameter's name. Both arguments stay as they are. Raises UsageError for generators of
    different architectures.
    """
    _check_related(first, second)
    one, other = _state(first), _state(second)
    share = amount if callable(amount) else (lambda name: float(amount))
    result: Any = copy.deepcopy(first)
    state = {}
    for name, value in one.items():
        t = share(name)
        state[name] = torch.lerp(value, other[name].to(value), t) if value.is_floating_point() else value
    result.load_state_dict(state)
    parents = {"first": model_sha256(first), "second": model_sha256(second)}  # type: ignore[arg-type]
    object.__setattr__(result, "provenance", {"blended_from": parents})
    return result.eval()


def swap_layers(first: Generator, second: Generator, *, resolution: int, width: float = 0.0) -> Any:
    """Layers up to `resolution` px from the first, those above from the second (Pinkney and Adler 2020); the mapping is the first's.

    width: octaves over which the change is smooth; 0 = at once. Raises UsageError for a resolution where nothing would be swapped.
    """
    sizes = _sizes(first)
    if resolution not in swap_points(first):
        raise UsageError(f"swap at {resolution} px: one of {', '.join(map(str, sizes[:-1]))} is allowed")

    def amount(name: str) -> float:
        size = resolution_of_parameter(name)
        if size is None:
            return 0.0
        octaves = sizes.index(size) - sizes.index(resolution)
        if width <= 0:
            return float(octaves > 0)
        return min(1.0, max(0.0, (octaves - 0.5) / width + 0.5))

    return blend(first, second, amount=amount)


def swap_points(generator: Generator) -> list[int]:
    """The resolutions above which layers can be swapped. Raises UsageError for a model whose layers have none."""
    return _sizes(generator)[:-1]


def _sizes(generator: Generator) -> list[int]:
    sizes = sorted({size for name in _state(generator) if (size := resolution_of_parameter(name)) is not None})
    if not sizes:
        raise UsageError("the layers of this model have no resolutions; blend whole models with --amount")
    return sizes


def resolution_of_parameter(name: str) -> int | None:
    """64 for synthesis.b64.conv0.weight; None for what belongs to no resolution, such as the mapping."""
    match = re.match(r"synthesis\.b(\d+)\.", name)
    return None if match is None else int(match[1])


def _state(generator: Generator) -> dict[str, torch.Tensor]:
    return dict(generator.state_dict())  # type: ignore[attr-defined]


def _check_related(first: Generator, second: Generator) -> None:
    one, other = _state(first), _state(second)
    differing = [name for name in one if name not in other or one[name].shape != other[name].shape] or [
        name for name in other if name not in one
    ]
    if differing:
        raise UsageError(
            f"these generators are of different architectures ({differing[0]} and {len(differing) - 1} more differ); "
            "only related ones, such as a model and its fine-tuned child, can be blended"
        )
