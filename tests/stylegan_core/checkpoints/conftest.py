"""NVIDIA-layout pickles made in the tests: the records that the official code writes, around networks of ours."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from stylegan_core.checkpoints.convert import official_arguments

GOLDEN = Path(__file__).parents[2] / "golden"
CLASSES = {
    "StyleGAN2Generator": "Generator",
    "StyleGAN3Generator": "Generator",
    "StyleGAN2Discriminator": "Discriminator",
}


class Persistent:
    """Pickles as the official `persistent_class` does."""

    def __init__(self, class_name: str, state: dict, module_src: str, version: int = 6):
        self.meta = {"type": "class", "version": version, "module_src": module_src}
        self.meta |= {"class_name": class_name, "state": state}

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def as_persistent(module: nn.Module, module_src: str, **attributes) -> Persistent:
    """A network as a tree of persistent objects; attributes: more entries of the root's state."""
    children = {name: child for name, child in module._modules.items() if child is not None}
    own = {name: value for name, value in vars(module).items() if isinstance(value, (int, float, str, type(None)))}
    state = {
        **own,
        "_parameters": {name: nn.Parameter(value) for name, value in module._parameters.items() if value is not None},
        "_buffers": {name: value for name, value in module._buffers.items() if value is not None},
        "_modules": {name: as_persistent(child, module_src) for name, child in children.items()},
        "_non_persistent_buffers_set": set(),
        "_forward_hooks": OrderedDict(),
        **attributes,
    }
    return Persistent(CLASSES.get(type(module).__name__, type(module).__name__), state, module_src)


@pytest.fixture
def write_nvlabs(tmp_path, monkeypatch):
    """write_nvlabs(networks, module_src=…, protocol=…, init_kwargs=…) → path of a pickle."""
    package, persistence = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("somebody unpickled the file")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
    monkeypatch.setitem(sys.modules, "torch_utils", package)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", persistence)

    def write(networks, *, module_src="", protocol=3, init_kwargs=None, name="network.pkl"):
        entries = {"training_set_kwargs": {"path": "/data/x.zip"}}
        for key, module in networks.items():
            if module is None:
                entries[key] = None
                continue
            arguments = official_arguments(module.config) if init_kwargs is None else init_kwargs
            entries[key] = as_persistent(module, module_src, _init_args=(), _init_kwargs=arguments)
        path = tmp_path / name
        with torch.no_grad():
            path.write_bytes(pickle.dumps(entries, protocol=protocol))
        return path

    return write
