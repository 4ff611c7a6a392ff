"""GANSpace: principal components of w, or of a layer's activations carried back to w (Härkönen et al. 2020, Sec. 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from invert.editing.direction import Direction
from invert.editing.labels import BATCH_PIXELS, Counting, draw
from invert.editing.layers import describe_rows, parse_rows
from invert.editing.sefa import principal_directions
from invert.editing.units import unit_direction
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.latent import Latent
from stylegan_core.provenance import model_sha256

SPARE = 10  # components beyond those wanted that an incremental decomposition carries along


@dataclass(frozen=True)
class GANSpace:
    """layer: None = PCA of w; else the module of the synthesis network whose output is decomposed, such as b16 or b16.conv0.

    num_components: how many directions. rows: on which they act; None = all (the paper's layer-wise edits). num_samples, seed: of
    the mapping. Activations are decomposed incrementally, so that they are never all in memory.
    """

    layer: str | None = None
    num_components: int = 10
    rows: str | tuple[int, ...] | None = None
    num_samples: int = 10_000
    seed: int = 0

    def find(self, generator: Generator, *, callback: Counting | None = None) -> list[Direction]:
        """pca-0, pca-1, … in the order of their variance. Raises UsageError for a layer that the generator does not have."""
        if self.num_components < 1:
            raise UsageError(f"num_components {self.num_components}: a whole number from 1 is allowed")
        rows = parse_rows(self.rows, generator)
        latent = draw(generator, self.num_samples, seed=self.seed, space="w")
        if self.layer is None:
            pca = IncrementalPCA(latent.value.shape[1])
            pca.add(latent.value)
            vectors, found = pca.components(self.num_components), pca
        else:
            vectors, found = self._carried_back(generator, latent, callback)
        facts: dict[str, Any] = {"model_sha256": model_sha256(generator), "rows": rows}  # type: ignore[arg-type]
        shares = found.explained_variance_ratio
        directions = []
        for k, vector in enumerate(vectors[: self.num_components]):
            notes = {"method": "ganspace", "layer": self.layer, "rows": describe_rows(rows), "component": k, "samples": self.num_samples,
                     "seed": self.seed, "figures": {"explained_variance": float(shares[k])}}  # fmt: skip
            directions.append(unit_direction(f"pca-{k}", vector, latent, provenance=notes, **facts))
        return directions

    def _carried_back(self, generator: Generator, latent: Latent, callback: Counting | None) -> tuple[Tensor, IncrementalPCA]:
        """([K, w_dim], PCA of the activations): the steps in w that best explain the coordinates (GANSpace Eq. 3), unit length."""
        pca: IncrementalPCA | None = None
        done = 0
        for part, activations in self._activations(generator, latent):
            pca = pca or IncrementalPCA(activations.shape[1], keep=self.num_components + SPARE)
            pca.add(activations)
            done += len(part)
            if callback is not None and callback(done, 2 * len(latent)) is False:
                break
        assert pca is not None
        axes = pca.components(self.num_components)
        own = torch.zeros(len(axes), len(axes), dtype=torch.float64)
        together = torch.zeros(len(axes), latent.value.shape[1], dtype=torch.float64)
        centre = latent.value.double().mean(dim=0).cpu()
        for part, activations in self._activations(generator, latent[slice(0, done)]):
            coordinates = (activations.double().cpu() - pca.mean) @ axes.T
            own += coordinates.T @ coordinates
            together += coordinates.T @ (part.double().cpu() - centre)
            if callback is not None and callback(done + len(part), 2 * len(latent)) is False:
                break
        steps = torch.linalg.lstsq(own, together, driver="gelsd").solution
        return steps / steps.norm(dim=1, keepdim=True).clamp_min(1e-12), pca

    @torch.no_grad()
    def _activations(self, generator: Generator, latent: Latent) -> Iterator[tuple[Tensor, Tensor]]:
        """(w [n, w_dim], activations [n, D]) in batches."""
        step = max(1, BATCH_PIXELS // generator.img_resolution**2)
        for first in range(0, len(latent), step):
            part = latent[slice(first, first + step)]
            yield part.value, activations_of(generator, part, self.layer or "").flatten(1)


@torch.no_grad()
def activations_of(generator: Generator, latent: Latent, layer: str) -> Tensor:
    """[N, …]: what a module of the synthesis network gives for these latents; the first tensor where it gives several."""
    synthesis: Any = generator.synthesis
    modules = dict(synthesis.named_modules())
    if layer not in modules or not layer:
        names = [name for name in modules if name and name.count(".") < 2]
        raise UsageError(f"layer {layer!r}: this model's synthesis network has {', '.join(names[:12])}, …")
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.append(output if isinstance(output, Tensor) else next(part for part in output if isinstance(part, Tensor)))

    handle = modules[layer].register_forward_hook(keep)
    try:
        latent.render(generator)
    finally:
        handle.remove()
    if not seen:
        raise UsageError(f"layer {layer!r}: it is not called as a module of its own; take the block around it")
    return seen[-1]


@dataclass
class IncrementalPCA:
    """Principal components of data that come in parts. keep: None = exact, by the covariance; else the rank that is carried along,
    by the sequential singular value decomposition (Ross et al. 2008), for data too wide for a covariance."""

    width: int
    keep: int | None = None
    count: int = 0
    mean: Tensor = field(init=False)
    _scatter: Tensor = field(init=False)  # [width, width], or [rank, width]: singular values times vectors
    _total: float = 0.0

    def __post_init__(self) -> None:
        self.mean = torch.zeros(self.width, dtype=torch.float64)
        self._scatter = torch.zeros(self.width if self.keep is None else 0, self.width, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """rows: [n, width]."""
        x = rows.detach().double().cpu()
        n, before = len(x), self.count
        own = x.mean(dim=0)
        shift = own - self.mean
        between = before * n / (before + n)
        centred = x - own
        if self.keep is None:
            self._scatter += centred.T @ centred + between * torch.outer(shift, shift)
        else:
            stacked = torch.cat([self._scatter, centred, between**0.5 * shift[None]])
            values, vectors = _right_singular(stacked)
            self._scatter = (values[:, None] * vectors)[: self.keep]
        self._total += float(centred.square().sum() + between * shift.square().sum())
        self.mean = self.mean + shift * (n / (before + n))
        self.count += n

    @property
    def variances(self) -> Tensor:
        """Of every component, largest first."""
        return self._decomposed()[0].square() / max(1, self.count - 1)

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Share of the whole variance that each component has."""
        return self._decomposed()[0].square() / max(self._total, 1e-30)

    def components(self, count: int) -> Tensor:
        """[count, width]: unit vectors, largest variance first, of fixed sign."""
        return self._decomposed()[1][:count]

    def _decomposed(self) -> tuple[Tensor, Tensor]:
        if self.keep is None:
            values, vectors = torch.linalg.eigh(self._scatter)
            rows = vectors.flip(1).T
            peak = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
            return values.flip(0).clamp_min(0).sqrt(), rows * torch.where(peak < 0, -1.0, 1.0)
        return principal_directions(self._scatter)


def _right_singular(rows: Tensor) -> tuple[Tensor, Tensor]:
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    return values, vectors
