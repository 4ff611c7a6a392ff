"""StyleGAN (2018) and the TensorFlow pickles against golden/sg1 and golden/ckpt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan_core.checkpoints.infer_stylegan1 import infer_stylegan1
from stylegan_core.checkpoints.registry import load_discriminator, load_generator
from stylegan_core.checkpoints.renaming import Entry, renamed
from stylegan_core.checkpoints.stylegan1_names import interfacegan_generator, lernapparat_generator
from stylegan_core.checkpoints.stylegan1_state import PORTS
from stylegan_core.checkpoints.tensor_view import TensorView
from stylegan_core.networks.build import build
from stylegan_core.networks.layers import normalize_2nd_moment
from stylegan_core.networks.mapping import MappingNetwork
from stylegan_core.networks.stylegan1 import SynthesisLayer, blurred, upscale, upscaling_convolution
from stylegan_core.ops.upfirdn2d import setup_filter
from tests.parity.rows import GOLDEN, Row, arrays, compare, compare_images, filled, recipe

PEER = "interfacegan 8da3fc0f"
LERNAPPARAT = "lernapparat (ganspace 5a704c48)"
ADA = "stylegan2-ada-pytorch d72cc7d0"
FILES = ("tf_sg1_32.pkl", "sg1_interfacegan_32.pth")


@torch.no_grad()
def rows() -> Iterator[Row]:
    yield from layer_rows()
    yield from network_rows("sg1/interfacegan_g32", filled_interfacegan())
    for name in FILES:
        yield from network_rows(f"ckpt/{name}", load_generator(GOLDEN / "ckpt" / name))
    yield from lernapparat_rows()
    yield from tensorflow_stylegan2_rows()


def layer_rows() -> Iterator[Row]:
    """Every part of a layer by itself."""
    data = tensors("sg1/layers")

    def layer(in_channels: int, out_channels: int, **options: Any) -> SynthesisLayer:
        return SynthesisLayer(in_channels, out_channels, 24, 5, **options)

    x, w = data["x"], data["w"]
    plain = layer(0, 6, use_instance_norm=False, use_noise=False)
    style = w @ (data["style_mod_weight"] / 24**0.5).t() + data["style_mod_bias"]
    bare = dict(use_styles=False, use_noise=False)
    yield from small_rows(
        data, adain_modulation=plain.normalised(x, style), adain=layer(0, 6).normalised(x, style),
        instance_norm_1e8=layer(0, 6, **bare).normalised(x, None), instance_norm_1e5=layer(0, 6, norm_eps=1e-5, **bare).normalised(x, None),
        pixel_norm=normalize_2nd_moment(x), blur_121=blurred(x, setup_filter([1, 2, 1])), upscale=upscale(x))
    noisy = layer(0, 6, use_styles=False, use_instance_norm=False)
    noisy.slope = 1.0  # no activation
    noisy.noise_strength.copy_(data["noise_weight"])
    yield from small_rows(data, noise_applied=noisy(x, None, data["noise"]))
    whole = layer(0, 6)
    for ours, theirs in {"bias": "bias", "noise_strength": "apply_noise_weight", "affine.weight": "style_mod_dense_linear_weight",
                         "affine.bias": "style_mod_dense_wscale_bias"}.items():
        whole.get_parameter(ours).copy_(data[f"epi_sd__{theirs}"])
    yield from small_rows(data, epilogue=whole(x, whole.affine(w), data["epi_noise"]))
    kernel = (data["fused_up_weight_khkwIO"].permute(3, 2, 0, 1) * data["fused_up_scale"]).flip([2, 3])
    yield from small_rows(data, fused_up_blurred=blurred(upscaling_convolution(data["fused_up_x"], kernel), setup_filter([1, 2, 1])))


def small_rows(data: dict[str, Tensor], **values: Tensor) -> Iterator[Row]:
    for key, value in values.items():
        yield compare(f"sg1/layers {key}", PEER, value, data[key], absolute=1e-5)


def network_rows(fixture: str, generator: Any) -> Iterator[Row]:
    """W, truncation with a cutoff, mixing, and a picture of the next lower level of detail."""
    data = tensors("sg1/interfacegan_g32")
    ws, ws2 = generator.mapping(data["z"]), generator.mapping(data["z2"])
    cut = generator.mapping(data["z"], truncation_psi=0.7, truncation_cutoff=4)
    mixed = torch.cat([ws[:, :3], ws2[:, 3:]], dim=1)
    for key, value in {"w": ws[:, 0], "w_truncated": cut, "w_mixed": mixed}.items():
        yield within(f"{fixture} {key}", PEER, value, data[key])
    pictures = {"img": ws, "img_truncated": cut, "img_mixed": mixed}
    for key, value in pictures.items():
        yield within(f"{fixture} {key}", PEER, generator.synthesis(value), data[key])
    yield within(f"{fixture} img_lod1_sub", PEER, generator.synthesis(ws, lod=1.0), data["img_lod1_sub"])


def filled_interfacegan() -> Any:
    _, state = filled("sg1/interfacegan_g32")
    return from_table(state, interfacegan_generator([4, 8, 16, 32]), {})


def lernapparat_rows() -> Iterator[Row]:
    arguments, state = filled("sg1/lernapparat_mapping")
    data = tensors("sg1/lernapparat_mapping")
    mapping = MappingNetwork(arguments["z_dim"], 0, arguments["w_dim"], 18, num_layers=arguments["layers"])
    table = {entry.theirs: entry for entry in lernapparat_generator([4])}
    for name, value in state.items():
        entry = table[f"g_mapping.{name}"]
        assert entry.ours is not None
        mapping.get_parameter(entry.ours.removeprefix("mapping.")).copy_(value if entry.change is None else entry.change(value))
    mapping.w_avg.copy_(data["latent_avg"])
    yield within("sg1/lernapparat_mapping w", LERNAPPARAT, mapping.to_w(data["z"]), data["w"])
    ws = mapping(data["z"], truncation_psi=arguments["threshold"], truncation_cutoff=arguments["max_layer"])
    yield within("sg1/lernapparat_mapping rows", LERNAPPARAT, ws[:, [0, 7, 8, 17]], data["truncated_rows_0_7_8_17"])

    arguments, state = filled("sg1/lernapparat_synthesis32")
    data, port = tensors("sg1/lernapparat_synthesis32"), PORTS["lernapparat"]
    generator = from_table({f"g_synthesis.{name}": value for name, value in state.items()}, port.table([4, 8, 16, 32]), port.settings)
    noise = {}
    for name, side in arguments["noise_layers"].items():
        _, block, epilogue, *_ = name.split(".")
        values = recipe().normal(f"{name}.noise", (1, 1, side, side), "")
        noise[f"b{side}.conv{int(epilogue[-1]) - 1}.noise_const"] = torch.from_numpy(np.array(values))
        assert block == f"{side}x{side}"
    yield within("sg1/lernapparat_synthesis32 img", LERNAPPARAT, generator.synthesis(data["w"], noise=noise), data["img"])


def tensorflow_stylegan2_rows() -> Iterator[Row]:
    path = GOLDEN / "ckpt" / "tf_sg2_32.pkl"
    data, generator, fixture = tensors("ckpt/tf_sg2_32.expected"), load_generator(path), "ckpt/tf_sg2_32.pkl"
    ws = generator.mapping(data["z"])
    yield compare(f"{fixture} ws", ADA, ws, data["ws"], absolute=1e-5)
    yield compare(f"{fixture} ws_psi07", ADA, generator.mapping(data["z"], truncation_psi=0.7), data["ws_psi07"], absolute=1e-5)
    for key, noise_mode in {"img_const": "const", "img_none": "none"}.items():
        yield compare_images(f"{fixture} {key}", ADA, generator.synthesis(ws, noise_mode=noise_mode), data[key])
    yield compare_images(f"{fixture} img_G_const", ADA, load_generator(path, network="G")(data["z"]), data["img_G_const"])
    yield compare_images(f"{fixture} logits", ADA, load_discriminator(path)(data["D_in"]), data["logits"])


def from_table(state: dict[str, Tensor], table: list[Entry], settings: Any) -> Any:
    """A generator of the sizes that the renamed tensors have; stored noise is what `build` draws where the state has none."""
    found = renamed({name: view_of(value) for name, value in state.items()}, table)
    generator: Any = build(infer_stylegan1(found.views, settings))
    ours = {name: found.changes.get(name, lambda value: value)(view.to_tensor()) for name, view in found.views.items()}
    missing, unexpected = generator.load_state_dict(ours, strict=False)
    assert not unexpected and all(name.endswith(("noise_const", "w_avg")) for name in missing), (missing, unexpected)
    return generator


def view_of(value: Tensor) -> TensorView:
    value = value.detach().contiguous()
    data = memoryview(value.numpy().tobytes())
    return TensorView(data, "float32", tuple(value.shape), tuple(value.stride()), 0)


def within(fixture: str, peer: str, ours: Tensor, theirs: Tensor) -> Row:
    """The tolerance of golden/sg1: 2e-4 · max(1, std of the reference)."""
    return compare(fixture, peer, ours, theirs, absolute=2e-4 * max(1.0, float(theirs.std())), tolerance="2e-4·max(1, std)")


def tensors(name: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays(name).items()}
