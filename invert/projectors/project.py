"""From targets to an inversion: start, phases of a preset, the best of several restarts, and the facts of the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from invert.projectors.advice import advise
from invert.projectors.base import Candidates, Problem, Progress, best_rows, quality
from invert.projectors.hybrid import encoded_start, rows_of_encoder, with_encoder
from invert.projectors.measures import load_measure
from invert.projectors.optimise import Adam
from invert.projectors.pose import check_pose, with_pose
from invert.projectors.posterior import Posterior
from invert.projectors.presets import GOAL, Phase, Preset, preset_of
from invert.projectors.samples import WSamples
from invert.projectors.schedules import shared_out
from invert.projectors.start import Start, start_candidates
from stylegan_core.errors import ImageError, LatentError, UsageError
from stylegan_core.generator import Generator, place_of
from stylegan_core.input_transform import BUFFER, delta_of
from stylegan_core.inversion import Inversion, merged
from stylegan_core.latent import LatentSpace
from stylegan_core.losses.perceptual import FeatureDistance, distance_to
from stylegan_core.losses.pixel import check_target
from stylegan_core.noise import Noise
from stylegan_core.progress import Callback
from stylegan_core.provenance import version

LEAST_SHOWN = 0.7  # share of the picture that a mask must leave for the closing advice


class Options(Protocol):
    """What decides a projection beside pictures and generator."""

    @property
    def space(self) -> str: ...
    @property
    def preset(self) -> str: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def perceptual(self) -> Any: ...
    @property
    def start(self) -> str: ...
    @property
    def restarts(self) -> int | None: ...
    @property
    def class_index(self) -> int | str | None: ...
    @property
    def transform(self) -> bool: ...
    @property
    def encoder(self) -> Any: ...


@dataclass(frozen=True)
class PresetProjector:
    """A projector by preset; None = the preset decides.

    space: z, w, w+ or s. perceptual: auto, vgg, alex, squeeze, features, none, or a FeatureDistance. start: auto, mean,
    nearest[:COUNT], seed[:N], encoder or an inversion file. class_index: of a conditional model, a number or 'search'. transform:
    rotation and motion of the generator's input (StyleGAN3) are found too. encoder: a name, a file or an Encoder; auto = that of
    the model's card, if any.
    """

    space: str = "w+"
    preset: str = "fast"
    steps: int | None = None
    seed: int = 0
    perceptual: str | FeatureDistance = "auto"
    start: str = "auto"
    restarts: int | None = None
    class_index: int | str | None = None
    transform: bool = False
    encoder: Any = "auto"

    def project(
        self,
        target: Tensor,
        generator: Generator,
        *,
        mask: Tensor | None = None,
        start: Inversion | None = None,
        callback: Callback | None = None,
    ) -> Inversion:
        """target: [N, C, H, W] in [-1, 1]. mask: [N, 1, H, W], None = all counts. start: wins over the field."""
        return project_images(target, generator, self, mask=mask, start=start, callback=callback)


def project_images(
    targets: Tensor,
    generator: Generator,
    options: Options | None = None,
    *,
    mask: Tensor | None = None,
    start: Inversion | None = None,
    callback: Callback | None = None,
) -> Inversion:
    """N pictures → one Inversion of N images, in the generator's device and precision.

    targets: [N, C, H, W] in [-1, 1] of the generator's size and channels (`images.fit`). mask: [N, 1, H, W] in [0, 1];
    None = all counts. options: None = the defaults of `PresetProjector`. start: wins over options.start. callback: called
    after every step; False stops. Raises UsageError, ImageError, LatentError, WeightsNotFoundError before any step.
    """
    options = options or PresetProjector()
    space = LatentSpace.parse(options.space)
    preset, encoder = with_encoder(effective_preset(options), options, generator, is_given=start is not None)
    origin = Start("given", None, start) if start is not None else Start.parse(preset.start).resolved(generator)
    check_pose(generator, origin.inversion, options.transform)
    measure = load_measure(options.perceptual, generator) if isinstance(options.perceptual, str) else options.perceptual
    problem = problem_of(targets, generator, preset, measure=measure, seed=options.seed, mask=mask)
    if encoder is not None:
        problem = replace(problem, encode=rows_of_encoder(encoder, generator))
    if origin.kind == "encoder":
        origin = encoded_start(encoder, problem.target, space)
    label = class_labels(options.class_index, generator, len(targets))
    plan = planned(preset, space, origin, generator)
    progress = Progress(problem, sum(steps for _, _, steps in plan), callback)
    candidates = search(problem, origin, preset, plan, progress, label=label, transform=options.transform).lower(generator, space)
    return _inversion(problem, candidates, options, replace(preset, start=str(origin)), plan, progress)


def search(problem: Problem, origin: Start, preset: Preset, plan: Sequence[tuple[Phase, LatentSpace, int]], progress: Progress, *,
           label: Tensor | None = None, transform: bool = False) -> Candidates:  # fmt: skip
    """The phases of a plan, one after another; the best candidate of each image, in the space of the last phase."""
    generator = problem.generator
    candidates = start_candidates(origin, problem, label, plan[0][1], preset.restarts)
    candidates = replace(candidates, noise=first_noise(preset.noise, candidates, generator, origin))
    if transform:
        candidates = with_pose(problem, candidates, origin)
    for index, (phase, phase_space, steps) in enumerate(plan):
        if index >= preset.restart_phases:
            candidates = best(problem, candidates)
        candidates = phase.run(problem, candidates.lower(generator, phase_space), steps, progress)
        if progress.is_stopped:
            break
    return best(problem, candidates)


def effective_preset(options: Options) -> Preset:
    """The row of the table with what the options set instead. Raises UsageError."""
    preset = preset_of(options.preset)
    if options.steps is not None:
        if options.steps < 1:
            raise UsageError(f"steps {options.steps}: a whole number from 1 is allowed")
        preset = replace(preset, steps=options.steps)
    if options.restarts is not None:
        if options.restarts < 1:
            raise UsageError(f"restarts {options.restarts}: a whole number from 1 is allowed")
        preset = replace(preset, restarts=options.restarts)
    if options.start != "auto":
        preset = replace(preset, start=options.start)
    return preset


def planned(preset: Preset, goal: LatentSpace, origin: Start, generator: Generator) -> list[tuple[Phase, LatentSpace, int]]:
    """(phase, space, steps) for every phase that gets a step; spaces only go downhill, from that of a given start.

    Left out: noise phases of a generator without noise inputs, second-order steps for large pictures and below W.
    """
    here = LatentSpace.Z if origin.inversion is None else origin.inversion.latent.space
    if here.depth > goal.depth:
        raise LatentError(f"the start lies in {here.value}, further down than {goal.value}: use space={here.value}")
    possible: list[tuple[Phase, LatentSpace]] = []
    for phase in preset.phases:
        wanted = goal if phase.space in (GOAL, None) else LatentSpace.parse(phase.space)
        here = max(here, min(wanted, goal, key=_depth), key=_depth)
        if is_possible(phase, here, goal, generator):
            possible.append((phase, here))
    counts = shared_out(preset.steps, [phase.share for phase, _ in possible])
    return [(phase, space, steps) for (phase, space), steps in zip(possible, counts, strict=True) if steps]


def is_possible(phase: Phase, space: LatentSpace, goal: LatentSpace, generator: Generator) -> bool:
    """Whether a phase can run in this space, on the way to that goal, with this generator."""
    if isinstance(phase, Adam):
        return phase.space is not None or bool(generator.noise_shapes)
    if isinstance(phase, Posterior) and (goal is not LatentSpace.W or not generator.noise_shapes):
        return False
    return space.depth <= LatentSpace.W.depth and generator.img_resolution <= phase.largest_side


def _depth(space: LatentSpace) -> int:
    return space.depth


def class_labels(class_index: int | str | None, generator: Generator, count: int) -> Tensor | None:
    """[N, c_dim], or None for an unconditional generator and for a search over all classes. Raises UsageError."""
    if generator.c_dim == 0:
        if class_index is not None:
            raise UsageError(f"class {class_index}: this model has no classes; leave it out")
        return None
    if class_index == "search":
        return None
    if not isinstance(class_index, int) or not 0 <= class_index < generator.c_dim:
        raise UsageError(f"class {class_index}: this model needs a class from 0 to {generator.c_dim - 1}, or 'search'")
    device, dtype = place_of(generator)
    return F.one_hot(torch.full((count,), class_index), generator.c_dim).to(device, dtype)


def first_noise(kind: str, candidates: Candidates, generator: Generator, origin: Start) -> dict[str, Tensor]:
    """Noise maps at the start; those of a given inversion stay."""
    if kind == "random" or (origin.inversion is not None and origin.inversion.noise):
        return candidates.noise
    count = len(candidates)
    return (Noise.const if kind == "const" else Noise.none)(generator, count).maps


def best(problem: Problem, candidates: Candidates) -> Candidates:
    """One candidate for each image: the nearest by distances alone."""
    if len(candidates) == len(candidates.image.unique()):
        return candidates
    loss = problem.distances(candidates, {"multi-scale": 10.0, "perceptual": 1.0})
    return candidates.rows(best_rows(candidates.image, loss))


def problem_of(targets: Tensor, generator: Generator, preset: Preset, *, measure: FeatureDistance, seed: int,
               mask: Tensor | None = None) -> Problem:  # fmt: skip
    """What is to be matched, as the preset looks at it, on the generator's device. Raises ImageError."""
    check_target(targets, mask)
    wanted = (generator.img_channels, *generator.img_shape)
    if tuple(targets.shape[1:]) != wanted:
        raise ImageError(f"targets of the shape {tuple(targets.shape)}; this model takes {wanted} each: use images.fit")
    device, dtype = place_of(generator)
    mask = None if mask is None else mask.to(device, dtype)
    return Problem(generator, targets.to(device, dtype), mask, measure, WSamples.of(generator), seed, preset.largest_side,
                   saturates=preset.saturates)  # fmt: skip


@torch.no_grad()
def _inversion(
    problem: Problem,
    candidates: Candidates,
    options: Options,
    preset: Preset,
    plan: list[tuple[Phase, LatentSpace, int]],
    progress: Progress,
) -> Inversion:
    """The result with its facts; what is told of it is measured on the picture that it renders."""
    deltas: dict[str, Any] = {} if candidates.pose is None else {BUFFER: delta_of(candidates.pose)}
    inversion = Inversion(candidates.latent, candidates.noise, deltas)
    images = inversion.render(problem.generator)
    plain = Inversion(candidates.latent, {}, deltas).render(problem.generator) if candidates.noise else images
    measured = distance_to(problem.measure, problem.target, problem.mask, largest_side=problem.largest_side)(images)
    psnr, plain_psnr = (quality(x, problem.target, problem.mask) for x in (images, plain))
    effective = {**preset.fields(), "plan": [f"{type(p).__name__} {s.value} {n}" for p, s, n in plan]}
    facts = [
        {
            "space": candidates.latent.space.value,
            "preset": preset.name,
            "effective": effective,
            "seed": options.seed,
            **({} if candidates.pose is None else {"pose": _pose_facts(candidates.pose[i])}),
            "steps": int(progress.steps_of[i]),
            "restart": int(candidates.restart[i]),
            "model_sha256": problem.samples.sha256,
            "version": version(),
            "perceptual": {"name": problem.measure.name, "value": float(measured[i])},
            "psnr": float(psnr[i]),
            "psnr_noise_const": float(plain_psnr[i]),
            "advice": _advice(problem, i, candidates.latent.space, float(psnr[i]), float(plain_psnr[i])),
        }
        for i in range(len(images))
    ]
    return replace(inversion, metadata=merged(facts))


def _pose_facts(pose: Tensor) -> dict[str, float]:
    """How the picture was moved, for people: degrees counter-clockwise, picture widths right and down."""
    angle, right, down = pose.tolist()
    return {"rotate": round(math.degrees(angle), 3), "right": round(right, 5), "down": round(down, 5)}


def _advice(problem: Problem, i: int, space: LatentSpace, psnr: float, plain_psnr: float) -> dict[str, Any] | None:
    """What to say of image i; None where a mask hides so much that the picture cannot be compared with samples."""
    if problem.mask is not None and float(problem.mask[i].mean()) < LEAST_SHOWN:
        return None
    return advise(problem.target[i : i + 1], problem.generator, space, psnr, plain_psnr).record()
