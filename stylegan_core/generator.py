"""What every generator offers: projectors, encoders and edits see this Protocol and never a particular architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

RNG = torch.Generator | Sequence[torch.Generator] | None  # one stream, or one per image; None = torch's own


class MappingLike(Protocol):
    """z [N, z_dim], c [N, c_dim] → ws."""

    def __call__(
        self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """→ ws [N, num_ws, w_dim]. truncation_psi: 1 = none; truncation_cutoff: number of rows, None = all."""
        ...

    def to_w(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        """→ w [N, w_dim], before truncation."""
        ...


class SynthesisLike(Protocol):
    """ws or styles → images [N, C, H, W], nominal [-1, 1], not clamped."""

    def __call__(
        self, ws: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None
    ) -> Tensor:
        """ws: [N, num_ws, w_dim]. noise: buffer name → [N or 1, 1, H, W] that replaces the stored maps."""
        ...

    def affine(self, ws: Tensor) -> Tensor:
        """ws: [N, num_ws, w_dim] → styles [N, sum(style_dims)]."""
        ...

    def render(
        self, styles: Tensor, noise_mode: str = "const", noise: Mapping[str, Tensor] | None = None, rng: RNG = None
    ) -> Tensor:
        """styles: [N, sum(style_dims)] → images."""
        ...


class Generator(Protocol):
    """Facts are attributes; the calls are those of the official PyTorch release."""

    z_dim: int
    c_dim: int  # 0 = unconditional
    w_dim: int
    num_ws: int
    img_resolution: int
    img_channels: int
    config: Any

    @property
    def mapping(self) -> MappingLike: ...

    @property
    def synthesis(self) -> SynthesisLike: ...

    @property
    def img_shape(self) -> tuple[int, int]:
        """(H, W) of a picture."""
        ...

    @property
    def style_dims(self) -> dict[str, int]:
        """Modulated layer → width of its style, in execution order."""
        ...

    @property
    def noise_shapes(self) -> dict[str, tuple[int, int]]:
        """Noise buffer → (H, W); empty for a generator without noise inputs."""
        ...

    @property
    def w_avg(self) -> Tensor:
        """[w_dim]."""
        ...

    def __call__(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
    ) -> Tensor:
        """→ images [N, C, H, W]."""
        ...

    def parameters(self) -> Any:
        """The weights, as nn.Module gives them."""
        ...

    def get_buffer(self, target: str) -> Tensor:
        """A buffer by its dotted name."""
        ...


def place_of(generator: Generator) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of the weights: latents, noise and targets are moved there."""
    parameter = next(iter(generator.parameters()))
    return parameter.device, parameter.dtype
