"""An encoder in a projection: where it starts (hybrid), and what keeps it near what the encoder knows (IDI Sec. 3.3)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from invert.projectors.presets import Preset
from invert.projectors.start import Start
from stylegan_core.checkpoints.catalog import cards
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator, place_of
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.provenance import model_sha256

AUTO = "auto"
TERM = "in-domain"


def known_encoder(generator: Generator) -> Any:
    """The encoder that the card of this model names, found by the model's hash; None where there is none."""
    sha256 = model_sha256(generator)  # type: ignore[arg-type]
    for card in cards().values():
        if card.facts.get("model_sha256") == sha256 and "encoder" in card.parts:
            return _bundled(card.parts["encoder"], sha256, str(place_of(generator)[0]), generator)  # type: ignore[arg-type]
    return None


def chosen_encoder(encoder: Any, generator: Generator) -> Any:
    """encoder: an Encoder, a name or a file; 'auto' = that of the model's card, or None."""
    if encoder is None or not isinstance(encoder, (str, os.PathLike)):
        return encoder
    if encoder == AUTO:
        return known_encoder(generator)
    from encoders.checkpoints import load_encoder

    return load_encoder(encoder, generator=generator)


def with_encoder(preset: Preset, options: Any, generator: Generator, *, is_given: bool) -> tuple[Preset, Any]:
    """(preset, encoder or None): an encoder for the presets that want one, that of the model's card unless another is named.

    is_given: a start was handed over. Raises UsageError where a preset needs an encoder and there is none.
    """
    terms = {name for phase in preset.phases for name in phase.terms}
    wanted = preset.start == "encoder" and not is_given
    if not (wanted or TERM in terms):
        return preset, None
    encoder = chosen_encoder(options.encoder, generator)
    if encoder is None:
        raise UsageError(f"preset {preset.name!r} needs an encoder, and the card of this model names none; give one with --encoder "
                         "(`invert train encoder` makes them), or use --start nearest")
    if wanted and LatentSpace.parse(options.space) is LatentSpace.Z:
        raise UsageError("an encoder finds w, which lies further down than z: use --space w or w+, or --start nearest")
    return preset, encoder


@torch.no_grad()
def encoded_start(encoder: Any, target: Tensor, goal: LatentSpace) -> Start:
    """The encoder's latents as a given start; rows are averaged where the goal is W."""
    inversion = encoder.encode(target)
    latent: Latent = inversion.latent.to(target.device, target.dtype)
    if latent.space.depth > goal.depth:
        latent = latent.mean_row()
    return Start("given", None, Inversion(latent), label=f"encoder:{encoder.name}")


def rows_of_encoder(encoder: Any, generator: Generator) -> Callable[[Tensor], Tensor]:
    """images [N, C, H, W] → ws [N, num_ws, w_dim], differentiable; of several passes, through the last one."""
    if getattr(encoder, "encoder", None) is not None:
        encoder = encoder.encoder  # HyperStyle's

    def encode(images: Tensor) -> Tensor:
        if hasattr(encoder, "passes"):
            ws = images.new_zeros(())
            for ws, _ in encoder.passes(images, keeps_graph=True):  # noqa: B007  (the last one is meant)
                pass
        else:
            ws = encoder(images)
        return (ws if ws.ndim == 3 else ws[:, None]).expand(-1, generator.num_ws, -1)

    return encode


@lru_cache(maxsize=4)
def _bundled(name: str, sha256: str, device: str, generator: Generator) -> Any:
    from encoders.checkpoints import load_encoder

    return load_encoder(name, generator=generator)
