"""Pivotal tuning (PTI, Roich et al. 2022): the latent stays, the generator's weights move until the picture is right.

The result is a packed change of the weights, in the inversion. It is packed before anything is rendered or measured, so that
a file renders the picture that its figures are of, and it can be tried on relatives of the model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from invert.projectors.base import quality
from invert.projectors.measures import load_measure
from invert.projectors.project import PresetProjector
from invert.projectors.samples import WSamples
from stylegan_core.errors import LatentError, UsageError
from stylegan_core.generator import Generator, place_of
from stylegan_core.inversion import Inversion, merged
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import FeatureDistance, distance, distance_to, shrink
from stylegan_core.losses.pixel import check_target, mean_square
from stylegan_core.progress import Callback, StepInfo
from stylegan_core.provenance import version
from stylegan_core.seeds import rng_from_seed
from stylegan_core.weight_deltas import call_with, num_bytes, packed

LOCALITY_STREAM = 4  # beside the streams of projectors.start
LOCALITY_PSI = 0.5   # truncation of the samples that mark the way (PTI Sec. 3.3)
LARGEST_SIDE = 256
PARTS = ("all", "convolutions")
PUBLISHED_LR = 3e-4  # PTI Sec. 4
SMALL_LR = 3e-3      # ours, for pictures whose longer side is below
SMALL_SIDE = 256


@dataclass(frozen=True)
class PivotalTuning:
    """Hyper-parameters (PTI Sec. 4) and their loop.

    lr: None = the paper's, or SMALL_LR for pictures below SMALL_SIDE.
    perceptual, pixel: weights (PTI Eq. 1). locality: weight of the regulariser that holds pictures near the pivot as they were;
    0 = off (PTI Eq. 4 and 5). radius: how far from the pivot it looks, in spreads of W. locality_every: steps. stop_below: an image
    is finished when its perceptual distance is below this; 0 = never. parts: 'all' of the synthesis, or 'convolutions'. pack:
    int8, low-rank:N, or none. is_shared: one change of the weights for all images instead of one for each (PTI Sec. 4.4).
    """

    steps: int = 350
    lr: float | None = None
    perceptual: float = 1.0
    pixel: float = 1.0
    locality: float = 0.1
    radius: float = 1.0
    locality_every: int = 1
    stop_below: float = 0.0
    parts: str = "all"
    pack: str = "int8"
    is_shared: bool = False
    seed: int = 0
    measure: str | FeatureDistance = "auto"

    def validate(self) -> PivotalTuning:
        """Returns self; raises UsageError before the first step."""
        if self.steps < 1 or self.locality_every < 1:
            raise UsageError(f"steps {self.steps}, locality_every {self.locality_every}: whole numbers from 1 are allowed")
        if (self.lr is not None and not self.lr > 0) or not self.radius > 0:
            raise UsageError(f"lr {self.lr}, radius {self.radius}: numbers above 0 are allowed")
        for name in ("perceptual", "pixel", "locality", "stop_below"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} {getattr(self, name)}: it is 0 or more")
        if self.parts not in PARTS:
            raise UsageError(f"parts {self.parts!r}: one of {', '.join(PARTS)} is allowed")
        if self.pack != "none":
            packed({}, self.pack)
        return self

    def lr_for(self, generator: Generator) -> float:
        """The rate that was given, or that suits the size of the pictures."""
        if self.lr is not None:
            return self.lr
        return SMALL_LR if max(generator.img_shape) < SMALL_SIDE else PUBLISHED_LR

    def project(self, target: Tensor, generator: Generator, *, mask: Tensor | None = None, start: Inversion | None = None,
                callback: Callback | None = None) -> Inversion:
        """target: [N, C, H, W] in [-1, 1]. start: the pivots, N images of any space; None = projections into W by `fast`."""
        self.validate()
        check_target(target, mask)
        device, dtype = place_of(generator)
        target = target.to(device, dtype)
        mask = None if mask is None else mask.to(device, dtype)
        if start is None:
            start = PresetProjector(space="w", perceptual=self.measure, seed=self.seed).project(target, generator, mask=mask)
        if len(start) != len(target):
            raise LatentError(f"the start has {len(start)} images, the targets are {len(target)}; give one pivot for each")
        if start.weight_deltas:
            raise UsageError("the start changes the generator's weights already; tune one without")
        start = start.to(device, dtype)
        measure = self.measure if not isinstance(self.measure, str) else load_measure(self.measure, generator)
        groups = [range(len(target))] if self.is_shared else [range(i, i + 1) for i in range(len(target))]
        results: list[Inversion] = []
        for group in groups:
            rows = slice(group[0], group[-1] + 1)
            pivots = Inversion.cat([start[i] for i in group])
            results.append(self._tune(target[rows], None if mask is None else mask[rows], pivots, generator, measure, callback))
        return Inversion.cat(results)

    def _tune(self, target: Tensor, mask: Tensor | None, pivots: Inversion, generator: Generator, measure: FeatureDistance,
              callback: Callback | None) -> Inversion:
        """One change of the weights for these images together."""
        parameters: dict[str, Tensor] = dict(generator.named_parameters())  # type: ignore[attr-defined]
        moving = {name: torch.zeros_like(value).requires_grad_() for name, value in parameters.items() if self.is_moving(name, value)}
        adam = torch.optim.Adam(moving.values(), lr=self.lr_for(generator))
        measured = distance_to(measure, target, mask, largest_side=LARGEST_SIDE)
        locality = Locality(self, generator, pivots.latent, measure)
        begun, step = time.monotonic(), 0
        for step in range(1, self.steps + 1):
            # Render and compare.
            images = call_with(generator, moving, lambda tuned: pivots.latent.render(tuned, noise=pivots.noise))
            parts = {"perceptual": measured(images), "pixel": mean_square(images, target, mask)}
            loss = self.perceptual * parts["perceptual"] + self.pixel * parts["pixel"]
            if self.stop_below and bool((parts["perceptual"] < self.stop_below).all()):
                break

            # Hold what is near.
            total = loss.sum()
            if self.locality and (step - 1) % self.locality_every == 0:
                parts["locality"] = locality(moving, step)
                total = total + self.locality * parts["locality"].sum()
            adam.zero_grad(set_to_none=True)
            total.backward(inputs=list(moving.values()))
            adam.step()

            if callback is not None:
                values = {name: value.detach() for name, value in parts.items()}
                info = StepInfo(step, self.steps, loss.detach(), values, quality(images.detach(), target, mask), time.monotonic() - begun,
                                images.detach())
                if callback(info) is False:
                    break
        return self._inversion({name: value.detach() for name, value in moving.items()}, target, mask, pivots, generator, measure, step)

    def is_moving(self, name: str, value: Tensor) -> bool:
        """Whether this parameter is tuned: what the picture of a w depends on."""
        is_synthesis = name.startswith("synthesis.")
        return is_synthesis and (self.parts == "all" or (value.ndim == 4 and "torgb" not in name))

    @torch.no_grad()
    def _inversion(self, change: Mapping[str, Tensor], target: Tensor, mask: Tensor | None, pivots: Inversion, generator: Generator,
                   measure: FeatureDistance, steps: int) -> Inversion:
        """Packed, then rendered, then measured."""
        single = {name: value[None] for name, value in change.items() if bool(value.any())}
        deltas: dict[str, Any] = dict(single if self.pack == "none" else packed(single, self.pack))
        inversions = [replace(pivots[i], weight_deltas=deltas) for i in range(len(pivots))]
        before = quality(pivots.render(generator), target, mask)
        images = torch.cat([inversion.render(generator) for inversion in inversions])
        psnr = quality(images, target, mask)
        perceptual = distance_to(measure, target, mask, largest_side=LARGEST_SIDE)(images)
        facts = [
            {
                **pivots.facts(i),
                "preset": "pivotal",
                "effective": {**asdict(replace(self, measure=measure.name)), "pivot": pivots.facts(i).get("preset")},
                "seed": self.seed,
                "steps": steps,
                "model_sha256": WSamples.of(generator).sha256,
                "version": version(),
                "perceptual": {"name": measure.name, "value": float(perceptual[i])},
                "psnr": float(psnr[i]),
                "psnr_pivot": float(before[i]),
                "delta_bytes": num_bytes(deltas),
                "advice": None,
            }
            for i in range(len(images))
        ]
        each = [replace(inversion, metadata=merged([facts[i]])) for i, inversion in enumerate(inversions)]
        return Inversion.cat(each)


@dataclass(frozen=True)
class Locality:
    """How much pictures near the pivots change: at w_p + r·(w_z - w_p)/‖w_z - w_p‖ (PTI Eq. 4), one sample for each pivot."""

    tuning: PivotalTuning
    generator: Generator
    pivots: Latent
    measure: FeatureDistance

    def __call__(self, moving: Mapping[str, Tensor], step: int) -> Tensor:
        """[N]: perceptual distance and mean square, without noise (PTI Eq. 5). moving: the change of the weights."""
        latent = self._near(step)
        with torch.no_grad():
            before = latent.render(self.generator, noise_mode="none")
            kept = self.measure.features(shrink(before, LARGEST_SIDE))
        after = call_with(self.generator, moving, lambda tuned: latent.render(tuned, noise_mode="none"))
        return distance(self.measure.features(shrink(after, LARGEST_SIDE)), kept) + mean_square(after, before)

    @torch.no_grad()
    def _near(self, step: int) -> Latent:
        samples = WSamples.of(self.generator)
        rng = rng_from_seed(self.tuning.seed, LOCALITY_STREAM, step)
        row = int(torch.randint(len(samples.w), [], generator=rng))
        wanted = LatentSpace.S if self.pivots.space is LatentSpace.S else LatentSpace.W_PLUS
        towards = Latent(samples.mean.lerp(samples.w[row], LOCALITY_PSI)[None], LatentSpace.W).lower(self.generator, to=wanted)
        pivots = self.pivots.lower(self.generator, to=wanted)
        way = towards.value - pivots.value
        if wanted is LatentSpace.S:  # no unit of its own: half of the way
            return replace(pivots, value=pivots.value + 0.5 * way, c=None)
        length = way.norm(dim=2, keepdim=True).clamp_min(1e-8)  # row by row, so that W+ and W are alike
        return replace(pivots, value=pivots.value + self.tuning.radius * samples.spread * way / length, c=None)
