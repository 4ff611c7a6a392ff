"""TensorFlow pickles of StyleGAN, StyleGAN2 and StyleGAN2-ADA, read without TensorFlow: a triple (G, D, Gs) of network records.

A record holds names and arrays of its variables, settings, and source text that the official loader executes; here it is never run,
its hash is kept for the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stylegan_core.checkpoints.contents import Contents
from stylegan_core.checkpoints.inert_tree import NETWORKS as RECORDS
from stylegan_core.checkpoints.inert_tree import calls, mapping_of, plain_value
from stylegan_core.checkpoints.infer import infer_discriminator, infer_generator
from stylegan_core.checkpoints.infer_stylegan1 import infer_stylegan1, infer_stylegan1_discriminator
from stylegan_core.checkpoints.renaming import Renamed, number_in, renamed, scaled, zeros
from stylegan_core.checkpoints.strict import W_AVG, Draft, choose
from stylegan_core.checkpoints.tensor_view import TensorView, array_view, scalar_view
from stylegan_core.checkpoints.tensorflow_names import (
    stylegan1_discriminator,
    stylegan1_generator,
    stylegan2_discriminator,
    stylegan2_generator,
)
from stylegan_core.checkpoints.tensorflow_settings import (
    check_settings,
    fused_from,
    stylegan1_discriminator_settings,
    stylegan1_settings,
    stylegan2_discriminator_settings,
    stylegan2_settings,
)
from stylegan_core.errors import CheckpointError, UnknownCheckpointError, UnsafeCheckpointError
from stylegan_core.files import display
from stylegan_core.provenance import bytes_sha256

NAME = "tensorflow"
PLACES = {"G_ema": 2, "G": 0, "D": 1}  # our name → place in the triple
VERSIONS = (3, 4, 5)  # of StyleGAN, StyleGAN2, StyleGAN2-ADA
COMPONENTS = ("mapping", "synthesis")
MAX_VARIABLES = 20_000
LAST_LAYERS = {"4x4/Dense1/weight": "stylegan1", "Output/weight": "stylegan2"}  # of a discriminator
RESOLUTIONS = tuple(2**power for power in range(2, 13))


@dataclass(frozen=True)
class Network:
    """One record and those in it. variables: name, behind component/ where it is of one → view. settings: keyword arguments."""

    build_name: str
    variables: Mapping[str, TensorView]
    settings: Mapping[str, Any]
    sources: tuple[str, ...]


def matches(contents: Contents) -> bool:
    """A network record, or a tuple with one among its first three parts."""
    return any(calls(part, *RECORDS) for part in _parts(contents)[:3])


def networks(contents: Contents) -> tuple[str, ...]:
    """The networks that are there, of G_ema, G and D; a discriminator without its last layer is not."""
    nodes = _nodes(contents)
    held = [name for name in PLACES if nodes.get(name) is not None]
    return tuple(name for name in held if name != "D" or set(LAST_LAYERS) & set(_variables(nodes["D"], "")))


def read(contents: Contents, network: str | None) -> Draft:
    """The chosen network. network: 'G_ema', 'G' or 'D'; None = the first of these that the file has."""
    held = networks(contents)
    name = choose(network, held)
    record = network_of(_nodes(contents)[name])
    check_settings(record.settings)
    if not record.variables:
        raise CheckpointError(f"{name} has no variables")
    facts = {"build_function": record.build_name, "source_in_file_sha256": [bytes_sha256(text.encode("utf-8", "surrogatepass"))
                                                                            for text in record.sources]}
    if any(last in record.variables for last in LAST_LAYERS):
        found, config = discriminator_of(record)
        return Draft("discriminator", config, found.views, name, held, (), facts, (), found.names, found.changes)
    found, config, warnings = generator_of(record)
    return Draft("generator", config, found.views, name, held, (W_AVG,), facts, warnings, found.names, found.changes)


def generator_of(record: Network) -> tuple[Renamed, Any, tuple[str, ...]]:
    """(tensors, configuration, warnings) of a generator's record."""
    names = record.variables
    if not any(name.startswith("synthesis/") for name in names):
        what = display(record.build_name, max_length=60)
        raise UnknownCheckpointError(f"holds a generator without a synthesis network (built by {what!r}: a progressive GAN?)")
    resolutions = resolutions_held(names, "synthesis/")
    lod = number_in(names["lod"], "lod") if "lod" in names else 0.0
    if not any(name.endswith("/mod_weight") for name in names):
        settings = stylegan1_settings(record.settings)
        found = renamed(names, stylegan1_generator(resolutions, fused_from=fused_from(record.settings)))
        if "mapping/LabelConcat/weight" in names:
            _add_label_bias(found)
        return found, infer_stylegan1(found.views, {**settings, "lod": lod}), ()
    if lod != 0:
        raise CheckpointError(f"is a StyleGAN2 snapshot from the middle of growing (lod {lod:g}), which this version cannot build")
    if "mapping/LabelConcat/weight" in names:
        raise CheckpointError("is a conditional StyleGAN2 of 2019, whose labels are joined in a way that this version cannot build")
    found = renamed(names, stylegan2_generator(resolutions))
    config = infer_generator(found.views, stylegan2_settings(record.settings))
    left_out = sum(name.startswith("synthesis/ToRGB_lod") and not name.startswith("synthesis/ToRGB_lod0/") for name in names)
    warnings = (f"{left_out} tensors of lower levels of detail were left out; the network is grown",) if left_out else ()
    return found, config, warnings


def discriminator_of(record: Network) -> tuple[Renamed, Any]:
    """(tensors, configuration) of a discriminator's record."""
    names = record.variables
    resolutions = resolutions_held(names, "")
    if "4x4/Dense1/weight" in names:
        found = renamed(names, stylegan1_discriminator(resolutions))
        return found, infer_stylegan1_discriminator(found.views, stylegan1_discriminator_settings(record.settings))
    if record.settings.get("label_size") and "LabelEmbed/weight" not in names:
        raise CheckpointError("is a conditional StyleGAN2 discriminator of 2019, with a logit per class, which this version cannot build")
    found = renamed(names, stylegan2_discriminator(resolutions))
    settings = stylegan2_discriminator_settings(record.settings, is_ada=record.build_name == "D_main")
    return found, infer_discriminator(found.views, settings)


def network_of(node: Any) -> Network:
    """The variables and settings of a record and of its components. Raises CheckpointError for what no StyleGAN has."""
    state = _state(node)
    variables, settings = dict(_variables(node, "")), _settings(state)
    sources = [state.get("build_module_src")]
    for name, component in (mapping_of(state.get("components")) or {}).items():
        if name not in COMPONENTS or not calls(component, *RECORDS):
            raise UnsafeCheckpointError(f"a network has the component {display(name, max_length=40)!r}, which no StyleGAN has; refused")
        inner = _state(component)
        if mapping_of(inner.get("components")):
            raise UnsafeCheckpointError(f"the component {name} has components of its own; refused")
        variables |= _variables(component, f"{name}/")
        settings |= _settings(inner)
        sources.append(inner.get("build_module_src"))
    build_name = state.get("build_func_name")
    texts = sorted({text for text in sources if isinstance(text, str) and text})
    return Network(build_name if isinstance(build_name, str) else "", variables, settings, tuple(texts))


def resolutions_held(names: Mapping[str, Any], prefix: str) -> tuple[int, ...]:
    """4, 8, … up to the largest of which there is any variable."""
    held = [resolution for resolution in RESOLUTIONS if any(name.startswith(f"{prefix}{resolution}x{resolution}/") for name in names)]
    if not held:
        raise CheckpointError(f"'{prefix}4x4/Conv/weight' is missing")
    return tuple(resolution for resolution in RESOLUTIONS if resolution <= held[-1])


def _parts(contents: Contents) -> Sequence[Any]:
    tree = contents.tree
    return tree if isinstance(tree, (tuple, list)) else (tree,)


def _nodes(contents: Contents) -> dict[str, Any]:
    parts = _parts(contents)
    if len(parts) == 1:  # a network by itself: generators have components
        name = "G_ema" if mapping_of(_state(parts[0]).get("components")) else "D"
        return {name: parts[0]}
    return {name: parts[place] for name, place in PLACES.items() if place < len(parts)}


def _state(node: Any) -> dict[Any, Any]:
    state = mapping_of(node.state) if calls(node, *RECORDS) else None
    if state is None:
        raise UnsafeCheckpointError("the file has an object that the official code does not write; refused")
    version = state.get("version")
    if type(version) is not int or version not in VERSIONS:
        known = ", ".join(map(str, VERSIONS))
        raise CheckpointError(f"a TensorFlow network has version {display(version, max_length=20)}; {known} are known")
    return state


def _settings(state: Mapping[Any, Any]) -> dict[str, Any]:
    settings = plain_value(state.get("static_kwargs"))
    return settings if isinstance(settings, dict) else {}


def _variables(node: Any, prefix: str) -> dict[str, TensorView]:
    listed = _state(node).get("variables")
    if not isinstance(listed, (list, tuple)) or len(listed) > MAX_VARIABLES:
        raise CheckpointError("a TensorFlow network has no list of variables, or far too long a one")
    views: dict[str, TensorView] = {}
    for pair in listed:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise CheckpointError("a TensorFlow network has a variable without a name")
        name = f"{prefix}{pair[0]}"
        view = array_view(pair[1]) or scalar_view(pair[1])
        if view is None or name in views:
            raise CheckpointError(f"{display(name, max_length=80)!r} is not an array, or is there twice")
        views[name] = view
    return views


def _add_label_bias(found: Renamed) -> None:
    # Labels are embedded without a bias and without the scale of an equalised layer.
    width, count = found.views["mapping.embed.weight"].shape
    found.changes["mapping.embed.weight"] = scaled(count**0.5)
    found.views["mapping.embed.bias"] = zeros(width)
