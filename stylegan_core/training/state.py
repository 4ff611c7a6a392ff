"""The whole state of a training run in one safetensors file: networks, optimisers, running means, step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stylegan_core.errors import TrainingError
from stylegan_core.files import atomic_write

FORMAT = "invert-training-state-2"
EARLIER = ("invert-training-state-1",)


def save_state(path: Path, networks: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer],
               values: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes everything that `load_state` needs to go on as if nothing had happened."""
    tensors: dict[str, Tensor] = {}
    for name, network in networks.items():
        tensors.update({f"{name}.{key}": value for key, value in network.state_dict().items()})
    for name, optimiser in optimisers.items():
        for index, entry in optimiser.state_dict()["state"].items():
            tensors.update({f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in entry.items()})
    tensors.update({f"value.{key}": value for key, value in values.items()})
    tensors = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(tensors, str(temporary), metadata={"format": FORMAT, "facts": json.dumps(dict(facts))})


def load_state(path: Path, networks: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer],
               values: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fills networks, optimisers and values in place; returns the facts. Raises TrainingError for another file or configuration."""
    facts = read_facts(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path}: not a readable training state ({error}); start from an earlier snapshot") from None
    try:
        for name, network in networks.items():
            network.load_state_dict(_below(tensors, f"{name}."))
        for name, optimiser in optimisers.items():
            entries: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(tensors, f"{name}.").items():
                index, _, field = key.partition(".")
                entries.setdefault(int(index), {})[field] = value
            optimiser.load_state_dict({"state": entries, "param_groups": optimiser.state_dict()["param_groups"]})
        for key, value in values.items():
            value.copy_(tensors[f"value.{key}"])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{path} was written by another configuration ({reason}); start in a new folder") from None
    return facts


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a state, without its tensors. Raises TrainingError for another file."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path}: not a readable training state ({error}); start from an earlier snapshot") from None
    if metadata.get("format") in EARLIER:
        raise TrainingError(f"{path} is of an earlier version, whose random numbers were others; go on in a new folder with --transfer "
                            "and its last snapshot")
    if metadata.get("format") != FORMAT:
        raise TrainingError(f"{path} is not a training state of this trainer; to start from a model use --transfer")
    facts: dict[str, Any] = json.loads(metadata["facts"])
    return facts


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
