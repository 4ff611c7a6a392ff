"""Images per second of training with the networks of the papers' configurations, as ratios; a machine's own figures mean little."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from invert.reproduce.setting import Outcome, Setting, verdict_of
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config, StyleGAN2DiscriminatorConfig
from stylegan_core.training.steps import discriminator_step, generator_step

NARROWER = 8     # widths and w over those of the papers
RESOLUTION = 64
BATCH = 8
PAPER = {"A": 37.0, "E": 61.0, "F": 31.0}  # images/s on eight GPUs, 1024 px (SG2 Table 1 and Sec. 4)
NEAR = 1.5       # a ratio counts as the paper's within this factor


def stylegan2(channel_base: int) -> tuple[Any, Any]:
    """Generator and discriminator of a configuration, narrower."""
    widths: dict[str, Any] = {"channel_base": channel_base // NARROWER, "channel_max": 512 // NARROWER, "img_resolution": RESOLUTION}
    generator = StyleGAN2Config(z_dim=512 // NARROWER, w_dim=512 // NARROWER, **widths)
    return build(generator), build(StyleGAN2DiscriminatorConfig(**widths))


CONFIGURATIONS: Mapping[str, Callable[[], tuple[Any, Any]]] = {  # a new one is one row
    "E": lambda: stylegan2(16384),
    "F": lambda: stylegan2(32768),
}


def throughput(setting: Setting) -> Outcome:
    """count: timed steps of each configuration, which take turns; a first turn is not counted."""
    device = next(iter(setting.generator.parameters())).device
    networks = {name: [network.to(device).train() for network in make()] for name, make in CONFIGURATIONS.items()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(setting.count + 1):
        for name, (generator, discriminator) in networks.items():
            begun = time.perf_counter()
            one_step(generator, discriminator, seed=setting.seed + turn)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - begun)
        setting.tell("steps", turn, setting.count)
    rates = {name: BATCH / statistics.median(values[1:]) for name, values in times.items()}
    ratios = {name: rate / rates["F"] for name, rate in rates.items()}
    expected = {name: PAPER[name] / PAPER["F"] for name in rates}
    figures = {"images_per_second": {name: round(rate, 2) for name, rate in rates.items()}, "batch": BATCH, "resolution": RESOLUTION,
               "ratios_to_F": {name: round(value, 3) for name, value in ratios.items()}, "narrower": NARROWER,
               "paper_ratios_to_F": {name: round(value, 3) for name, value in expected.items()}}  # fmt: skip
    parts = [f"{name} {ratio:.2f} times F (paper {expected[name]:.2f})" for name, ratio in ratios.items() if name != "F"]
    ours = f"{', '.join(parts)}; {RESOLUTION} px, 1/{NARROWER} of the width"
    return Outcome(ours, verdict_of(all(1 / NEAR < ratios[name] / expected[name] < NEAR for name in rates)), figures)


def one_step(generator: Any, discriminator: Any, *, seed: int) -> None:
    """A step of both networks without its optimisers: rendering, and every gradient of both main losses."""
    place = next(generator.parameters())
    z = torch.randn(BATCH, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(place)
    images = generator.synthesis(generator.mapping(z), noise_mode="random")
    discriminator.requires_grad_(False)
    generator_step(discriminator, images, None)
    discriminator.requires_grad_(True)
    discriminator_step(discriminator, images.detach().flip(3), images, None)
    for network in (generator, discriminator):
        network.zero_grad(set_to_none=True)
