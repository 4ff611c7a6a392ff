"""NVIDIA's PyTorch pickles: stylegan2-ada-pytorch, and the StyleGAN2 and StyleGAN3 networks of the stylegan3 repository.

A network is a tree of `_reconstruct_persistent_obj` records: class name, source text and the state of an nn.Module. The
official loader executes the source; this one never does: it takes names, tensors and settings, and keeps the source's
hash for the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.inert_tree import PERSISTENT_OBJECT, calls, mapping_of, plain_value
from stylegan_core.checkpoints.infer import infer_discriminator, infer_generator, infer_stylegan3
from stylegan_core.checkpoints.nvlabs_settings import Module, discriminator_settings, generator_settings, stylegan3_settings
from stylegan_core.checkpoints.strict import Draft, choose
from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.checkpoints.torch_storage import TensorReader
from stylegan_core.errors import CheckpointError, UnknownCheckpointError, UnsafeCheckpointError
from stylegan_core.files import display
from stylegan_core.provenance import bytes_sha256

NAME = "nvlabs"
NETWORKS = ("G_ema", "G", "D")
PERSISTENCE_VERSIONS = range(1, 7)
MAX_MODULES = 5_000
MAX_TENSORS = 20_000
MAX_MODULE_DEPTH = 12


def matches(contents: Contents) -> bool:
    """A dictionary with a persistent object among G_ema, G and D."""
    entries = mapping_of(contents.tree)
    return entries is not None and any(calls(entries.get(name), PERSISTENT_OBJECT) for name in NETWORKS)


def networks(contents: Contents) -> tuple[str, ...]:
    """The networks that are not empty, of G_ema, G and D."""
    entries = mapping_of(contents.tree) or {}
    return tuple(name for name in NETWORKS if entries.get(name) is not None)


def read(contents: Contents, network: str | None) -> Draft:
    """The chosen network. network: 'G_ema', 'G' or 'D'; None = the first of these that the file has."""
    entries = mapping_of(contents.tree) or {}
    held = networks(contents)
    name = choose(network, held)
    root = _module(entries[name])
    modules = dict(_walk(root))
    views = dict(_tensors(modules, contents.tensors))
    config: Any
    if root.class_name == "Generator" and "synthesis.input" in modules:
        kind, (settings, unknown) = "generator", stylegan3_settings(modules)
        config = infer_stylegan3(views, settings)
    elif root.class_name == "Generator":
        kind, (settings, unknown) = "generator", generator_settings(modules)
        config = infer_generator(views, settings)
    elif root.class_name == "Discriminator":
        kind, (settings, unknown) = "discriminator", discriminator_settings(modules)
        config = infer_discriminator(views, settings)
    else:
        shown = display(root.class_name, max_length=60)
        raise UnknownCheckpointError(f"{name} is of the class {shown!r}; Generator and Discriminator are known")
    warnings = [f"the setting {display(setting, max_length=60)!r} is not known and was ignored" for setting in unknown]
    sources = {module.source for module in modules.values() if module.source}
    facts = {
        "source_in_file_sha256": sorted(bytes_sha256(source.encode("utf-8", "surrogatepass")) for source in sources),
        "training_set": plain_value(entries.get("training_set_kwargs")),
    }
    return Draft(kind, config, views, name, held, facts=facts, warnings=tuple(warnings))


def _module(node: Any) -> Module:
    # meta = {type, version, module_src, class_name, state}: the one argument of the record.
    meta = mapping_of(node.arguments[0]) if calls(node, PERSISTENT_OBJECT) and len(node.arguments) == 1 else None
    if meta is None or meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
        raise UnsafeCheckpointError("the file has an object that the official code does not write; refused")
    version, source, state = meta.get("version"), meta.get("module_src"), mapping_of(meta.get("state"))
    if type(version) is not int or version not in PERSISTENCE_VERSIONS:
        raise CheckpointError(f"a network has persistence version {display(version, max_length=20)}; 1 to 6 are known")
    if state is None:
        raise CheckpointError(f"the {display(meta['class_name'], max_length=60)} in the file has no state")
    return Module(meta["class_name"], state, source if isinstance(source, str) else "")


def _walk(root: Module) -> Iterator[tuple[str, Module]]:
    """(path, module) of a network and all that is in it, parents first; '' is the network itself."""
    waiting = [("", root, 0)]
    count = 0
    while waiting:
        path, module, depth = waiting.pop()
        yield path, module
        children = mapping_of(module.state.get("_modules")) or {}
        count += len(children)
        if count > MAX_MODULES or depth > MAX_MODULE_DEPTH:
            raise UnsafeCheckpointError("the modules in the file are endless or far too many; refused")
        for name, child in reversed(children.items()):
            if child is not None:
                waiting.append((f"{path}.{name}" if path else str(name), _module(child), depth + 1))


def _tensors(modules: Mapping[str, Module], reader: TensorReader) -> Iterator[tuple[str, TensorView]]:
    count = 0
    for path, module in modules.items():
        passing = plain_value(module.state.get("_non_persistent_buffers_set"), max_entries=100)
        for part in ("_parameters", "_buffers"):
            entries = mapping_of(module.state.get(part)) or {}
            count += len(entries)
            if count > MAX_TENSORS:
                raise UnsafeCheckpointError("the tensors in the file are far too many; refused")
            for key, node in entries.items():
                if node is None or (part == "_buffers" and isinstance(passing, list) and key in passing):
                    continue
                name = f"{path}.{key}" if path else str(key)
                view = reader.view(node)
                if view is None:
                    raise CheckpointError(f"{display(name, max_length=80)!r} is not a tensor")
                yield name, view
