"""Bias, activation, gain and clamp in as few passes over memory as eager PyTorch allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Activation(NamedTuple):
    """function(x, alpha); default alpha and gain; whether a positive gain may be moved in front of it."""

    function: Callable[[Tensor, float], Tensor]
    alpha: float
    gain: float
    is_homogeneous: bool


ACTIVATIONS = {
    "linear": Activation(lambda x, alpha: x, 0.0, 1.0, True),
    "relu": Activation(lambda x, alpha: F.relu(x), 0.0, math.sqrt(2), True),
    "lrelu": Activation(lambda x, alpha: F.leaky_relu(x, alpha), 0.2, math.sqrt(2), True),
    "tanh": Activation(lambda x, alpha: torch.tanh(x), 0.0, 1.0, False),
    "sigmoid": Activation(lambda x, alpha: torch.sigmoid(x), 0.0, 1.0, False),
    "elu": Activation(lambda x, alpha: F.elu(x), 0.0, 1.0, False),
    "selu": Activation(lambda x, alpha: F.selu(x), 0.0, 1.0, False),
    "softplus": Activation(lambda x, alpha: F.softplus(x), 0.0, 1.0, False),
    "swish": Activation(lambda x, alpha: torch.sigmoid(x) * x, 0.0, math.sqrt(2), False),
}


def bias_act(x: Tensor, b: Tensor | None = None, dim: int = 1, act: str = "linear", alpha: float | None = None,
             gain: float | None = None, clamp: float | None = None) -> Tensor:
    """clamp(act(x + b) · gain, ±clamp).

    x: any shape. b: [x.shape[dim]] or None. alpha: slope of lrelu for x < 0. gain: None = the activation's own (√2 for lrelu).
    """
    activation = ACTIVATIONS[act]
    alpha = activation.alpha if alpha is None else float(alpha)
    gain = activation.gain if gain is None else float(gain)
    if b is not None:
        b = b.to(x.dtype).reshape([-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)])
    if activation.is_homogeneous and gain > 0:  # act(x)·gain = act(x·gain): one pass adds and scales
        if b is not None:
            x = x + b if gain == 1 else torch.add(b * gain, x, alpha=gain)
        elif gain != 1:
            x = x * gain
        x = activation.function(x, alpha)
    else:
        x = activation.function(x if b is None else x + b, alpha)
        if gain != 1:
            x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)
