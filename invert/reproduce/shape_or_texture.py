"""Which damage a metric minds more: portraits with scrambled texture beside portraits with warped shapes, at equal pixel error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from invert.reproduce.setting import Outcome, Setting, verdict_of
from stylegan_core.data.distortions import Distortion
from stylegan_core.data.images import portraits
from stylegan_core.data.shape_and_texture import amount_of_error, scrambled, warped
from stylegan_core.images import to_u8
from stylegan_core.metrics.detectors import judge_detector
from stylegan_core.metrics.observing import Wanted, observe_detected
from stylegan_core.metrics.reconstruction import ms_ssim, ssim
from stylegan_core.metrics.registry import METRICS, SAMPLES, SETS
from stylegan_core.metrics.report import pictures

KINDS: dict[str, Distortion | None] = {"clean": None, "scrambled": scrambled, "warped": warped}
BASE_AMOUNT = 0.5  # of scrambling; warping is set to the same pixel error
TRIED = 64         # pictures by which the amounts are set


def shape_or_texture(setting: Setting) -> Outcome:
    """count: portraits in each set, and in the reference."""
    data = portraits(2 * setting.count, setting.judge.img_resolution, seed=setting.seed)
    amounts, error = equal_amounts(next(pictures(data, setting.count, setting.count + min(TRIED, setting.count))), setting.seed)
    wanted = Wanted(judge_detector(setting.judge), setting.judge, classes=True, similarity=True)
    work = setting.count
    reference = observe_detected(wanted, pictures(data, 0, work), ("data", work), setting.told)
    rows: dict[str, dict[str, float]] = {}
    for kind, distortion in KINDS.items():
        batches = damaged(pictures(data, work, 2 * work), distortion, amounts.get(kind, 0.0), setting.seed)
        seen = observe_detected(wanted, batches, (f"{kind} portraits", work), setting.told)
        for name, metric in METRICS.items():
            if metric.compares in (SETS, SAMPLES) and "inception" not in metric.needs:
                value = metric.function(seen, reference) if metric.compares == SETS else metric.function(seen)
                rows.setdefault(name, {})[kind] = round(float(value), 5)
    for kind in ("scrambled", "warped"):
        for name, value in by_picture(setting, data, KINDS[kind], amounts[kind]).items():
            rows.setdefault(name, {})[kind] = value
    worse = {name: worse_side(name, row) for name, row in rows.items()}
    figures: dict[str, Any] = {"amounts": amounts, "squared_error": round(error, 5), "metrics": rows, "worse": worse}
    lists = {kind: ", ".join(name for name in rows if worse[name] == kind) or "none" for kind in ("scrambled", "warped")}
    ours = f"scrambled texture is worse by {lists['scrambled']}; warped shapes by {lists['warped']}"
    return Outcome(ours, verdict_of(all(worse[name] == "scrambled" for name in ("frechet", "kernel"))), figures)


def equal_amounts(images: Tensor, seed: int) -> tuple[dict[str, float], float]:
    """({'scrambled', 'warped'} → amount of equal squared error on these pictures, that error)."""
    base = torch.full([len(images)], BASE_AMOUNT)
    error = float((scrambled(images, base, torch.Generator().manual_seed(seed)) - images).square().mean())
    return {"scrambled": BASE_AMOUNT, "warped": round(amount_of_error(warped, images, error, seed=seed), 5)}, error


def damaged(batches: Iterator[Tensor], distortion: Distortion | None, amount: float, seed: int) -> Iterator[Tensor]:
    """The pictures with that damage, batch by batch; None = as they are."""
    rng = torch.Generator().manual_seed(seed)
    for batch in batches:
        yield batch if distortion is None else distortion(batch, torch.full([len(batch)], amount), rng).clamp(-1, 1)


def by_picture(setting: Setting, data: Any, distortion: Distortion | None, amount: float) -> dict[str, float]:
    """Mean of the metrics of pairs: every damaged picture against the same one undamaged."""
    sums = {"ssim": 0.0, "ms_ssim": 0.0, setting.judge.name: 0.0}
    whole = pictures(data, setting.count, 2 * setting.count)
    again = damaged(pictures(data, setting.count, 2 * setting.count), distortion, amount, setting.seed)
    with torch.no_grad():
        for clean, other in zip(whole, again):
            sums["ssim"] += float(ssim(to_u8(clean), to_u8(other)).sum())
            if min(clean.shape[2:]) >= 44:
                sums["ms_ssim"] += float(ms_ssim(to_u8(clean), to_u8(other)).sum())
            sums[setting.judge.name] += float(setting.judge.distance(clean, other).sum())
    return {name: round(value / setting.count, 5) for name, value in sums.items() if value}


def worse_side(name: str, row: dict[str, float]) -> str:
    """The damage that a metric minds more, 'neither' for equal figures."""
    is_higher_better = METRICS[name].is_higher_better if name in METRICS else False
    if row["scrambled"] == row["warped"]:
        return "neither"
    return "scrambled" if (row["scrambled"] < row["warped"]) == is_higher_better else "warped"
