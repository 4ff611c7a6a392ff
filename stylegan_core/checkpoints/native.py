"""Our own files: safetensors whose metadata hold the configuration, where the weights come from and their hash."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.safetensors_header import strict_json
from stylegan_core.checkpoints.strict import FILTERS, Draft
from stylegan_core.errors import CheckpointError, UnknownCheckpointError
from stylegan_core.files import atomic_write, display
from stylegan_core.networks.configs import Config, config_from_dict, config_to_dict
from stylegan_core.provenance import model_sha256, version

NAME = "native"
FORMAT = "invert-network"
FORMAT_VERSION = 1
MAX_METADATA_CHARACTERS = 1 << 20
EXACT = (*FILTERS, "input.transform", "input.freqs")  # small, and 16 bits would not do
NETWORK_NAMES = {"generator": "G_ema", "discriminator": "D"}


def save_native(module: nn.Module, path: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None,
                dtype: torch.dtype = torch.float32) -> str:
    """Writes a network, whole or not at all, and returns its `model_sha256`.

    module: what `networks.build` makes. provenance: JSON-ready facts. dtype: torch.float16 halves the file; tensors of
    fewer than two dimensions, filters and Fourier features stay float32; the hash is that of the rounded values, as they will
    be loaded.
    Raises OutputError when it cannot be written, CheckpointError when a value does not fit into float16.
    """
    stored, rounded = {}, {}
    for name, value in module.state_dict().items():
        tensor = value.detach().cpu().float()
        stored[name] = tensor.to(torch.float32 if tensor.ndim < 2 or name.endswith(EXACT) else dtype).contiguous().clone()
        rounded[name] = stored[name].float()
        if not torch.isfinite(rounded[name]).all():
            raise CheckpointError(f"{name!r} has values that are not finite, or not in {dtype}; nothing was written")
    digest = model_sha256(rounded)
    config: Any = module.config
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(config_to_dict(config), sort_keys=True),
        "provenance": json.dumps({"written_by": version(), **(provenance or {})}, sort_keys=True, default=str),
        "model_sha256": digest,
    }
    data = save(stored, metadata)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return digest


def matches(contents: Contents) -> bool:
    """Every safetensors file; one of another kind is refused by `read` with the reason."""
    return contents.header is not None


def networks(contents: Contents) -> tuple[str, ...]:
    """The one network of the file, under the name that the other dialects have for its kind."""
    kind = kind_of(read_config(contents))
    return (NETWORK_NAMES.get(kind, kind),)


def read(contents: Contents, network: str | None) -> Draft:
    """The one network of the file. network: None, or the name under which the other dialects hold this kind."""
    header = contents.header
    assert header is not None
    config = read_config(contents)
    kind = kind_of(config)
    held = NETWORK_NAMES.get(kind, kind)
    if network not in (None, held) and {network, held} != {"G", "G_ema"}:
        raise CheckpointError(f"there is no network {display(network)!r} in the file; it holds {held}")
    facts = {"source": _json(header.metadata, "provenance"), "declared_sha256": header.metadata.get("model_sha256")}
    return Draft(kind, config, header.views, held, (held,), facts=facts)


def read_config(contents: Contents) -> Config:
    """The configuration in the metadata. Raises UnknownCheckpointError for a safetensors file without one of ours."""
    header = contents.header
    if header is None or header.metadata.get("format") != FORMAT:
        tag = display((header.metadata if header else {}).get("format", "none"), max_length=40)
        hint = "use Inversion.load" if tag.startswith("invert-inversion") else "give one that `models convert` wrote"
        raise UnknownCheckpointError(f"is a safetensors file without a network of ours (format tag: {tag}); {hint}")
    if header.metadata.get("format_version") != str(FORMAT_VERSION):
        shown = display(header.metadata.get("format_version"), max_length=20)
        raise CheckpointError(f"is of format version {shown}; this toolkit reads {FORMAT_VERSION}: update it")
    return config_from_dict(_json(header.metadata, "config"))


def kind_of(config: Any) -> str:
    """'generator', 'discriminator', or the kind of the configuration for anything else."""
    kind = str(config.kind)
    if kind.endswith("-discriminator"):
        return "discriminator"
    return "generator" if kind.startswith("stylegan") else kind


def _json(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    text = metadata.get(key, "{}")
    if len(text) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(f"the {key} in the metadata is larger than {MAX_METADATA_CHARACTERS} characters")
    value = strict_json(text)
    if not isinstance(value, dict):
        raise CheckpointError(f"the {key} in the metadata is not a JSON object")
    return value
