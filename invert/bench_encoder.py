"""How long an encoder takes as it is and folded, in turns in the same run: what `invert bench --encoder` prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from encoders.build import build_encoder
from encoders.configs import BACKBONES, EncoderConfig
from encoders.folded import folded
from invert.bench import Machine, alternate

PLAIN = "plain"
PUBLISHED = EncoderConfig("psp", BACKBONES["ir-se-50"], "maps")  # 18 rows of 512, 256 px


@dataclass(frozen=True)
class EncoderRow:
    """milliseconds: the median; ratio: plain / this. error: root mean square difference of the latents over their std."""

    batch: int
    variant: str
    milliseconds: float
    repeats: int
    ratio: float
    error: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@torch.no_grad()
def bench_encoder(batch: int, *, config: EncoderConfig = PUBLISHED, repeats: int = 5, seconds: float = 60.0,
                  device: torch.device | None = None) -> list[EncoderRow]:
    """Rows of the plain network, folded, and folded in bfloat16, with random weights."""
    device = device or torch.device("cpu")
    encoder = random_encoder(config).to(device)
    x = torch.randn(batch, config.backbone.in_channels, *config.input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    networks = {PLAIN: encoder.network, "folded": folded(encoder).network, "folded-bf16": folded(encoder, precision="bf16").network}
    truth = encoder.network(x)
    errors = {name: float((network(x) - truth).square().mean().sqrt() / truth.std()) for name, network in networks.items()}
    times = alternate({name: partial(network, x) for name, network in networks.items()}, repeats, seconds, device)
    reference = statistics.median(times[PLAIN])
    return [
        EncoderRow(batch, name, 1e3 * statistics.median(values), len(values), reference / statistics.median(values), errors[name])
        for name, values in times.items()
    ]


def random_encoder(config: EncoderConfig, seed: int = 0) -> Any:
    """Random weights, and statistics of normalisation that keep the maps in range."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(config)
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
                module.weight.data.normal_(0.5, 0.1)
                module.bias.data.normal_(0, 0.1)
    return encoder.requires_grad_(False)


def markdown(rows: Sequence[EncoderRow], machine: Machine) -> str:
    """A table."""
    lines = [f"{machine.device}, torch {machine.torch}" + ("" if machine.has_fast_bf16 else "; bfloat16 is emulated"), "",
             "| batch | variant | median ms | times the plain form | rms error / std of the latents |", "|---|---|---|---|---|"]
    lines += [f"| {row.batch} | {row.variant} | {row.milliseconds:.0f} | {row.ratio:.2f} | {row.error:.1e} |" for row in rows]
    return "\n".join(lines) + "\n"
