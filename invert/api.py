"""The Python door: `invert.project` takes a picture in any form and a model by name, path or object."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from invert.jobs import ProjectOptions
from invert.loaded import LoadedModel, load_model
from stylegan_core import images
from stylegan_core.errors import ImageError
from stylegan_core.inversion import Inversion, merged
from stylegan_core.provenance import model_sha256
from stylegan_core.runtime import resolve_device

if TYPE_CHECKING:
    from stylegan_core.generator import Generator
    from stylegan_core.progress import Callback

Picture = Union[str, "os.PathLike[str]", Image.Image, np.ndarray, Tensor]


def project(
    image: Picture | Sequence[Picture],
    model: str | os.PathLike[str] | Generator = "portraits64",
    space: str = "w+",
    *,
    preset: str = "fast",
    steps: int | None = None,
    seed: int = 0,
    perceptual: str = "auto",
    start: str = "auto",
    device: str = "auto",
    restarts: int | None = None,
    class_index: int | str | None = None,
    transform: bool = False,
    fit: str = "crop",
    mask: Picture | None = None,
    callback: Callback | None = None,
) -> Inversion:
    """Finds a picture, or a list of them as one batch, in the latent space of a generator.

    image: a path, a Pillow picture, an array [H, W], [H, W, 1, 3 or 4] uint8, or a tensor [C, H, W] or [N, C, H, W] in
    [-1, 1]. model: a short name, a checkpoint, or a generator (which stays on its device). space: 'z', 'w', 'w+', 's'.
    steps, restarts: None = the preset's. class_index: of a conditional model, or 'search'. transform: find rotation and
    motion of a StyleGAN3's input too. fit: 'crop', 'pad', 'stretch'. mask: white where the picture counts, the same size
    as the picture; None = everywhere. The options are those of `invert project`; its errors are subclasses of
    `stylegan_core.errors.InvertError`.
    """
    from invert.projectors.project import project_images

    options = ProjectOptions(space, preset, steps, seed, perceptual, start, restarts, class_index, fit, transform=transform).validate()
    loaded = loaded_model(model, device)
    generator = loaded.generator
    pictures = _pictures(image, keep_alpha=generator.img_channels == 4)
    fitted = [images.fit(picture, generator, mode=fit) for picture in pictures]
    targets = torch.cat([target for target, _, _ in fitted])
    masks = [_mask(mask, geometry, own) for _, geometry, own in fitted]
    everywhere = torch.ones_like(targets[:1, :1])
    joined = None
    if any(one is not None for one in masks):
        joined = torch.cat([everywhere if one is None else one for one in masks]).to(generator.w_avg)
    inversion = project_images(targets.to(generator.w_avg), generator, options, mask=joined, callback=callback)
    facts = {"model": loaded.name, "model_sha256": loaded.sha256, "model_file_sha256": loaded.file_sha256}
    geometry = merged([geometry for _, geometry, _ in fitted])
    return replace(inversion, geometry=geometry, metadata={**inversion.metadata, **facts})


def loaded_model(model: Any, device: str = "auto") -> LoadedModel:
    """A short name, a checkpoint (on `device`) or a generator (where it is), with the name and hashes that records need."""
    if isinstance(model, (str, os.PathLike)):
        return load_model(os.fspath(model), resolve_device(device))
    name = getattr(model, "provenance", {}).get("file", type(model).__name__)
    return LoadedModel(name, model, model_sha256(model), getattr(model, "provenance", {}).get("model_file_sha256"))


def _pictures(image: Picture | Sequence[Picture], *, keep_alpha: bool) -> list[Tensor]:
    """[1, C, H, W] each."""
    if isinstance(image, Tensor) and image.ndim == 4:
        return [picture_of(one, keep_alpha=keep_alpha) for one in image.split(1)]
    if isinstance(image, (list, tuple)):
        if not image:
            raise ImageError("there is no picture to project")
        return [picture_of(one, keep_alpha=keep_alpha) for one in image]
    return [picture_of(image, keep_alpha=keep_alpha)]  # type: ignore[arg-type]


def picture_of(image: Picture, *, keep_alpha: bool = False) -> Tensor:
    """[1, C, H, W] of a path, a Pillow picture, an array or a tensor. Raises ImageError."""
    if isinstance(image, (str, os.PathLike)):
        return images.load_image(image, background=None if keep_alpha else "white")
    if isinstance(image, Image.Image):
        return images.from_pil(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise ImageError(f"an array of {image.dtype} and shape {image.shape} is no picture; uint8 [H, W, 1, 3 or 4] is")
        pixels = torch.from_numpy(np.array(image if image.ndim == 3 else image[..., None]))
        return images.from_u8(pixels[None])
    if isinstance(image, Tensor) and image.ndim in (3, 4) and image.is_floating_point():
        value = (image if image.ndim == 4 else image[None]).detach().float()
        if not torch.isfinite(value).all() or value.abs().max() > 1.5:
            raise ImageError(f"a tensor of values from {value.min():.3g} to {value.max():.3g} is no picture; [-1, 1] is the range")
        return value
    raise ImageError(f"{type(image).__name__} is no picture; a path, a Pillow picture, a uint8 array or a float tensor is")


def _mask(mask: Picture | None, geometry: dict[str, Any], own: Tensor | None) -> Tensor | None:
    """[1, 1, R, R]: the user's mask in the frame of the target, times that of the padding."""
    if mask is None:
        return own
    if isinstance(mask, (str, os.PathLike)):
        region = images.load_mask(mask)
    else:
        region = (images.to_channels(picture_of(mask, keep_alpha=False), 1) + 1) / 2
    fitted = images.fit_mask(region, geometry)
    return fitted if own is None else fitted * own
