"""How long synthesis takes, beside the plain grouped form in the same run: what `invert bench` prints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from invert.bench_grouped import render_grouped
from stylegan_core.errors import UsageError
from stylegan_core.networks.acceleration import accelerate, has_fast_bf16
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config
from stylegan_core.runtime import device_name

GROUPED = "grouped"
VARIANTS: dict[str, dict[str, Any]] = {
    "eager": {},
    "bf16": {"precision": "bf16"},
    "compiled": {"compile": True},
    "compiled-bf16": {"compile": True, "precision": "bf16"},
}
WORKS = ("forward", "forward+backward")
NARROW = {4: 192, 8: 192, 16: 128, 32: 64, 64: 32}  # the bundled portraits64


@dataclass(frozen=True)
class Case:
    """A generator with random weights and a batch of latents."""

    name: str
    batch: int
    resolution: int
    w_dim: int = 512
    channels: Mapping[int, int] = field(default_factory=dict)  # {} = channel_base 16384, at most 512

    def build(self, device: torch.device) -> Any:
        """The generator, frozen, with noise that shows."""
        config = StyleGAN2Config(z_dim=self.w_dim, w_dim=self.w_dim, img_resolution=self.resolution, channel_base=16384,
                                 channels=self.channels)
        generator = build(config)
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                if name.endswith("noise_strength"):
                    parameter.fill_(0.1)
        return generator.requires_grad_(False).to(device)

    def ws(self, num_ws: int, device: torch.device) -> Tensor:
        """[batch, num_ws, w_dim]."""
        return torch.randn(self.batch, num_ws, self.w_dim, generator=torch.Generator().manual_seed(0)).to(device)


@dataclass(frozen=True)
class Row:
    """One variant of one case. milliseconds: the median; ratio: grouped / this, above 1 = faster than the grouped form.

    floor_milliseconds: the convolutions' operations at the measured rate of float32 matrix products.
    """

    case: str
    resolution: int
    batch: int
    work: str
    variant: str
    milliseconds: float
    fastest: float
    repeats: int
    ratio: float
    floor_milliseconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Machine:
    """Where the figures come from. Rates of matrix products in GFLOP/s."""

    device: str
    torch: str
    fp32_rate: float
    bf16_rate: float
    has_fast_bf16: bool


def default_cases(device: torch.device) -> list[Case]:
    """64² and 256² with batches of 1 and 8, 1024², and the bundled narrow model; 1024² in batches of 8 on a GPU only."""
    cases = [Case("portraits64", 8, 64, 128, NARROW)]
    cases += [Case(f"{resolution}²", batch, resolution) for resolution in (64, 256) for batch in (1, 8)]
    return cases + [Case("1024²", batch, 1024) for batch in ((1, 8) if device.type == "cuda" else (1,))]


def bench(cases: Sequence[Case], variants: Sequence[str] = ("eager",), *, repeats: int = 5, seconds: float = 60.0,
          device: torch.device | None = None, callback: Callable[[str], None] | None = None) -> Iterator[Row]:
    """Rows as they are measured: of every case and kind of work, the grouped form first.

    All variants take turns, so that a slow moment of the machine hits them alike. seconds: after so many, a case is not repeated
    further. callback: told what is about to be measured. Raises UsageError for unknown variants, before anything is measured.
    """
    check_variants(variants)
    device = device or torch.device("cpu")
    rate = matmul_rate(device, torch.float32)
    for case in cases:
        torch.compiler.reset()  # what is compiled anew too often runs as it is, without a word
        generator = case.build(device)
        ws = case.ws(generator.num_ws, device)
        renders: dict[str, Callable[[Tensor], Tensor]] = {GROUPED: partial(render_grouped, generator)}
        for name in variants:
            renders[name] = accelerate(generator, **VARIANTS[name]).synthesis
        for passes, work in enumerate(WORKS, start=1):
            if callback is not None:
                callback(f"{case.name} batch {case.batch} {work}")
            times = alternate({name: _step(render, ws, work) for name, render in renders.items()}, repeats, seconds, device)
            floor = 1e3 * passes * convolution_operations(generator, case.batch) / rate
            reference = statistics.median(times[GROUPED])
            for name, values in times.items():
                median = statistics.median(values)
                yield Row(case.name, case.resolution, case.batch, work, name, 1e3 * median, 1e3 * min(values), len(values),
                          reference / median, floor)


def check_variants(names: Sequence[str]) -> None:
    """Raises UsageError for one that is not in VARIANTS."""
    for name in names:
        if name not in VARIANTS:
            raise UsageError(f"variant {name!r}: {', '.join(VARIANTS)} are allowed")


def machine(device: torch.device) -> Machine:
    """Measures the rates of matrix products, a second's work."""
    fp32, bf16 = (matmul_rate(device, dtype) / 1e9 for dtype in (torch.float32, torch.bfloat16))
    return Machine(device_name(device), torch.__version__, fp32, bf16, has_fast_bf16(device))


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int = 1536) -> float:
    """Operations per second of large matrix products: the best of a few."""
    a = torch.randn(size, size, device=device).to(dtype)
    times = alternate({"": lambda: a @ a}, 4, 2.0, device)[""]
    return 2 * size**3 / min(times)


def convolution_operations(generator: Any, batch: int) -> int:
    """Multiplications and additions of a forward pass as direct convolutions do them; backward to the latent takes as many again."""
    total = 0
    for _, block in generator.synthesis.blocks():
        for _, layer in block.modulated_layers():
            side = block.resolution // getattr(layer, "up", 1)
            total += 2 * layer.weight.numel() * side**2
    return total * batch


def markdown(rows: Sequence[Row], machine: Machine) -> str:
    """The table of docs/speed.md."""
    lines = [f"{machine.device}, torch {machine.torch}; matrix products {machine.fp32_rate:.0f} GFLOP/s in float32, "
             f"{machine.bf16_rate:.0f} in bfloat16" + ("" if machine.has_fast_bf16 else " (emulated)"), "",
             "| model | batch | work | variant | median ms | times the grouped form | floor ms |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row.case} | {row.batch} | {row.work} | {row.variant} | {row.milliseconds:.1f} | "
                     f"{row.ratio:.2f} | {row.floor_milliseconds:.1f} |")
    return "\n".join(lines) + "\n"


def _step(render: Callable[[Tensor], Tensor], ws: Tensor, work: str) -> Callable[[], Any]:
    def forward() -> Tensor:
        with torch.no_grad():
            return render(ws)

    def backward() -> Any:
        leaf = ws.clone().requires_grad_()
        return torch.autograd.grad(render(leaf).square().sum(), leaf)

    return forward if work == "forward" else backward


def alternate(steps: Mapping[str, Callable[[], Any]], repeats: int, seconds: float, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every step, which take turns; a first turn is not counted unless it has used up the time."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    started = time.perf_counter()
    for turn in range(repeats + 1):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - begun)
        if turn > 0 and time.perf_counter() - started > seconds:
            break
    return {name: values[1:] for name, values in times.items()}
