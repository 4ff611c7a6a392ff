"""How long a training step takes beside the plain grouped form in the same run: what `invert bench --training` prints.

A step: both networks' main losses on a batch, every gradient, Adam. Lazy regularisers come now and then and are left out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from invert.bench import GROUPED, VARIANTS, Case, Machine, alternate, check_variants
from invert.bench_grouped import discriminate_plain, render_grouped
from stylegan_core.losses.adversarial import logistic_discriminator, nonsaturating_generator
from stylegan_core.networks.acceleration import check_compiler
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2DiscriminatorConfig


@dataclass(frozen=True)
class TrainingRow:
    """milliseconds: of a step, the median. images_per_second: the batch over it. ratio: grouped / this. loss: of the first step."""

    case: str
    batch: int
    variant: str
    milliseconds: float
    images_per_second: float
    repeats: int
    ratio: float
    loss: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def bench_training(case: Case, variants: Sequence[str] = ("eager",), *, repeats: int = 3, seconds: float = 120.0,
                   device: torch.device | None = None) -> list[TrainingRow]:
    """Rows of the grouped form and of each variant; they begin with the same weights and take turns. Raises UsageError."""
    check_variants(variants)
    device = device or torch.device("cpu")
    torch.compiler.reset()
    kinds: Mapping[str, dict[str, Any]] = {GROUPED: {}, **{name: VARIANTS[name] for name in variants}}
    steps = {name: training_step(case, device, is_plain=name == GROUPED, **options) for name, options in kinds.items()}
    losses = {name: float(step()) for name, step in steps.items()}
    times = alternate(steps, repeats, seconds, device)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return [
        TrainingRow(case.name, case.batch, name, 1e3 * value, case.batch / value, len(times[name]), medians[GROUPED] / value, losses[name])
        for name, value in medians.items()
    ]


def training_step(case: Case, device: torch.device, *, is_plain: bool = False, precision: str = "fp32",
                  compile: bool = False, seed: int = 0) -> Callable[[], Tensor]:
    """A function that does one step and returns the sum of both losses []; always the same pictures and latents."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = case.build(device).requires_grad_(True)
        config = StyleGAN2DiscriminatorConfig(img_resolution=case.resolution, channel_base=16384, channels=dict(case.channels))
        discriminator: Any = build(config).to(device)
    render: Callable[[Tensor], Tensor] = partial(render_grouped, generator) if is_plain else generator.synthesis
    discriminate: Callable[[Tensor], Tensor] = partial(discriminate_plain, discriminator) if is_plain else discriminator
    if compile:
        check_compiler(device)
        render, discriminate = torch.compile(render, dynamic=False), torch.compile(discriminate, dynamic=False)
    optimisers = [torch.optim.Adam(network.parameters(), lr=0.002, betas=(0.0, 0.99)) for network in (generator, discriminator)]
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(case.batch, generator.z_dim, generator=rng).to(device)
    real = (torch.rand(case.batch, generator.img_channels, *generator.img_shape, generator=rng) * 2 - 1).to(device)

    def step() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            fake = render(generator.mapping(z))
            discriminator.requires_grad_(False)
            first = nonsaturating_generator(discriminate(fake).float()).mean()
        first.backward()
        discriminator.requires_grad_(True)
        with torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            second = logistic_discriminator(discriminate(real).float(), discriminate(fake.detach()).float()).mean()
        second.backward()
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return (first + second).detach()

    return step


def markdown(rows: Sequence[TrainingRow], machine: Machine) -> str:
    """A table."""
    lines = [f"{machine.device}, torch {machine.torch}" + ("" if machine.has_fast_bf16 else "; bfloat16 is emulated"), "",
             "| model | batch | variant | median ms a step | images/s | times the grouped form |", "|---|---|---|---|---|---|"]
    lines += [f"| {row.case} | {row.batch} | {row.variant} | {row.milliseconds:.0f} | {row.images_per_second:.1f} | {row.ratio:.2f} |"
              for row in rows]
    return "\n".join(lines) + "\n"
