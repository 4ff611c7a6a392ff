"""Own samples project closer than real pictures: the gap by which a picture can be attributed (SG2 Sec. 5, Fig. 9)."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from invert.evaluate import held_out_portraits, own_samples
from invert.jobs import default_batch
from invert.projectors.project import PresetProjector, project_images
from invert.reproduce.setting import Outcome, Setting, verdict_of
from stylegan_core.images import to_u8
from stylegan_core.metrics.reconstruction import psnr

SPACE, PRESET, PERCEPTUAL = "w", "fast", "auto"
STEPS: int | None = None  # None = the preset's
APART = 0.9  # area under the curve from which on the two count as apart


def projection_gap(setting: Setting) -> Outcome:
    """count: own samples, and as many portraits that the model never saw; projected into W with the preset `fast`."""
    targets = {"own": own_samples(setting.generator, setting.count)[0], "real": held_out_portraits(setting.generator, setting.count)[0]}
    found: dict[str, dict[str, list[float]]] = {}
    for kind, images in targets.items():
        found[kind] = projected(setting, images, f"{kind} pictures")
    own, real = found["own"]["distance"], found["real"]["distance"]
    auc = float(roc_auc_score([0] * len(own) + [1] * len(real), own + real))
    medians = {kind: {name: round(sorted(values)[len(values) // 2], 5) for name, values in rows.items()} for kind, rows in found.items()}
    figures: dict[str, Any] = {"space": SPACE, "preset": PRESET, "auc": round(auc, 4), "medians": medians, "distances": found}
    ours = f"median distance (judge) {medians['own']['distance']:.3f} own, {medians['real']['distance']:.3f} real; AUC {auc:.3f}"
    return Outcome(ours, verdict_of(auc >= APART), figures)


def projected(setting: Setting, images: Tensor, what: str) -> dict[str, list[float]]:
    """'distance' of the judge and 'psnr', one value for each picture."""
    projector = PresetProjector(space=SPACE, preset=PRESET, steps=STEPS, perceptual=PERCEPTUAL, seed=setting.seed)
    distances: list[float] = []
    ratios: list[float] = []
    for part in images.split(default_batch(setting.generator.img_resolution, images.device.type)):
        inversion = project_images(part, setting.generator, projector)
        with torch.no_grad():
            recon = inversion.render(setting.generator).clamp(-1, 1)
            distances += setting.judge.distance(recon, part).tolist()
            ratios += psnr(to_u8(recon), to_u8(part)).tolist()
        setting.tell(what, len(distances), len(images))
    return {"distance": [round(value, 6) for value in distances], "psnr": [round(value, 3) for value in ratios]}
