"""`invert doctor`: what this machine can do, and what is missing, in plain words."""

from __future__ import annotations

import platform
import time
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal, size

PACKAGES = ("torch", "torchvision", "lpips", "numpy", "scipy", "pillow", "scikit-learn", "torchmetrics", "safetensors",
            "pooch", "pyyaml", "typer", "rich")  # fmt: skip
EXTRAS = {
    "video": ("av", "--video walk.mp4 (.gif and .webp work without)"),
    "heif": ("pillow_heif", "HEIC photos of phones (other pictures work without)"),
}


def register(app: typer.Typer) -> None:
    command(app, "doctor")(doctor)


def doctor(json: options.Json = False, debug: options.Debug = False) -> None:
    """Say what this machine can do and what is missing.

    \b
    Examples:
      invert doctor
      invert doctor --json > machine.json
    """
    terminal = Terminal()
    facts = examine()
    if json:
        terminal.json(facts)
    else:
        for line in describe(facts):
            terminal.data(line)
    if facts["problems"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Facts about software, devices, weights and speed; `problems` are what keeps the toolkit from working."""
    from stylegan_core.provenance import version

    packages = {name: _version_of(name) for name in PACKAGES}
    problems = [f"{name} is not installed: pip install {name}" for name, found in packages.items() if found is None]
    facts: dict[str, Any] = {
        "invert": version(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "extras": {extra: find_spec(module) is not None for extra, (module, _) in EXTRAS.items()},
        "problems": problems,
    }
    if packages["torch"] is not None:
        facts |= _devices() | _weights()
        facts["speed"] = _speed(problems)
    return facts


def describe(facts: dict[str, Any]) -> list[str]:
    """The facts as sentences."""
    lines = [f"invert {facts['invert']}, Python {facts['python']}, torch {facts['packages'].get('torch')}, {facts['system']}"]
    if "devices" in facts:
        lines += [f"Device: {text}" for text in facts["devices"]]
        lines.append(f"`--device auto` means {facts['device']}.")
        lines.append(f"bfloat16 is {'fast' if facts['bf16'] else 'not fast'} here.")
    if "models" in facts:
        bundled = ", ".join(facts["models"]["bundled"]) or "none"
        lines.append(f"Models that need no download: {bundled}. Downloaded: {', '.join(facts['models']['downloaded']) or 'none'}.")
        lines.append(f"Downloads are kept in {facts['cache']['folder']} ({size(facts['cache']['free'])} free).")
    if "perceptual" in facts:
        lines.append("Bundled models bring their own perceptual distance; for all others the default is LPIPS vgg.")
    for name, state in facts.get("perceptual", {}).items():
        lines.append(f"LPIPS {name}: {state}.")
    if facts.get("speed"):
        speed = facts["speed"]
        lines.append(
            f"{speed['model']} on {speed['device']}: a picture in {speed['render_ms']:.0f} ms, "
            f"an optimisation step in {speed['step_ms']:.0f} ms."
        )
    for extra, (_, purpose) in EXTRAS.items():
        state = "installed" if facts["extras"][extra] else f"not installed (pip install 'invert-gan[{extra}]')"
        lines.append(f"Extra {extra}: {state}; for {purpose}.")
    lines += [f"Problem: {text}" for text in facts["problems"]] or ["Everything that is needed works."]
    return lines


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    import torch

    from stylegan_core.networks.acceleration import has_fast_bf16
    from stylegan_core.runtime import available_cpus, cpu_name, device_memory, main_memory, resolve_device

    memory = main_memory()
    lines = [f"CPU {cpu_name()}, {available_cpus()} usable, memory {size(memory.total)} ({size(memory.available)} free)"]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        there = device_memory(torch.device("cuda", index))
        lines.append(f"cuda:{index} {torch.cuda.get_device_name(index)}, {size(there.total)} ({size(there.available)} free)")
    if torch.backends.mps.is_available():
        lines.append("mps (Apple Metal)")
    if len(lines) == 1:
        built = "this torch is built for CUDA" if torch.version.cuda else "this torch is built without CUDA"
        lines.append(f"no GPU that torch can use ({built}, driver {'found' if find_driver() else 'not found'})")
    return {
        "devices": lines,
        "device": str(resolve_device("auto")),
        "bf16": has_fast_bf16(resolve_device("auto")),
        "threads": torch.get_num_threads(),
    }


def _weights() -> dict[str, Any]:
    """Models, perceptual weights and the cache."""
    import shutil

    from stylegan_core.checkpoints import catalog
    from stylegan_core.errors import WeightsNotFoundError
    from stylegan_core.losses.perceptual import TRUNKS, find_trunk, trunk_folders

    cards = catalog.cards().values()
    folder = catalog.cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    perceptual = {}
    for name, trunk in TRUNKS.items():
        try:
            perceptual[name] = f"ready ({find_trunk(trunk)})"
        except WeightsNotFoundError:
            perceptual[name] = f"not here (--perceptual {name} wants {trunk.address} in {trunk_folders()[0]})"
    return {
        "models": {
            "bundled": [card.name for card in cards if card.is_bundled and card.is_present()],
            "downloaded": [card.name for card in cards if not card.is_bundled and card.is_present()],
        },
        "cache": {"folder": str(folder), "free": shutil.disk_usage(existing).free},
        "perceptual": perceptual,
    }


def find_driver() -> bool:
    """Whether an NVIDIA driver seems to be installed."""
    import ctypes.util

    return ctypes.util.find_library("cuda") is not None


def _speed(problems: list[str]) -> dict[str, Any] | None:
    """Milliseconds of a render and a step (forward and backward to ws); None without the default model."""
    from invert.loaded import load_model
    from stylegan_core.errors import InvertError
    from stylegan_core.runtime import resolve_device

    device = resolve_device("auto")
    try:
        model = load_model(options.DEFAULT_MODEL, device)
    except InvertError as error:
        problems.append(str(error))
        return None
    generator = model.generator
    ws = generator.w_avg.repeat(1, generator.num_ws, 1).detach().requires_grad_()

    def step() -> None:
        generator.synthesis(ws).square().sum().backward()
        if device.type == "cuda":
            import torch

            torch.cuda.synchronize()

    render = _median_ms(lambda: generator.synthesis(ws.detach()).sum().item())
    return {"model": model.name, "device": str(device), "render_ms": render, "step_ms": _median_ms(step)}


def _median_ms(action: Any, *, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - started))
    return round(sorted(times[1:])[repeats // 2], 2)
