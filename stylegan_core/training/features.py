"""Training of the attribute networks: one visible loop over labelled portraits, with damage and mirroring.

The networks learn attributes and, through a head that is thrown away, the traits of the person, so that their maps
notice all that a picture shows. The judge also learns to bring two sittings of one person together (InfoNCE, van den
Oord et al. 2018, Eq. 4).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from stylegan_core.checkpoints.native import save_native
from stylegan_core.data.distortions import DISTORTIONS
from stylegan_core.data.images import batch_indices
from stylegan_core.data.labelled import LabelledImages, draw_labelled, mirrored_signs
from stylegan_core.data.portrait_person import IDENTITY_TRAITS
from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES
from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.files import atomic_write, write_json
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import AttributeNetworkConfig, config_to_dict
from stylegan_core.networks.features import AttributeNetwork, fold
from stylegan_core.progress import Callback, StepInfo
from stylegan_core.provenance import version
from stylegan_core.runtime import device_name

# Name of a distortion → (share of pictures, largest amount) while training.
MILD: Mapping[str, tuple[float, float]] = {
    "blur": (0.25, 0.5), "noise": (0.3, 0.25), "compression": (0.25, 0.5), "shift": (0.4, 0.2), "colour": (0.2, 0.12),
}  # fmt: skip
STRONG: Mapping[str, tuple[float, float]] = {
    "coarse": (0.3, 0.8), "noise": (0.35, 0.3), "shift": (0.5, 0.25), "occlusion": (0.2, 0.15),
    "compression": (0.15, 0.4),
}  # fmt: skip
DAMAGE: Mapping[str, Mapping[str, tuple[float, float]]] = {"none": {}, "mild": MILD, "strong": STRONG}
STOPPED_HELD_OUT = 256  # portraits that a run is measured on when it was stopped


@dataclass(frozen=True)
class FeaturesConfig:
    """A run of the training of an attribute network."""

    network: AttributeNetworkConfig
    people: int = 24_000        # portraits first … of data_seed, law mixed
    sittings: int = 1           # pictures of one person, which a batch shows together
    data_seed: int = 0
    held_out: int = 4_000       # portraits of seed 1 for the figures on the card
    seed: int = 0               # of weights, damage and order
    steps: int = 1500
    batch: int = 128            # pictures
    lr: float = 2e-3            # AdamW, one cosine down to 0 after a warm-up
    weight_decay: float = 0.02
    trait_weight: float = 0.3   # 0 = attributes only
    identity_weight: float = 0.0  # of InfoNCE between sittings; 0 = none
    damage: str = "mild"        # a row of DAMAGE

    def validate(self) -> FeaturesConfig:
        """Returns self; raises UsageError before the first step when the numbers cannot work together."""
        if self.batch < 2 or self.batch % self.sittings:
            raise UsageError(f"--batch {self.batch} is not a multiple of {self.sittings} sittings, or below 2")
        if self.people * self.sittings < self.batch:
            raise UsageError(f"{self.people} people sit {self.sittings} times, which is less than --batch {self.batch}")
        if self.identity_weight > 0 and (self.sittings < 2 or not self.network.embed_dim):
            raise UsageError("identity_weight needs 2 sittings or more and an embed_dim above 0")
        if self.damage not in DAMAGE:
            raise UsageError(f"damage {self.damage!r}: one of {', '.join(DAMAGE)} is allowed")
        if self.steps < 1 or self.lr <= 0 or self.held_out < 2:
            raise UsageError("steps is 1 or more, lr is above 0, held_out is 2 or more")
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "network": config_to_dict(self.network)}


_NAMES: dict[str, Any] = {"attributes": ATTRIBUTES, "binary": BINARY_ATTRIBUTES}
PRESETS: Mapping[str, FeaturesConfig] = {
    "portraits-features": FeaturesConfig(
        AttributeNetworkConfig("plain", widths=(24, 48, 96, 128), pooled_dim=96, **_NAMES)),
    "portraits-judge": FeaturesConfig(
        AttributeNetworkConfig("residual", widths=(24, 48, 96, 128), pooled_dim=128, embed_dim=64, **_NAMES),
        people=12_000, sittings=2, data_seed=2, seed=7, lr=3e-3, identity_weight=0.05, damage="strong"),
}  # fmt: skip


def preset_config(name: str, **options: Any) -> FeaturesConfig:
    """The FeaturesConfig of a preset; options override its fields, None leaves one as it is. Raises UsageError."""
    if name not in PRESETS:
        raise UsageError(f"preset {name!r}: one of {', '.join(PRESETS)} is allowed")
    given = {key: value for key, value in options.items() if value is not None}
    return replace(PRESETS[name], **given).validate()


def train_features(
    config: FeaturesConfig,
    output: str | Path,
    *,
    data: LabelledImages | None = None,  # None = drawn as the configuration says
    device: str = "cpu",
    drawing: Callable[[int, int], bool | None] | None = None,  # called as drawing(done, count) while pictures are drawn
    callback: Callback | None = None,
    name: str = "features",
) -> Path:
    """Trains, calibrates the distance, measures on held-out portraits; writes <name>.safetensors and <name>.json.

    A callback that returns False stops the training; what is there is still written, and measured on few portraits.
    Returns the path of the weights. Raises TrainingError when a loss is not finite and when `drawing` returned False.
    """
    config = config.validate()
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    if data is None:
        data = draw_labelled(config.people, config.network.img_resolution, seed=config.data_seed,
                             sittings=config.sittings, callback=drawing)  # fmt: skip
        if len(data) < config.people * config.sittings:
            raise TrainingError(f"stopped when {len(data)} pictures were drawn; nothing was trained")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network: Any = build(replace(config.network, batch_norm=True)).to(device).train()
        traits = nn.Linear(config.network.pooled_dim, len(IDENTITY_TRAITS)).to(device)
    groups = parameter_groups([network, traits], config.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99))

    done = 0
    with atomic_write(output / f"{name}.log.jsonl") as temporary, open(temporary, "w") as log:
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = lr_at(step, config)
            batch = shown(data, config, step, device)
            parts = losses(network, traits, batch, config)
            loss = torch.stack(list(parts.values())).sum(dim=0)
            optimiser.zero_grad(set_to_none=True)
            loss.mean().backward()
            optimiser.step()
            done = step + 1
            values = {key: round(value.detach().mean().item(), 5) for key, value in parts.items()}
            if not np.isfinite(list(values.values())).all():
                raise TrainingError(f"a loss is not finite at step {done}: {values}; try a lower --lr")
            seconds = time.monotonic() - start
            log.write(json.dumps({"step": done, "seconds": round(seconds, 2), **values}) + "\n")
            detached = {key: value.detach() for key, value in parts.items()}
            if callback is not None:
                info = StepInfo(done, config.steps, loss.detach(), detached, seconds=seconds)
                if callback(info) is False:
                    break

    facts = {"images_seen": done * config.batch, "seconds": round(time.monotonic() - start, 1),
             "machine": device_name(torch.device(device)), "data": data.name}  # fmt: skip
    if done < config.steps:
        config = replace(config, held_out=min(config.held_out, STOPPED_HELD_OUT))
    return finish(network, config, data, output / f"{name}.safetensors", facts)


@dataclass(frozen=True)
class Shown:
    """images: [N, 3, R, R], damaged. attributes: [N, A]. traits: [N, T], NaN where not visible."""

    images: Tensor
    attributes: Tensor
    traits: Tensor


def shown(data: LabelledImages, config: FeaturesConfig, step: int, device: str) -> Shown:
    """What a step shows, a pure function of (seed, step): sittings of a person side by side, mirrored together."""
    people = len(data) // config.sittings
    who = batch_indices(people, config.batch // config.sittings, step, config.seed)
    rows = (who[:, None] * config.sittings + np.arange(config.sittings)).reshape(-1)
    seed = int(np.random.SeedSequence([config.seed, step, 2]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    rng = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(data.images_u8[rows]).float() / 127.5 - 1
    attributes, traits = torch.from_numpy(data.attributes[rows]), torch.from_numpy(data.traits[rows])
    attribute_signs, trait_signs = (torch.from_numpy(signs) for signs in mirrored_signs())
    mirror = (torch.rand([len(who)], generator=rng) < 0.5).repeat_interleave(config.sittings)
    images[mirror] = images[mirror].flip(3)
    attributes[mirror] *= attribute_signs
    traits[mirror] *= trait_signs
    images = damaged(images, DAMAGE[config.damage], rng)
    return Shown(images.to(device), attributes.to(device), traits.to(device))


def damaged(images: Tensor, damage: Mapping[str, tuple[float, float]], rng: torch.Generator) -> Tensor:
    """Each distortion on a random share of the pictures, by random amounts; a new tensor."""
    images = images.clone()
    for name, (share, largest) in damage.items():
        chosen = (torch.rand([len(images)], generator=rng) < share).nonzero()[:, 0]
        amounts = torch.rand([len(images)], generator=rng)[chosen] * largest
        if len(chosen):
            images[chosen] = DISTORTIONS[name](images[chosen], amounts, rng)
    return images


def losses(network: AttributeNetwork, traits: nn.Module, batch: Shown, config: FeaturesConfig) -> dict[str, Tensor]:
    """Weighted losses, one value per picture [N] each: squared error or cross-entropy, traits, identity."""
    pooled = network.pooled(batch.images)
    logits = network.attributes(pooled)
    names = config.network.attributes
    is_binary = torch.tensor([name in config.network.binary for name in names], device=logits.device)
    error = 3 * (logits.tanh() - batch.attributes).square()  # a uniform label has the variance 1/3
    entropy = binary_cross_entropy_with_logits(logits, batch.attributes.clamp(0, 1), reduction="none")
    parts = {"attributes": torch.where(is_binary, entropy, error).mean(dim=1)}
    if config.trait_weight > 0:
        is_visible = batch.traits.isfinite()
        wrong = torch.where(is_visible, traits(pooled) - batch.traits.nan_to_num(), 0.0)
        parts["traits"] = config.trait_weight * 3 * wrong.square().mean(dim=1)
    if config.identity_weight > 0:
        parts["identity"] = config.identity_weight * identity_loss(network.embed_pooled(pooled), config.sittings)
    return parts


def identity_loss(embedding: Tensor, sittings: int, temperature: float = 0.1) -> Tensor:
    """InfoNCE: the next sitting of the same person against everybody else. embedding: [N, D] of length 1 → [N]."""
    count = len(embedding)
    index = torch.arange(count, device=embedding.device)
    person = index // sittings
    partner = person * sittings + (index + 1) % sittings
    likeness = embedding @ embedding.T / temperature
    is_rival = (person[:, None] != person[None, :]) | (index[None, :] == partner[:, None])
    return cross_entropy(likeness.masked_fill(~is_rival, -torch.inf), partner, reduction="none")


def lr_at(step: int, config: FeaturesConfig) -> float:
    """Linear warm-up over a twentieth of the steps, then half a cosine down to 0."""
    warm = max(1, config.steps // 20)
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, config.steps - warm))))


def parameter_groups(modules: list[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisation do not."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


@torch.no_grad()
def calibrate_distance(network: AttributeNetwork, images: Tensor) -> None:
    """Sets the weight of each depth: two unrelated pictures are 1 apart on average, and each depth gives an equal part.

    images: [N, 3, R, R], unrelated to each other.
    """
    depths = len(network.config.widths)
    for index in range(depths):
        getattr(network, f"distance_weight{index}").fill_(1.0)
    maps = [torch.cat(parts) for parts in zip(*(network.distance_maps(batch) for batch in images.split(128)))]
    for index, x in enumerate(maps):
        apart = (x - x.roll(1, dims=0)).square().flatten(1).sum(dim=1).mean()
        getattr(network, f"distance_weight{index}").fill_(float(1.0 / (depths * apart)))


def finish(
    network: AttributeNetwork, config: FeaturesConfig, data: LabelledImages, path: Path, facts: dict[str, Any]
) -> Path:
    """Folds, calibrates, measures on held-out portraits and writes the weights with a card beside them."""
    from stylegan_core.features import Features
    from stylegan_core.metrics.prediction import measure_features

    folded = fold(network.eval()).cpu()
    calibrate_distance(folded, torch.from_numpy(data.images_u8[:: config.sittings][:1024]).float() / 127.5 - 1)
    held_out = draw_labelled(config.held_out, data.resolution, seed=1)
    pairs = draw_labelled(max(2, config.held_out // 4), data.resolution, seed=1, first=config.held_out, sittings=2)
    figures = measure_features(Features(path.stem, folded), held_out, pairs)
    provenance = {"trainer": version(), "training": config.to_dict(), **facts, "held_out": held_out.name,
                  "figures": figures}  # fmt: skip
    digest = save_native(folded, path, provenance=provenance, dtype=torch.float16)
    write_json(path.with_suffix(".json"), {"name": path.stem, "model_sha256": digest, **provenance})
    return path
