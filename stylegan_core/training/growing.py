"""Progressive growing (PG Sec. 2; SG App. C): what a step shows, how many pictures of which size, and how fast it learns.

The only place that knows of it. Networks take a level of detail as an argument: 0 is the full picture, every 1 halves its side, and a
fraction fades between the two. A stretch is a run of steps with pictures of one size; all of it is a function of the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.errors import UsageError

if TYPE_CHECKING:
    from stylegan_core.training.config import TrainingConfig


@dataclass(frozen=True)
class Growing:
    """A schedule. Every size is trained, then the next one is faded in; mappings are by resolution, the run's own value elsewhere."""

    initial_resolution: int = 8
    training_kimg: float = 600.0           # shown at one size before the next is faded in
    transition_kimg: float = 600.0         # while it is; 0 = at once
    batches: Mapping[int, int] = field(default_factory=dict)         # images per step
    lrs: Mapping[int, float] = field(default_factory=dict)           # learning rates
    snapshots_kimg: Mapping[int, float] = field(default_factory=dict)  # a snapshot this often
    resets_optimisers: bool = True         # forget Adam's moments where a fade begins and where it ends

    def levels(self, img_resolution: int) -> int:
        """How many halvings the first pictures are away from the full ones."""
        return max(int(math.log2(img_resolution / self.initial_resolution)), 0)

    def lod(self, nimg: int, img_resolution: int) -> float:
        """The level of detail after nimg pictures."""
        training, transition = round(self.training_kimg * 1000), round(self.transition_kimg * 1000)
        phase, inside = divmod(nimg, training + transition)
        faded = max(inside - training, 0) / transition if transition else 0.0
        return max(self.levels(img_resolution) - phase - faded, 0.0)

    def end(self, level: int, img_resolution: int) -> int | None:
        """The first number of pictures with ⌊lod⌋ below this level; None = there is none."""
        if level == 0:
            return None
        training, transition = round(self.training_kimg * 1000), round(self.transition_kimg * 1000)
        before = (self.levels(img_resolution) - level) * (training + transition)
        return before + training + (1 if transition else 0)


@dataclass(frozen=True)
class Stretch:
    """Steps from first_step on, first_nimg pictures after the start, with pictures of one size; num_steps None = to the end."""

    first_step: int
    first_nimg: int
    num_steps: int | None
    resolution: int
    batch: int
    lr: float
    snapshot_steps: int


@dataclass(frozen=True)
class Stage:
    """One step. nimg: pictures shown before it. options: of calls of the networks. is_new: a fade begins or has just ended."""

    nimg: int
    batch: int
    lod: float
    resolution: int
    lr: float
    options: Mapping[str, Any]
    is_new: bool = False

    def num_rows(self, num_ws: int) -> int:
        """How many of a generator's rows of ws pictures of this size read."""
        return max(num_ws - 2 * int(self.lod), 1)


def stretches(config: TrainingConfig) -> Iterator[Stretch]:
    """All stretches of a run; one without growing is a single one."""
    growing, full = config.growing, config.generator.img_resolution
    step = nimg = 0
    for level in range(0 if growing is None else growing.levels(full), -1, -1):
        side = full >> level
        batch, lr, kimg, end = config.batch, config.lr, config.snapshot_kimg, None
        if growing is not None:
            batch, lr = growing.batches.get(side, batch), growing.lrs.get(side, lr)
            kimg, end = growing.snapshots_kimg.get(side, kimg), growing.end(level, full)
        count = None if end is None else max(math.ceil((end - nimg) / batch), 0)
        yield Stretch(step, nimg, count, side, batch, lr, max(1, round(kimg * 1000 / batch)))
        if count is not None:
            step, nimg = step + count, nimg + count * batch


def stage_at(config: TrainingConfig, step: int) -> Stage:
    """What a step, counted from 0, shows and how."""
    stretch = _stretch_of(config, step)
    nimg = stretch.first_nimg + (step - stretch.first_step) * stretch.batch
    if config.growing is None:
        return Stage(nimg, stretch.batch, 0.0, stretch.resolution, stretch.lr, {})
    lod = config.growing.lod(nimg, config.generator.img_resolution)
    is_new = False
    if step > 0 and config.growing.resets_optimisers:
        before = config.growing.lod(nimg_at(config, step - 1), config.generator.img_resolution)
        is_new = (math.floor(before), math.ceil(before)) != (math.floor(lod), math.ceil(lod))
    return Stage(nimg, stretch.batch, lod, stretch.resolution, stretch.lr, {"lod": lod}, is_new)


def nimg_at(config: TrainingConfig, step: int) -> int:
    """Pictures shown before a step."""
    stretch = _stretch_of(config, step)
    return stretch.first_nimg + (step - stretch.first_step) * stretch.batch


def num_steps(config: TrainingConfig) -> int:
    """How many steps show at least config.kimg thousand pictures."""
    wanted = config.kimg * 1000
    for stretch in stretches(config):
        count = max(math.ceil((wanted - stretch.first_nimg) / stretch.batch), 0)
        if stretch.num_steps is None or count <= stretch.num_steps:
            return stretch.first_step + count
    raise AssertionError("the last stretch has no end")


def is_snapshot_due(config: TrainingConfig, step: int) -> bool:
    """Whether a snapshot is written after this many steps."""
    stretch = _stretch_of(config, step - 1)
    return (step - stretch.first_step) % stretch.snapshot_steps == 0


def begin_step(optimisers: Mapping[str, torch.optim.Optimizer], config: TrainingConfig, stage: Stage) -> None:
    """Sets the learning rates of this step and, where a fade begins or ends, forgets the moments; nothing without growing."""
    if config.growing is None:
        return
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("unit_lr", group["lr"] / config.lr) * stage.lr
        if stage.is_new:
            optimiser.state.clear()


def at_level(images: Tensor, lod: float) -> Tensor:
    """Full pictures as the networks take them at a level of detail: means of pixels, faded like the generator's."""
    level, fade = int(lod), lod - int(lod)
    if level > 0:
        images = F.avg_pool2d(images, 2**level)
    if fade == 0:
        return images
    return images.lerp(F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="nearest"), fade)


def set_lod(networks: Mapping[str, Any], lod: float) -> None:
    """Networks that grow remember the level that they are at, so that a snapshot renders as it was trained."""
    for network in networks.values():
        if hasattr(network, "set_lod"):
            network.set_lod(lod)


def grown(network_config: Any) -> Any:
    """The configuration of a network at full detail."""
    return replace(network_config, lod=0.0) if getattr(network_config, "lod", 0.0) else network_config


def check_growing(config: TrainingConfig) -> None:
    """Raises UsageError before the first step when a schedule cannot work with the rest of the run."""
    growing = config.growing
    if growing is None:
        return
    for name in ("generator", "discriminator"):
        if not getattr(getattr(config, name), "is_growing", False):
            raise UsageError(f"progressive growing: the {name}, a {getattr(config, name).kind}, has no lower levels of detail")
    first = growing.initial_resolution
    if first < 4 or first & (first - 1):
        raise UsageError(f"growing starts at {first} px; a power of two from 4 on is allowed")
    if min(growing.training_kimg, growing.transition_kimg) < 0 or round((growing.training_kimg + growing.transition_kimg) * 1000) < 1:
        raise UsageError("--growing-kimg: more than 0 thousand images at every size")
    if config.anchor_weight > 0 or config.compile:
        raise UsageError("--anchor-weight and --compile do not go together with progressive growing; leave them out or use another preset")
    for stretch in stretches(config):
        micro = min(config.micro_batch or stretch.batch, stretch.batch)
        group = min(config.discriminator.mbstd_group_size or micro, micro)
        if stretch.batch < 1 or stretch.batch % micro or micro % group or stretch.lr <= 0:
            raise UsageError(f"{stretch.batch} images per step at {stretch.resolution} px do not divide into passes of {micro} and groups "
                             f"of {group} for the minibatch statistic")


def _stretch_of(config: TrainingConfig, step: int) -> Stretch:
    for stretch in stretches(config):
        if stretch.num_steps is None or step < stretch.first_step + stretch.num_steps:
            return stretch
    raise AssertionError("the last stretch has no end")
