"""State dictionaries of StyleGAN (2018) from ports to PyTorch: genforce, InterFaceGAN, lernapparat (GANSpace), rosinality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.checkpoints.infer_stylegan1 import infer_stylegan1, infer_stylegan1_discriminator
from stylegan_core.checkpoints.renaming import Entry, number_in, renamed, zeros
from stylegan_core.checkpoints.rosinality import tensors_of
from stylegan_core.checkpoints.strict import NOISE, W_AVG, Draft, choose
from stylegan_core.checkpoints.stylegan1_names import (
    genforce_discriminator,
    genforce_generator,
    interfacegan_generator,
    lernapparat_generator,
    rosinality_generator,
)
from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.errors import CheckpointError
from stylegan_core.networks.config_checks import MAX_WIDTH

NAME = "stylegan1-state"
PLACES = {"G_ema": ("generator_smooth", "g_running"), "G": ("generator",), "D": ("discriminator",)}  # our name → keys in the file
MAX_LEVELS = 11
Views = Mapping[str, TensorView]


@dataclass(frozen=True)
class Port:
    """One layout. mark: a name that every state of it has. block: a name of the block {} from the smallest on. settings: what no shape
    shows. may_lack: what its files leave out."""

    mark: str
    block: str
    table: Callable[[Sequence[int]], list[Entry]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    may_lack: tuple[str, ...] = ()
    is_discriminator: bool = False


PORTS: Mapping[str, Port] = {
    "interfacegan": Port("synthesis.layer0.first_layer", "synthesis.output{}.bias", interfacegan_generator),
    "genforce": Port("synthesis.layer0.const", "synthesis.output{}.bias", genforce_generator),
    "genforce discriminator": Port("input0.weight", "input{}.weight", genforce_discriminator, is_discriminator=True),
    "lernapparat": Port("g_synthesis.blocks.4x4.const", "g_synthesis.blocks.{0}x{0}.conv1.bias", lernapparat_generator,
                        {"norm_eps": 1e-5}, (NOISE, W_AVG)),
    "rosinality": Port("generator.progression.0.conv1.input", "generator.progression.{}.conv2.conv.bias", rosinality_generator,
                       {"norm_eps": 1e-5, "mapping_lr_multiplier": 1.0, "blurs_bias": True}, (NOISE, W_AVG)),
}  # fmt: skip


def matches(contents: Contents) -> bool:
    """A state of one of these layouts, or a dictionary with one."""
    entries = mapping_of(contents.tree)
    return entries is not None and any(port_of(mapping_of(node) or {}) for node in _states(contents).values())


def networks(contents: Contents) -> tuple[str, ...]:
    """The states of a known layout, of G_ema, G and D."""
    return tuple(name for name, node in _states(contents).items() if port_of(mapping_of(node) or {}))


def read(contents: Contents, network: str | None) -> Draft:
    """The chosen network. network: 'G_ema', 'G' or 'D'; None = the first of these that the file has."""
    held = networks(contents)
    name = choose(network, held)
    node = _states(contents)[name]
    port_name = port_of(mapping_of(node) or {})
    assert port_name is not None  # networks() holds none without
    port, views = PORTS[port_name], tensors_of(contents, node, name)
    warnings = [f"the file is a bare state; it was taken for {name}"] if node is contents.tree else []
    if port_name == "rosinality":
        views, left_out = trained_part(views)
        if left_out:
            warnings.append(f"{left_out} blocks that were never trained were left out")
    found = renamed(views, port.table(resolutions_held(views, port)))
    if port_name == "rosinality" and "synthesis.b4.const" in found.views:  # its constant has no bias
        found.views["synthesis.b4.conv0.bias"] = zeros(found.views["synthesis.b4.const"].shape[0])
    settings = {**port.settings, "lod": lod_of(views)}
    config = (infer_stylegan1_discriminator if port.is_discriminator else infer_stylegan1)(found.views, settings)
    kind = "discriminator" if port.is_discriminator else "generator"
    facts = {"port": port_name}
    return Draft(kind, config, found.views, name, held, port.may_lack, facts, tuple(warnings), found.names, found.changes)


def port_of(state: Mapping[Any, Any]) -> str | None:
    """The layout of a state; None for none of these."""
    for name, port in PORTS.items():
        if port.mark in state or f"module.{port.mark}" in state:
            return name
    return None


def resolutions_held(views: Views, port: Port) -> tuple[int, ...]:
    """4, 8, … as many as there are blocks."""
    numbered = [4 * 2**level if "{0}" in port.block else level for level in range(MAX_LEVELS)]
    count = 0
    while count < MAX_LEVELS and (port.block.format(numbered[count]) in views or (count == 0 and port.mark in views)):
        count += 1
    return tuple(4 * 2**level for level in range(count))


def lod_of(views: Views) -> float:
    """The level of detail that the state says."""
    held = next((name for name in ("synthesis.lod", "lod") if name in views), None)
    return 0.0 if held is None else number_in(views[held], held)


def trained_part(views: Views) -> tuple[dict[str, TensorView], int]:
    """Without the blocks behind the last that training reached, and how many: rosinality's file always holds those up to 1024 px.

    Noise strengths and biases start at zero.
    """
    levels = [level for level in range(MAX_LEVELS) if f"generator.progression.{level}.conv2.conv.bias" in views]
    last = max((level for level in levels if _is_trained(views, level)), default=max(levels, default=0))
    behind = tuple(f"generator.{part}.{level}." for level in levels if level > last for part in ("progression", "to_rgb"))
    return {name: view for name, view in views.items() if not name.startswith(behind)}, len(behind) // 2


def _is_trained(views: Views, level: int) -> bool:
    names = [f"generator.progression.{level}.{part}" for part in ("noise1.weight_orig", "noise2.weight_orig", "conv2.conv.bias")]
    held = {name: views[name] for name in names if name in views}
    for name, view in held.items():
        if view.numel > MAX_WIDTH:
            raise CheckpointError(f"{name!r} has the shape {list(view.shape)}, which no layer has")
    return any(bool(view.to_tensor().any()) for view in held.values())


def _states(contents: Contents) -> dict[str, Any]:
    entries = mapping_of(contents.tree) or {}
    port = port_of(entries)
    if port is not None:
        return {"D" if PORTS[port].is_discriminator else "G_ema": contents.tree}
    held = {name: next((entries[key] for key in keys if entries.get(key) is not None), None) for name, keys in PLACES.items()}
    return {name: node for name, node in held.items() if node is not None}
