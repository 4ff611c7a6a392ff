"""Low-pass filters of the Kaiser window method, separable or radially symmetric (SG3 App. C)."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import j1
from torch import Tensor

from stylegan_core.errors import UsageError


def design_lowpass_filter(taps: int, cutoff: float, width: float, rate: float, *, radial: bool = False) -> Tensor | None:
    """Taps that sum to 1: float32 [taps], or [taps, taps] when radial; None for one tap, which is the identity.

    cutoff: frequency where half of the amplitude is left. width: of the transition band around it. rate: samples per unit. radial:
    the jinc, whose response is the same in all directions, instead of a sinc along both axes.
    """
    if taps < 1 or not cutoff > 0 or not width > 0 or not rate > 0:
        raise UsageError(f"a filter of {taps} taps, cutoff {cutoff}, width {width}, rate {rate}: all are above 0")
    if taps == 1:
        return None
    window = np.kaiser(taps, kaiser_beta(taps, width / (rate / 2)))
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    if radial:
        f = jinc(np.hypot(*np.meshgrid(x, x)), cutoff) * np.outer(window, window)
    else:
        f = np.sinc(2 * cutoff * x) * window
    return torch.from_numpy((f / f.sum()).astype(np.float32))


def kaiser_beta(taps: int, width: float) -> float:
    """Shape of the window whose attenuation these taps reach. width: of the transition band, in units of the Nyquist frequency.

    Kaiser's formulas for the attenuation and the shape (Kaiser 1974; SG3 App. C).
    """
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def jinc(r: np.ndarray, cutoff: float) -> np.ndarray:
    """J₁(2π·cutoff·r) / (π·r), whose transform is a disc of this radius, up to a factor."""
    safe = np.where(r > 0, r, 1.0)
    return np.where(r > 0, j1(2 * math.pi * cutoff * safe) / (math.pi * safe), cutoff)
