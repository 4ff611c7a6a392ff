"""Edits measured: how far the named attribute moves, what else does, and how near the result is to the true counterfactual.

The subjects are portraits that the model never saw, so that the picture which an edit should give can be drawn. They are inverted by
a preset, or, for the bundled models, by the mapping from the very numbers that each is drawn from ('own').
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invert.editing.direction import Direction
from invert.editing.layers import RANGES, rows_of_range
from invert.editing.mixing import mix
from invert.evaluate import PORTRAIT_SEED
from stylegan_core.errors import UsageError
from stylegan_core.images import to_u8
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.metrics.reconstruction import psnr

Truths = dict[tuple[str, float], tuple[list[int], Tensor]]  # (attribute, strength) → subjects whose picture changes, those pictures
STRENGTHS = (-2.0, 2.0)
LEAST_CHANGE = 0.1  # of an attribute, below which a counterfactual is the portrait itself
BATCH = 50
CORRELATED = 0.15   # of two attributes in the data: the smaller ones are chance
LAW_SAMPLES = 4000  # of the data, from which spreads and correlations are taken


@dataclass(frozen=True)
class Subjects:
    """N portraits. inversion: of all. portraits: how to draw them. images: [N, 3, R, R], drawn. inverted: by what."""

    inversion: Inversion
    portraits: list[Any]
    images: Tensor
    inverted: str


@dataclass(frozen=True)
class Law:
    """Of the data: attribute → standard deviation, and the pairs that it correlates."""

    spread: dict[str, float]
    correlated: dict[str, frozenset[str]]
    binary: frozenset[str]


@dataclass(frozen=True)
class EditRow:
    """Figures of one direction over all subjects.

    moved, moved_range: change of a continuous attribute at +2, and from -2 to +2, in its standard deviations; None for a class.
    has_plus, has_minus: share that has a class at +2 and at -2; None for a continuous one. others, others_correlated: mean absolute
    change at ±2 of the attributes that the data do not, and do, correlate with it. psnr, distance: medians of the edited picture to the
    true counterfactual where that differs from the portrait; unedited_*: the same without the edit. reconstruction: PSNR of the
    inversion itself.
    """

    direction: str
    method: str
    count: int
    moved: float | None
    moved_range: float | None
    has_plus: float | None
    has_minus: float | None
    others: float
    others_correlated: float | None
    psnr: float | None
    distance: float | None
    unedited_psnr: float | None
    unedited_distance: float | None
    reconstruction: float


def law_of_portraits(*, count: int = LAW_SAMPLES, seed: int = PORTRAIT_SEED) -> Law:
    """From `count` portraits of the test seed, of which only the numbers are drawn."""
    from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES, sample_portrait

    values = np.array([[sample_portrait(seed, i).attributes[name] for name in ATTRIBUTES] for i in range(count)])
    related = np.abs(np.corrcoef(values.T)) > CORRELATED
    correlated = {
        name: frozenset(other for j, other in enumerate(ATTRIBUTES) if related[i, j] and j != i) for i, name in enumerate(ATTRIBUTES)
    }
    return Law(dict(zip(ATTRIBUTES, values.std(axis=0).tolist())), correlated, frozenset(BINARY_ATTRIBUTES))


def subjects_of(
    generator: Any, count: int, *, inverted: str = "own", space: str = "w+", seed: int = PORTRAIT_SEED,
    callback: Callable[[int, int], None] | None = None,
) -> Subjects:  # fmt: skip
    """Portraits 0 … count - 1 of a seed, inverted: 'own', or the name of a preset, in a space. Raises UsageError."""
    from stylegan_core.data.portraits import render_portrait, sample_portrait

    if count < 2:
        raise UsageError(f"{count} subjects: at least 2 are needed")
    portraits = [sample_portrait(seed, i) for i in range(count)]
    pictures = np.stack([render_portrait(portrait, generator.img_resolution) for portrait in portraits])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(generator.w_avg) / 127.5 - 1
    if inverted == "own":
        return Subjects(Inversion(own_latents(generator, count, seed)), portraits, images, inverted)
    from invert.jobs import default_batch
    from invert.projectors.project import PresetProjector, project_images

    projector = PresetProjector(space=space, preset=inverted)
    found = []
    for part in images.split(default_batch(generator.img_resolution, images.device.type)):
        found.append(project_images(part, generator, projector))
        if callback is not None:
            callback(sum(map(len, found)), count)
    return Subjects(Inversion.cat(found), portraits, images, f"{inverted} in {space}")


@torch.no_grad()
def own_latents(generator: Any, count: int, seed: int) -> Latent:
    """w of the numbers that portraits are drawn from; only models that were trained on such pairs know them."""
    from stylegan_core.data.portraits import portrait_normals
    from stylegan_core.training.anchor import complete

    normals = torch.from_numpy(np.stack([portrait_normals(seed, i) for i in range(count)])).float()
    if generator.z_dim < normals.shape[1] or generator.c_dim:
        raise UsageError("--inversion own: this model does not map the numbers that portraits are drawn from; name a preset")
    z = complete(normals, generator.z_dim, torch.Generator().manual_seed(seed))
    return Latent(z.to(generator.w_avg), LatentSpace.Z).lower(generator, to="w")


def evaluate_edits(
    generator: Any, methods: Mapping[str, Sequence[Direction]], judge: Any, subjects: Subjects, *,
    law: Law | None = None, callback: Callable[[EditRow, int, int], None] | None = None,
) -> list[EditRow]:  # fmt: skip
    """Every direction of every method on the subjects, by a network that no objective uses. callback: (row, done, total)."""
    law = law or law_of_portraits()
    before = looked_at(generator, subjects.inversion, judge)
    rows: list[EditRow] = []
    truths: Truths = {}
    total = sum(len(directions) for directions in methods.values())
    for method, directions in methods.items():
        for direction in directions:
            rows.append(evaluate_direction(generator, direction, judge, subjects, law, before, method, truths))
            if callback is not None:
                callback(rows[-1], len(rows), total)
    return rows


def evaluate_direction(
    generator: Any, direction: Direction, judge: Any, subjects: Subjects, law: Law, before: tuple[Tensor, dict[str, Tensor]], method: str,
    truths: Truths | None = None,
) -> EditRow:  # fmt: skip
    """before: pictures and scores of the unedited inversions, by `looked_at`. truths: counterfactuals drawn before, kept here."""
    name = direction.name
    if name not in law.spread:
        raise UsageError(f"direction {name!r} is no attribute of portraits; there are {', '.join(law.spread)}")
    seen = {s: looked_at(generator, direction.apply(subjects.inversion, s, generator=generator), judge) for s in STRENGTHS}
    minus, plus = (seen[s][1] for s in STRENGTHS)
    start = before[1]
    unit = law.spread[name]
    is_class = name in law.binary
    changes = {
        other: float(torch.stack([(score[other] - start[other]).abs() for score in (minus, plus)]).mean()) / law.spread[other]
        for other in start if other != name
    }  # fmt: skip
    apart = [value for other, value in changes.items() if other not in law.correlated[name]]
    along = [value for other, value in changes.items() if other in law.correlated[name]]
    edited = {s: pictures for s, (pictures, _) in seen.items()}
    truth = _against_truth(generator, direction, judge, subjects, law, before[0], edited, {} if truths is None else truths)
    return EditRow(
        name, method, len(subjects.portraits),
        None if is_class else float((plus[name] - start[name]).mean()) / unit,
        None if is_class else float((plus[name] - minus[name]).mean()) / unit,
        float((plus[name] > 0.5).float().mean()) if is_class else None,
        float((minus[name] > 0.5).float().mean()) if is_class else None,
        float(np.mean(apart)), float(np.mean(along)) if along else None, *truth,
        float(np.median(_psnr(before[0], subjects.images))))  # fmt: skip


def counterfactuals(subjects: Subjects, law: Law, name: str, strength: float, resolution: int) -> tuple[list[int], Tensor]:
    """(subjects whose picture changes, those pictures [n, 3, R, R]): the attribute moved by `strength` standard deviations within its
    range, or a class set to 1 (0 for a negative strength), everything else as it is, drawn anew."""
    from stylegan_core.data.portraits import render_portrait

    kept, drawn = [], []
    for i, portrait in enumerate(subjects.portraits):
        was = portrait.attributes[name]
        goal = float(strength > 0) if name in law.binary else float(np.clip(was + strength * law.spread[name], -1, 1))
        if abs(goal - was) > LEAST_CHANGE:
            kept.append(i)
            drawn.append(render_portrait(portrait.with_attributes(**{name: goal}), resolution))
    pictures = np.stack(drawn) if drawn else np.zeros([0, resolution, resolution, 3], np.uint8)
    return kept, torch.from_numpy(pictures).permute(0, 3, 1, 2).to(subjects.images) / 127.5 - 1


def _against_truth(
    generator: Any, direction: Direction, judge: Any, subjects: Subjects, law: Law, unedited: Tensor, edited: Mapping[float, Tensor],
    truths: Truths,
) -> tuple[float | None, float | None, float | None, float | None]:  # fmt: skip
    """Medians over the counterfactuals that differ from their portrait: (psnr, distance) edited, then unedited."""
    name = direction.name
    found: list[list[float]] = [[], [], [], []]
    for strength, pictures in edited.items():
        if (name, strength) not in truths:
            truths[name, strength] = counterfactuals(subjects, law, name, strength, generator.img_resolution)
        kept, truth = truths[name, strength]
        if not kept:
            continue
        for k, shown in ((0, pictures[kept]), (2, unedited[kept])):
            found[k] += _psnr(shown, truth)
            found[k + 1] += torch.cat([judge.distance(a, b) for a, b in zip(shown.split(BATCH), truth.split(BATCH))]).tolist()
    values = [float(np.median(part)) if part else None for part in found]
    return values[0], values[1], values[2], values[3]


@torch.no_grad()
def looked_at(generator: Any, inversion: Inversion, judge: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """(pictures [N, C, R, R] clamped, attribute → [N])."""
    pictures, scores = [], []
    for first in range(0, len(inversion), BATCH):
        part = slice(first, first + BATCH)
        noise = {key: value[part] for key, value in inversion.noise.items()}
        if inversion.weight_deltas:  # weights of its own for each picture
            images = torch.cat([inversion[i].render(generator) for i in range(len(inversion))[part]]).clamp(-1, 1)
        else:
            images = inversion.latent[part].to(generator.w_avg).render(generator, noise=noise or None).clamp(-1, 1)
        pictures.append(images)
        scores.append(judge.attributes(images))
    return torch.cat(pictures), {key: torch.cat([score[key] for score in scores]).cpu() for key in scores[0]}


def mixing_transfer(generator: Any, judge: Any, *, count: int = 200, seed: int = PORTRAIT_SEED) -> dict[str, dict[str, float]]:
    """Range of rows → attribute → how much of the difference of two samples is taken over with these rows: 0 none, 1 all of it.

    The slope of (mixture - base) on (other - base), over pairs of samples.
    """
    from invert.editing.labels import draw

    base = Inversion(draw(generator, count, seed=seed, space="w"))
    other = replace(base, latent=base.latent[torch.arange(count).roll(1)])
    one, two = (looked_at(generator, inversion, judge)[1] for inversion in (base, other))
    found = {}
    for name in RANGES:
        mixed = looked_at(generator, mix(base, other, rows_of_range(generator, name), generator=generator), judge)[1]
        found[name] = {
            key: float(((mixed[key] - one[key]) * (two[key] - one[key])).sum() / (two[key] - one[key]).square().sum().clamp_min(1e-9))
            for key in one
        }
    return found


def table(rows: Sequence[EditRow]) -> str:
    """The rows as a Markdown table."""
    head = ["method", "direction", "N", "moved at +2", "-2 to +2", "has it at +2", "at -2", "others", "correlated others",
            "PSNR to truth", "unedited", "judge", "unedited", "reconstruction"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.method, row.direction, str(row.count), _cell(row.moved, "+.2f"), _cell(row.moved_range, ".2f"),
                 _cell(row.has_plus, ".0%"), _cell(row.has_minus, ".0%"), _cell(row.others, ".2f"), _cell(row.others_correlated, ".2f"),
                 _cell(row.psnr, ".1f"), _cell(row.unedited_psnr, ".1f"), _cell(row.distance, ".3f"), _cell(row.unedited_distance, ".3f"),
                 _cell(row.reconstruction, ".1f")]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mixing_table(transfer: Mapping[str, Mapping[str, float]]) -> str:
    """Attributes as rows, ranges as columns."""
    names = list(transfer)
    lines = ["| attribute | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for attribute in next(iter(transfer.values())):
        lines.append(f"| {attribute} | " + " | ".join(f"{transfer[name][attribute]:.2f}" for name in names) + " |")
    return "\n".join(lines)


def records(rows: Sequence[EditRow]) -> list[dict[str, Any]]:
    """JSON-ready."""
    return [asdict(row) for row in rows]


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _psnr(images: Tensor, target: Tensor) -> list[float]:
    return psnr(to_u8(images), to_u8(target)).tolist()  # type: ignore[no-any-return]
