"""The augmentation pipeline and its controller against golden/train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from stylegan_core.training.augment import augment, next_p
from stylegan_core.training.augment_colour import draw_colours
from stylegan_core.training.augment_config import Augmentation
from stylegan_core.training.augment_filter import draw_band_gains, filter_bank, symlet
from stylegan_core.training.augment_geometry import SYMLET_MOMENTS, draw_geometry
from stylegan_core.training.draws import QuantileDraws
from tests.parity.rows import Row, arrays, compare, table

PEER = "stylegan2-ada-pytorch d72cc7d0"


def rows() -> Iterator[Row]:
    info = table("train/ada_augment")
    files = [arrays(f"train/ada_augment_{number}") for number in range(3)]
    yield compare("train/ada_augment taps", PEER, symlet(SYMLET_MOMENTS), files[0]["Hz_geom"], absolute=1e-5)
    yield compare("train/ada_augment bands", PEER, filter_bank(), files[0]["Hz_fbank"], absolute=1e-5)
    for case in info["cases"]:
        yield from case_rows(case, files[int(case["id"]) % 3], info["p"], files[0]["x"], files[0]["noise_field"])
    yield from controller_rows()


def case_rows(case: dict[str, Any], data: dict[str, np.ndarray], p: float, x: np.ndarray, field: np.ndarray) -> Iterator[Row]:
    """One picture through one set of transforms, with the matrices that were drawn for it."""
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in case["kwargs"].items()}
    chosen, name = Augmentation(**arguments), case["id"]
    images = torch.from_numpy(np.array(x))
    if case["gray"]:
        images = images[:, :1]
    channels, height, width = images.shape[1:]
    noise = torch.from_numpy(np.array(field))[:, :channels]

    def draws() -> QuantileDraws:
        return QuantileDraws(1, case["debug_percentile"], field=noise)

    yield compare(f"train/ada_augment {name}", PEER, augment(images, chosen, p, draws()), data[f"{name}_out"], absolute=1e-4)
    if f"{name}_G_inv" in data:
        inverse = draw_geometry(chosen, p, draws(), height, width)
        yield compare(f"train/ada_augment {name} geometry", PEER, inverse, data[f"{name}_G_inv"], absolute=1e-5)
    if f"{name}_C" in data:
        colours = draw_colours(chosen, p, draws(), channels)
        yield compare(f"train/ada_augment {name} colours", PEER, colours, data[f"{name}_C"], absolute=1e-5)
    if f"{name}_band_gain" in data:
        gains = draw_band_gains(chosen, p, draws())
        yield compare(f"train/ada_augment {name} gains", PEER, gains, data[f"{name}_band_gain"], absolute=1e-5)
        yield compare(f"train/ada_augment {name} filter", PEER, gains @ filter_bank(), data[f"{name}_Hz_prime"], absolute=1e-5)


def controller_rows() -> Iterator[Row]:
    """The sequence of p for given signs of the discriminator."""
    data, info = arrays("train/projector_schedules"), table("train/projector_schedules")["ada"]
    p, ours = float(data["ada_p0"]), []
    for sign in data["ada_signs"]:
        p = next_p(p, float(sign), target=info["ada_target"], num_images=info["batch_size"] * info["ada_interval"], kimg=info["ada_kimg"])
        ours.append(p)
    yield compare("train/projector_schedules ada", PEER, np.array(ours), data["ada_p"], absolute=1e-6)
