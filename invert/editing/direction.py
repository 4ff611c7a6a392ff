"""Directions: what is added to a latent so that one thing changes, in units of standard deviations, and where it comes from.

A direction is linear: `vector` is what strength 1 adds, `normal` reads where a latent stands. For a boundary (InterFaceGAN
Sec. 3.1) the normal is that of the hyperplane; conditional directions move along another vector and are read by the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from invert.editing.layers import describe_rows
from invert.editing.notes import noted
from stylegan_core.errors import DirectionError
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace

UNITS = ("std", "raw")  # of strength 1: a standard deviation over samples of the model, or the vector as it was published
Strength = float | Tensor


@dataclass(frozen=True)
class Direction:
    """One change of a latent.

    vector: of the space without batch: z [z_dim], w [w_dim] (the same for all rows), w+ [num_ws, w_dim], s [sum(style_dims)].
    normal: of the same shape, normal · vector = 1; None = vector / |vector|². origin: normal · latent of the average sample,
    so that normal · latent - origin is the strength at which a latent stands. rows: of ws, where a w or w+ direction acts;
    None = all. limits: lowest and highest strength that samples of the model show; `apply` stops there; None = it never does.
    unit: of strength 1, see UNITS. model, model_sha256: what it was found in; None = not known. provenance: method,
    options, figures; JSON-ready.
    """

    name: str
    space: LatentSpace
    vector: Tensor
    normal: Tensor | None = None
    origin: float = 0.0
    rows: tuple[int, ...] | None = None
    limits: tuple[float, float] | None = None
    unit: str = "std"
    model: str | None = None
    model_sha256: str | None = None
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dims = 2 if self.space is LatentSpace.W_PLUS else 1
        problem = None
        if self.unit not in UNITS:
            problem = f"the unit {self.unit!r} is not one of {', '.join(UNITS)}"
        elif self.vector.ndim != dims or self.vector.numel() == 0:
            problem = f"a vector of the shape {tuple(self.vector.shape)} is none of the space {self.space.value}"
        elif not torch.isfinite(self.vector).all() or not bool(self.vector.any()):
            problem = "its vector is zero or not finite"
        elif self.normal is not None and self.normal.shape != self.vector.shape:
            problem = f"its normal has the shape {tuple(self.normal.shape)}, its vector {tuple(self.vector.shape)}"
        elif self.rows is not None and self.space in (LatentSpace.Z, LatentSpace.S):
            problem = f"rows belong to w and w+, not to {self.space.value}"
        elif self.rows is not None and not self.rows:
            problem = "it acts on no rows"
        elif self.limits is not None and not self.limits[0] < self.limits[1]:
            problem = f"its limits {self.limits} are none"
        if problem is not None:
            raise DirectionError(f"direction {self.name!r}: {problem}")

    @property
    def reader(self) -> Tensor:
        """The normal, or what stands for it."""
        return self.vector / self.vector.square().sum() if self.normal is None else self.normal

    @torch.no_grad()
    def apply(self, inversion: Inversion, strength: Strength, *, generator: Generator | None = None, is_limited: bool = True) -> Inversion:
        """The inversion moved by `strength`; the argument stays as it is.

        strength: a number, or [N], one for each image. generator: needed where the latent must first be lowered, and to check
        that the direction fits; None = not. is_limited: stop at the limits, where the direction has any and its reading can be
        taken. Raises DirectionError for another model or a space that lies uphill.
        """
        latent = self.prepare(inversion, generator)
        asked = torch.as_tensor(strength, dtype=latent.value.dtype, device=latent.value.device).expand(len(latent))
        steps = self._limited(latent, asked, generator) if is_limited else asked
        moved = replace(latent, value=latent.value + self._moves(latent, steps, generator))
        notes = [
            self._note("apply", float(one)) | ({} if one == step else {"moved": round(float(step), 6)}) for one, step in zip(asked, steps)
        ]
        return noted(inversion, moved, notes)

    @torch.no_grad()
    def set(self, inversion: Inversion, strength: Strength, *, generator: Generator | None = None) -> Inversion:
        """The inversion moved to where it reads `strength`, whatever it read before: 0 is the average of the model's samples."""
        latent = self.prepare(inversion, generator)
        goals = torch.as_tensor(strength, dtype=latent.value.dtype, device=latent.value.device).expand(len(latent))
        moved = replace(latent, value=latent.value + self._moves(latent, goals - self._read(latent, generator), generator))
        return noted(inversion, moved, [self._note("set", float(goal)) for goal in goals])

    @torch.no_grad()
    def measure(self, inversion: Inversion | Latent, *, generator: Generator | None = None) -> Tensor:
        """[N]: the strength at which each image stands, 0 for the average sample. Of w+, the mean over the rows that it moves."""
        whole = inversion if isinstance(inversion, Inversion) else Inversion(inversion)
        return self._read(self.prepare(whole, generator), generator)

    def save(self, path: str | os.PathLike[str]) -> None:
        """One safetensors file, whole or not at all; see `direction_file`."""
        from invert.editing.direction_file import save_direction

        save_direction(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Direction:
        """A file of `save`. Published formats are read by `published.import_directions`. Raises DirectionError."""
        from invert.editing.direction_file import load_direction

        return load_direction(path)

    def reversed(self, name: str | None = None) -> Direction:
        """The other way. name: None = 'not <name>'."""
        normal = None if self.normal is None else -self.normal
        limits = None if self.limits is None else (-self.limits[1], -self.limits[0])
        return replace(self, name=name or f"not {self.name}", vector=-self.vector, normal=normal, origin=-self.origin, limits=limits)

    def scaled(self, factor: float) -> Direction:
        """Strength 1 of the result is strength `factor` of this one."""
        if factor == 0:
            raise DirectionError(f"direction {self.name!r}: a factor of 0 leaves nothing")
        normal = None if self.normal is None else self.normal / factor
        low, high = sorted(limit / factor for limit in self.limits or (0.0, 0.0))
        limits = None if self.limits is None else (low, high)
        return replace(self, vector=self.vector * factor, normal=normal, origin=self.origin / factor, limits=limits)

    def for_model(self, model_sha256: str, model: str | None = None) -> Direction:
        """The same numbers for a related model, such as a fine-tuned child; the provenance keeps where they were found."""
        moved = {"found_in": {"model": self.model, "model_sha256": self.model_sha256}}
        return replace(self, model=model, model_sha256=model_sha256, provenance={**self.provenance, **moved})

    def check(self, generator: Generator, model_sha256: str | None = None) -> None:
        """Raises DirectionError when its shape or rows are not of this generator, or it was found in another model."""
        shape = self.space.shape(generator)
        if tuple(self.vector.shape) != shape:
            raise DirectionError(
                f"direction {self.name!r} has the shape {tuple(self.vector.shape)} in the space {self.space.value}; "
                f"this model takes {shape}; was it found in another model?"
            )
        if self.rows is not None and (self.rows[0] < 0 or self.rows[-1] >= generator.num_ws):
            raise DirectionError(
                f"direction {self.name!r} acts on the rows {describe_rows(self.rows)}; this model has 0 to {generator.num_ws - 1}"
            )
        if model_sha256 is not None and self.model_sha256 is not None and model_sha256 != self.model_sha256:
            raise DirectionError(
                f"direction {self.name!r} was found in {self.model or 'another model'} ({self.model_sha256[:12]}…), not in this one "
                f"({model_sha256[:12]}…); find it again with `invert directions find`, or say that the models are related (--related)"
            )

    def prepare(self, inversion: Inversion, generator: Generator | None) -> Latent:
        """The latent in the space where this direction acts, lowered if need be. Raises DirectionError."""
        known = inversion.metadata.get("model_sha256")
        if generator is not None:
            self.check(generator, known if isinstance(known, str) else None)
        elif isinstance(known, str) and self.model_sha256 is not None and known != self.model_sha256:
            raise DirectionError(
                f"direction {self.name!r} was found in {self.model or 'another model'} ({self.model_sha256[:12]}…), the inversion is of "
                f"{inversion.metadata.get('model', 'another')} ({known[:12]}…); find it again in that model"
            )
        latent = inversion.latent
        goal = LatentSpace.W_PLUS if self.rows is not None else self.space
        if self.space is LatentSpace.Z and latent.space is not LatentSpace.Z:
            raise DirectionError(
                f"direction {self.name!r} acts in z, the inversion lies in {latent.space.value}; project again with --space z, "
                "or find the direction in w"
            )
        if latent.space.depth >= goal.depth:
            if latent.space is LatentSpace.S and self.space is not LatentSpace.S and generator is None:
                raise DirectionError(f"direction {self.name!r} acts in {self.space.value}, the inversion lies in s: give the generator")
            return latent
        if generator is None:
            raise DirectionError(
                f"direction {self.name!r} acts in {goal.value}, the inversion lies in {latent.space.value}: give the generator"
            )
        return latent.to(generator.w_avg.device, generator.w_avg.dtype).lower(generator, to=goal)

    def _limited(self, latent: Latent, steps: Tensor, generator: Generator | None) -> Tensor:
        """The steps, shortened so that no reading leaves the limits; one that is beyond them already goes no further out."""
        if self.limits is None or (latent.space is LatentSpace.S and self.space is not LatentSpace.S):
            return steps
        start = self._read(latent, generator)
        low, high = self.limits
        goal = (start + steps).clamp(low, high)
        upwards, downwards = torch.maximum(start, goal), torch.minimum(start, goal)
        return torch.where(start + steps == goal, steps, torch.where(steps > 0, upwards, downwards) - start)

    def _moves(self, latent: Latent, steps: Tensor, generator: Generator | None) -> Tensor:
        """What each image's latent moves by, of the shape of its value. steps: [N]."""
        vector = self.vector.to(latent.value)
        if latent.space is self.space and self.rows is None:
            return steps.view(-1, *[1] * vector.ndim) * vector
        if latent.space is LatentSpace.W_PLUS:
            moves = torch.zeros_like(latent.value)
            rows = slice(None) if self.rows is None else list(self.rows)
            moves[:, rows] = steps.view(-1, 1, 1) * (vector if self.space is LatentSpace.W else vector[rows])
            return moves
        assert generator is not None  # styles follow ws linearly
        styles = style_move(self, generator)
        return steps[:, None] * styles.to(latent.value)

    def _read(self, latent: Latent, generator: Generator | None) -> Tensor:
        reader = self.reader.to(latent.value)
        if latent.space is self.space and self.space is not LatentSpace.W_PLUS:
            return latent.value @ reader - self.origin
        if latent.space is LatentSpace.W_PLUS:
            rows = slice(None) if self.rows is None else list(self.rows)
            if self.space is LatentSpace.W:
                return (latent.value[:, rows] @ reader).mean(dim=1) - self.origin
            return (latent.value * reader).sum(dim=(1, 2)) - self.origin
        raise DirectionError(
            f"direction {self.name!r} acts in {self.space.value}; where an inversion in s stands can only be read by a direction in s: "
            "use arithmetic.to_styles"
        )

    def _note(self, how: str, strength: float) -> dict[str, Any]:
        return {"step": how, "direction": self.name, "strength": round(strength, 6), "space": self.space.value,
                "rows": describe_rows(self.rows)}  # fmt: skip


@torch.no_grad()
def style_move(direction: Direction, generator: Generator) -> Tensor:
    """[sum(style_dims)]: what strength 1 of a w or w+ direction adds to the styles; exact, because the affine layers are affine."""
    direction.check(generator)
    if direction.space not in (LatentSpace.W, LatentSpace.W_PLUS):
        raise DirectionError(f"direction {direction.name!r} acts in {direction.space.value}; w and w+ can be carried over to s")
    vector = direction.vector.to(generator.w_avg)
    ws = torch.zeros(2, generator.num_ws, generator.w_dim, device=vector.device, dtype=vector.dtype)
    rows = slice(None) if direction.rows is None else list(direction.rows)
    ws[1, rows] = vector if direction.space is LatentSpace.W else vector[rows]
    styles = generator.synthesis.affine(ws)
    return styles[1] - styles[0]
