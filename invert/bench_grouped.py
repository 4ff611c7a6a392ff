"""StyleGAN2 synthesis in the plain form of most releases, to measure against: weights per image and grouped convolutions.

One 1×(N·C)×H×W picture per layer, zeros inserted and padded before a depthwise filter, one operation per step, NCHW; weights of an
existing generator of the `skip` architecture. It gives the same pictures.
"""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def render_grouped(generator: Any, ws: Tensor) -> Tensor:
    """ws: [N, num_ws, w_dim] → images [N, C, H, W] with constant noise."""
    synthesis = generator.synthesis
    x: Any = None
    img: Any = None
    for name, block in synthesis.blocks():
        if x is None:
            x = block.const[None].repeat(len(ws), 1, 1, 1)
        else:
            x = _layer(x, block.conv0, ws[:, synthesis.rows[f"{name}.conv0"]])
        x = _layer(x, block.conv1, ws[:, synthesis.rows[f"{name}.conv1"]])
        if img is not None:
            img = upfirdn_plain(img, block.resample_filter, up=2, padding=(2, 1, 2, 1), gain=4)
        torgb = block.torgb
        styles = torgb.affine(ws[:, synthesis.rows[f"{name}.torgb"]]) * torgb.weight_gain
        picture = modulated_grouped(x, torgb.weight, styles, demodulate=False) + torgb.bias[None, :, None, None]
        img = picture if img is None else img + picture
    return img


def modulated_grouped(x: Tensor, weight: Tensor, styles: Tensor, *, up: int = 1, resample_filter: Tensor | None = None,
                      demodulate: bool = True) -> Tensor:
    """x: [N, I, H, W], weight: [O, I, k, k], styles: [N, I] → [N, O, H·up, W·up]."""
    batch, in_channels, height, width = x.shape
    out_channels, _, taps, _ = weight.shape
    weights = weight[None] * styles.reshape(batch, 1, in_channels, 1, 1)
    if demodulate:
        weights = weights * (weights.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, batch * in_channels, height, width)
    if up == 1:
        x = F.conv2d(x, weights.reshape(batch * out_channels, in_channels, taps, taps), padding=taps // 2, groups=batch)
        return x.reshape(batch, out_channels, *x.shape[2:])
    transposed = weights.transpose(1, 2).reshape(batch * in_channels, out_channels, taps, taps)
    x = F.conv_transpose2d(x, transposed, stride=2, groups=batch)
    assert resample_filter is not None
    return upfirdn_plain(x.reshape(batch, out_channels, *x.shape[2:]), resample_filter, padding=(1, 1, 1, 1), gain=4)


def upfirdn_plain(x: Tensor, f: Tensor, *, up: int = 1, padding: tuple[int, int, int, int], gain: float = 1) -> Tensor:
    """Insert zeros, pad, filter each channel. padding: left, right, top, bottom."""
    batch, channels, height, width = x.shape
    if up > 1:
        x = F.pad(x.reshape(batch, channels, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
        x = x.reshape(batch, channels, height * up, width * up)
    kernel = (f * gain).flip([0, 1])[None, None].repeat(channels, 1, 1, 1)
    return F.conv2d(F.pad(x, list(padding)), kernel, groups=channels)


def _layer(x: Tensor, layer: Any, w: Tensor) -> Tensor:
    x = modulated_grouped(x, layer.weight, layer.affine(w), up=layer.up, resample_filter=layer.resample_filter)
    if layer.use_noise:
        x = x + layer.noise_const * layer.noise_strength
    x = x + layer.bias[None, :, None, None]
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def discriminate_plain(discriminator: Any, images: Tensor) -> Tensor:
    """images [N, C, H, W] → logits [N, 1] of a discriminator of the `resnet` architecture without labels: the same logits, NCHW."""
    x = images
    for name in discriminator.block_names:
        block = getattr(discriminator, name)
        x = _convolution(x, block.fromrgb) if hasattr(block, "fromrgb") else x
        skip = _convolution(x, block.skip, gain=math.sqrt(0.5))
        x = skip + _convolution(_convolution(x, block.conv0), block.conv1, gain=math.sqrt(0.5))
    last = discriminator.b4
    x = _convolution(x if last.mbstd is None else last.mbstd(x), last.conv)
    return last.out(last.fc(x.flatten(1)))


def _convolution(x: Tensor, layer: Any, gain: float = 1.0) -> Tensor:
    weight = layer.weight * layer.weight_gain
    if layer.down == 2:
        spread = 2 if layer.padding else 1
        x = upfirdn_plain(x, layer.resample_filter, padding=(spread, spread, spread, spread))
        x = F.conv2d(x, weight, stride=2)
    else:
        x = F.conv2d(x, weight, padding=layer.padding)
    if layer.bias is not None:
        x = x + layer.bias[None, :, None, None]
    if layer.activation == "lrelu":
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    return x * gain
