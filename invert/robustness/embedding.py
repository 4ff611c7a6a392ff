"""Pictures put into w+ by the phases of a preset from one start, and what is measured of the result.

The start is named rather than chosen by an encoder or among samples, so that cells of a table differ in one thing only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from invert.jobs import default_batch
from invert.projectors.base import Candidates, Problem, Progress
from invert.projectors.presets import Preset, preset_of
from invert.projectors.project import planned, problem_of, search
from invert.projectors.samples import WSamples
from invert.projectors.start import Start
from invert.robustness.pictures import subject
from invert.robustness.setting import Setting
from stylegan_core.errors import UsageError
from stylegan_core.images import to_rgb, to_u8
from stylegan_core.input_transform import BUFFER, delta_of
from stylegan_core.inversion import Inversion
from stylegan_core.latent import LatentSpace
from stylegan_core.metrics.reconstruction import psnr
from stylegan_core.progress import Callback, StepInfo


@dataclass(frozen=True)
class Embedded:
    """N pictures in w+. targets, images: [N, C, R, R]; images with the found noise, latent_images with the stored noise."""

    generator: Any
    targets: Tensor
    inversion: Inversion
    images: Tensor
    latent_images: Tensor

    @property
    def ws(self) -> Tensor:
        """[N, num_ws, w_dim]."""
        return self.inversion.latent.value


def checked_preset(name: str, steps: int | None) -> Preset:
    """One candidate per picture. Raises UsageError for a preset that needs an encoder, and for no steps at all."""
    preset = preset_of(name)
    if preset.start == "encoder":
        raise UsageError(f"--preset {name}: it starts from an encoder, and here the start is part of what is asked; fast is allowed")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps}: a whole number from 1 is allowed")
    return replace(preset, restarts=1, steps=preset.steps if steps is None else steps)


def embed(setting: Setting, targets: Tensor, *, generator: Any = None, start: str = "mean", preset: Preset | None = None,
          pose: bool = False, what: str = "pictures") -> Embedded:
    """targets: [N, C, R, R]. generator: None = the setting's. start: mean, seed:N, …. preset: None = the setting's. pose: of a
    StyleGAN3's input, found too."""
    generator = setting.generator if generator is None else generator
    preset = preset or checked_preset(setting.preset, setting.steps)
    found: list[Inversion] = []
    parts = targets.split(default_batch(generator.img_resolution, targets.device.type))
    for number, part in enumerate(parts):

        def callback(info: StepInfo, before: int = number) -> None:
            setting.tell(what, before * info.num_steps + min(info.step, info.num_steps), len(parts) * info.num_steps)

        problem = problem_of(part, generator, preset, measure=setting.measure, seed=setting.seed)
        candidates = searched(problem, start, preset, pose=pose, callback=callback)
        deltas: dict[str, Any] = {} if candidates.pose is None else {BUFFER: delta_of(candidates.pose)}
        found.append(Inversion(candidates.latent, candidates.noise, deltas))
    inversion = Inversion.cat(found)
    alone = replace(inversion, noise={})
    return Embedded(generator, targets, inversion, inversion.render(generator).clamp(-1, 1), alone.render(generator).clamp(-1, 1))


def searched(problem: Problem, start: str, preset: Preset, *, pose: bool = False, callback: Callback | None = None) -> Candidates:
    """One candidate per picture, in w+, after all phases."""
    generator = problem.generator
    origin = Start.parse(start).resolved(generator)
    plan = planned(preset, LatentSpace.W_PLUS, origin, generator)
    if not plan:
        raise UsageError(f"preset {preset.name}: {preset.steps} steps leave none for what this model can do; more are needed")
    progress = Progress(problem, sum(steps for _, _, steps in plan), callback)
    return search(problem, origin, preset, plan, progress, transform=pose).lower(generator, LatentSpace.W_PLUS)


def embedded_subject(setting: Setting, name: str, *, generator: Any = None, start: str = "mean") -> Embedded:
    """Pictures of a kind, `setting.count` of them, embedded once per generator and start."""
    generator = setting.generator if generator is None else generator
    key = (id(generator), name, start)
    if key not in setting.kept:
        targets = subject(name, generator, setting.count)
        setting.kept[key] = embed(setting, targets, generator=generator, start=start, what=f"{name} from {start}")
    return setting.kept[key]  # type: ignore[no-any-return]


@torch.no_grad()
def figures_of(setting: Setting, *cells: Embedded) -> dict[str, Any]:
    """Of one cell of a table, which may be several embeddings by one generator; medians unless named otherwise.

    psnr, psnr_min, psnr_latent: dB of 8-bit pictures; latent = with the stored noise in place of the found maps. distance: of the
    judge. offset: root mean square distance of the rows of ws to the mean of w, in that of samples. apart: of the rows to their mean,
    likewise.
    """
    pairs = [(cell.images, cell.latent_images, cell.targets) for cell in cells]
    images, latent_images, targets = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    ws, samples = torch.cat([cell.ws for cell in cells]), WSamples.of(cells[0].generator)
    values = quality(images, targets)
    return {
        "count": len(images),
        "psnr": _median(values),
        "psnr_min": float(values.min()),
        "psnr_latent": _median(quality(latent_images, targets)),
        "distance": _median(setting.judge.distance(images, targets)),
        "offset": _median(_rms(ws - samples.mean) / samples.spread),
        "apart": _median(_rms(ws - ws.mean(dim=1, keepdim=True)) / samples.spread),
    }


def quality(images: Tensor, targets: Tensor) -> Tensor:
    """PSNR in dB, [N] on the CPU."""
    return psnr(to_u8(to_rgb(targets)).cpu(), to_u8(to_rgb(images)).cpu())


def _rms(rows: Tensor) -> Tensor:
    """[N, num_ws, w_dim] → [N]."""
    return rows.square().sum(dim=2).mean(dim=1).sqrt()


def _median(values: Tensor) -> float:
    return float(values.detach().double().quantile(0.5))
