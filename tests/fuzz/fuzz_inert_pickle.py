"""Fuzzes the reader of checkpoints with atheris: `python tests/fuzz/fuzz_inert_pickle.py -runs=1000000 [corpus folder]`.

Needs the extra `fuzz`. Each input is read as a pickle, as a torch stream, as a zip archive and as a safetensors header, and
what comes out is walked as the dialects walk it; only errors of ours may come back. Without a corpus folder the golden
files of up to 4 kB and small pickles made here are the seeds.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["stylegan_core.checkpoints"]):
    from stylegan_core.checkpoints import native, nvlabs, nvlabs_state, relatives, rosinality, unsupported
    from stylegan_core.checkpoints.contents import parse_contents
    from stylegan_core.checkpoints.inert_tree import mapping_of, plain_value
from stylegan_core.errors import InvertError

GOLDEN = Path(__file__).parent.parent / "golden"
DIALECTS = (native, relatives, nvlabs, nvlabs_state, rosinality, unsupported)


def read_everything(data: bytes) -> None:
    """What `read_checkpoint` does up to the point where memory would be allocated."""
    with suppress(InvertError):
        contents = parse_contents(Path("fuzz"), memoryview(data))
        with suppress(InvertError):
            plain_value(contents.tree)
        for node in (mapping_of(contents.tree) or {}).values():
            with suppress(InvertError):
                view = contents.tensors.view(node)
                if view is not None and view.nbytes < 1 << 16:
                    view.to_tensor()
        for dialect in DIALECTS:
            if dialect.matches(contents):
                dialect.read(contents, None)


def seeds() -> list[bytes]:
    import numpy as np

    files = sorted((GOLDEN / "adversarial").iterdir()) if GOLDEN.is_dir() else []
    small = [file.read_bytes() for file in files if 0 < file.stat().st_size <= 4096 and file.suffix != ".json"]
    values = {"g_ema": OrderedDict(a=np.zeros((2, 3), "f4"), b=[1.5, None, True, -7, "text", b"bytes"]), "args": (1, 2)}
    return small + [pickle.dumps(values, protocol) for protocol in range(6)]


def main() -> None:
    arguments = sys.argv
    if all(argument.startswith("-") for argument in arguments[1:]):
        corpus = tempfile.mkdtemp(prefix="fuzz_inert_pickle_")
        for index, seed in enumerate(seeds()):
            (Path(corpus) / f"seed{index:03d}").write_bytes(seed)
        arguments = [*arguments, corpus]
    atheris.Setup(arguments, read_everything)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
