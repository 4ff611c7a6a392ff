"""Ways to invert, by name, compared on the same pictures: encoders, projections, hybrid, pivotal tuning; fidelity, time, memory.

A method is KIND[:ARGUMENT]: mean; z, w, w+, s with a preset (w+:stylegan2) and steps (w+:stylegan2:300); encode:FILE; hybrid:FILE;
pivotal, whose pivot is an encoder's where one is named (pivotal:FILE) or known, else a projection into W.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from invert.editability import Editability, Edits, editability
from invert.jobs import default_batch
from invert.projectors.hybrid import chosen_encoder
from invert.projectors.optimise import Adam
from invert.projectors.pivotal import PivotalTuning
from invert.projectors.presets import GOAL, Preset
from invert.projectors.project import PresetProjector
from invert.projectors.schedules import Ramp
from stylegan_core.errors import UsageError
from stylegan_core.images import to_rgb, to_u8
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.identity import similarity
from stylegan_core.metrics.reconstruction import ms_ssim, psnr
from stylegan_core.progress import Callback, StepInfo
from stylegan_core.weight_deltas import num_bytes

KINDS = ("mean", "z", "w", "w+", "s", "encode", "hybrid", "pivotal", "adam")
ADAM_RATES = (0.005, 0.01, 0.02, 0.05)  # the tuned baseline takes the best of them
ADAM_STEPS = 1000
Run = Callable[[Tensor, "Callback | None"], Inversion]


@dataclass(frozen=True)
class InversionRow:
    """One method: medians over the pictures unless named otherwise.

    psnr, psnr_low: dB, median and 5th percentile; mse: mean, of values in [-1, 1]; ms_ssim: see metrics; distance, identity: of the
    judge, which no objective uses. seconds: per picture. peak_mb: of the process or the GPU; delta_mb: of changed weights. edit_*:
    see editability.Editability; None where no edits were asked for.
    """

    method: str
    count: int
    psnr: float
    psnr_low: float
    mse: float
    ms_ssim: float
    distance: float | None
    identity: float | None
    seconds: float
    peak_mb: float | None
    delta_mb: float
    edit_moved: float | None = None
    edit_others: float | None = None
    edit_distance: float | None = None


@dataclass
class Trace:
    """How one method gets on with each picture: (seconds, PSNR, perceptual distance) after every step."""

    method: str
    points: list[list[tuple[float, float, float]]] = field(default_factory=list)

    def seconds_to(self, index: int, *, psnr: float | None = None, distance: float | None = None) -> float:
        """When picture `index` had this PSNR, or this distance, for the first time; infinity = never."""
        for seconds, quality, perceptual in self.points[index]:
            if (psnr is None or quality >= psnr) and (distance is None or perceptual <= distance):
                return seconds
        return math.inf

    def end(self, index: int) -> tuple[float, float, float]:
        """The last point."""
        return self.points[index][-1]


def method_of(name: str, generator: Any, *, perceptual: Any = "auto", seed: int = 0, tuning: PivotalTuning | None = None) -> Run:
    """What a name stands for: (targets [N, C, R, R], callback) → inversion. Raises UsageError."""
    kind, _, argument = name.partition(":")
    if kind not in KINDS:
        raise UsageError(f"method {name!r}: KIND[:ARGUMENT] with one of {', '.join(KINDS)} is allowed")
    if kind == "mean":
        rows = generator.w_avg[None]
        return lambda targets, callback: Inversion(Latent(rows.expand(len(targets), -1).clone(), LatentSpace.W))
    if kind in ("encode", "hybrid", "pivotal"):
        encoder = chosen_encoder(argument or "auto", generator)
        if encoder is None and kind != "pivotal":
            raise UsageError(f"method {name!r}: the card of this model names no encoder; {kind}:FILE names one")
        if kind == "encode":
            return lambda targets, callback: encoder.encode(targets)
        if kind == "hybrid":
            hybrid = PresetProjector(preset="hybrid", perceptual=perceptual, seed=seed, encoder=encoder)
            return lambda targets, callback: hybrid.project(targets, generator, callback=callback)
        pivotal = replace(tuning or PivotalTuning(), measure=perceptual, seed=seed)
        return lambda targets, callback: pivotal.project(
            targets, generator, start=None if encoder is None else encoder.encode(targets), callback=callback)
    preset, _, steps = argument.partition(":")
    chosen: Any = tuned_adam(float(preset or ADAM_RATES[1])) if kind == "adam" else preset or "fast"
    projector = PresetProjector(space="w+" if kind == "adam" else kind, preset=chosen, steps=int(steps) if steps else None,
                                perceptual=perceptual, seed=seed, encoder=None)
    return lambda targets, callback: projector.project(targets, generator, callback=callback)


def tuned_adam(lr: float, steps: int = ADAM_STEPS) -> Preset:
    """The plain baseline: W+ from the mean, perceptual and mean square, Adam whose rate falls as a cosine."""
    phase = Adam(1.0, GOAL, {"perceptual": 1.0, "pixel": 1.0}, Ramp(lr, 0.0, 1.0))
    return Preset(f"adam:{lr:g}", "a baseline", steps=steps, start="mean", noise="const", restarts=1, restart_phases=1, largest_side=256,
                  phases=(phase,))


def compare_methods(names: Sequence[str], generator: Any, targets: Tensor, *, perceptual: Any = "auto", judge: Any = None,
                    tuning: PivotalTuning | None = None, edits: Edits | None = None,
                    callback: Callable[[InversionRow, int, int], None] | None = None) -> list[InversionRow]:
    """One row per method, on the same pictures [N, C, R, R]. judge: a network with .distance and .embed; None = without.

    tuning: hyper-parameters of pivotal; None = its defaults. edits: what is done to the inversions of held-out portraits, which the
    judge then looks at; None = nothing. Raises UsageError for edits without a judge.
    """
    if edits is not None and judge is None:
        raise UsageError("edits are measured by a judge: give one with --judge")
    runs = {name: method_of(name, generator, perceptual=perceptual, tuning=tuning) for name in names}
    rows: list[InversionRow] = []
    for name, run in runs.items():
        rows.append(row_of(name, run, generator, targets, judge, edits))
        if callback is not None:
            callback(rows[-1], len(rows), len(runs))
    return rows


def row_of(name: str, run: Run, generator: Any, targets: Tensor, judge: Any, edits: Edits | None = None) -> InversionRow:
    """Runs one method in batches and measures the pictures that its inversions render, and their edits."""
    batch = default_batch(generator.img_resolution, targets.device.type)
    reset_peak(targets.device)
    started = time.monotonic()
    inversions = [run(part, None) for part in targets.split(batch)]
    seconds = (time.monotonic() - started) / len(targets)
    peak = peak_mb(targets.device)
    images = torch.cat([inversion.render(generator) for inversion in inversions])
    want, got = to_u8(to_rgb(targets)).cpu(), to_u8(to_rgb(images)).cpu()
    values = psnr(want, got).double()
    distance = identity = None
    if judge is not None:
        with torch.no_grad():
            distance = float(judge.distance(images.clamp(-1, 1), targets.clamp(-1, 1)).double().quantile(0.5))
            identity = float(similarity(judge.embed(images.clamp(-1, 1)), judge.embed(targets.clamp(-1, 1))).double().mean())
    edited = Editability(None, 0.0, None, None)
    if edits is not None:
        edited = editability(generator, Inversion.cat(inversions), targets, edits, judge)
    sizes = [num_bytes(inversion[i].weight_deltas) for inversion in inversions for i in range(len(inversion))]
    return InversionRow(
        name, len(targets), float(values.quantile(0.5)), float(values.quantile(0.05)), float((images - targets).square().mean()),
        float(ms_ssim(want, got).double().quantile(0.5)), distance, identity, seconds, peak, max(sizes) / 2**20,
        edited.moved, None if edits is None else edited.others, edited.distance)


def race(names: Sequence[str], generator: Any, targets: Tensor, *, perceptual: Any = "auto",
         callback: Callable[[str, int], None] | None = None) -> list[Trace]:
    """Every method on every picture alone, step by step, all of them in turn for one picture before the next."""
    from invert.projectors.measures import load_measure
    from stylegan_core.losses.perceptual import distance_to

    measure = load_measure(perceptual, generator) if isinstance(perceptual, str) else perceptual
    runs = {name: method_of(name, generator, perceptual=measure) for name in names}
    traces = {name: Trace(name) for name in names}
    for number, target in enumerate(targets.split(1)):
        measured = distance_to(measure, target, largest_side=256)
        for name, run in runs.items():
            points: list[tuple[float, float, float]] = []
            watch = Watch(points, measured)
            inversion = run(target, watch)
            images = inversion.render(generator)
            watch.note(images, float(psnr(to_u8(to_rgb(target)).cpu(), to_u8(to_rgb(images)).cpu())))
            traces[name].points.append(points)
            if callback is not None:
                callback(name, number)
    return list(traces.values())


@dataclass
class Watch:
    """Notes every step of a run; what the noting itself takes is not counted."""

    points: list[tuple[float, float, float]]
    measured: Callable[[Tensor], Tensor]
    started: float = field(default_factory=time.monotonic)
    paused: float = 0.0

    def __call__(self, info: StepInfo) -> None:
        if info.images is not None and info.psnr is not None:
            self.note(info.images, float(info.psnr[0]))

    def note(self, images: Tensor, quality: float) -> None:
        """images: [1, C, R, R] at this moment."""
        now = time.monotonic()
        with torch.no_grad():
            self.points.append((now - self.started - self.paused, quality, float(self.measured(images)[0])))
        self.paused += time.monotonic() - now


def shares_to_reach(traces: Sequence[Trace], baseline: str) -> list[dict[str, Any]]:
    """Per method: medians of its end, and of the share of the baseline's time at which it has the baseline's end."""
    reference = next(trace for trace in traces if trace.method == baseline)
    count = len(reference.points)
    rows = []
    for trace in traces:
        ends = [median([trace.end(i)[column] for i in range(count)]) for column in range(3)]
        goals = [reference.end(i) for i in range(count)]
        by_psnr = [trace.seconds_to(i, psnr=goal[1]) / goal[0] for i, goal in enumerate(goals)]
        by_distance = [trace.seconds_to(i, distance=goal[2]) / goal[0] for i, goal in enumerate(goals)]
        rows.append({"method": trace.method, "count": count, "seconds": ends[0], "psnr": ends[1], "distance": ends[2],
                     "share_to_psnr": median(by_psnr), "share_to_distance": median(by_distance)})
    return rows


def markdown(rows: Sequence[InversionRow]) -> str:
    """The rows as a table."""
    names = list(InversionRow.__dataclass_fields__)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value) for value in asdict(row).values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def reset_peak(device: torch.device) -> None:
    """Starts the measurement of peak memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: torch.device) -> float | None:
    """Since `reset_peak`; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return None
