"""Checks of the values of a configuration, each one line that names the field, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylegan_core.errors import CheckpointError

MAX_RESOLUTION = 4096
MAX_WIDTH = 8192


def width(channels: Mapping[int, int], channel_base: int, channel_max: int, resolution: int) -> int:
    """Number of channels at a resolution; `channels` wins over the other two, and {} leaves it to them."""
    if not channels:
        return min(channel_base // resolution, channel_max)
    if resolution not in channels:
        raise CheckpointError(f"channels {dict(channels)}: none are given for {resolution} px")
    return channels[resolution]


def resolutions(img_resolution: int) -> tuple[int, ...]:
    """4, 8, …, img_resolution."""
    return tuple(2**i for i in range(2, img_resolution.bit_length()))


def check_resolution(value: Any) -> None:
    """Raises CheckpointError unless it is a power of two that can be built."""
    if not isinstance(value, int) or value < 4 or value > MAX_RESOLUTION or value & (value - 1):
        raise CheckpointError(f"img_resolution {value!r}: a power of two from 4 to {MAX_RESOLUTION} is allowed")


def check_range(name: str, value: Any, low: int, high: int) -> None:
    """Raises CheckpointError unless it is a whole number from low to high."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise CheckpointError(f"{name} {value!r}: a whole number from {low} to {high} is allowed")


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raises CheckpointError unless it is one of those allowed."""
    if value not in allowed:
        raise CheckpointError(f"{name} {value!r}: one of {', '.join(allowed)} is allowed")


def check_filter(taps: tuple[float, ...]) -> None:
    """Raises CheckpointError unless these are the taps of a filter."""
    if not 1 <= len(taps) <= 64 or not all(isinstance(tap, (int, float)) for tap in taps) or sum(taps) == 0:
        raise CheckpointError(f"resample_filter {taps!r}: 1 to 64 numbers with a non-zero sum are allowed")
