"""Changes of one weight in little memory: 8-bit numbers with a scale per filter, or two thin factors; absolute or relative.

What is rendered and what is saved is the packed change, so that a file renders the pixels that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stylegan_core.errors import InversionError, LatentError

PARTS: Mapping[str, Mapping[str, torch.dtype]] = {
    "dense": {"value": torch.float32},
    "half": {"value": torch.float16},
    "int8": {"steps": torch.int8, "scale": torch.float32},        # scale: [N, out, 1, …]
    "low-rank": {"left": torch.float16, "right": torch.float16},  # left: [N, out, rank], right: [N, rank, in·k·k]
}
LARGEST_STEP = 127
MAX_NUMEL = 1 << 28


@dataclass(frozen=True)
class PackedDelta:
    """Changes of one parameter for N images.

    kind: a key of PARTS. parts: see there, each [N, …]. shape: [N, *shape of the parameter]; parts may be broadcast to it.
    is_relative: the weight is multiplied by 1 + change (HS Eq. 2), so that the change suits relatives of the model too.
    """

    kind: str
    parts: Mapping[str, Tensor]
    shape: tuple[int, ...]
    is_relative: bool = False

    def dense(self) -> Tensor:
        """[N, *shape of the parameter] or what broadcasts to it, float32 at least."""
        parts = self.parts
        if self.kind == "int8":
            return parts["steps"].float() * parts["scale"]
        if self.kind == "low-rank":
            return (parts["left"].float() @ parts["right"].float()).view(self.shape)
        value = parts["value"]
        return value if value.dtype == torch.float64 else value.float()

    def applied(self, parameter: Tensor) -> Tensor:
        """The parameter as the change of the one image makes it."""
        change = self.dense()[0].to(parameter)
        return parameter * (1 + change) if self.is_relative else parameter + change

    def __getitem__(self, index: slice | Tensor) -> PackedDelta:
        """Those of these images."""
        parts = {name: value[index] for name, value in self.parts.items()}
        return replace(self, parts=parts, shape=(len(next(iter(parts.values()))), *self.shape[1:]))

    def __len__(self) -> int:
        return self.shape[0]

    def to(self, *where: Any) -> PackedDelta:
        """To a device. Numbers keep their type: another one would change the picture."""
        places = [place for place in where if not isinstance(place, torch.dtype)]
        return replace(self, parts={name: value.to(*places) for name, value in self.parts.items()}) if places else self

    @property
    def nbytes(self) -> int:
        """Of the parts."""
        return sum(value.numel() * value.element_size() for value in self.parts.values())

    def check(self) -> PackedDelta:
        """Returns self; raises LatentError unless the parts fit each other and the shape, and are finite."""
        wanted = PARTS.get(self.kind)
        if wanted is None or set(self.parts) != set(wanted):
            raise LatentError(f"a change of the kind {self.kind!r} with the parts {sorted(self.parts)} is unknown; update invert-gan")
        if len(self.shape) < 1 or any(type(size) is not int or size < 0 for size in self.shape) or math.prod(self.shape) > MAX_NUMEL:
            raise LatentError(f"a packed change has the shape {self.shape}, which no weight has")
        for name, value in self.parts.items():
            allowed = (wanted[name], torch.float64) if name == "value" else (wanted[name],)
            if value.dtype not in allowed or not value.ndim or len(value) != self.shape[0]:
                raise LatentError(f"the part {name} of a packed change has the type {value.dtype} and the shape {tuple(value.shape)}")
            if not torch.isfinite(value).all():
                raise LatentError("a packed change holds values that are not finite; tune again")
        if not self._fits():
            shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in self.parts.items())
            raise LatentError(f"the parts of a packed change ({shapes}) do not make the shape {self.shape}")
        return self

    def _fits(self) -> bool:
        if self.kind == "low-rank":
            left, right = self.parts["left"], self.parts["right"]
            is_product = left.ndim == right.ndim == 3 and left.shape[2] == right.shape[1]
            return is_product and len(self.shape) > 1 and left.shape[1] * right.shape[2] == math.prod(self.shape[1:])
        try:
            return torch.broadcast_shapes(self.shape, *(value.shape for value in self.parts.values())) == torch.Size(self.shape)
        except RuntimeError:
            return False


def cat_deltas(deltas: list[Tensor | PackedDelta]) -> Tensor | PackedDelta:
    """One batch. Raises LatentError when they are packed in different ways."""
    if all(isinstance(delta, Tensor) for delta in deltas):
        return torch.cat([delta for delta in deltas if isinstance(delta, Tensor)])
    packed = [delta for delta in deltas if isinstance(delta, PackedDelta)]
    first = packed[0]
    alike = all((delta.kind, delta.shape[1:], delta.is_relative) == (first.kind, first.shape[1:], first.is_relative) for delta in packed)
    same = {name: {delta.parts[name].shape[1:] for delta in packed} for name in first.parts} if alike else {}
    if len(packed) < len(deltas) or not alike or any(len(shapes) > 1 for shapes in same.values()):
        raise LatentError("weight changes that are packed in different ways cannot form one batch; keep them apart")
    parts = {name: torch.cat([delta.parts[name] for delta in packed]) for name in first.parts}
    return replace(first, parts=parts, shape=(sum(len(delta) for delta in packed), *first.shape[1:]))


def lerp_deltas(one: Tensor | PackedDelta | None, other: Tensor | PackedDelta | None, part: float) -> Tensor | PackedDelta:
    """(1 - part) of one and part of the other; None = no change. Raises LatentError for a relative change and an absolute one."""
    given = [delta for delta in (one, other) if delta is not None]
    first = given[0]
    is_relative = isinstance(first, PackedDelta) and first.is_relative
    if any((isinstance(delta, PackedDelta) and delta.is_relative) != is_relative for delta in given):
        raise LatentError("a relative weight change and an absolute one cannot be blended; tune both in one way")
    values = [None if delta is None else delta if isinstance(delta, Tensor) else delta.dense() for delta in (one, other)]
    some = next(value for value in values if value is not None)
    left, right = (torch.zeros_like(some) if value is None else value.to(some) for value in values)
    value = torch.lerp(left, right, part)
    return PackedDelta("dense", {"value": value}, tuple(first.shape), True) if is_relative else value


def pack_int8(change: Tensor, *, is_relative: bool = False) -> PackedDelta:
    """change: [N, out, …]. One scale per image and filter; scalars and vectors stay dense, for they weigh nothing."""
    if change.ndim < 3:
        return PackedDelta("dense", {"value": change.float()}, tuple(change.shape), is_relative)
    largest = change.float().flatten(2).abs().amax(dim=2).clamp_min(1e-30)
    scale = (largest / LARGEST_STEP).view(*change.shape[:2], *[1] * (change.ndim - 2))
    steps = (change.float() / scale).round().clamp(-LARGEST_STEP, LARGEST_STEP).to(torch.int8)
    return PackedDelta("int8", {"steps": steps, "scale": scale}, tuple(change.shape), is_relative)


def pack_low_rank(change: Tensor, rank: int, *, is_relative: bool = False) -> PackedDelta:
    """change: [N, out, …] → its best factors of this rank (Eckart–Young), in half precision; vectors stay dense."""
    if change.ndim < 3:
        return pack_int8(change, is_relative=is_relative)
    matrix = change.double().flatten(2).cpu()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    kept = min(rank, values.shape[1])
    root = values[:, :kept].sqrt()
    parts = {"left": (left[:, :, :kept] * root[:, None]).half(), "right": (right[:, :kept] * root[:, :, None]).half()}
    return PackedDelta("low-rank", {name: value.to(change.device) for name, value in parts.items()}, tuple(change.shape), is_relative)


def packed_header(deltas: Mapping[str, PackedDelta]) -> dict[str, Any]:
    """JSON-ready: how the parts of a file belong together."""
    return {name: {"kind": delta.kind, "shape": list(delta.shape), "is_relative": delta.is_relative} for name, delta in deltas.items()}


def unpacked_header(header: Any, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, PackedDelta]:
    """The inverse, for tensors named prefix + parameter + '.' + part. Raises InversionError."""
    found = {}
    used = set()
    for name, facts in header.items() if isinstance(header, dict) else ():
        try:
            kind, shape, is_relative = facts["kind"], tuple(facts["shape"]), facts["is_relative"]
            names = {part: f"{prefix}{name}.{part}" for part in PARTS[kind]}
            delta = PackedDelta(kind, {part: tensors[key] for part, key in names.items()}, shape, is_relative is True)
            found[name] = delta.check()
            used |= set(names.values())
        except (KeyError, TypeError, LatentError) as error:
            raise InversionError(f"the change of {name!r} is damaged ({error})") from None
    stray = [key for key in tensors if key.startswith(prefix) and key not in used]
    if stray:
        raise InversionError(f"{stray[0]!r} belongs to no weight change")
    return found
