"""Operators against golden/ops."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from stylegan_core.ops.bias_act import ACTIVATIONS, bias_act
from stylegan_core.ops.modulated_conv2d import conv2d_resample, grouped_modulated_conv2d, modulated_conv2d
from stylegan_core.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from tests.parity.rows import Row, arrays, compare, table

PEER = "stylegan2-ada-pytorch d72cc7d0"
RESAMPLERS = {"upfirdn2d": upfirdn2d, "filter2d": filter2d, "upsample2d": upsample2d, "downsample2d": downsample2d}


def rows() -> Iterator[Row]:
    """One row per golden case."""
    yield from upfirdn2d_rows()
    yield from bias_act_rows()
    yield from conv2d_resample_rows()
    yield from modulated_conv2d_rows()


def upfirdn2d_rows() -> Iterator[Row]:
    data = tensors("ops/upfirdn2d")
    for case in table("ops/upfirdn2d"):
        arguments = {key: value for key, value in case.items() if key not in ("id", "op", "filter")}
        f = data.get(f"filter_{case['filter']}")
        ours = RESAMPLERS[case["op"]](data[f"{case['id']}_x"], f, **arguments)
        yield compare(f"ops/upfirdn2d {case['id']} {case['op']}", PEER, ours, data[f"{case['id']}_out"], absolute=1e-5, relative=1e-5)


def bias_act_rows() -> Iterator[Row]:
    data, info = tensors("ops/bias_act"), table("ops/bias_act")
    for name, defaults in info["defaults"].items():
        ours = [ACTIVATIONS[name].alpha, ACTIVATIONS[name].gain]
        yield compare(f"ops/bias_act defaults {name}", PEER, ours, [defaults["def_alpha"], defaults["def_gain"]], absolute=1e-7)
    for case in info["cases"]:
        arguments = {key: value for key, value in case.items() if key not in ("id", "bias")}
        x = data["x"].clone().requires_grad_()
        b = (data["b_dim2"] if case.get("dim", 1) == 2 else data["b"]) if case["bias"] else None
        out = bias_act(x, b, **arguments)
        (grad,) = torch.autograd.grad(out.square().sum(), x)
        yield compare(f"ops/bias_act {case['id']} {case['act']}", PEER, out, data[f"{case['id']}_out"], absolute=1e-5, relative=1e-5)
        yield compare(f"ops/bias_act {case['id']} gradient", PEER, grad, data[f"{case['id']}_grad_of_sum_sq"], absolute=1e-5, relative=1e-5)


def conv2d_resample_rows() -> Iterator[Row]:
    data = tensors("ops/conv2d_resample")
    for case in table("ops/conv2d_resample"):
        arguments = {key: value for key, value in case.items() if key not in ("id", "filter", "k")}
        ours = conv2d_resample(data[f"{case['id']}_x"], data[f"{case['id']}_w"], data.get(f"filter_{case['filter']}"), **arguments)
        yield compare(f"ops/conv2d_resample {case['id']}", PEER, ours, data[f"{case['id']}_out"], absolute=1e-5, relative=1e-5)


def modulated_conv2d_rows() -> Iterator[Row]:
    data = tensors("ops/modulated_conv2d")
    for case in table("ops/modulated_conv2d"):
        arguments = {key: value for key, value in case.items() if key not in ("id", "noise", "k", "resample_filter")}
        arguments["resample_filter"] = setup_filter(case["resample_filter"])
        x, w, styles, noise = (data.get(f"{case['id']}_{name}") for name in ("x", "w", "styles", "noise"))
        expected = data[f"{case['id']}_out"]
        ours = modulated_conv2d(x, w, styles, noise, **arguments)
        yield compare(f"ops/modulated_conv2d {case['id']}", PEER, ours, expected, absolute=1e-5, relative=1e-5)
        if arguments.pop("down") == 1:
            ours = grouped_modulated_conv2d(x, w, styles, noise, **arguments)
            yield compare(f"ops/modulated_conv2d {case['id']} grouped", PEER, ours, expected, absolute=1e-5, relative=1e-5)


def tensors(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in arrays(name).items()}
