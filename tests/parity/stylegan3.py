"""StyleGAN3: operators, filters, layer tables and generators against golden/ops, golden/sg3 and golden/nets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN3Config
from stylegan_core.networks.filters import design_lowpass_filter
from stylegan_core.networks.layer_schedule import LayerPlan, layer_plans
from stylegan_core.ops.filtered_lrelu import filtered_lrelu
from stylegan_core.ops.normalised_conv2d import normalised_conv2d
from tests.parity.checkpoints import discriminator_rows
from tests.parity.networks import image_rows
from tests.parity.rows import GOLDEN, Row, arrays, compare, filled, table

PEER = "stylegan3 c233a919"
GENERATORS = ("sg3t_64", "sg3r_64", "sg3t_256_full")
CHECKPOINTS = ("sg3t_16", "sg3r_32_cond")
DEFINED = ("input.transform", "up_filter", "down_filter")  # by the architecture, so the recipe leaves them out
TAPS = {"absolute": 1e-6, "tolerance": "taps 1e-6"}
NUMBERS = {"absolute": 1e-12, "relative": 1e-9, "tolerance": "1e-9 rel"}


def rows() -> Iterator[Row]:
    yield from filtered_lrelu_rows()
    yield from normalised_conv2d_rows()
    yield from filter_rows()
    yield from table_rows()
    for name in GENERATORS:
        yield from generator_rows(name)
    for name in CHECKPOINTS:
        yield from checkpoint_rows(name)


def filtered_lrelu_rows() -> Iterator[Row]:
    data = tensors("ops/filtered_lrelu")
    for case in table("ops/filtered_lrelu"):
        arguments = {key: value for key, value in case.items() if key not in ("id", "fu", "fd", "bias")}
        fu, fd = (data.get(f"filter_{case[key]}") for key in ("fu", "fd"))
        ours = filtered_lrelu(data[f"{case['id']}_x"], fu, fd, data.get(f"{case['id']}_b"), **arguments)
        yield compare(f"ops/filtered_lrelu {case['id']}", PEER, ours, data[f"{case['id']}_out"], absolute=1e-5, relative=1e-5)


def normalised_conv2d_rows() -> Iterator[Row]:
    data = tensors("ops/sg3_modulated_conv2d")
    for case in table("ops/sg3_modulated_conv2d"):
        x, w, styles, gain = (data.get(f"{case['id']}_{name}") for name in ("x", "w", "s", "g"))
        ours = normalised_conv2d(x, w, styles, input_gain=gain, demodulate=case["demodulate"], padding=case["padding"])
        yield compare(f"ops/sg3_modulated_conv2d {case['id']}", PEER, ours, data[f"{case['id']}_out"], absolute=1e-5, relative=1e-5)


def filter_rows() -> Iterator[Row]:
    data = arrays("sg3/design_lowpass_filter")
    for case in table("sg3/design_lowpass_filter"):
        ours = design_lowpass_filter(case["numtaps"], case["cutoff"], case["width"], case["fs"], radial=case["radial"])
        assert (ours is None) == case["is_none"]
        if ours is not None:
            yield compare(f"sg3/design_lowpass_filter {case['id']}", PEER, ours, data[case["id"]], **TAPS)


def table_rows() -> Iterator[Row]:
    """The layers of the published configurations: names, shapes of all tensors, numbers, filters."""
    filters = arrays("sg3/layer_filters")
    for name, held in table("sg3/layer_tables").items():
        config = StyleGAN3Config(img_resolution=int(name[1:]), **held["kwargs"])
        plans = layer_plans(config)
        assert held["num_ws"] == len(plans) + 1
        yield from plan_rows(f"sg3/layer_tables {name}", plans, held["layers"])
        weights = {key: shape for key, shape in held["keys"].items() if key.endswith("weight") and key.startswith("L")}
        assert weights == shapes(plans, config)
        for plan in plans:
            up = design_lowpass_filter(plan.up_taps, plan.in_cutoff, 2 * plan.in_half_width, plan.rate)
            down = design_lowpass_filter(plan.down_taps, plan.out_cutoff, 2 * plan.out_half_width, plan.rate,
                                         radial=config.use_radial_filters and not plan.is_critical)
            ours = {"up_filter": up, "down_filter": down}
            for key, taps in ours.items():
                assert (taps is None) == (f"{name}.{plan.name}.{key}" not in filters)
                if taps is not None:
                    yield compare(f"sg3/layer_filters {name} {plan.name}", PEER, taps, filters[f"{name}.{plan.name}.{key}"], **TAPS)


def shapes(plans: tuple[LayerPlan, ...], config: StyleGAN3Config) -> dict[str, list[int]]:
    """Of the weights of all layers."""
    found = {}
    for plan in plans:
        found[f"{plan.name}.weight"] = [plan.out_channels, plan.in_channels, plan.kernel, plan.kernel]
        found[f"{plan.name}.affine.weight"] = [plan.in_channels, config.w_dim]
    return found


def plan_rows(fixture: str, plans: tuple[LayerPlan, ...], held: list[dict[str, Any]]) -> Iterator[Row]:
    """held: the input, then one entry per layer."""
    first, entry = plans[0], held[0]
    yield compare(f"{fixture} input", PEER, [first.in_channels, first.in_size, first.in_rate, first.in_cutoff],
                  [entry["channels"], entry["size"][0], entry["sampling_rate"], entry["bandwidth"]], **NUMBERS)
    assert [plan.name for plan in plans] == [entry["name"] for entry in held[1:]]
    for plan, entry in zip(plans, held[1:]):
        ours = [plan.is_torgb, plan.is_critical, plan.in_channels, plan.out_channels, plan.in_size, plan.out_size, plan.in_rate,
                plan.out_rate, plan.rate, plan.in_cutoff, plan.out_cutoff, plan.in_half_width, plan.out_half_width, plan.kernel,
                plan.up, plan.down, plan.up_taps, plan.down_taps, *plan.padding]
        theirs = [entry["is_torgb"], entry["is_critically_sampled"], entry["in_channels"], entry["out_channels"], entry["in_size"][0],
                  entry["out_size"][0], entry["in_sampling_rate"], entry["out_sampling_rate"], entry["tmp_sampling_rate"],
                  entry["in_cutoff"], entry["out_cutoff"], entry["in_half_width"], entry["out_half_width"], entry["conv_kernel"],
                  entry["up_factor"], entry["down_factor"], entry["up_taps"], entry["down_taps"], *entry["padding"]]
        yield compare(f"{fixture} {plan.name}", PEER, ours, theirs, **NUMBERS)


@torch.no_grad()
def generator_rows(name: str) -> Iterator[Row]:
    arguments, state = filled(f"nets/{name}")
    generator = load(generator_config(arguments), state)
    if name != "sg3t_256_full":
        yield from plan_rows(f"nets/{name}", layer_plans(generator.config), table(f"nets/{name}.layers"))
    yield from picture_rows(f"nets/{name}", generator, tensors(f"nets/{name}"))


@torch.no_grad()
def picture_rows(fixture: str, generator: Any, data: dict[str, torch.Tensor]) -> Iterator[Row]:
    """Latents, Fourier features, statistics of every layer, and pictures, the user's transform among them."""
    c, cutoff, mix = data.get("c"), int(data["cutoff"]), int(data["mix_index"])
    ws, ws2 = (generator.mapping(data[key], c) for key in ("z", "z2"))
    cut = generator.mapping(data["z"], c, truncation_psi=0.7, truncation_cutoff=cutoff)
    mixed = torch.cat([ws[:, :mix], ws2[:, mix:]], dim=1)
    latents = {"ws": ws, "ws_psi07": generator.mapping(data["z"], c, truncation_psi=0.7), "ws_psi07_cutoff": cut, "ws_mixed": mixed}
    chosen = {"ws": [0], "ws_psi07": [0], "ws_psi07_cutoff": [0, cutoff - 1, cutoff, -1], "ws_mixed": [0, mix - 1, mix, -1]}
    for key, value in latents.items():
        if value.shape != data[key].shape:  # the large network stores a few rows
            value = value[:, chosen[key]]
        yield compare(f"{fixture} {key}", PEER, value, data[key], absolute=1e-5)
    seen: list[torch.Tensor] = []
    network = generator.synthesis
    hooks = [getattr(network, layer).register_forward_hook(lambda _, __, x: seen.append(x)) for layer in ("input", *network.layer_names)]
    images = network(ws)
    for hook in hooks:
        hook.remove()
    features = data["input_features"]
    yield compare(f"{fixture} input_features", PEER, seen[0][:, : features.shape[1]], features, absolute=1e-4)
    if "layer_mean_std" in data:
        statistics = torch.stack([torch.stack([x.mean(), x.std(correction=0)]) for x in seen])
        yield compare(f"{fixture} layer_mean_std", PEER, statistics, data["layer_mean_std"], absolute=1e-4)
    yield from image_rows(fixture, PEER, "img", images, data)
    yield from image_rows(fixture, PEER, "img_psi07_cutoff", network(cut), data)
    yield from image_rows(fixture, PEER, "img_mixed", network(mixed), data)
    before = network.input.transform.clone()
    network.input.transform.copy_(data["transform"])
    yield from image_rows(fixture, PEER, "img_transform", network(ws), data)
    network.input.transform.copy_(before)


@torch.no_grad()
def checkpoint_rows(name: str) -> Iterator[Row]:
    """Pickles that the official code wrote, read by our loader."""
    path, data = GOLDEN / "ckpt" / f"{name}.pkl", tensors(f"ckpt/{name}.expected")
    generator = load_generator(path)
    yield from plan_rows(f"ckpt/{name}.pkl layers", layer_plans(generator.config), table(f"ckpt/{name}.layers"))
    yield from picture_rows(f"ckpt/{name}.pkl", generator, data)
    yield from image_rows(f"ckpt/{name}.pkl", PEER, "img_G", load_generator(path, network="G")(data["z"], data.get("c")), data)
    yield from discriminator_rows(f"{name}.pkl", PEER)


def generator_config(arguments: dict[str, Any]) -> StyleGAN3Config:
    """From the constructor arguments of the official class."""
    facts = {key: value for key, value in arguments.items() if key != "mapping_kwargs"}
    layers = arguments.get("mapping_kwargs", {}).get("num_layers", 2)
    return StyleGAN3Config(**facts, mapping_layers=layers)


def load(config: StyleGAN3Config, state: dict[str, torch.Tensor]) -> Any:
    """Build and load; only what the architecture defines may be absent from the state."""
    network = build(config)
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected and all(key.endswith(DEFINED) for key in missing), (missing, unexpected)
    return network


def tensors(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays(name).items()}
