"""Layouts that are recognised only to say in one line what they are and what to do."""

from __future__ import annotations

from typing import Any, NoReturn

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.errors import UnknownCheckpointError
from stylegan_core.files import display

NAME = "unsupported"


def matches(contents: Contents) -> bool:
    """Every file that a reader could parse: this dialect is asked last."""
    return contents.tree is not None


def networks(contents: Contents) -> NoReturn:
    """Always raises UnknownCheckpointError."""
    raise UnknownCheckpointError(_what_it_is(contents))


def read(contents: Contents, network: str | None) -> NoReturn:
    """Always raises UnknownCheckpointError."""
    raise UnknownCheckpointError(_what_it_is(contents))


def _what_it_is(contents: Contents) -> str:
    tree = contents.tree
    entries = mapping_of(tree)
    if entries is None:
        is_tensor = contents.tensors.view(tree) is not None
        return "holds one tensor, not a network" if is_tensor else "holds no dictionary of networks"
    if _is_encoder(entries):
        return "holds an encoder (pSp, e4e, ReStyle, HyperStyle), not a generator: use encoders.load_encoder"
    names = [name for name in entries if isinstance(name, str)]
    state = mapping_of(entries.get("state_dict")) or entries
    if any(str(name).startswith(("g_synthesis.", "synthesis.blocks.", "mapping.dense")) for name in list(state)[:2000]):
        return "holds a StyleGAN generator of 2018 in a layout that is not known here, or a part of one"
    shown = display(", ".join(names[:5]) or "nothing", max_length=100)
    return f"is a dictionary without networks that are known here; it holds: {shown}"


def _is_encoder(entries: dict[Any, Any]) -> bool:
    state = mapping_of(entries.get("state_dict")) or entries
    prefixes = ("encoder.", "hypernet.", "w_encoder.", "pspencoder.")
    return any(isinstance(name, str) and name.startswith(prefixes) for name in list(state)[:5000])
