"""Frequency bands of pictures amplified or dampened per image (SG2-ADA App. B, "Image-space filtering"), and the wavelets for it."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import comb

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.training.augment_config import Augmentation
from stylegan_core.training.draws import Draws

NUM_BANDS = 4
EXPECTED_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of natural pictures in the four bands: 1/f (SG2-ADA App. B)
BANK_MOMENTS = 2


@lru_cache(maxsize=8)
def symlet(moments: int) -> Tensor:
    """[2·moments] taps with sum 1: the least asymmetric orthogonal low-pass with this many vanishing moments.

    Spectral factorisation (Daubechies 1992, Sec. 6.1 and 8.1.1): of each root and its inverse one is kept, and of all such choices the
    one whose phase is nearest to linear. Of the two mirror images, that with its peak in the first half.
    """
    polynomial = [comb(moments - 1 + k, k) for k in range(moments)][::-1]
    groups = []
    for y in np.roots(polynomial):
        if y.imag > -1e-9:
            z = np.roots([1, 4 * y - 2, 1])
            z = z[np.argmin(np.abs(z))]
            groups.append([z] if abs(y.imag) < 1e-9 else [z, z.conjugate()])
    candidates = []
    for choice in product([False, True], repeat=len(groups)):
        roots = [1 / z if is_inverted else z for is_inverted, group in zip(choice, groups) for z in group]
        taps = np.real(np.poly([-1.0] * moments + roots))
        taps /= taps.sum()
        if np.abs(taps).argmax() < moments:
            candidates.append((_phase_error(taps), taps))
    best = min(candidates, key=lambda candidate: candidate[0])[1]
    return torch.from_numpy(best).float()


def _phase_error(taps: np.ndarray) -> float:
    """How far the phase of the frequency response is from a straight line, weighted by its amplitude."""
    omega = np.linspace(0, np.pi, 256, endpoint=False)
    response = np.exp(-1j * np.outer(omega, np.arange(len(taps)))) @ taps
    phase, weight = np.unwrap(np.angle(response)), np.abs(response)
    slope = (weight * omega * phase).sum() / (weight * omega**2).sum()
    return float((weight * (phase - slope * omega) ** 2).sum())


@lru_cache(maxsize=1)
def filter_bank() -> Tensor:
    """[4, taps]: symmetric filters of one octave each, the lowest first, that add up to the identity (SG2-ADA App. B)."""
    low = symlet(BANK_MOMENTS).double().numpy()
    high = low * (-1.0) ** np.arange(len(low))
    low, high = np.convolve(low, low[::-1]), np.convolve(high, high[::-1])  # zero-phase; their sum is the identity
    bank = np.ones([1, 1])
    for _ in range(NUM_BANDS - 1):
        spread = np.zeros([len(bank), 2 * bank.shape[1] - 1])
        spread[:, ::2] = bank
        bank = np.stack([np.convolve(row, low) for row in spread])
        top = np.zeros(bank.shape[1])
        middle = (len(top) - len(high)) // 2
        top[middle : middle + len(high)] = high
        bank = np.concatenate([bank, top[None]])
    return torch.from_numpy(bank).float()


def draw_band_gains(augmentation: Augmentation, p: float, draws: Draws) -> Tensor:
    """[N, 4]: the gain of every band; the expected power of a picture stays."""
    power = torch.tensor(EXPECTED_POWER)
    gains = torch.ones(draws.count, NUM_BANDS)
    for band, factor in enumerate(augmentation.imgfilter_bands):
        happens, strength = draws.happens(augmentation.imgfilter * p * factor), (draws.normal() * augmentation.imgfilter_std).exp2()
        step = torch.ones(draws.count, NUM_BANDS)
        step[:, band] = torch.where(happens, strength, 1.0)
        gains = gains * step / (power * step.square()).sum(dim=1, keepdim=True).sqrt()
    return gains


def apply_band_gains(images: Tensor, gains: Tensor) -> Tensor:
    """images: [N, C, H, W] mirrored at their edges and filtered along both axes. gains: [N, 4] on the CPU, as drawn."""
    changed = (gains != 1).any(dim=1).nonzero().squeeze(1)
    if len(changed) == 0:
        return images
    rows, columns = (torch.einsum("nb,bij->nij", gains[changed], band_matrices(size)).to(images)[:, None] for size in images.shape[2:])
    if len(changed) == len(images):
        return rows @ images @ columns.transpose(2, 3)
    chosen = changed.to(images.device)
    return images.index_copy(0, chosen, rows @ images[chosen] @ columns.transpose(2, 3))


@lru_cache(maxsize=8)
def band_matrices(size: int) -> Tensor:
    """[4, size, size]: the filter bank, edges mirrored, as matrices; per image one sum of them takes the place of a convolution."""
    bank = filter_bank()
    reach = bank.shape[1] // 2
    eye = torch.eye(size)[:, None]
    while reach > 0:  # more than a picture's own size is mirrored in several steps
        step = min(reach, eye.shape[2] - 1)
        eye, reach = F.pad(eye, [step, step], mode="reflect"), reach - step
    return F.conv1d(eye, bank[:, None]).permute(1, 2, 0).contiguous()
