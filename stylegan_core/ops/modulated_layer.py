"""A whole modulated layer as one differentiable step, for weights that stay: convolution, noise, bias, activation, colours.

The gradient needs nothing but the layer's input and output, since leaky ReLU can be told from its output and since an output's
derivative in its own scale is the output itself. Images go through one or a few at a time and pixels in blocks, so that
what is read again is still in the cache, and memory is used again instead of being asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.ops.bias_act import bias_act
from stylegan_core.ops.frozen_conv import FrozenConv
from stylegan_core.ops.modulated_conv2d import DEMODULATION_EPS, modulated_conv2d

CHUNK = 1 << 20  # numbers of a picture or a few that go through together
BLOCK = 1 << 18  # numbers that elementwise steps treat together
SLOPES = {"lrelu": 0.2, "relu": 0.0, "linear": 1.0}
SMALLEST_STYLE = 1e-20  # for gradients, a style nearer to 0 is moved here, which keeps them exact


class Shape(NamedTuple):
    """What is fixed about a layer beside its weight."""

    up: int
    resample_filter: Tensor
    act: str
    gain: float
    clamp: float | None = None  # None = not
    demodulate: bool = True

    @property
    def slope(self) -> float:
        """Of the activation, for negative numbers."""
        return SLOPES[self.act]

    def blur(self, channels: int, dtype: torch.dtype) -> Tensor | None:
        """The filter that follows an upsampling convolution, as a depthwise weight [channels, 1, k, k]."""
        if self.up == 1:
            return None
        return (self.resample_filter * self.up**2).flip([0, 1]).to(dtype).expand(channels, 1, -1, -1).contiguous()


def is_known(weight: Tensor, shape: Shape) -> bool:
    """Whether this way exists for such a layer: 3×3, leaky or plain ReLU, no clamp, demodulation, up by 1 or 2, a square
    filter of even size."""
    f = shape.resample_filter
    is_even = shape.up == 1 or (shape.up == 2 and f.ndim == 2 and f.shape[0] == f.shape[1] and f.shape[0] % 2 == 0)
    is_usual = shape.act in SLOPES and shape.gain > 0 and shape.clamp is None and shape.demodulate
    return is_even and is_usual and weight.shape[2:] == (3, 3)


def modulated_layer(x: Tensor, styles: Tensor, noise: Tensor | None, colours: Tensor | None, weight: Tensor, bias: Tensor,
                    shape: Shape, conv: FrozenConv) -> tuple[Tensor, Tensor | None]:
    """(y, colours · y) with y = act(conv(x · styles) · norms + noise + bias) · gain; differentiable any number of times.

    x: [N, I, H, W]. styles: [N, I]. noise: [N or 1, 1, H', W'] or None. colours: [N, K, O] or None, then so is the product,
    else [N, K, H', W']. weight [O, I, 3, 3] and bias [O] get no gradient. conv: FrozenConv(weight, up > 1), kept from call to call.
    """
    return _ModulatedLayer.apply(x, styles, noise, colours, weight, bias, shape, conv)


def plain_layer(x: Tensor, styles: Tensor, noise: Tensor | None, colours: Tensor | None, weight: Tensor, bias: Tensor,
                shape: Shape) -> tuple[Tensor, Tensor | None]:
    """The same, step by step, and differentiable in everything."""
    x = modulated_conv2d(x, weight, styles, noise=noise, up=shape.up, padding=1, resample_filter=shape.resample_filter,
                         demodulate=shape.demodulate, flip_weight=shape.up == 1)
    x = bias_act(x, bias, act=shape.act, gain=shape.gain, clamp=shape.clamp)
    return x, None if colours is None else mix_channels(x, colours.to(x.dtype))


def mix_channels(x: Tensor, mixture: Tensor) -> Tensor:
    """A 1×1 convolution whose weights [N, K, C] differ per image: x [N, C, H, W] → [N, K, H, W]."""
    pixels = x.permute(0, 2, 3, 1)
    return torch.bmm(pixels.flatten(1, 2), mixture.transpose(1, 2)).unflatten(1, pixels.shape[1:3]).permute(0, 3, 1, 2)


class _ModulatedLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, styles: Tensor, noise: Tensor | None, colours: Tensor | None, weight: Tensor, bias: Tensor,
                shape: Shape, conv: FrozenConv) -> tuple[Tensor, Tensor | None]:
        pixels = x.permute(0, 2, 3, 1).contiguous()
        norms = (styles.square() @ conv.power.t() + DEMODULATION_EPS).rsqrt() * shape.gain  # gain / ‖w·s‖ (SG2 Eq. 3)
        y, picture = _forward(pixels, styles, norms, noise, colours, bias, shape, conv)
        y = y.permute(0, 3, 1, 2)
        ctx.shape, ctx.conv = shape, conv
        ctx.save_for_backward(x, styles, noise, colours, weight, bias, y, norms)
        ctx.set_materialize_grads(False)
        return y, None if picture is None else picture.unflatten(2, y.shape[2:])

    @staticmethod
    def backward(ctx: Any, of_y: Tensor | None, of_picture: Tensor | None) -> Any:
        if of_y is None and of_picture is None:
            return (None,) * 8
        *inputs, weight, bias, y, norms = ctx.saved_tensors
        needed = list(ctx.needs_input_grad[:4])
        if torch.is_grad_enabled():  # to be differentiated again
            outputs = plain_layer(inputs[0], inputs[1], inputs[2], inputs[3], weight, bias, ctx.shape)
            used = [(output, gradient) for output, gradient in zip(outputs, (of_y, of_picture))
                    if output is not None and gradient is not None]
            wanted = [value for value, is_needed in zip(inputs, needed) if is_needed]
            found = iter(torch.autograd.grad([output for output, _ in used], wanted, [gradient for _, gradient in used],
                                             create_graph=True, allow_unused=True))
            return (*(next(found) if is_needed else None for is_needed in needed), None, None, None, None)
        step = _Backward(inputs[1], inputs[2], inputs[3], norms, bias, ctx.shape, ctx.conv)
        pixels, outputs = (value.permute(0, 2, 3, 1).contiguous() for value in (inputs[0], y))
        return (*step.run(of_y, of_picture, pixels, outputs, needed), None, None, None, None)


def _forward(x: Tensor, styles: Tensor, norms: Tensor, noise: Tensor | None, colours: Tensor | None, bias: Tensor, shape: Shape,
             conv: FrozenConv) -> tuple[Tensor, Tensor | None]:
    """Pictures are [N, H, W, C] from here on; the mixture of the channels is [N, K, H·W]."""
    blur = shape.blur(conv.out_channels, x.dtype)
    batch, height, width = x.shape[0], x.shape[1] * shape.up, x.shape[2] * shape.up
    bias = bias * shape.gain
    noise = None if noise is None else (noise * shape.gain).flatten(1)[:, :, None]
    picture = None if colours is None else x.new_empty(batch, colours.shape[1], height * width)
    y: Tensor | None = None
    step = _images_per_chunk(height * width * max(x.shape[3], conv.out_channels))
    for first in range(0, batch, step):
        part = slice(first, first + step)
        z = conv.forward(x[part], styles[part], norms[part])
        if blur is not None:
            z = _blurred(z, blur, blur.shape[2] // 2 - 1)
        if y is None:
            y = z if step >= batch else z.new_empty(batch, *z.shape[1:])
        _finish(z.flatten(1, 2), y[part].flatten(1, 2), None if noise is None else _of_images(noise, part), bias, shape.slope)
        if picture is not None and colours is not None:
            torch.bmm(colours[part], y[part].flatten(1, 2).transpose(1, 2), out=picture[part])
    assert y is not None
    return y, picture


class _Backward:
    """The gradient of one call: what it needs of the inputs, and what it adds up over pixels."""

    def __init__(self, styles: Tensor, noise: Tensor | None, colours: Tensor | None, norms: Tensor, bias: Tensor, shape: Shape,
                 conv: FrozenConv):
        self.styles = torch.where(styles.abs() < SMALLEST_STYLE, SMALLEST_STYLE, styles)  # they will divide
        self.norms, self.noise, self.colours, self.bias, self.shape, self.conv = norms, noise, colours, bias, shape, conv
        self.by_output = torch.zeros_like(self.norms)                        # Σ gradient · y, over pixels
        rows = 1 if noise is None else 2
        self.totals = self.norms.new_zeros(len(styles), rows, conv.out_channels)  # Σ g', and Σ g' · noise
        self.of_colours = None if colours is None else torch.zeros_like(colours)
        self.of_noise: Tensor | None = None

    def run(self, of_y: Tensor | None, of_picture: Tensor | None, x: Tensor, y: Tensor, needed: list[bool]) -> tuple[Tensor | None, ...]:
        """Gradients of x, styles, noise and colours, None for those not needed."""
        needs_x, needs_styles, needs_noise, needs_colours = needed
        batch, height, width, channels = y.shape
        blur = self.shape.blur(channels, x.dtype)
        blur = None if blur is None else blur.flip([2, 3])
        of_y = None if of_y is None else of_y.permute(0, 2, 3, 1).contiguous().flatten(1, 2)
        of_picture = None if of_picture is None else of_picture.flatten(2)
        of_x = torch.empty_like(x) if needs_x else None
        of_styles = torch.empty_like(self.styles) if needs_styles else None
        self.of_noise = y.new_empty(batch, height * width) if needs_noise else None
        step = _images_per_chunk(height * width * max(x.shape[3], channels))
        for first in range(0, batch, step):
            part = slice(first, first + step)
            g = self._through_activation(of_y, of_picture, y.flatten(1, 2), part)
            if not (needs_x or needs_styles):
                continue
            g = g.view(-1, height, width, channels)
            if blur is not None:
                g = _blurred(g, blur, blur.shape[2] // 2)
            g = self.conv.adjoint(g, self.styles[part], self.norms[part])
            if of_styles is not None:
                of_styles[part] = _channel_products(g.flatten(1, 2), x[part].flatten(1, 2))
            if of_x is not None and step < batch:
                of_x[part] = g
            elif of_x is not None:
                of_x = g
        of_x = None if of_x is None else of_x.permute(0, 3, 1, 2)
        return (of_x, None if of_styles is None else self._of_styles(of_styles), self._of_noise(height, width),
                self.of_colours if needs_colours else None)

    def _through_activation(self, of_y: Tensor | None, of_picture: Tensor | None, y: Tensor, images: slice) -> Tensor:
        """g' = gradient · leaky'(y) of some images [n, P, C]; the sums are added up on the way."""
        y = y[images]
        g = torch.empty_like(y)
        weights = y.new_ones(len(y), self.totals.shape[1], y.shape[1])
        if self.noise is not None:
            weights[:, 1] = _of_images(self.noise.flatten(1), images)
        by_output, totals = self.by_output[images], self.totals[images]
        for pixels in _blocks(g):
            block, seen = g[:, pixels], y[:, pixels]
            if of_picture is None or self.colours is None or self.of_colours is None:
                assert of_y is not None
                incoming, product = of_y[images, pixels], block
            else:
                of_colours = of_picture[images, :, pixels]
                self.of_colours[images].baddbmm_(of_colours, seen)
                if of_y is None:
                    torch.bmm(of_colours.transpose(1, 2), self.colours[images], out=block)
                else:
                    torch.baddbmm(of_y[images, pixels], of_colours.transpose(1, 2), self.colours[images], out=block)
                incoming, product = block, torch.empty_like(block)
            by_output += torch.mul(incoming, seen, out=product).sum(dim=1)
            torch.ops.aten.leaky_relu_backward.grad_input(incoming, seen, self.shape.slope, True, grad_input=block)
            totals.baddbmm_(weights[:, :, pixels], block)
            if self.of_noise is not None:
                torch.sum(block, dim=2, out=self.of_noise[images, pixels])
        return g

    def _of_styles(self, products: Tensor) -> Tensor:
        # Directly, and through the norms, whose gradient is Σ g' · (y before noise and bias): Σ gradient · y without their parts.
        of_norms = self.by_output - self.totals[:, 0] * self.bias * self.shape.gain
        if self.noise is not None:
            of_norms -= self.totals[:, 1] * self.shape.gain
        squared = self.norms.square() / self.shape.gain**2
        return products / self.styles - self.styles * ((of_norms * squared) @ self.conv.power)

    def _of_noise(self, height: int, width: int) -> Tensor | None:
        if self.of_noise is None or self.noise is None:
            return None
        of_noise = (self.of_noise * self.shape.gain).view(-1, 1, height, width)
        return of_noise.sum(dim=0, keepdim=True) if len(self.noise) == 1 else of_noise


def _images_per_chunk(numbers: int) -> int:
    return max(1, CHUNK // numbers)


def _of_images(maps: Tensor, images: slice) -> Tensor:
    return maps if len(maps) == 1 else maps[images]


def _blurred(x: Tensor, blur: Tensor, padding: int) -> Tensor:
    return F.conv2d(x.permute(0, 3, 1, 2), blur, padding=padding, groups=x.shape[3]).permute(0, 2, 3, 1).contiguous()


def _finish(z: Tensor, y: Tensor, noise: Tensor | None, bias: Tensor, slope: float) -> None:
    """y ← leaky(z + noise + bias); z [n, P, C] is overwritten and may be y. noise: [n or 1, P, 1]."""
    for pixels in _blocks(z):
        block = z[:, pixels]
        if noise is not None:
            block.add_(noise[:, pixels])
        block.add_(bias)
        torch.ops.aten.leaky_relu.out(block, slope, out=y[:, pixels])


def _channel_products(a: Tensor, b: Tensor) -> Tensor:
    """Σ a·b over pixels: [n, P, C] twice → [n, C]."""
    total = a.new_zeros(a.shape[0], a.shape[2])
    for pixels in _blocks(a):
        total += (a[:, pixels] * b[:, pixels]).sum(dim=1)
    return total


def _blocks(x: Tensor) -> list[slice]:
    """Slices of the pixels of x [n, P, C]."""
    step = max(1, BLOCK // (x.shape[0] * x.shape[2]))
    return [slice(first, first + step) for first in range(0, x.shape[1], step)]
