"""The modulated 3×3 convolution and its adjoint for weights that stay as they are, as fast as a CPU goes; no gradients here.

Which of three ways is fastest depends on the sizes. Pictures are [N, H, W, C], which is channels_last with the axes in memory order.
"""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.ops import winograd

WINOGRAD_CHANNELS = 256  # narrower, the transforms cost more than the multiplications saved …
WINOGRAD_NARROW = 96     # … except in pictures that stay in the cache
WINOGRAD_CACHED = 1 << 17
WINOGRAD_TILES = 16      # fewer, reading the transformed weight costs more
MATRIX_PIXELS = 128      # up to so many, one matrix product beats a direct convolution
MATRIX_PIXELS_UP = 2048  # the same for upsampling …
MATRIX_CHANNELS_UP = 96  # … from so many channels


class FrozenConv:
    """y = out_scale · conv(in_scale · x, weight), weight [O, I, 3, 3] as correlation with zero padding 1.

    With `up`, a transposed convolution of stride 2 instead, as conv_transpose2d does it: [N, H, W, I] → [N, 2H+1, 2W+1, O].
    """

    def __init__(self, weight: Tensor, up: bool):
        self.weight, self.up = weight.detach(), up
        self.out_channels, self.in_channels = weight.shape[:2]

    @cached_property
    def power(self) -> Tensor:
        """[O, I]: the sum of squares over the taps."""
        return self.weight.square().sum(dim=[2, 3])

    def forward(self, x: Tensor, in_scale: Tensor, out_scale: Tensor) -> Tensor:
        """x: [N, H, W, I], in_scale: [N, I], out_scale: [N, O] → new memory."""
        batch, height, width, _ = x.shape
        if self._suits_matrix(batch * height * width):
            if self.up:
                return self._spread(x * in_scale[:, None, None]).mul_(out_scale[:, None, None])
            return self._gather_product(x * in_scale[:, None, None], self._matrix, 1).mul_(out_scale[:, None, None])
        if self._suits_winograd(batch, height, width):
            return winograd.convolve(x, self._transformed, in_scale, out_scale)
        if self._suits_folding(batch, height * width):
            return self._direct(x, self._direct_weight * self._fold(in_scale[0], out_scale[0]))
        return self._direct(x * in_scale[:, None, None], self._direct_weight).mul_(out_scale[:, None, None])

    def adjoint(self, g: Tensor, in_scale: Tensor, out_scale: Tensor) -> Tensor:
        """The transposed linear map: g [N, H', W', O] → [N, H, W, I], new memory."""
        batch, height, width, _ = g.shape
        if self.up:
            height, width = height // 2, width // 2
        if self._suits_matrix(batch * height * width):
            stride, matrix = (2, self._matrix_up_adjoint) if self.up else (1, self._matrix_adjoint)
            return self._gather_product(g * out_scale[:, None, None], matrix, stride).mul_(in_scale[:, None, None])
        if self._suits_winograd(batch, height, width):
            return winograd.convolve(g, self._transformed_adjoint, out_scale, in_scale)
        if self._suits_folding(batch, height * width):
            return self._direct_adjoint(g, self._direct_weight * self._fold(in_scale[0], out_scale[0]))
        return self._direct_adjoint(g * out_scale[:, None, None], self._direct_weight).mul_(in_scale[:, None, None])

    # Choices.

    def _suits_matrix(self, pixels: int) -> bool:
        if self.up:
            return pixels <= MATRIX_PIXELS_UP and self.in_channels >= MATRIX_CHANNELS_UP
        return pixels <= MATRIX_PIXELS

    def _suits_winograd(self, batch: int, height: int, width: int) -> bool:
        pixels, channels = batch * height * width, min(self.in_channels, self.out_channels)
        is_wide = channels >= WINOGRAD_CHANNELS or (channels >= WINOGRAD_NARROW and pixels * channels <= WINOGRAD_CACHED)
        return (not self.up and is_wide and height % winograd.OUTPUTS == 0 and width % winograd.OUTPUTS == 0
                and pixels >= WINOGRAD_TILES * winograd.OUTPUTS**2)

    def _suits_folding(self, batch: int, pixels: int) -> bool:
        # One image: scaling the weight is cheaper than scaling the picture where that is larger.
        return batch == 1 and pixels * (self.in_channels + self.out_channels) > self.weight.numel()

    # Forms of the weight, made when first needed.

    @cached_property
    def _direct_weight(self) -> Tensor:
        weight = self.weight.transpose(0, 1) if self.up else self.weight
        return weight.contiguous(memory_format=torch.channels_last)

    @cached_property
    def _transformed(self) -> Tensor:
        return winograd.transform_weight(self.weight)

    @cached_property
    def _transformed_adjoint(self) -> Tensor:
        return winograd.transform_weight(self.weight.flip([2, 3]).transpose(0, 1))

    @cached_property
    def _matrix(self) -> Tensor:
        """[9·I, O]."""
        return self.weight.permute(2, 3, 1, 0).reshape(-1, self.out_channels)

    @cached_property
    def _matrix_adjoint(self) -> Tensor:
        """[9·O, I]."""
        return self.weight.flip([2, 3]).permute(2, 3, 0, 1).reshape(-1, self.in_channels)

    @cached_property
    def _matrix_up(self) -> Tensor:
        """[I, 9·O]."""
        return self.weight.permute(1, 2, 3, 0).reshape(self.in_channels, -1)

    @property
    def _matrix_up_adjoint(self) -> Tensor:
        return self._matrix_up.t()

    def _fold(self, in_scale: Tensor, out_scale: Tensor) -> Tensor:
        scale = in_scale[:, None] * out_scale if self.up else out_scale[:, None] * in_scale
        return scale[:, :, None, None]

    # Ways.

    def _direct(self, x: Tensor, weight: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2)
        y = F.conv_transpose2d(x, weight, stride=2) if self.up else F.conv2d(x, weight, padding=1)
        return y.permute(0, 2, 3, 1).contiguous()

    def _direct_adjoint(self, g: Tensor, weight: Tensor) -> Tensor:
        g = g.permute(0, 3, 1, 2)
        y = F.conv2d(g, weight, stride=2) if self.up else F.conv_transpose2d(g, weight, padding=1)
        return y.permute(0, 2, 3, 1).contiguous()

    def _gather_product(self, x: Tensor, matrix: Tensor, stride: int) -> Tensor:
        """Correlation as a product with gathered pixels: stride 1 with padding 1, stride 2 without."""
        batch, height, width, channels = x.shape
        if stride == 1:
            x = F.pad(x, (0, 0, 1, 1, 1, 1))
        else:
            height, width = height // 2, width // 2
        image, row, column, _ = x.stride()
        windows = x.as_strided((batch, height, width, 3, 3, channels), (image, stride * row, stride * column, row, column, 1))
        return torch.mm(windows.reshape(batch * height * width, -1), matrix).view(batch, height, width, -1)

    def _spread(self, x: Tensor) -> Tensor:
        """Transposed convolution of stride 2 as a product whose rows are added where they belong."""
        batch, height, width, channels = x.shape
        parts = torch.mm(x.reshape(-1, channels), self._matrix_up).view(batch, height, width, 3, 3, -1)
        y = x.new_zeros(batch, 2 * height + 1, 2 * width + 1, self.out_channels)
        for row in range(3):
            for column in range(3):
                y[:, row : row + 2 * height : 2, column : column + 2 * width : 2] += parts[:, :, :, row, column]
        return y


