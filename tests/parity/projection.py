"""The official projector's schedules and a whole run of it, and the noise regulariser, against golden/train."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from invert.projectors.schedules import Jitter, Ramp
from stylegan_core.losses.regularisers import noise_correlation
from stylegan_core.noise import normalise_map
from tests.parity.rows import Row, arrays, compare, table

PEER = "stylegan2-ada-pytorch d72cc7d0"
ROSINALITY = "stylegan2-pytorch bef283a1"


def rows() -> Iterator[Row]:
    yield from schedule_rows()
    yield from regulariser_rows()


def schedule_rows() -> Iterator[Row]:
    data, info = arrays("train/projector_schedules"), table("train/projector_schedules")
    nv, steps = info["nv"], info["num_steps"]
    ramp = Ramp(nv["initial_learning_rate"], nv["rampup"], nv["rampdown"])
    jitter = Jitter(nv["initial_noise_factor"], nv["noise_ramp"])
    lr = [ramp.lr_at(step, steps) for step in range(steps)]
    scale = [jitter.scale_at(step, steps) for step in range(steps)]
    yield compare("train/projector_schedules lr", PEER, lr, data["lr"], absolute=1e-9)
    measured = data["w_noise_scale_over_wstd_measured_f32"]
    yield compare("train/projector_schedules latent jitter", PEER, scale, measured, absolute=1e-5)
    yield compare("train/projector_schedules rosinality lr", ROSINALITY, lr, data["ros_lr"], absolute=1e-9)


def regulariser_rows() -> Iterator[Row]:
    data = {key: torch.from_numpy(np.array(value)) for key, value in arrays("train/projector_schedules").items()}
    for case in range(4):
        names = [key for key in data if key.startswith(f"reg{case}_map")]
        maps = {key: data[key][None, None] for key in names}
        for peer, key in ((PEER, f"reg{case}_loss"), (ROSINALITY, f"reg{case}_loss_rosinality")):
            yield compare(
                f"train/projector_schedules {key}",
                peer,
                noise_correlation(maps)[0],
                data[key],
                absolute=1e-12,
                relative=1e-5,
            )
        last = normalise_map(maps[names[-1]])[0, 0]
        yield compare(
            f"train/projector_schedules reg{case} normalised", PEER, last, data[f"reg{case}_nvnorm_last"], absolute=1e-5
        )
