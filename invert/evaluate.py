"""Inversion methods compared on pictures whose truth is known: own samples of the model, and portraits that it never saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invert.jobs import default_batch
from invert.projectors.project import PresetProjector, project_images
from stylegan_core.images import to_u8
from stylegan_core.metrics.reconstruction import psnr

SUBJECTS = ("samples", "portraits")
SAMPLE_SEEDS = 1000      # own samples come from seeds 1000, 1001, …
PORTRAIT_SEED = 1000     # held-out portraits come from this seed of the renderer


@dataclass(frozen=True)
class MethodRow:
    """Figures of one method on one kind of picture; medians over the pictures unless named otherwise.

    psnr, psnr_min, psnr_without_noise: dB, 8-bit; without noise = the stored noise maps of the model in place of the found
    ones. w_error: ‖w − w*‖ / ‖w* − w_avg‖ with w the mean row, and w_found the share below 0.1; None where w* is not known.
    distance: of `judge`; None without one. seconds: per picture.
    """

    subject: str
    space: str
    preset: str
    count: int
    psnr: float
    psnr_min: float
    psnr_without_noise: float
    w_error: float | None
    w_found: float | None
    distance: float | None
    seconds: float


def evaluate_methods(generator: Any, *, spaces: Sequence[str] = ("z", "w", "w+", "s"), presets: Sequence[str] = ("fast", "stylegan2"),
                     subjects: Sequence[str] = SUBJECTS, count: int = 32, steps: int | None = None, perceptual: str = "auto",
                     judge: Any = None, callback: Callable[[MethodRow, int, int], None] | None = None) -> list[MethodRow]:
    """Every preset in every space on `count` pictures of every kind; the pictures are the same for all methods.

    judge: a network with `.distance(a, b)`, which no objective uses; None leaves the column empty. callback: called with each
    row as it is ready, its number and how many there will be. Pictures go through in batches, as `invert project` takes them.
    """
    rows: list[MethodRow] = []
    total = len(subjects) * len(presets) * len(spaces)
    for subject in subjects:
        targets, truth = own_samples(generator, count) if subject == "samples" else held_out_portraits(generator, count)
        for preset in presets:
            for space in spaces:
                rows.append(evaluate_method(generator, targets, truth, subject, space, preset, steps=steps, perceptual=perceptual,
                                            judge=judge))
                if callback is not None:
                    callback(rows[-1], len(rows), total)
    return rows


def evaluate_method(generator: Any, targets: Tensor, truth: Tensor | None, subject: str, space: str, preset: str, *,
                    steps: int | None = None, perceptual: str = "auto", judge: Any = None) -> MethodRow:
    """targets: [N, C, R, R]. truth: the w of each, [N, w_dim], or None."""
    projector = PresetProjector(space=space, preset=preset, steps=steps, perceptual=perceptual)
    batch = default_batch(generator.img_resolution, targets.device.type)
    values, bare, errors, distances = [], [], [], []
    started = time.monotonic()
    inversions = [project_images(part, generator, projector) for part in targets.split(batch)]
    seconds = time.monotonic() - started
    for part, inversion in zip(targets.split(batch), inversions):
        with torch.no_grad():
            recon = inversion.render(generator)
            values += _psnr(recon, part)
            bare += _psnr(inversion.latent.render(generator, noise_mode="const"), part)
            if judge is not None:
                distances += judge.distance(recon.clamp(-1, 1), part.clamp(-1, 1)).tolist()
    if truth is not None and space != "s":
        found = torch.cat([inversion.latent.lower(generator, to="w+").value.mean(dim=1) for inversion in inversions])
        errors = ((found - truth).norm(dim=1) / (truth - generator.w_avg).norm(dim=1)).tolist()
    return MethodRow(
        subject, space, preset, len(targets), float(np.median(values)), min(values), float(np.median(bare)),
        float(np.median(errors)) if errors else None, float(np.mean(np.array(errors) < 0.1)) if errors else None,
        float(np.median(distances)) if distances else None, seconds / len(targets))


@torch.no_grad()
def own_samples(generator: Any, count: int) -> tuple[Tensor, Tensor]:
    """(images [N, C, R, R] with random noise, their w [N, w_dim]) of seeds 1000, 1001, …, rounded to 8 bits as files are."""
    seeds = range(SAMPLE_SEEDS, SAMPLE_SEEDS + count)
    z = torch.from_numpy(np.concatenate([np.random.RandomState(seed).randn(1, generator.z_dim) for seed in seeds])).to(generator.w_avg)
    w = generator.mapping.to_w(z)
    rng = [torch.Generator().manual_seed(seed) for seed in seeds]
    images = generator.synthesis(w[:, None].repeat(1, generator.num_ws, 1), noise_mode="random", rng=rng)
    return (images.clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1, w


def held_out_portraits(generator: Any, count: int) -> tuple[Tensor, None]:
    """(portraits 0 … count-1 of the test seed [N, 3, R, R], None)."""
    from stylegan_core.data.portraits import portrait_u8

    pictures = np.stack([portrait_u8(PORTRAIT_SEED, i, generator.img_resolution)[0] for i in range(count)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).to(generator.w_avg) / 127.5 - 1, None


def table(rows: Sequence[MethodRow]) -> str:
    """The rows as a Markdown table."""
    head = ["pictures", "space", "preset", "N", "PSNR", "min", "without found noise", "w error", "w found", "judge", "s / picture"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.subject, row.space, row.preset, str(row.count),
                 f"{row.psnr:.1f}", f"{row.psnr_min:.1f}", f"{row.psnr_without_noise:.1f}",
                 "" if row.w_error is None else f"{row.w_error:.3f}", "" if row.w_found is None else f"{100 * row.w_found:.0f} %",
                 "" if row.distance is None else f"{row.distance:.3f}", f"{row.seconds:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def records(rows: Sequence[MethodRow]) -> list[dict[str, Any]]:
    """JSON-ready."""
    return [asdict(row) for row in rows]


def _psnr(images: Tensor, target: Tensor) -> list[float]:
    return psnr(to_u8(images), to_u8(target)).tolist()  # type: ignore[no-any-return]
