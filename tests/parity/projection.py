"""The official projector's schedules and a whole run of it, and the noise regulariser, against golden/train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from invert.projectors.base import Candidates, Problem, Progress
from invert.projectors.presets import preset_of
from invert.projectors.samples import WSamples
from invert.projectors.schedules import Jitter, Ramp
from stylegan_core.images import from_u8
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import OwnFeatures
from stylegan_core.losses.regularisers import noise_correlation
from stylegan_core.noise import normalise_map
from tests.parity.networks import generator_config, load
from tests.parity.rows import Row, arrays, compare, filled, table

PEER = "stylegan2-ada-pytorch d72cc7d0"
ROSINALITY = "stylegan2-pytorch bef283a1"


def rows() -> Iterator[Row]:
    yield from schedule_rows()
    yield from regulariser_rows()
    yield from run_rows()


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
    other = [Ramp(0.05, 0.1, 0.5).lr_at(step, 300) for step in range(300)]
    yield compare(
        "train/projector_schedules rosinality lr, others", ROSINALITY, other, data["ros_lr_alt"], absolute=1e-9
    )


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


def run_rows() -> Iterator[Row]:
    """The preset `stylegan2` without jitter, from given noise maps, with the dummy features of the golden run."""
    arguments, state = filled("train/projector_run")
    generator = load(generator_config(arguments), state)
    data = arrays("train/projector_run")
    samples = WSamples.of(generator, num_samples=int(data["w_avg_samples"]))
    yield compare("train/projector_run w_avg", PEER, samples.mean[None], data["w_avg"], absolute=1e-5)
    yield compare("train/projector_run w_std", PEER, samples.spread, data["w_std"], absolute=1e-5)

    target = from_u8(torch.from_numpy(data["target"]).permute(1, 2, 0)[None])
    problem = Problem(generator, target, None, OwnFeatures("pooled", pooled), samples, seed=0)
    noise = {
        name: torch.from_numpy(data[f"noise_init__{name.replace('.', '_')}"])[None, None]
        for name in generator.noise_shapes
    }
    zero = torch.zeros(1, dtype=torch.long)
    start = Candidates(Latent(samples.mean[None], LatentSpace.W), noise, zero, zero)
    (phase,) = preset_of("stylegan2").phases
    steps = int(data["num_steps"])
    log = Log(problem, steps)
    replace(phase, jitter=Jitter(0.0)).run(problem, start, steps, log)

    w = torch.cat([candidates.latent.value for candidates in log.seen])
    yield compare("train/projector_run w of every step", PEER, w, data["w_out"], absolute=1e-3)
    yield compare("train/projector_run dist", PEER, log.distances, data["dist"], absolute=0.006, tolerance="2 decimals")
    yield compare(
        "train/projector_run loss",
        PEER,
        log.losses,
        data["loss"],
        absolute=0.006,
        relative=1e-5,
        tolerance="2 decimals",
    )
    for name, value in log.seen[-1].noise.items():
        golden = data[f"noise_final__{name.replace('.', '_')}"]
        yield compare(f"train/projector_run {name}", PEER, value[0, 0], golden, absolute=1e-3)


def pooled(images: torch.Tensor) -> torch.Tensor:
    """The golden run's stand-in for a feature network."""
    return torch.nn.functional.avg_pool2d((images + 1) * (255 / 2), 4).flatten(1) / 255


class Log(Progress):
    """Keeps what every step reports."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen: list[Candidates] = []
        self.losses: list[float] = []
        self.distances: list[float] = []

    def report(self, candidates, loss, parts, images) -> None:  # type: ignore[no-untyped-def]
        super().report(candidates, loss, parts, images)
        self.seen.append(candidates)
        self.losses.append(float(loss.detach()))
        self.distances.append(float(parts["perceptual"].detach()))
