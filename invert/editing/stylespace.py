"""StyleSpace: single channels of s that move one attribute, or one region of the picture (Wu et al. 2021, Sec. 4 and 5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invert.editing.direction import Direction
from invert.editing.interfacegan import chosen_attributes
from invert.editing.labels import DEFAULT_LABELS, Counting, Labelled, Labels, draw, labelled, load_scorer
from invert.editing.layers import is_torgb, style_slices
from invert.editing.units import UNIT_SAMPLES
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.latent import LatentSpace
from stylegan_core.provenance import model_sha256
from stylegan_core.seeds import rng_from_seed

BATCH = 8
PROBES = 4  # random sign patterns per sample, whose gradients measure how much of the picture a channel moves
PROBE_STREAM = 13


@dataclass(frozen=True)
class Channels:
    """What every channel of s does for a standard deviation of its own; [S] each.

    effect: on what was asked for, signed. others: size of what it does elsewhere, in the same unit.
    """

    effect: Tensor
    others: Tensor

    def ranking(self) -> Tensor:
        """Channels, best first: by effect times its share of all that the channel does."""
        size = self.effect.abs()
        return (size * size / (size + self.others).clamp_min(1e-12)).argsort(descending=True)


@dataclass(frozen=True)
class StyleSpace:
    """attribute: to move (see `labels`), or mask: region [1, 1, H, W] in [0, 1] or a picture file; one of the two.

    num_components: channels to give. num_samples: pictures whose gradients are averaged; labels that cannot be differentiated
    (a table, a function of the user's) are compared between the tenths of samples at either end instead. use_torgb: channels that
    colour the picture count too.
    """

    attribute: str | None = None
    mask: Tensor | str | os.PathLike[str] | None = None
    labels: Labels = DEFAULT_LABELS
    num_components: int = 10
    num_samples: int = 32
    use_torgb: bool = False
    seed: int = 0

    def find(self, generator: Generator, *, callback: Counting | None = None) -> list[Direction]:
        """One direction for each channel, named LAYER:CHANNEL, best first. Raises UsageError."""
        if (self.attribute is None) == (self.mask is None):
            raise UsageError("method stylespace: give an attribute or a mask, one of the two")
        if self.num_components < 1 or self.num_samples < 2:
            raise UsageError(f"num_components {self.num_components} and num_samples {self.num_samples}: at least 1 and 2 are needed")
        centre, spread = style_statistics(generator, seed=self.seed)
        if self.mask is not None:
            channels = self._by_region(generator, spread, callback)
        else:
            channels = self._by_attribute(generator, self.attribute or "", centre, spread, callback)
        usable = torch.cat([torch.full((width,), self.use_torgb or not is_torgb(layer)) for layer, width in generator.style_dims.items()])
        order = [int(c) for c in channels.ranking() if bool(usable[c]) and float(spread[c]) > 0 and float(channels.effect[c]) != 0]
        goal = self.attribute or "region"
        found = []
        for rank, channel in enumerate(order[: self.num_components]):
            sign = 1.0 if self.attribute is None or float(channels.effect[channel]) > 0 else -1.0
            figures = {"effect": abs(float(channels.effect[channel])), "others": float(channels.others[channel])}
            notes = {"method": "stylespace", "goal": goal, "rank": rank, "samples": self.num_samples, "seed": self.seed, "figures": figures}
            found.append(_single(generator, channel, centre, spread, sign, notes))
        return found

    def _by_attribute(self, generator: Generator, attribute: str, centre: Tensor, spread: Tensor, callback: Counting | None) -> Channels:
        labels = self.labels
        if isinstance(labels, (str, os.PathLike)) and not os.fspath(labels).lower().endswith(".csv"):
            labels = load_scorer(os.fspath(labels), generator)
        if isinstance(labels, (Labelled, str, os.PathLike)) or not _is_differentiable(labels, generator, self.seed):
            data = labelled(labels, generator, num_samples=max(self.num_samples, 500), seed=self.seed, callback=callback)
            chosen_attributes(data, [attribute], ())
            return _between_ends(data.lowered(generator, LatentSpace.S), attribute, centre, spread)
        effects: dict[str, Tensor] = {}
        values: dict[str, list[Tensor]] = {}
        for styles, done in style_batches(generator, self.num_samples, self.seed):
            scores = labels(generator.synthesis.render(styles).clamp(-1, 1))
            if attribute not in scores:
                chosen_attributes(Labelled(draw(generator, 2), dict(scores), frozenset(), ""), [attribute], ())
            for name, value in scores.items():
                (slope,) = torch.autograd.grad(value.sum(), styles, retain_graph=True)
                effects[name] = effects.get(name, torch.zeros_like(spread)) + slope.sum(dim=0).cpu()
                values.setdefault(name, []).append(value.detach().cpu())
            if callback is not None and callback(done, self.num_samples) is False:
                break
        unit = {name: float(torch.cat(parts).std().clamp_min(1e-6)) for name, parts in values.items()}
        count = sum(len(part) for part in values[attribute])
        moved = {name: effect * spread / (unit[name] * count) for name, effect in effects.items()}
        others = torch.stack([effect.abs() for name, effect in moved.items() if name != attribute] or [torch.zeros_like(spread)])
        return Channels(moved[attribute], others.sum(dim=0))

    def _by_region(self, generator: Generator, spread: Tensor, callback: Counting | None) -> Channels:
        mask = load_region(self.mask, generator)  # type: ignore[arg-type]
        inside, outside = torch.zeros_like(spread), torch.zeros_like(spread)
        for styles, done in style_batches(generator, self.num_samples, self.seed):
            images = generator.synthesis.render(styles)
            for probe in range(PROBES):
                rng = rng_from_seed(self.seed, done, probe, PROBE_STREAM)
                signs = (torch.randint(0, 2, images.shape, generator=rng) * 2 - 1).to(images)
                for region, total in ((mask, inside), (1 - mask, outside)):
                    (slope,) = torch.autograd.grad((images * signs * region).sum(), styles, retain_graph=True)
                    total += (slope.cpu() * spread).square().sum(dim=0)
            if callback is not None and callback(done, self.num_samples) is False:
                break
        return Channels((inside / (PROBES * self.num_samples)).sqrt(), (outside / (PROBES * self.num_samples)).sqrt())


def channel_direction(generator: Generator, layer: str, channel: int, *, model: str | None = None) -> Direction:
    """A single channel of s as a direction, strength 1 its standard deviation over samples. Raises UsageError."""
    slices = style_slices(generator)
    if layer not in slices:
        raise UsageError(f"layer {layer!r}: this model has {', '.join(slices)}")
    part = slices[layer]
    if not 0 <= channel < part.stop - part.start:
        raise UsageError(f"channel {channel} of {layer}: it has the channels 0 to {part.stop - part.start - 1}")
    centre, spread = style_statistics(generator)
    if not float(spread[part.start + channel]) > 0:
        raise UsageError(f"channel {channel} of {layer}: it is the same for all samples of this model")
    return _single(generator, part.start + channel, centre, spread, 1.0, {"method": "stylespace"}, model)


@torch.no_grad()
def style_statistics(generator: Generator, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(mean [S], standard deviation [S]) of the styles of samples, on the CPU."""
    styles = draw(generator, UNIT_SAMPLES, seed=seed, space=LatentSpace.S).value
    return styles.mean(dim=0).cpu(), styles.std(dim=0).cpu()


def load_region(mask: Tensor | str | os.PathLike[str], generator: Generator) -> Tensor:
    """[1, 1, *img_shape] on the generator's device. Raises UsageError for an empty mask or one of another shape, ImageError."""
    from stylegan_core.images import load_mask, resize

    region = mask if isinstance(mask, Tensor) else load_mask(mask)
    if region.ndim != 4 or region.shape[:2] != (1, 1):
        raise UsageError(f"a mask of the shape {tuple(region.shape)}; [1, 1, H, W] in [0, 1] is needed")
    if not bool((region > 0).any()):
        raise UsageError("the mask is empty: it is 0 everywhere")
    if tuple(region.shape[2:]) != tuple(generator.img_shape):
        region = resize(region, generator.img_shape).clamp(0, 1)
    return region.to(generator.w_avg)


def _single(
    generator: Generator, channel: int, centre: Tensor, spread: Tensor, sign: float, notes: dict[str, Any], model: str | None = None
) -> Direction:
    layer, part = next((layer, part) for layer, part in style_slices(generator).items() if part.start <= channel < part.stop)
    vector = torch.zeros_like(spread)
    vector[channel] = sign * spread[channel]
    sha256 = model_sha256(generator)  # type: ignore[arg-type]
    origin = sign * float(centre[channel] / spread[channel])
    return Direction(
        f"{layer}:{channel - part.start}", LatentSpace.S, vector, origin=origin, model=model, model_sha256=sha256, provenance=notes
    )


def style_batches(generator: Generator, count: int, seed: int) -> Iterator[tuple[Tensor, int]]:
    """(styles [n, S] that want gradients, how many by now)."""
    with torch.no_grad():
        styles = draw(generator, count, seed=seed, space=LatentSpace.S).value
    for first in range(0, count, BATCH):
        part = styles[first : first + BATCH].detach().clone().requires_grad_()
        yield part, first + len(part)


def _is_differentiable(scorer: Any, generator: Generator, seed: int) -> bool:
    styles, _ = next(style_batches(generator, 2, seed))
    scores = scorer(generator.synthesis.render(styles).clamp(-1, 1))
    return all(isinstance(value, Tensor) and value.requires_grad for value in scores.values())


def _between_ends(data: Labelled, attribute: str, centre: Tensor, spread: Tensor) -> Channels:
    """Normalised styles of the samples that have it against those that do not: mean difference over spread (StyleSpace Sec. 5)."""
    score = data.scores[attribute]
    low, high = (0.5, 0.5) if attribute in data.binary else (float(score.quantile(0.1)), float(score.quantile(0.9)))
    has, lacks = score >= high if attribute not in data.binary else score > high, score <= low
    if min(int(has.sum()), int(lacks.sum())) < 2:
        raise UsageError(f"attribute {attribute!r}: of {len(score)} samples {int(has.sum())} have it; two on either side are needed")
    white = (data.latent.value.cpu() - centre) / spread.clamp_min(1e-12)
    difference = white[has].mean(dim=0) - white[lacks].mean(dim=0)
    within = (white[has].std(dim=0) + white[lacks].std(dim=0)) / 2
    return Channels(torch.where(spread > 0, difference / within.clamp_min(1e-3), torch.zeros_like(difference)), torch.zeros_like(spread))
