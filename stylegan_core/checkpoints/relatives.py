"""Relatives of the StyleGAN line, recognised to be refused by name: StyleGAN-XL, StyleGAN-T, EG3D, lucidrains' own StyleGAN2.

Their files are told by the names of classes and tensors, before a network is built. Files of some of them name classes that no
checkpoint here needs, so that the pickle reader refuses them: `named_in` looks for the same names in the bytes then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.inert_tree import PERSISTENT_OBJECT, calls, mapping_of
from stylegan_core.checkpoints.relative_names import RELATIVES, refusal
from stylegan_core.errors import UnknownCheckpointError

NAME = "relatives"
NETWORKS = ("G_ema", "G", "D")
MAX_TENSORS = 20_000


@dataclass(frozen=True)
class _Facts:
    """What a file shows of itself: names of classes, source texts that it carries, names of tensors."""

    classes: frozenset[str]
    sources: tuple[str, ...]
    tensors: tuple[str, ...]


def matches(contents: Contents) -> bool:
    """A file of one of the relatives."""
    return _relative_of(contents) is not None


def networks(contents: Contents) -> NoReturn:
    """Always raises UnknownCheckpointError."""
    raise UnknownCheckpointError(refusal(_relative_of(contents) or NAME))


def read(contents: Contents, network: str | None) -> NoReturn:
    """Always raises UnknownCheckpointError."""
    networks(contents)


def _relative_of(contents: Contents) -> str | None:
    entries = mapping_of(contents.tree)
    if entries is None:
        return None
    facts = _facts_of(entries)
    for relative in RELATIVES:
        if facts.classes & relative.classes or any(word in source for word in relative.source_words for source in facts.sources):
            return relative.name
        if all(any(name.startswith(part) for name in facts.tensors) for part in relative.tensors):
            return relative.name
    return None


def _facts_of(entries: dict[Any, Any]) -> _Facts:
    roots = [entries[name] for name in NETWORKS if calls(entries.get(name), PERSISTENT_OBJECT)]
    metas = [meta for root in roots if root.arguments and (meta := mapping_of(root.arguments[0])) is not None]
    classes = frozenset(meta["class_name"] for meta in metas if isinstance(meta.get("class_name"), str))
    sources = tuple(meta["module_src"] for meta in metas if isinstance(meta.get("module_src"), str))
    return _Facts(classes, sources, tuple(_tensor_names(entries)))


def _tensor_names(entries: dict[Any, Any]) -> Iterator[str]:
    """Keys of the file and of the states in it, as many as a network may have."""
    left = MAX_TENSORS
    for key, node in [*entries.items()][:1000]:
        inner = mapping_of(node)
        for name in [key] if inner is None else [*inner]:
            if left > 0 and isinstance(name, str):
                yield name
            left -= 1
