"""Our own encoder files: safetensors whose metadata hold configuration, provenance, hash, and the generator that is meant."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from encoders.build import build_encoder
from encoders.configs import HyperStyleConfig, config_from_dict, config_to_dict
from encoders.strict import COUNTER, fill, unfilled
from stylegan_core.checkpoints.catalog import cards
from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.safetensors_header import strict_json
from stylegan_core.errors import CheckpointError, UnknownCheckpointError
from stylegan_core.files import atomic_write, display
from stylegan_core.provenance import model_sha256, version

FORMAT = "invert-encoder"
FORMAT_VERSION = 1
MAX_METADATA_CHARACTERS = 1 << 20


def save_encoder(encoder: Any, path: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None,
                 generator_name: str | None = None, dtype: torch.dtype = torch.float32) -> str:
    """Writes an encoder without its generator, whole or not at all, and returns the hash of its weights.

    generator_name: a short name or a path that finds the generator again. dtype: torch.float16 halves the file; the hash is that
    of the rounded values. Raises OutputError when it cannot be written, CheckpointError for values that do not fit.
    """
    stored, rounded = {}, {}
    for name, value in encoder.state_dict().items():
        if name.endswith(COUNTER):
            continue
        tensor = value.detach().cpu().float()
        stored[name] = tensor.to(dtype if tensor.ndim >= 2 else torch.float32).contiguous().clone()
        rounded[name] = stored[name].float()
        if not torch.isfinite(rounded[name]).all():
            raise CheckpointError(f"{name!r} has values that are not finite, or not in {dtype}; nothing was written")
    digest = model_sha256(rounded)
    generator = encoder.generator
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(config_to_dict(encoder.config), sort_keys=True),
        "provenance": json.dumps({"written_by": version(), **(provenance or {})}, sort_keys=True, default=str),
        "generator": json.dumps({"name": generator_name, "model_sha256": None if generator is None else model_sha256(generator)}),
        "encoder_sha256": digest,
    }
    data = save(stored, metadata)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return digest


def read(contents: Contents, generator: Any) -> Any:
    """The encoder of a file of ours. generator: None = the model that the file names, by hash in the catalogue or by name."""
    header = contents.header
    assert header is not None
    tag = header.metadata.get("format")
    if tag != FORMAT:
        shown = display(tag or "none", max_length=40)
        hint = "use load_generator" if shown == "invert-network" else "give one that `invert train encoder` wrote"
        raise UnknownCheckpointError(f"is a safetensors file without an encoder of ours (format tag: {shown}); {hint}")
    if header.metadata.get("format_version") != str(FORMAT_VERSION):
        raise CheckpointError(f"is of format version {display(header.metadata.get('format_version'), max_length=20)}; this toolkit reads "
                              f"{FORMAT_VERSION}: update it")
    config = config_from_dict(_json(header.metadata, "config"))
    encoder = unfilled(lambda: build_encoder(config), 2 * sum(view.numel for view in header.views.values()))
    fill(encoder, header.views, contents.size)
    state = {name: value for name, value in encoder.state_dict().items() if not name.endswith(COUNTER)}
    if header.metadata.get("encoder_sha256") not in (None, model_sha256(state)):
        raise CheckpointError("the weights do not have the hash that the file declares: it is damaged or was edited")
    named = _json(header.metadata, "generator")
    object.__setattr__(encoder, "provenance", _json(header.metadata, "provenance"))
    set_generator(encoder, generator if generator is not None else _generator_of(named))
    if encoder.generator is None and (isinstance(config, HyperStyleConfig) or config.is_iterative):
        raise CheckpointError(f"renders between its passes, and its generator ({display(named.get('name') or 'not named')}) was not found; "
                              "give generator=")
    return encoder


def set_generator(encoder: Any, generator: Any) -> None:
    """Makes an encoder, and the one inside a HyperStyle, use this generator."""
    object.__setattr__(encoder, "generator", generator)
    inner = getattr(encoder, "encoder", None)
    if isinstance(inner, nn.Module):
        object.__setattr__(inner, "generator", generator)


def _generator_of(named: Mapping[str, Any]) -> Any:
    from stylegan_core.checkpoints.registry import load_generator

    sha256, name = named.get("model_sha256"), named.get("name")
    for card in cards().values():
        if sha256 is not None and card.facts.get("model_sha256") == sha256 and card.is_present():
            return _called(load_generator(card.name), card.name)
    if isinstance(name, str) and os.path.isfile(name):
        generator = load_generator(name)
        if sha256 in (None, model_sha256(generator)):
            return _called(generator, name)
    return None


def _called(generator: Any, name: str) -> Any:
    object.__setattr__(generator, "provenance", {**generator.provenance, "name": name})
    return generator


def _json(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    text = metadata.get(key, "{}")
    if len(text) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(f"the {key} in the metadata is larger than {MAX_METADATA_CHARACTERS} characters")
    value = strict_json(text)
    if not isinstance(value, dict):
        raise CheckpointError(f"the {key} in the metadata is not a JSON object")
    return value
