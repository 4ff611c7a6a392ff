"""Checkpoints of rosinality's stylegan2-pytorch, whose generator most encoders use: g_ema, g, d, latent_avg, args."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.inert_tree import mapping_of, plain_value
from stylegan_core.checkpoints.infer import infer_discriminator, infer_generator, taps_of
from stylegan_core.checkpoints.keymap import (
    Pair,
    discriminator_kernels,
    discriminator_pairs,
    generator_kernels,
    generator_pairs,
    to_ours,
)
from stylegan_core.checkpoints.strict import NOISE, W_AVG, Draft, choose, declared_config
from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.errors import CheckpointError, UnsafeCheckpointError
from stylegan_core.files import display

NAME = "rosinality"
NETWORKS = {"G_ema": "g_ema", "G": "g", "D": "d"}  # our name → key in the file
AVERAGES = {"G_ema": "latent_avg", "G": "latent_avg_g"}  # rosinality has the first; `convert` adds the second
MAX_TENSORS = 20_000
MAX_LEVELS = 11
_PREFIX = "module."  # what torch's DistributedDataParallel puts before every name


def matches(contents: Contents) -> bool:
    """A dictionary with g_ema, g or d; or the bare state of a generator."""
    entries = mapping_of(contents.tree)
    return entries is not None and (any(key in entries for key in NETWORKS.values()) or _is_bare(entries))


def networks(contents: Contents) -> tuple[str, ...]:
    """The networks that are there, of G_ema, G and D."""
    entries = _entries(contents)
    return tuple(name for name, key in NETWORKS.items() if entries.get(key) is not None)


def read(contents: Contents, network: str | None) -> Draft:
    """The chosen network. network: 'G_ema', 'G' or 'D'; None = the first of these that the file has."""
    entries, held = _entries(contents), networks(contents)
    name = choose(network, held)
    key = NETWORKS[name]
    is_bare = entries[key] is contents.tree
    warnings = ("the file is a bare state; it was taken for G_ema",) if is_bare else ()
    views = tensors_of(contents, entries[key], key)
    declared = declared_config(entries, name)
    facts = {"args": plain_value(entries.get("args"))}
    if name == "D":
        ours, pairs, config = read_discriminator(views, declared)
        return Draft("discriminator", config, ours, name, held, (), facts, warnings, _names(pairs, key))
    ours, pairs, config = read_generator(views, declared)
    average = entries.get(AVERAGES[name]) or entries.get("latent_avg")
    if average is not None:
        ours[W_AVG] = average_of(contents, average)
    return Draft("generator", config, ours, name, held, (NOISE, W_AVG), facts, warnings, _names(pairs, key))


def read_generator(views: Mapping[str, TensorView], declared: Any) -> tuple[dict[str, TensorView], list[Pair], Any]:
    """views: rosinality's names → views. Returns (our names → views, the table, configuration), all but w_avg.

    declared: the configuration that `convert` left in the file, or None. Encoder checkpoints hold such a state too.
    """
    last = max((int(name.split(".")[1]) for name in views if _has_index(name, "to_rgbs")), default=-1)
    resolutions = [4 * 2**level for level in range(last + 2)]
    layers = sum(f"style.{i + 1}.weight" in views for i in range(len(views)))
    pairs, kernels = generator_pairs(resolutions, layers), generator_kernels(resolutions)
    _check_known(views, pairs, kernels)
    settings = {"resample_filter": _taps(views, kernels), "w_avg_beta": 0.998}
    ours = to_ours(views, pairs)
    for pair in pairs:
        if pair.ours not in ours and not pair.ours.endswith(NOISE):
            raise CheckpointError(f"{pair.theirs!r} is missing ({_missing(views, pairs)} are)")
    return ours, pairs, _settled(infer_generator(ours, settings), declared)


def read_discriminator(views: Mapping[str, TensorView], declared: Any) -> tuple[dict[str, TensorView], list[Pair], Any]:
    """The same for a discriminator."""
    last = max((int(name.split(".")[1]) for name in views if _has_index(name, "convs")), default=0)
    resolutions = [4 * 2**level for level in range(last + 1)]
    if last < 1:
        raise CheckpointError("'convs.1.conv1.0.weight' is missing")
    pairs, kernels = discriminator_pairs(resolutions), discriminator_kernels(resolutions)
    _check_known(views, pairs, kernels)
    ours = to_ours(views, pairs)
    for pair in pairs:
        if pair.ours not in ours:
            raise CheckpointError(f"{pair.theirs!r} is missing ({_missing(views, pairs)} are)")
    return ours, pairs, _settled(infer_discriminator(ours, {"resample_filter": _taps(views, kernels)}), declared)


def tensors_of(contents: Contents, node: Any, key: str) -> dict[str, TensorView]:
    """The tensors of a state dictionary in a file, without the prefix that distributed training adds."""
    entries = mapping_of(node)
    if entries is None:
        raise CheckpointError(f"{key} is not a state dictionary")
    if len(entries) > MAX_TENSORS:
        raise UnsafeCheckpointError(f"{key} has more than {MAX_TENSORS} entries; refused")
    has_prefix = all(str(name).startswith(_PREFIX) for name in entries)
    views = {}
    for name, value in entries.items():
        view = contents.tensors.view(value)
        if view is None or not isinstance(name, str):
            raise CheckpointError(f"{display(name, max_length=80)!r} in {key} is not a tensor")
        views[name.removeprefix(_PREFIX) if has_prefix else name] = view
    return views


def average_of(contents: Contents, node: Any) -> TensorView:
    """latent_avg as a view of one axis; [1, w_dim] is taken too."""
    view = contents.tensors.view(node)
    if view is None:
        raise CheckpointError("latent_avg is not a tensor")
    if len(view.shape) == 2 and view.shape[0] == 1:
        return dataclasses.replace(view, shape=view.shape[1:], strides=view.strides[1:])
    return view


def _entries(contents: Contents) -> Mapping[Any, Any]:
    entries = mapping_of(contents.tree) or {}
    return {"g_ema": contents.tree} if _is_bare(entries) else entries


def _is_bare(entries: Mapping[Any, Any]) -> bool:
    return "input.input" in entries or f"{_PREFIX}input.input" in entries


def _has_index(name: str, prefix: str) -> bool:
    parts = name.split(".")
    return parts[0] == prefix and len(parts) > 1 and parts[1] in {str(i) for i in range(MAX_LEVELS)}


def _check_known(views: Mapping[str, TensorView], pairs: list[Pair], kernels: Mapping[str, float]) -> None:
    known = {pair.theirs for pair in pairs} | set(kernels)
    unknown = [name for name in views if name not in known]
    if unknown:
        missing = _missing(views, pairs)
        shown = display(unknown[0], max_length=80)
        counts = f"{missing} missing, {len(unknown)} unexpected"
        raise CheckpointError(f"{shown!r} does not belong to this network ({counts})")


def _missing(views: Mapping[str, TensorView], pairs: list[Pair]) -> int:
    return sum(pair.theirs not in views and not pair.ours.endswith(NOISE) for pair in pairs)


def _taps(views: Mapping[str, TensorView], kernels: Mapping[str, float]) -> tuple[float, ...]:
    # The filter along one axis, from the kernels that are stored; all must be one and the same.
    found = {name: taps_of(views[name], name) for name in kernels if name in views}
    for name in found:
        if abs(sum(views[name].to_tensor().flatten().tolist()) - kernels[name]) > 1e-3 or len(set(found.values())) > 1:
            raise CheckpointError(f"{name!r} is another filter than the rest of the network has")
    return next(iter(found.values()), (1.0, 3.0, 3.0, 1.0))


def _settled(found: Any, declared: Any) -> Any:
    # What `convert` declared has the settings that no tensor shows; its sizes are compared when it is loaded.
    if declared is None:
        return found
    held, said = (torch.tensor(config.resample_filter) / sum(config.resample_filter) for config in (found, declared))
    if type(declared) is not type(found) or held.shape != said.shape or not torch.allclose(held, said, atol=1e-4):
        raise CheckpointError("the configuration that the file declares is not that of its tensors")
    return declared


def _names(pairs: list[Pair], key: str) -> dict[str, str]:
    return {pair.ours: f"{key}.{pair.theirs}" for pair in pairs}
