"""Encoder files, published or our own, to encoders that are ready to use; nothing in a file is executed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from encoders import native
from encoders.base import OnePass, method_of
from encoders.build import build_encoder, check_generator
from encoders.configs import EncoderConfig
from encoders.keymap import ADDS_AVERAGE, AVERAGE, hypernet_name, is_alias, network_names
from encoders.published import encoder_config_of, hyperstyle_config_of
from encoders.strict import below, fill, tensors_of, unfilled
from stylegan_core.checkpoints.catalog import find
from stylegan_core.checkpoints.contents import Contents, open_contents
from stylegan_core.checkpoints.download import Progress
from stylegan_core.checkpoints.inert_tree import mapping_of, plain_value
from stylegan_core.checkpoints.rosinality import read_generator
from stylegan_core.checkpoints.strict import NOISE, W_AVG, Draft, complete
from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.errors import CheckpointError, InvertError, UnknownCheckpointError
from stylegan_core.files import display
from stylegan_core.generator import place_of

PARTS = ("encoder.", "hypernet.", "w_encoder.", "decoder.")


def load_encoder(name_or_path: str | os.PathLike[str], *, generator: Any = None, method: str | None = None,
                 w_encoder: str | os.PathLike[str] | None = None, input_shape: tuple[int, int] | None = None,
                 progress: Progress | None = None) -> Any:
    """An encoder in eval mode, fp32, frozen, with its generator as attribute `generator`; see `encoders.Encoder`.

    name_or_path: a published pSp, e4e, ReStyle, HyperStyle or W-encoder file, a file of `save_encoder`, a name of the catalogue
    (of an encoder, or of a model whose card names one). generator: that the encoder is to be used with; None = the file's own, or
    the model that it names. method: 'psp' or 'e4e' for a published file that does not say. w_encoder: for HyperStyle files,
    which are published apart from it. input_shape: (H, W) of what a published encoder of other than square pictures sees (its cars:
    192, 256); pictures are cut to it around the centre. Everything is on the CPU, or where the given generator is.

    Raises a CheckpointError, in one line that begins with the path, for everything that is not a complete, finite encoder.
    """
    path = find(name_or_path, kind="encoder", progress=progress)
    contents = open_contents(path)
    with _named(contents):
        name = os.path.basename(os.fspath(name_or_path))
        encoder = native.read(contents, generator) if contents.header is not None else _read_published(contents, generator, method)
        encoder.name = name
        if input_shape is not None:
            encoder.config = dataclasses.replace(encoder.config, input_shape=input_shape).validate()
        if w_encoder is not None:
            encoder.encoder = _w_encoder(w_encoder, encoder)
        if encoder.generator is not None:
            check_generator(encoder.config, encoder.generator)
            encoder.to(*place_of(encoder.generator))
    return encoder.eval().requires_grad_(False)


def _read_published(contents: Contents, generator: Any, method: str | None) -> Any:
    entries = mapping_of(contents.tree)
    if entries is None:
        raise UnknownCheckpointError("holds no dictionary of tensors, so it is no encoder")
    node = entries.get("state_dict", contents.tree)
    state = mapping_of(node) or {}
    if not any(str(name).removeprefix("module.").startswith(("encoder.", "hypernet.")) for name in state):
        shown = display(", ".join(str(name) for name in list(state)[:4]) or "nothing", max_length=100)
        raise UnknownCheckpointError(f"is no encoder file: it holds no encoder.* and no hypernet.* under state_dict, but {shown}")
    views = tensors_of(contents, node, "state_dict")
    stray = [name for name in views if not name.startswith((*PARTS, AVERAGE))]
    if stray:
        raise CheckpointError(f"{display(stray[0], max_length=80)!r} does not belong to an encoder file ({len(stray)} such tensors)")
    options = plain_value(entries.get("opts")) or {}
    options = options if isinstance(options, dict) else {}
    average = _average_view(contents, entries.get(AVERAGE), views.get(AVERAGE))
    return assembled(views, options, average, contents.size, generator=generator, method=method)


def assembled(views: Mapping[str, TensorView], options: dict[str, Any], average: TensorView | None, file_bytes: int, *,
              generator: Any = None, method: str | None = None) -> Any:
    """The encoder of a published state: names → views. options: the file's opts. average: [rows, w_dim] or [w_dim]."""
    decoder = below(views, "decoder.")
    own = _decoder(decoder, average, file_bytes) if decoder else None
    used = generator if generator is not None else own
    if any(name.startswith("hypernet.") for name in views):
        return _read_hyperstyle(views, options, average, own, used, file_bytes)
    return _read_encoder(below(views, "encoder."), options, average, used, method, file_bytes)


def _read_encoder(views: Mapping[str, TensorView], options: dict[str, Any], average: TensorView | None, generator: Any,
                  method: str | None, file_bytes: int) -> Any:
    num_ws = generator.num_ws if generator is not None else len(average.to_tensor()) if average is not None else 0
    if num_ws == 0:
        raise CheckpointError("holds neither decoder.* nor an average latent, so its rows are not known; give generator=")
    config = encoder_config_of(views, options, num_ws=num_ws, method=method)
    if config.is_iterative and generator is None:
        raise CheckpointError("is a ReStyle encoder without decoder.*; give generator=")
    encoder = unfilled(lambda: build_encoder(config, generator=generator), sum(view.numel for view in views.values()))
    fill(encoder.network, views, file_bytes, ours=network_names(config), prefix="encoder.")
    encoder.register_buffer("w_avg", _rows(average, options, config, generator))
    return encoder


def _read_hyperstyle(views: Mapping[str, TensorView], options: dict[str, Any], average: TensorView | None, own: Any, used: Any,
                     file_bytes: int) -> Any:
    if own is None:
        raise CheckpointError("'decoder.input.input' is missing: a HyperStyle file holds the generator whose weights it changes")
    held = {name: view for name, view in below(views, "hypernet.").items() if not is_alias(name)}
    config = hyperstyle_config_of(held, options, own)
    encoder = unfilled(lambda: build_encoder(config, generator=used), sum(view.numel for view in held.values()))
    fill(encoder.hypernet, held, file_bytes, ours=hypernet_name, prefix="hypernet.")
    inside = below(views, "w_encoder.")
    if inside:
        encoder.encoder = _read_encoder(inside, {"encoder_type": "WEncoder"}, average, used, "w", file_bytes)
    return encoder


def _decoder(views: Mapping[str, TensorView], average: TensorView | None, file_bytes: int) -> Any:
    """The generator in the file (rosinality's layout)."""
    try:
        ours, pairs, config = read_generator(views, None)
        if average is not None and average.shape[-1] == config.w_dim:
            ours[W_AVG] = dataclasses.replace(average, shape=average.shape[-1:], strides=average.strides[-1:])
        names = {pair.ours: f"decoder.{pair.theirs}" for pair in pairs}
        draft = Draft("generator", config, ours, "G_ema", ("G_ema",), (NOISE, W_AVG), names=names)
        module, warnings = complete(draft, file_bytes)
    except CheckpointError as error:
        raise type(error)(f"in decoder.*: {error}") from None
    object.__setattr__(module, "provenance", {"network": "decoder", "warnings": warnings})
    return module.requires_grad_(False)


def _average_view(contents: Contents, *nodes: Any) -> TensorView | None:
    for node in nodes:
        if node is None:
            continue
        view = node if isinstance(node, TensorView) else contents.tensors.view(node)
        if view is None or len(view.shape) not in (1, 2):
            raise CheckpointError(f"{AVERAGE!r} is not a tensor [rows, w_dim]")
        return view
    return None


def _rows(average: TensorView | None, options: Mapping[str, Any], config: EncoderConfig, generator: Any) -> Tensor:
    """[num_ws, w_dim], what the network's offsets are added to."""
    if average is None:
        if options.get(ADDS_AVERAGE) is False:
            return torch.zeros(config.num_ws, config.w_dim)
        if generator is None:
            raise CheckpointError(f"{AVERAGE!r} is missing; give generator=, whose average is then taken")
        return generator.w_avg.detach().cpu().float().expand(config.num_ws, -1).clone()
    value = average.to_tensor().reshape(-1, average.shape[-1])
    if value.shape[-1] != config.w_dim or len(value) not in (1, config.num_ws) or not torch.isfinite(value).all():
        wanted = f"finite numbers [{config.num_ws}, {config.w_dim}] are needed"
        raise CheckpointError(f"{AVERAGE!r} has the shape {list(average.shape)}; {wanted}")
    if options.get(ADDS_AVERAGE) is False and not config.is_iterative:
        return torch.zeros(config.num_ws, config.w_dim)
    return value.expand(config.num_ws, -1).clone()


def _w_encoder(path: str | os.PathLike[str], hyperstyle: Any) -> OnePass:
    encoder = load_encoder(path, generator=hyperstyle.generator)
    if not isinstance(encoder, OnePass):
        raise CheckpointError(f"{display(path)} is a {method_of(encoder.config)}; HyperStyle starts from an encoder of one pass, into W")
    return encoder


@contextmanager
def _named(contents: Contents) -> Iterator[None]:
    # Errors begin with the path of the file.
    try:
        yield
    except InvertError as error:
        prefix = f"{display(contents.path)}: "
        raise type(error)(prefix + str(error).removeprefix(prefix)) from None
