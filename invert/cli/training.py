"""What `invert train generator` does before it trains: pictures, networks to start from, the configuration, memory and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

TRANSFER_ADA_KIMG = 100.0  # a discriminator that knows pictures already overfits sooner (SG2-ADA code)


def open_data(data: str, *, size: Any, count: int, channels: int = 3, cond: bool = False) -> Any:
    """The pictures that --data names. size: a side, (H, W), or None = 64, and the pictures' own for a folder or a zip."""
    from stylegan_core.data import images
    from stylegan_core.errors import UsageError

    if data in ("portraits", "ink"):
        style = "ink" if data == "ink" else "colour"
        return images.portraits(count, size or 64, style=style, channels=channels, has_labels=cond)
    if data == "scenes":
        if cond:
            raise UsageError("--cond: scenes have no labels; leave it out, or use --data portraits")
        return images.scenes(count, size or 64, channels=channels)
    return images.open_images(data, resolution=size, channels=channels, has_labels=cond, is_checked=True)


def networks_of(name: str) -> dict[str, Any]:
    """{"G", "D"} of a checkpoint; no D where neither it nor its run has one."""
    from stylegan_core.checkpoints.registry import load_discriminator, load_generator
    from stylegan_core.errors import CheckpointError

    networks = {"G": load_generator(name)}
    try:
        path = Path(name)  # a run keeps the discriminator of snapshot-<kimg> beside it
        beside = path.with_name(path.name.replace("snapshot-", "discriminator-"))
        networks["D"] = load_discriminator(beside if path.exists() and beside.exists() else name)
    except CheckpointError:
        pass
    return networks


def configuration(preset: str, pictures: Any, networks: Mapping[str, Any], *, processes: int, channel_base: int | None,
                  channel_max: int | None, given: Mapping[str, Any]) -> Any:
    """The TrainingConfig: the preset's, what was given, and the sizes of the networks to start from."""
    from stylegan_core.training.config import preset_config
    from stylegan_core.training.fitness import check_data
    from stylegan_core.training.growing import grown

    options = {name: value for name, value in given.items() if value is not None}
    if networks:
        options = {"ema_rampup": None, "ada_kimg": TRANSFER_ADA_KIMG, **options}
    config = preset_config(preset, resolution=pictures.shape, img_channels=pictures.channels, c_dim=pictures.c_dim,
                           num_processes=processes, channel_base=channel_base, channel_max=channel_max, **options)
    if "G" in networks:
        config = replace(config, generator=grown(networks["G"].config))
    if "D" in networks:
        config = replace(config, discriminator=grown(networks["D"].config))
    check_data(config, pictures)
    return config.validate()


def plan(config: Any, place: Any, processes: int) -> dict[str, Any]:
    """Memory and time of the run, JSON-ready, for --dry-run."""
    from stylegan_core.runtime import device_memory
    from stylegan_core.training.distributed import processes_here
    from stylegan_core.training.estimate import estimate

    found = estimate(config, processes=processes, device=place)
    available = device_memory(place).available
    share = None if available is None else available // (1 if place.type == "cuda" else processes_here())
    return {**found.to_dict(), "gigabytes_free": None if share is None else round(share / 1e9, 2)}


def check_memory(config: Any, preset: str, place: Any, processes: int) -> None:
    """Raises UsageError before anything is allocated when the run cannot fit."""
    from stylegan_core.runtime import device_memory
    from stylegan_core.training.distributed import processes_here
    from stylegan_core.training.estimate import check_fits, estimate, may_be_large

    available = device_memory(place).available
    share = None if available is None else available // (1 if place.type == "cuda" else processes_here())
    if share is not None and may_be_large(config, processes, share):
        check_fits(estimate(config, processes=processes), share, preset)
