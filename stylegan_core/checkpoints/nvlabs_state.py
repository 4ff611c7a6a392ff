"""State dictionaries with NVIDIA's names: what `convert` writes for the official code, and what people save themselves.

Layout: {'G_ema': state, 'D': state, …, 'init_kwargs': {'G_ema': {…}, …}}, or one bare state. The official classes take
it as `Generator(**file['init_kwargs']['G_ema']).load_state_dict(file['G_ema'])`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.checkpoints.infer import infer_discriminator, infer_generator, infer_stylegan3
from stylegan_core.checkpoints.nvlabs_settings import Module, discriminator_settings, generator_settings, stylegan3_settings
from stylegan_core.checkpoints.rosinality import tensors_of
from stylegan_core.checkpoints.strict import W_AVG, Draft, choose, declared_config

NAME = "nvlabs-state"
NETWORKS = ("G_ema", "G", "D")
_GENERATOR, _STYLEGAN3, _DISCRIMINATOR = "synthesis.b4.const", "synthesis.input.freqs", "b4.out.weight"


def matches(contents: Contents) -> bool:
    """A dictionary of states with NVIDIA's names, or one bare state."""
    entries = mapping_of(contents.tree)
    if entries is None:
        return False
    return _is_state(entries) or any(_is_state(mapping_of(entries.get(name)) or {}) for name in NETWORKS)


def networks(contents: Contents) -> tuple[str, ...]:
    """The states that are there, of G_ema, G and D."""
    return tuple(name for name in NETWORKS if _entries(contents).get(name) is not None)


def read(contents: Contents, network: str | None) -> Draft:
    """The chosen network. network: 'G_ema', 'G' or 'D'; None = the first of these that the file has."""
    entries, held = _entries(contents), networks(contents)
    name = choose(network, held)
    warnings = []
    if entries[name] is contents.tree:
        warnings.append(f"the file is a bare state; it was taken for {name}, with the usual settings")
    views = tensors_of(contents, entries[name], name)
    declared = declared_config(entries, name)
    arguments = (mapping_of(entries.get("init_kwargs")) or {}).get(name)
    modules = {"": Module("", {"_init_kwargs": arguments})}
    config: Any
    if _DISCRIMINATOR in views:
        settings, unknown = discriminator_settings(modules)
        config = infer_discriminator(views, _usual(settings, arguments))
        kind = "discriminator"
    elif _STYLEGAN3 in views:
        settings, unknown = stylegan3_settings(modules)
        config = infer_stylegan3(views, _usual(settings, arguments))
        kind = "generator"
    else:
        settings, unknown = generator_settings(modules)
        config = infer_generator(views, _usual(settings, arguments))
        kind = "generator"
    may_lack = (W_AVG,) if kind == "generator" and arguments is None else ()
    warnings += [f"the setting {setting!r} is not known and was ignored" for setting in unknown]
    return Draft(kind, config if declared is None else declared, views, name, held, may_lack, warnings=tuple(warnings))


def _entries(contents: Contents) -> Mapping[Any, Any]:
    entries = mapping_of(contents.tree) or {}
    if _is_state(entries):
        return {"D" if _DISCRIMINATOR in entries else "G_ema": contents.tree}
    return entries


def _is_state(entries: Mapping[Any, Any]) -> bool:
    return any(name in entries for name in (_GENERATOR, _STYLEGAN3, _DISCRIMINATOR))


def _usual(settings: Mapping[str, Any], arguments: Any) -> Mapping[str, Any]:
    # Without keyword arguments nothing is known of the widths, so the usual ones are not insisted on.
    return settings if arguments is not None else {}
