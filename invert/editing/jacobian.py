"""The generator's own Jacobian: the steps of a latent that change the picture most at one place (after Ramesh et al. 2018)."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from invert.editing.direction import Direction
from invert.editing.labels import Counting, draw
from invert.editing.sefa import principal_directions
from invert.editing.stylespace import load_region
from invert.editing.units import UNIT_SAMPLES, unit_direction
from invert.projectors.gauss_newton import jacobian
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import shrink
from stylegan_core.provenance import model_sha256

LARGEST_SIDE = 64  # pictures are shrunk to this before they are differentiated


@dataclass(frozen=True)
class Jacobian:
    """inversion: where to look, one image, or its file; None = the average picture. space: w or z.

    mask: only what changes there counts, [1, 1, H, W] or a picture file; None = everywhere. num_components: how many.
    """

    inversion: Inversion | str | os.PathLike[str] | None = None
    space: str = "w"
    mask: Tensor | str | os.PathLike[str] | None = None
    num_components: int = 10
    seed: int = 0

    def find(self, generator: Generator, *, callback: Counting | None = None) -> list[Direction]:
        """local-0, local-1, …: right singular vectors of d picture / d latent, largest first."""
        space = LatentSpace.parse(self.space)
        if space not in (LatentSpace.Z, LatentSpace.W) or self.num_components < 1:
            raise UsageError(f"method jacobian: space {space.value} is z or w, num_components {self.num_components} is 1 or more")
        place, noise = self._place(generator, space)
        region = None if self.mask is None else load_region(self.mask, generator)

        def picture(value: Tensor) -> Tensor:
            c = None if place.c is None else place.c.expand(len(value), -1)
            maps = {name: one.expand(len(value), -1, -1, -1) for name, one in noise.items()}
            images = replace(place, value=value, c=c).render(generator, noise=maps or None)
            return shrink(images if region is None else images * region, LARGEST_SIDE).flatten(1)

        with torch.no_grad():
            columns = jacobian(picture, place.value, generator.img_resolution)  # [D, pixels]
        values, vectors = principal_directions(columns.double().cpu().T)
        latent = draw(generator, UNIT_SAMPLES, seed=self.seed, space=space)
        shares = values.square() / values.square().sum().clamp_min(1e-30)
        facts: dict[str, Any] = {"model_sha256": model_sha256(generator)}  # type: ignore[arg-type]
        found = []
        for k in range(min(self.num_components, len(vectors))):
            if not float(values[k]) > 0:
                break
            notes = {"method": "jacobian", "component": k, "is_masked": region is not None,
                     "figures": {"singular_value": float(values[k]), "share": float(shares[k])}}  # fmt: skip
            found.append(unit_direction(f"local-{k}", vectors[k], latent, provenance=notes, **facts))
            if callback is not None and callback(k + 1, self.num_components) is False:
                break
        return found

    def _place(self, generator: Generator, space: LatentSpace) -> tuple[Latent, dict[str, Tensor]]:
        """The latent at which to differentiate, [1, D], and its noise maps."""
        if self.inversion is None:
            c = None
            if generator.c_dim:
                c = torch.full((1, generator.c_dim), 1 / generator.c_dim).to(generator.w_avg)
            if space is LatentSpace.Z:
                z = draw(generator, 2, seed=self.seed)[0]
                return replace(z, c=c), {}  # the mapping normalises z, so its centre has no Jacobian
            return Latent(space.centre(generator), space, c), {}
        inversion = self.inversion if isinstance(self.inversion, Inversion) else Inversion.load(self.inversion)
        if len(inversion) != 1:
            raise UsageError(f"method jacobian: one inversion is needed, not {len(inversion)}")
        latent = inversion.latent.to(generator.w_avg.device, generator.w_avg.dtype)
        if latent.space is LatentSpace.W_PLUS and space is LatentSpace.W:
            latent = latent.mean_row()
        noise = {name: value.to(generator.w_avg) for name, value in inversion.noise.items()}
        return latent.lower(generator, to=space), noise
