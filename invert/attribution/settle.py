"""Before noise is fitted: where each picture lies in the frame, its w, how soft it is, and whether the stored noise is in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from invert.attribution.channel import GREY, Channel
from invert.attribution.fit import Effort, Search, guessed, run_w, search
from invert.attribution.groundwork import Groundwork
from invert.attribution.laundering import Laundering, spectrum_of
from invert.attribution.registration import SMALLEST_OVERLAP, Placement, channel_of, hypotheses, refined
from stylegan_core.images import to_rgb
from stylegan_core.latent import Latent, LatentSpace

Picture = tuple[Tensor, Laundering]
TRIAL_STEPS, SECOND_STEPS = 10, 15  # of every placement, and again of the best ones where the picture is not simply whole
TRIAL_SPREAD = 24 * GREY  # forgiving: a wrong placement then costs more than an unlikely w
KEPT = 3  # placements of a picture that are tried again, the best upright and the best mirrored one among them
PLAIN, UPRIGHT = 0.8, 0.6  # by how much another placement than the plainest, and a mirrored one, must fit better
SIGHT, LEAST_LIKELY = 8.0, -3.0  # how much the likelihood of what is seen counts beside the fit; no less than that is told apart
MOVED_PX = 0.4  # of the picture: less is no move
BLURS = (0.0, 0.5, 0.8, 1.2)  # pixels of the picture
GAIN = 0.9  # blur must lessen the difference by this factor
SOFTER = 0.1  # logarithm to base 10: by how much a blurred picture must have less detail than its render
FLAT = (4 * GREY) ** 2


@dataclass(frozen=True)
class Settled:
    """N pictures where noise may begin. channel: with the blur of each. v: [N, w_dim] white w, curve: see `Fit`. is_const: [N]."""

    channel: Channel
    placements: list[Placement]
    blurs: list[float]
    is_const: Tensor
    v: Tensor
    curve: Tensor
    searched: Search


@dataclass(frozen=True)
class Trial:
    """One placement of picture `owner`. v: [w_dim] where its search stands. misfit: after it. price: of not being plain."""

    owner: int
    placement: Placement
    price: float
    v: Tensor | None = None
    misfit: float = 0.0

    @property
    def standing(self) -> float:
        """The smaller the better."""
        return self.misfit * self.price * math.exp(-SIGHT * max(self.placement.likelihood, LEAST_LIKELY))


def settle(pictures: Sequence[Picture], ground: Groundwork, effort: Effort) -> Settled:
    """pictures: ([1, 3, h, w] as read, what was done to it) each. All of them are one batch."""
    shape, like = ground.generator.img_shape, ground.samples.w
    placed = _placed([pixels for pixels, _ in pictures], ground, effort)
    channel = Channel.cat([channel_of(*picture, trial.placement, shape) for picture, trial in zip(pictures, placed)]).to(like)
    starts = torch.stack([trial.v for trial in placed if trial.v is not None])[:, None]
    if effort.starts > 1:
        starts = torch.cat([starts, guessed(channel, ground, effort.starts - 1)[:, 1:]], dim=1)
    glance = search(channel, ground, starts, effort.first_steps, effort.search_spread)
    searched = search(channel, ground, glance.best(effort.kept), effort.search_steps, effort.search_spread)
    renders = [render.cpu() for render in rendered(searched.v, ground)[0][:, None]]
    places = [_settled(trial.placement, pixels, render) for trial, (pixels, _), render in zip(placed, pictures, renders)]
    channel = Channel.cat([channel_of(*picture, placement, shape) for picture, placement in zip(pictures, places)]).to(like)
    found = run_w(channel, ground, searched.v, _has_stored(channel, searched.v, ground), effort.w_steps, effort.w_spread)
    is_const = _has_stored(channel, found.v, ground)
    silent, stored = rendered(found.v, ground)
    shown = torch.where(is_const[:, None, None, None], stored, silent)
    blurs = [_softness(picture, placement, shape, shown[i : i + 1], stored[i : i + 1])
             for i, (picture, placement) in enumerate(zip(pictures, places))]  # fmt: skip
    parts = [channel_of(*picture, placement, shape, blur) for picture, placement, blur in zip(pictures, places, blurs)]
    curve = torch.cat([glance.curve, searched.curve, found.curve])
    return Settled(Channel.cat(parts).to(like), places, blurs, is_const, found.v, curve, searched)


def _placed(pixels: Sequence[Tensor], ground: Groundwork, effort: Effort) -> list[Trial]:
    """The placement of each picture that fits best, the plainest one where others are hardly better."""
    trials = []
    for i, picture in enumerate(pixels):
        found = hypotheses(picture, ground)
        for placement in found:
            price = (1.0 if placement.kind == found[0].kind else 1 / PLAIN) * (1 / UPRIGHT if placement.is_mirrored else 1.0)
            trials.append(Trial(i, placement, price))
    tried = _tried(trials, pixels, ground, TRIAL_STEPS, TRIAL_SPREAD)
    counts = [sum(trial.owner == i for trial in tried) for i in range(len(pixels))]
    again = [trial for i, count in enumerate(counts) if count > 2 for trial in _kept(tried, i)]
    if again:
        again = _tried(again, pixels, ground, SECOND_STEPS, effort.search_spread)
    return [_best(again if count > 2 else tried, i, 1)[0] for i, count in enumerate(counts)]


def _kept(trials: Sequence[Trial], owner: int) -> list[Trial]:
    ranked = _best(trials, owner, len(trials))
    sides = [next(trial for trial in ranked if trial.placement.is_mirrored is side) for side in (False, True)]
    kept = sides + [trial for trial in ranked if all(trial is not other for other in sides)][: KEPT - 2]
    if ranked[0].placement.kind == "native":  # the place is known to a pixel or two
        left, top, right, bottom = ranked[0].placement.frame
        for x, y in [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]:
            kept.append(replace(ranked[0], placement=replace(ranked[0].placement, frame=(left + x, top + y, right + x, bottom + y))))
    return kept


def _best(trials: Sequence[Trial], owner: int, count: int) -> list[Trial]:
    return sorted((trial for trial in trials if trial.owner == owner), key=lambda trial: trial.standing)[:count]


def _tried(trials: Sequence[Trial], pixels: Sequence[Tensor], ground: Groundwork, num_steps: int, spread: float) -> list[Trial]:
    """The trials after steps in W, from where each stands, or from the regression's guess."""
    shape, like = ground.generator.img_shape, ground.samples.w
    channel = Channel.cat([channel_of(pixels[trial.owner], None, trial.placement, shape) for trial in trials]).to(like)
    guess = guessed(channel, ground)[:, 0]
    starts = torch.stack([guess[row] if trial.v is None else trial.v for row, trial in enumerate(trials)])
    found = search(channel, ground, starts[:, None], num_steps, spread)
    misfit = 2 * found.values[:, 0] * spread**2 / channel.num_values / (_variance(channel) + FLAT)
    misfit = misfit / channel.mask.mean(dim=(1, 2, 3)).clamp_min(1e-3).sqrt()  # the less is compared, the easier it fits
    return [replace(trial, v=found.ends[row, 0], misfit=float(misfit[row])) for row, trial in enumerate(trials)]


def _has_stored(channel: Channel, v: Tensor, ground: Groundwork) -> Tensor:
    """[N]: whether the stored noise leaves less of a difference than none."""
    gaps = [channel.whitened(render).square().sum(dim=(1, 2, 3)) for render in rendered(v, ground)]
    return gaps[1] < gaps[0]


def _settled(placement: Placement, pixels: Tensor, render: Tensor) -> Placement:
    """The placement after the search, moved where the picture lies clearly better elsewhere."""
    shape = (render.shape[2], render.shape[3])
    new = refined(placement, pixels, render)
    move = max(abs(a - b) for a, b in zip(new.frame, placement.frame))
    if move < MOVED_PX * max(1.0, placement.scale(shape)) or new.overlap(pixels) < SMALLEST_OVERLAP:
        return placement
    if not _is_nearer(new, placement, pixels, render):
        return placement
    return replace(new, kind="placed" if placement.kind in ("whole", "centre") else placement.kind)


def _is_nearer(new: Placement, old: Placement, pixels: Tensor, render: Tensor) -> bool:
    """Whether the render lies clearly better on the picture in the new place."""
    gaps = []
    for placement in (new, old):
        channel = channel_of(pixels, None, placement, (render.shape[2], render.shape[3]))
        shown = float(channel.mask.mean())
        gaps.append(float(channel.difference(render).square().sum() / channel.num_values.clamp_min(1)) / max(shown, 1e-3) ** 0.5)
    return gaps[0] < PLAIN * gaps[1]


def _softness(picture: Picture, placement: Placement, shape: tuple[int, int], render: Tensor, noisy: Tensor) -> float:
    """The blur that leaves the smallest difference; 0 where it hardly lessens it, or where the picture is as sharp as a render with
    noise, so that it is only another one.
    """
    channel = channel_of(*picture, placement, shape).to(render)
    height, width = (int(channel.mask[0, 0].amax(dim=axis).sum()) for axis in (1, 0))
    seen, shown = (spectrum_of(x[:, :, :height, :width].cpu())[0] for x in (channel.target, channel.shown(noisy).clamp(-1, 1)))
    if seen > shown - SOFTER:
        return 0.0
    best, found = float("inf"), 0.0
    for blur in BLURS:
        gap = float(channel_of(*picture, placement, shape, blur).to(render).whitened(render).square().sum())
        if gap < best * (GAIN if blur else 1.0):
            best, found = gap, blur
    return found


def rendered(v: Tensor, ground: Groundwork) -> tuple[Tensor, Tensor]:
    """([N, 3, H, W] without noise, the same with the stored noise)."""
    with torch.no_grad():
        latent = Latent(ground.prior.unwhiten(v), LatentSpace.W)
        silent, stored = (to_rgb(latent.render(ground.generator, noise_mode=mode)) for mode in ("none", "const"))
    return silent, stored


def _variance(channel: Channel) -> Tensor:
    """[N]: mean square of what differs from the mean colour."""
    count = channel.mask.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    centred = (channel.target - (channel.target * channel.mask).sum(dim=(2, 3), keepdim=True) / count) * channel.mask
    return centred.square().sum(dim=(1, 2, 3)) / (3 * count[:, 0, 0, 0])
