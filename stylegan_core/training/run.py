"""What a training run is made of: networks, optimisers, running values; how it begins and how it goes on from a state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.data.images import ImageData
from stylegan_core.losses.gan import Score
from stylegan_core.networks.build import build
from stylegan_core.networks.layers import checkpoint_layers
from stylegan_core.training.adaptation import Adaptation
from stylegan_core.training.anchor import paired_distance
from stylegan_core.training.blur import blur_sigma_at, blurred
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.distributed import average_gradients, num_processes
from stylegan_core.training.ema import training_render
from stylegan_core.training.fitness import check_resumable
from stylegan_core.training.freeze import frozen_parameters
from stylegan_core.training.growing import Stage, stretches
from stylegan_core.training.micro_batches import MicroBatches
from stylegan_core.training.samples import Streams
from stylegan_core.training.snapshot import STATE_FILE
from stylegan_core.training.state import load_state, read_facts


@dataclass
class Run:
    """What a step changes."""

    generator: Any
    average: Any                # the EMA of the generator, which snapshots hold
    discriminator: Any
    optimisers: dict[str, torch.optim.Optimizer]
    frozen: set[nn.Parameter]   # of the discriminator
    pl_mean: Tensor             # running mean of path lengths, []
    augmentation: Adaptation    # of what the discriminator sees
    micro: MicroBatches         # images per pass
    render: Callable[..., Tensor]   # the generator's synthesis.render, compiled where that was asked for
    score: Callable[..., Tensor]    # the discriminator, likewise
    distance: Callable[..., Tensor]  # of the anchor, likewise
    step: int = 0

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generator, "D": self.discriminator, "G_ema": self.average}

    @property
    def values(self) -> dict[str, Tensor]:
        return {"pl_mean": self.pl_mean, "micro_batch": self.micro.value, **self.augmentation.values}

    def update(self, name: str) -> None:
        """A step of the optimiser of 'G' or 'D', by the mean of the processes' gradients."""
        average_gradients(self.networks[name])
        self.optimisers[f"opt_{name}"].step()

    def seen(self, config: TrainingConfig, stage: Stage, streams: Streams, score: Callable[..., Tensor] | None = None) -> Score:
        """(images, labels) → logits of what the discriminator sees of the images: blurred as at this stage, then augmented.

        streams: where the augmentation draws. score: None = that of the run.
        """
        score = partial(score or self.score, **stage.options)
        return blurred(self.augmentation.before(score, streams), blur_sigma_at(stage.nimg, config.blur_sigma, config.blur_fade_kimg))


def start_run(config: TrainingConfig, device: str, transfer: Mapping[str, nn.Module] | None) -> Run:
    """Networks with the weights of (seed) or of `transfer`, and Adam with the constants of lazy regularisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator: Any = build(config.generator)
        discriminator: Any = build(config.discriminator)
    for network, name in ((generator, "G"), (discriminator, "D")):
        if transfer is not None and name in transfer:
            network.load_state_dict(transfer[name].state_dict())
    if config.noise_delay_kimg > 0:
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                nn.init.zeros_(parameter)
    generator, discriminator = generator.to(device).train(), discriminator.to(device).train()
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    frozen = frozen_parameters(discriminator, config.freeze_d)
    for network in (generator.synthesis, discriminator):
        checkpoint_layers(network, config.checkpoint_activations)
    pl_every = config.pl_every if config.pl_weight > 0 else 0
    r1_every = config.r1_every if config.r1_gamma + config.r2_gamma > 0 and config.r1_every > 1 else 0
    optimisers: dict[str, torch.optim.Optimizer] = {
        "opt_G": lazy_adam(generator.parameters(), config.lr, config.beta2, pl_every),
        "opt_D": lazy_adam([p for p in discriminator.parameters() if p not in frozen], config.d_lr or config.lr, config.beta2, r1_every)}
    quick: list[Callable[..., Tensor]] = [training_render(generator), discriminator, paired_distance]
    if config.compile:
        quick = [torch.compile(function, dynamic=False) for function in quick]
    render, score, distance = quick
    return Run(generator, average, discriminator, optimisers, frozen, torch.zeros([], device=device), Adaptation.of(config),
               passes(config), render, score, distance)


def passes(config: TrainingConfig) -> MicroBatches:
    """As the configuration says: a process's whole share of a batch, of the largest one while pictures grow, or micro_batch of it."""
    largest = max(stretch.batch for stretch in stretches(config)) // num_processes()
    return MicroBatches(min(config.micro_batch or largest, largest), min(config.discriminator.mbstd_group_size or largest, largest))


def lazy_adam(parameters: Iterable[nn.Parameter], lr: float, beta2: float, every: int) -> torch.optim.Adam:
    """Adam whose constants allow for the extra step that a lazy regulariser adds every k steps (SG2 App. B)."""
    lr, beta2 = lazy_constants(lr, beta2, every)
    return torch.optim.Adam(parameters, lr=lr, betas=(0.0, beta2), eps=1e-8, fused=True)


def lazy_constants(lr: float, beta2: float, every: int) -> tuple[float, float]:
    """(lr·c, beta2^c) with c = k / (k + 1); every = 0 leaves them as they are."""
    c = every / (every + 1) if every > 0 else 1.0
    return lr * c, beta2**c


def resume(run: Run, config: TrainingConfig, data: ImageData, output: Path) -> dict[str, Any]:
    """Fills the run from the state in `output`; returns its facts, {} when there is none."""
    state = output / STATE_FILE
    if not state.exists():
        return {}
    facts = read_facts(state)
    check_resumable(facts, config, data, output)
    load_state(state, run.networks, run.optimisers, run.values)
    if facts["training"].get("micro_batch") != config.micro_batch:
        run.micro.value.fill_(passes(config).size)
    run.step = int(facts["step"])
    return facts
