"""Before pictures are fitted: where each lies in the frame, how soft it is, and whether the stored noise is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from invert.attribution.channel import GREY, Channel
from invert.attribution.fit import Effort, Search, search
from invert.attribution.groundwork import Groundwork
from invert.attribution.laundering import Laundering
from invert.attribution.registration import Placement, channel_of, hypotheses, refined
from stylegan_core.images import to_rgb
from stylegan_core.latent import Latent, LatentSpace

TRIAL_STEPS = 10  # of every placement, from the regression's guess alone
PLAIN, UPRIGHT = 0.8, 0.6  # by how much another placement than the plainest, and a mirrored one, must fit better
MOVED_PX = 0.4  # of the picture: less is no move
BLURS = (0.0, 0.5, 0.8, 1.2)  # pixels of the picture
GAIN = 0.9  # blur must lessen the difference by this factor
FLAT = (4 * GREY) ** 2


@dataclass(frozen=True)
class Settled:
    """N pictures ready for `fit.finish`. placements, blurs: [N]. is_const: [N]."""

    channel: Channel
    placements: list[Placement]
    blurs: list[float]
    is_const: Tensor
    searched: Search


def settle(pictures: Sequence[tuple[Tensor, Laundering]], ground: Groundwork, effort: Effort) -> Settled:
    """pictures: ([1, 3, h, w] as read, what was done to it) each. All of them are one batch."""
    shape, like = ground.generator.img_shape, ground.samples.w
    chosen = _placed([pixels for pixels, _ in pictures], ground, effort)
    channel = Channel.cat([channel_of(*picture, placement, shape) for picture, placement in zip(pictures, chosen)]).to(like)
    searched = search(channel, ground, effort.starts, effort.search_steps, effort.search_spread)
    renders, stored = _rendered(searched.v, ground)
    final = [_moved(placement, pixels, render[None]) for placement, (pixels, _), render in zip(chosen, pictures, renders.cpu())]
    blurs, is_const = [], []
    for i, (picture, placement) in enumerate(zip(pictures, final)):
        blur, const = _softness(picture, placement, shape, renders[i : i + 1], stored[i : i + 1])
        blurs.append(blur)
        is_const.append(const)
    parts = [channel_of(*picture, placement, shape, blur) for picture, placement, blur in zip(pictures, final, blurs)]
    return Settled(Channel.cat(parts).to(like), final, blurs, torch.tensor(is_const, device=like.device), searched)


def _placed(pixels: Sequence[Tensor], ground: Groundwork, effort: Effort) -> list[Placement]:
    """The placement of each picture whose trial fits best, the plainest one where others are hardly better."""
    shape, like = ground.generator.img_shape, ground.samples.w
    tried = [hypotheses(picture, ground) for picture in pixels]
    owner = [i for i, placements in enumerate(tried) for _ in placements]
    rows = [placement for placements in tried for placement in placements]
    channel = Channel.cat([channel_of(pixels[i], None, placement, shape) for i, placement in zip(owner, rows)]).to(like)
    trial = search(channel, ground, 1, TRIAL_STEPS, effort.search_spread)
    renders, _ = _rendered(trial.v, ground)
    misfit = (trial.curve[-1] * GREY**2 / (_variance(channel) + FLAT)).cpu()
    shown = channel.mask.mean(dim=(1, 2, 3)).cpu()
    misfit = misfit / shown.clamp_min(1e-3).sqrt()  # the less is compared, the easier it fits
    chosen = []
    for i, picture in enumerate(pixels):
        own = [row for row, value in enumerate(owner) if value == i]
        prices = [(1 if n in (0, len(own) // 2) else 1 / PLAIN) * (1 if n < len(own) // 2 else 1 / UPRIGHT) for n in range(len(own))]
        best = own[int((misfit[own] * torch.tensor(prices)).argmin())]
        chosen.append(_moved(rows[best], picture, renders[best : best + 1].cpu()))
    return chosen


def _moved(placement: Placement, pixels: Tensor, render: Tensor) -> Placement:
    """Refined, where that moves it at all; a whole picture stays whole unless it is clearly shifted."""
    new = refined(placement, pixels, render)
    move = max(abs(a - b) for a, b in zip(new.frame, placement.frame))
    if move < MOVED_PX * max(1.0, placement.scale((render.shape[2], render.shape[3]))) or not _is_nearer(new, placement, pixels, render):
        return placement
    return replace(new, kind="placed" if placement.kind in ("whole", "centre") else placement.kind)


def _is_nearer(new: Placement, old: Placement, pixels: Tensor, render: Tensor) -> bool:
    """Whether the render lies clearly better on the picture in the new place."""
    gaps = []
    for placement in (new, old):
        left, top, right, bottom = placement.frame
        if right - left < 4 or bottom - top < 4 or right < 4 or bottom < 4 or left > pixels.shape[3] - 4 or top > pixels.shape[2] - 4:
            return False
        channel = channel_of(pixels, None, placement, (render.shape[2], render.shape[3]))
        shown = float(channel.mask.mean())
        gaps.append(float(channel.difference(render).square().sum() / channel.num_values.clamp_min(1)) / max(shown, 1e-3) ** 0.5)
    return gaps[0] < PLAIN * gaps[1]


def _softness(picture: tuple[Tensor, Laundering], placement: Placement, shape: tuple[int, int], silent: Tensor,
              stored: Tensor) -> tuple[float, bool]:  # fmt: skip
    """(blur, whether the stored noise is in it): what leaves the smallest difference."""
    best, found = float("inf"), (0.0, False)
    for blur in BLURS:
        channel = channel_of(*picture, placement, shape, blur).to(silent)
        for const, render in ((False, silent), (True, stored)):
            gap = float(channel.whitened(render).square().sum())
            if gap < best * (GAIN if blur else 1.0):
                best, found = gap, (blur, const)
    return found


def _rendered(v: Tensor, ground: Groundwork) -> tuple[Tensor, Tensor]:
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
