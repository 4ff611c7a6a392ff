"""Any dialect of checkpoint to one of our networks. A dialect is a module with NAME, `matches`, `networks`, `read`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

from torch import nn

from stylegan_core.checkpoints import (
    native,
    nvlabs,
    nvlabs_state,
    relatives,
    rosinality,
    stylegan1_state,
    tensorflow,
    unsupported,
)
from stylegan_core.checkpoints.catalog import find
from stylegan_core.checkpoints.contents import Contents, open_contents
from stylegan_core.checkpoints.download import Progress
from stylegan_core.checkpoints.strict import Checkpoint, Draft, complete
from stylegan_core.errors import CheckpointError, InvertError, UnknownCheckpointError
from stylegan_core.files import display
from stylegan_core.provenance import model_sha256


class Dialect(Protocol):
    """One layout of files."""

    NAME: str
    matches: Callable[[Contents], bool]
    networks: Callable[[Contents], tuple[str, ...]]
    read: Callable[[Contents, str | None], Draft]


# asked in this order
DIALECTS: tuple[Any, ...] = (native, relatives, nvlabs, nvlabs_state, tensorflow, stylegan1_state, rosinality, unsupported)


def read_checkpoint(path: str | os.PathLike[str], *, network: str | None = None) -> Checkpoint:
    """Reads one network of a file, whatever its dialect; nothing in the file is executed.

    network: 'G_ema', 'G' or 'D'; None = G_ema, else the first that the file has. Raises a CheckpointError, in one line
    that begins with the path, for everything that is not a complete, finite network of a known kind.
    """
    return _read(path, network)[1]


def load_generator(
    name_or_path: str | os.PathLike[str], *, network: str | None = None, progress: Progress | None = None
) -> Any:
    """A generator in eval mode, fp32, on the CPU, weights frozen, with its provenance as attribute `provenance`.

    name_or_path: a file of any dialect, a name of the catalogue or an https address (downloaded once). network: 'G_ema'
    or 'G'; None = G_ema, else G. progress: called with (bytes so far, bytes in all or None) while a download runs.
    """
    return _load(name_or_path, "generator", network, progress)


def load_discriminator(name_or_path: str | os.PathLike[str], *, progress: Progress | None = None) -> Any:
    """A discriminator in eval mode, fp32, on the CPU; otherwise as `load_generator`."""
    return _load(name_or_path, "discriminator", "D", progress)


def load_network(path: str | os.PathLike[str], network: str | None = None) -> Any:
    """One network of a file, of whatever kind, with its provenance as attribute `provenance`."""
    module, checkpoint = _read(path, network)
    object.__setattr__(module, "provenance", checkpoint.provenance)  # past nn.Module, which keeps tensors and modules
    return module.requires_grad_(False)


def networks_in(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The networks that a file holds, of 'G_ema', 'G' and 'D'."""
    contents = open_contents(path)
    with _named(contents):
        return _dialect_of(contents).networks(contents)


def _load(name_or_path: str | os.PathLike[str], kind: str, network: str | None, progress: Progress | None) -> Any:
    path = find(name_or_path, kind=kind, progress=progress)
    module = load_network(path, network)
    held = native.kind_of(module.config)
    if held != kind:
        name = module.provenance["network"]
        hint = f"; use load_{held} for it" if held in ("generator", "discriminator") else ""
        raise CheckpointError(f"{display(path)}: {name} is a {held}, not a {kind}{hint}")
    return module


def _read(path: str | os.PathLike[str], network: str | None) -> tuple[nn.Module, Checkpoint]:
    contents = open_contents(path)
    with _named(contents), ThreadPoolExecutor(max_workers=1) as executor:
        digest = executor.submit(contents.sha256)  # for a large file, more than half of the time that all of this takes
        dialect = _dialect_of(contents)
        draft = dialect.read(contents, network)
        module, filled = complete(draft, contents.size)
        state = dict(module.state_dict())
        declared = draft.facts.get("declared_sha256")
        if declared is not None and declared != model_sha256(state):
            raise CheckpointError("the weights do not have the hash that the file declares: it is damaged or was edited")
        provenance = {
            "dialect": dialect.NAME,
            "file": contents.path.name,
            "file_bytes": contents.size,
            "model_file_sha256": digest.result(),
            "network": draft.network,
            "networks": list(draft.networks),
            "warnings": [*contents.warnings, *draft.warnings, *filled],
            **draft.facts,
        }
        return module, Checkpoint(draft.kind, draft.config, state, provenance)


def _dialect_of(contents: Contents) -> Any:
    for dialect in DIALECTS:
        if dialect.matches(contents):
            return dialect
    raise UnknownCheckpointError("is a readable file, but not a checkpoint of a known layout; see docs/checkpoints.md")


@contextmanager
def _named(contents: Contents) -> Iterator[None]:
    # Errors begin with the path of the file.
    try:
        yield
    except InvertError as error:
        raise type(error)(f"{display(contents.path)}: {error}") from None
