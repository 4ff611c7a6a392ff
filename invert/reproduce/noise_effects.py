"""What the noise inputs draw: where pictures differ when only noise is drawn anew, and whether attributes stay (SG Sec. 3.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from invert.reproduce.setting import NOT_TESTABLE, Outcome, Setting, verdict_of
from stylegan_core.data.portraits import render_portrait, sample_portrait
from stylegan_core.metrics.probe import latents_of
from stylegan_core.noise import Noise

DRAWS = 8                  # of the noise, of every sample
FINE = 1 / 8               # cycles per pixel above which detail is fine
STEADY = 0.1               # an attribute stays when noise moves it by less than this share of its spread


@torch.no_grad()
def noise_effects(setting: Setting) -> Outcome:
    """count: samples, each with DRAWS draws of noise; and as many portraits, each with as many draws of its detail."""
    generator = setting.generator
    if not generator.noise_shapes:
        return Outcome("the model has no noise inputs", NOT_TESTABLE)
    maps, spreads, shares, means, fine_of_pictures = [], [], [], [], []
    for number, seed in enumerate(range(setting.seed, setting.seed + setting.count), start=1):
        z, c = latents_of(generator, [seed])
        ws = generator.mapping(z, c).expand(DRAWS, -1, -1)
        noise = Noise.random(generator, [(seed, draw) for draw in range(DRAWS)]).maps
        images = generator.synthesis(ws, noise_mode="const", noise=noise)
        logits = setting.judge.logits(images).cpu().double()
        deviation = (images - images.mean(dim=0, keepdim=True)).cpu().double()
        maps.append(deviation.square().mean(dim=(0, 1)).sqrt())
        spreads.append(logits.std(dim=0))
        means.append(logits.mean(dim=0))
        shares.append(fine_share(deviation))
        fine_of_pictures.append(fine_share(images[:1].cpu().double()))
        setting.tell("samples with other noise", number, setting.count)
    moved = (torch.stack(spreads).mean(dim=0) / torch.stack(means).std(dim=0).clamp(min=1e-9)).tolist()
    by_attribute = {name: round(value, 4) for name, value in zip(setting.judge.attribute_names, moved)}
    by_noise = torch.stack(maps).mean(dim=0).numpy()
    truth = detail_map(setting, by_noise.shape[0])
    place = float(spearmanr(by_noise.ravel(), truth.ravel()).statistic)
    fine, of_pictures = float(np.mean(shares)), float(np.mean(fine_of_pictures))
    figures: dict[str, Any] = {
        "draws": DRAWS, "attribute_moved": by_attribute, "median_moved": round(float(np.median(moved)), 4),
        "largest_moved": round(max(moved), 4), "correlation_with_detail": round(place, 4), "fine_share": round(fine, 4),
        "fine_share_of_pictures": round(of_pictures, 4), "pixel_deviation": round(float(by_noise.mean()), 5),
    }  # fmt: skip
    is_shown = figures["median_moved"] < STEADY and fine > of_pictures and place > 0.5
    most = max(by_attribute, key=lambda name: by_attribute[name])
    ours = (f"noise moves attributes by {100 * figures['median_moved']:.1f} % of their spread (median; most: {most} "
            f"{100 * max(moved):.0f} %); fine detail is {100 * fine:.0f} % of what it draws, {100 * of_pictures:.0f} % of pictures; "
            f"rank correlation of its place with stochastic detail {place:.2f}")  # fmt: skip
    return Outcome(ours, verdict_of(is_shown), figures)


def fine_share(images: Tensor) -> float:
    """Share of the energy of [N, C, H, W], without its mean, at frequencies above FINE cycles per pixel."""
    x = images - images.mean(dim=(2, 3), keepdim=True)
    energy = torch.fft.rfft2(x).abs().square().mean(dim=(0, 1))
    energy[:, 1:-1] *= 2  # the half of the spectrum that rfft2 leaves out
    rows, columns = torch.fft.fftfreq(x.shape[2]).double(), torch.fft.rfftfreq(x.shape[3]).double()
    frequency = (rows[:, None].square() + columns[None].square()).sqrt()
    return float(energy[frequency > FINE].sum() / energy.sum().clamp(min=1e-300))


def detail_map(setting: Setting, side: int) -> np.ndarray:
    """[side, side]: deviation of a portrait's pixels when only its stochastic detail is drawn anew, averaged over portraits."""
    total = np.zeros([side, side])
    for index in range(setting.count):
        portrait = sample_portrait(setting.seed, index)
        drawn = np.stack([render_portrait(portrait.with_detail(1000 + draw), side) for draw in range(DRAWS)]) / 127.5
        total += np.sqrt(drawn.var(axis=0).mean(axis=-1))
        setting.tell("portraits with other detail", index + 1, setting.count)
    return total / setting.count
