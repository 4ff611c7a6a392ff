"""What every encoder offers, and the one that needs a single pass."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.configs import EncoderConfig
from stylegan_core.errors import ImageError
from stylegan_core.images import to_channels
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace

LARGEST_VALUE = 16.0  # generators overshoot [-1, 1] a little; 0 to 255 is a mistake


class Encoder(Protocol):
    """Pictures → inversion, by a network: a projector of zero steps."""

    name: str
    config: Any
    generator: Any  # whose pictures it inverts; None where the file holds none and none was named

    def encode(self, images: Tensor) -> Inversion:
        """images: [N, C, H, W] in [-1, 1], any size → N inversions with absolute latents; a batch equals its single runs."""
        ...


class OnePass(nn.Module):
    """An encoder of one pass (pSp, e4e, W): average + network(picture).

    network: images [N, in_channels, *input_shape] → offsets [N, num_ws or 1, w_dim]. w_avg: [num_ws, w_dim].
    """

    w_avg: Tensor
    generator: Any

    def __init__(self, config: EncoderConfig, network: nn.Module, w_avg: Tensor, generator: Any = None, name: str = ""):
        super().__init__()
        self.config, self.name = config, name
        self.network = network
        self.register_buffer("w_avg", w_avg)
        object.__setattr__(self, "generator", generator)  # past nn.Module: it is not a part of the encoder's state

    def forward(self, images: Tensor) -> Tensor:
        """→ w [N, w_dim] or ws [N, num_ws, w_dim], absolute, with a graph."""
        offsets = self.network(prepared(images, self.config, self.w_avg))
        return self.w_avg[0] + offsets[:, 0] if self.config.space == "w" else self.w_avg + offsets

    @torch.no_grad()
    def encode(self, images: Tensor) -> Inversion:
        """See `Encoder`."""
        return Inversion(Latent(self(images), LatentSpace.parse(self.config.space)), metadata=facts_of(self))


def facts_of(encoder: Encoder) -> dict[str, Any]:
    """What an inversion says about the encoder that made it."""
    return {"encoder": encoder.name, "method": method_of(encoder.config), "passes": encoder.config.num_iterations}


def method_of(config: Any) -> str:
    """psp, e4e, w, restyle-psp, restyle-e4e or hyperstyle."""
    if not isinstance(config, EncoderConfig):
        return str(config.kind)
    return f"restyle-{config.method}" if config.is_iterative else config.method


def prepared(images: Tensor, config: Any, like: Tensor) -> Tensor:
    """[N, img_channels, *input_shape] in the dtype and on the device of `like`. Raises ImageError for what is no picture."""
    if images.ndim != 4 or not images.is_floating_point():
        raise ImageError(f"pictures of the shape {tuple(images.shape)}, {images.dtype}: floats [N, C, H, W] are needed")
    if not bool((images.detach().abs() <= LARGEST_VALUE).all()):
        raise ImageError(f"pictures with values beyond ±{LARGEST_VALUE:g} or not finite; [-1, 1] is the range "
                         "(8 bits: divide by 127.5, minus 1)")
    return resized(to_channels(images, config.img_channels).to(like), config.input_shape)


def resized(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """[N, C, H, W] → [N, C, *shape]: cut to the shape's aspect around the centre; whole factors are averaged or repeated, the
    rest is bilinear and antialiased."""
    rows, columns = _centre(images.shape[2], images.shape[3], shape[0] / shape[1])
    images = images[..., rows, columns]
    sides = list(zip(images.shape[2:], shape))
    if all(have == want for have, want in sides):
        return images
    if all(have % want == 0 for have, want in sides) or all(want % have == 0 for have, want in sides):
        return F.adaptive_avg_pool2d(images, shape)
    return F.interpolate(images, size=shape, mode="bilinear", align_corners=False, antialias=True)


def _centre(height: int, width: int, aspect: float) -> tuple[slice, slice]:
    """The largest part with this ratio of height to width, to whole pixels."""
    rows, columns = min(height, round(width * aspect)), min(width, round(height / aspect))
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)
