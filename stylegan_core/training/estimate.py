"""What a run will need, before it starts: memory and time, counted on networks without numbers (torch's meta device).

Every pass of a training step is built once; autograd says which tensors it would keep, and a counter how many products it would form.
The time of one product is measured on the device by the discriminator's own layers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from stylegan_core.errors import UsageError
from stylegan_core.losses.adversarial import path_lengths, r1_penalty
from stylegan_core.losses.gan import gan_loss
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import GeneratorConfig, StyleGAN2Config, StyleGAN3Config
from stylegan_core.networks.layer_schedule import layer_plans
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.growing import Stage, num_steps, stage_at, stretches

COPIES = {"G": 5, "D": 4}  # weights, gradients, two moments of Adam, and the average of the generator
WORKSPACE = 1.25  # what passes need beyond the tensors that they keep
BASE_BYTES = 400 << 20  # the program itself
MEASURED_PRODUCTS = 2e9  # enough to time


@dataclass(frozen=True)
class Estimate:
    """Of one process. products: multiplications of a step, averaged over lazy steps. state_bytes: networks and optimisers.

    image_bytes: what one image adds to the largest pass. seconds_per_step: None = was not timed.
    """

    parameters: dict[str, int]
    products: float
    state_bytes: int
    image_bytes: int
    micro_batch: int
    smallest: int
    seconds_per_step: float | None
    steps: int

    def memory(self, micro_batch: int | None = None) -> int:
        """Bytes with this many images per pass; None = those of the configuration."""
        return BASE_BYTES + self.state_bytes + self.image_bytes * (micro_batch or self.micro_batch)

    def fitting(self, available: int) -> int | None:
        """The most images per pass, of those that halving the configuration's gives, that fit; None = not even the smallest."""
        size = self.micro_batch
        while self.memory(size) > available and size % 2 == 0 and size // 2 >= self.smallest:
            size //= 2
        return size if self.memory(size) <= available else None

    @property
    def days(self) -> float | None:
        """Of the whole run."""
        return None if self.seconds_per_step is None else self.seconds_per_step * self.steps / 86400

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"parameters": self.parameters, "gigabytes": round(self.memory() / 1e9, 2), "micro_batch": self.micro_batch,
                "tera_products_per_step": round(self.products / 1e12, 3), "steps": self.steps,
                "seconds_per_step": None if self.seconds_per_step is None else round(self.seconds_per_step, 3),
                "days": None if self.days is None else float(f"{self.days:.3g}")}


def estimate(config: TrainingConfig, *, processes: int = 1, device: torch.device | None = None) -> Estimate:
    """device: where to time a few layers; None = not. A run whose pictures grow is judged by the size that needs the most memory."""
    with torch.device("meta"):
        generator: Any = build(config.generator).train()
        discriminator: Any = build(config.discriminator).train()
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in (("G", generator), ("D", discriminator))}
    state, last = sum(4 * COPIES[name] * count for name, count in counts.items()), num_steps(config)
    sizes, products = [], 0.0
    for stretch in stretches(config):
        count = last - stretch.first_step if stretch.num_steps is None else min(stretch.num_steps, last - stretch.first_step)
        if count > 0:
            found, of_step = _size(config, stage_at(config, stretch.first_step), generator, discriminator, processes)
            sizes.append(found)
            products += of_step * count / last
    image_bytes, micro, smallest = max(sizes, key=lambda size: size[0] * size[1])
    found_in_all = Estimate(counts, products, state, image_bytes, micro, smallest, None, last)
    return found_in_all if device is None else replace(found_in_all, seconds_per_step=products * seconds_per_product(config, device))


def _size(config: TrainingConfig, stage: Stage, generator: Any, discriminator: Any, processes: int) -> tuple[tuple[int, int, int], float]:
    """((bytes of an image, images per pass, the fewest of them), products of a step) at one size of pictures."""
    share = stage.batch // processes
    micro = min(config.micro_batch or share, share)
    smallest = min(config.discriminator.mbstd_group_size or micro, micro)
    passes = {name: _measure(run) for name, run in _passes(config, generator, discriminator, smallest, stage.options).items()}
    paths_share = min(1.0, share // config.pl_batch_shrink / micro)  # the pass of path length takes fewer images
    kept = max(size * (paths_share if name == "path length" else 1.0) for name, (size, _) in passes.items())
    often = {"generator": 1 / config.d_steps, "path length": 1 / (config.pl_every * config.pl_batch_shrink * config.d_steps),
             "r1": 1 / max(config.r1_every, 1)}
    products = share * sum(count / smallest * often.get(name, 1.0) for name, (_, count) in passes.items())
    return (int(WORKSPACE * kept / smallest), micro, smallest), products


def _passes(config: TrainingConfig, generator: Any, discriminator: Any, count: int,
            options: Mapping[str, Any]) -> dict[str, Callable[[], Tensor]]:
    """The passes of a step for `count` images: each builds what is then differentiated. options: of calls of the networks."""
    shape = [side >> int(options.get("lod", 0)) for side in config.generator.img_shape]

    def drawn() -> tuple[Tensor, Tensor, Tensor]:
        c = torch.zeros(count, config.generator.c_dim, device="meta")
        ws = generator.mapping(torch.zeros(count, generator.z_dim, device="meta"), c)
        return generator.synthesis(ws, **options), ws, c

    def real() -> Tensor:
        return torch.zeros(count, config.generator.img_channels, *shape, device="meta")

    def generate() -> Tensor:
        images, _, c = drawn()
        return discriminator(images, c, **options).sum()

    def judge() -> Tensor:
        c = torch.zeros(count, config.generator.c_dim, device="meta")
        return discriminator(real(), c, **options).sum() + discriminator(real(), c, **options).sum()

    def regularise() -> Tensor:
        images = real().requires_grad_()
        return r1_penalty(images, discriminator(images, torch.zeros(count, config.generator.c_dim, device="meta"), **options)).sum()

    def paths() -> Tensor:
        images, ws, _ = drawn()
        return path_lengths(images, ws, images.detach()).sum()

    chosen: dict[str, Callable[[], Tensor]] = {"generator": generate, "discriminator": judge}
    if config.pl_weight > 0:
        chosen["path length"] = paths
    if config.r1_every > 0 and config.r1_gamma + config.r2_gamma > 0:
        chosen["r1"] = regularise
    if gan_loss(config.loss).penalty is not None:
        chosen["gradient penalty"] = regularise
    return chosen


def _measure(run: Callable[[], Tensor]) -> tuple[int, float]:
    """(bytes that autograd keeps until the gradient is taken, products of both)."""
    with _Products() as counter:
        with _kept() as sizes:
            value = run()
        value.backward()
    return sum(sizes.values()), counter.total


class _Products(TorchDispatchMode):
    """Counts the multiplications of matrix products and convolutions while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        count = flop_registry.get(function._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result) / 2
        return result


@contextmanager
def _kept() -> Iterator[dict[int, int]]:
    """Storage → bytes of every tensor that is saved for a gradient while the body runs, weights left out."""
    sizes: dict[int, int] = {}
    held = []

    def keep(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.requires_grad):
            storage = tensor.untyped_storage()
            held.append(storage)  # so that its number is not given to another
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def seconds_per_product(config: TrainingConfig, device: torch.device) -> float:
    """From the discriminator's forward and backward passes on a few images."""
    discriminator: Any = build(config.discriminator).to(device).train()
    with torch.device("meta"):
        image_products = _measure(_passes(config, None, build(config.discriminator), 1, {})["discriminator"])[1] / 2
    count = max(1, min(config.batch, int(MEASURED_PRODUCTS / image_products)))
    group = config.discriminator.mbstd_group_size
    count = count if group is None or count < group else count - count % group
    images = torch.zeros(count, config.generator.img_channels, *config.generator.img_shape, device=device)
    c = torch.zeros(count, config.discriminator.c_dim, device=device)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        discriminator(images, c).sum().backward()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / (image_products * count)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def check_fits(found: Estimate, available: int | None, name: str) -> None:
    """Raises UsageError when the estimate exceeds the memory. available: bytes; None = not known, then nothing is said."""
    if available is None or found.memory() <= available:
        return
    needs, has = f"{found.memory() / 1e9:.1f} GB", f"{available / 1e9:.1f} GB are free"
    fitting = found.fitting(available)
    advice = f"use --micro-batch {fitting}" if fitting else "choose a smaller preset (--preset small) or a lower --resolution"
    raise UsageError(f"preset {name} needs about {needs} with {found.micro_batch} images per pass, and {has}; {advice}")


def may_be_large(config: TrainingConfig, processes: int, available: int) -> bool:
    """Whether the run could need more than half of the memory, by a rule of thumb; if so, `estimate` is worth its seconds."""
    for stretch in stretches(config):
        share = stretch.batch // processes
        if _rough_bytes(config.generator, stretch.resolution) * min(config.micro_batch or share, share) > available / 2:
            return True
    return False


def _rough_bytes(generator: GeneratorConfig, resolution: int) -> int:
    """What an image of this size adds to a pass: 30 tensors of every block's, 7 of every nonlinearity of a StyleGAN3."""
    if isinstance(generator, StyleGAN3Config):
        return 7 * 4 * sum(plan.out_channels * (plan.in_size * plan.up) ** 2 for plan in layer_plans(generator))
    shape = generator.shape_at if isinstance(generator, StyleGAN2Config) else lambda side: (side, side)
    return 30 * 4 * sum(generator.width(side) * math.prod(shape(side)) for side in generator.resolutions if side <= resolution)
