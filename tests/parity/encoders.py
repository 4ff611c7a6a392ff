"""Encoder networks at their published sizes, filled by the recipe, against golden/encoders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from encoders.arcface import ArcFace
from encoders.base import resized
from encoders.build import build_network
from encoders.checkpoints import assembled, load_encoder
from encoders.configs import BACKBONES, EncoderConfig, HyperStyleConfig
from encoders.hypernet import HyperNetwork
from encoders.hyperstyle import HyperStyle
from encoders.keymap import hypernet_name, is_alias, network_names
from encoders.latent_discriminator import LatentDiscriminator
from encoders.published import hyperstyle_config_of
from encoders.strict import fill, unfilled
from stylegan_core.checkpoints.keymap import generator_pairs
from stylegan_core.checkpoints.tensor_view import TensorView, contiguous_strides
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.identity import identity_to, similarity
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config
from tests.parity.networks import image_rows
from tests.parity.rows import GOLDEN, Row, arrays, compare, filled, recipe, table

PSP, E4E = "pixel2style2pixel 5cfff385", "encoder4editing 99ea5057"
RESTYLE, HYPERSTYLE = "restyle-encoder 5e802762", "hyperstyle a723c731"
IR, RESNET = BACKBONES["ir-se-50"], BACKBONES["resnet-34"]
TOLERANCE, PICTURES = 1e-4, 5e-4  # of codes and maps; of pictures


def config(method: str, head: str, num_ws: int, *, backbone: Any = IR, in_channels: int = 3, is_level: bool = True) -> EncoderConfig:
    """As the published code builds it: three coarse rows, four of the middle; or every row from the last map."""
    levels = (3, min(4, num_ws - 3), max(0, num_ws - 7)) if is_level else (num_ws, 0, 0)
    return EncoderConfig(method, replace(backbone, in_channels=in_channels), head, num_ws=num_ws, level_rows=levels)


FIXTURES: dict[str, tuple[str, EncoderConfig]] = {
    "restyle_ResNetBackboneEncoder": (RESTYLE, config("psp", "maps", 4, backbone=RESNET, in_channels=6, is_level=False)),
    "restyle_ResNetProgressiveBackboneEncoder": (RESTYLE, config("e4e", "maps", 4, backbone=RESNET, in_channels=6, is_level=False)),
    "restyle_fpn_ResNetGradualStyleEncoder": (RESTYLE, config("psp", "maps", 8, backbone=RESNET, in_channels=6)),
    "psp_BackboneEncoderUsingLastLayerIntoW": (PSP, config("w", "pool", 6)),
    "psp_BackboneEncoderUsingLastLayerIntoWPlus": (PSP, config("psp", "grid", 6)),
    "e4e_BackboneEncoderUsingLastLayerIntoW": (E4E, config("w", "pool", 10)),
    "hyperstyle_WEncoder": (HYPERSTYLE, config("w", "pool", 10)),
    "restyle_BackboneEncoder": (RESTYLE, config("psp", "maps", 4, in_channels=6, is_level=False)),
    "restyle_ProgressiveBackboneEncoder": (RESTYLE, config("e4e", "maps", 4, in_channels=6, is_level=False)),
    "restyle_fpn_GradualStyleEncoder": (RESTYLE, config("psp", "maps", 8, in_channels=6)),
    "e4e_Encoder4Editing": (E4E, config("e4e", "maps", 18)),
    "psp_GradualStyleEncoder": (PSP, config("psp", "maps", 18)),
}


def rows() -> Iterator[Row]:
    yield from discriminator_rows()
    for name in FIXTURES:
        yield from network_rows(name)


@torch.no_grad()
def network_rows(name: str) -> Iterator[Row]:
    """Maps after the last unit of each stage, codes, and for e4e every progressive stage."""
    peer, chosen = FIXTURES[name]
    fixture, data = f"encoders/{name}", arrays(f"encoders/{name}")
    network = loaded(chosen, filled(f"encoders/{name}")[1])
    x = picture(data["x_small"])
    maps = network.backbone(x, (4, 8, 16))
    stages = [key.removesuffix("_mean") for key in data if key.startswith("feat") and key.endswith("_mean")]
    for stage, stride in zip(sorted(stages, key=lambda key: int(key[4:])), (4, 8, 16)):
        yield compare(f"{fixture} {stage}_mean", peer, maps[stride].mean(dim=(0, 2, 3)), data[f"{stage}_mean"], absolute=TOLERANCE)
        std = maps[stride].std(dim=(0, 2, 3), correction=0)
        yield compare(f"{fixture} {stage}_std", peer, std, data[f"{stage}_std"], absolute=TOLERANCE)
    offsets = network(x)
    codes = data["codes"] if data["codes"].ndim == 3 else data["codes"][:, None]
    yield compare(f"{fixture} codes", peer, offsets.expand(-1, codes.shape[1], -1), codes, absolute=TOLERANCE)
    for index, stage in enumerate(data.get("stage_values", ())):
        network.stage = int(stage)
        staged = network(x)[0]
        got = torch.cat([staged[:, :8], staged.mean(dim=1, keepdim=True)], dim=1)
        yield compare(f"{fixture} stage {stage}", peer, got, data["stage_first8_and_mean"][index], absolute=TOLERANCE)


@torch.no_grad()
def discriminator_rows() -> Iterator[Row]:
    name = "encoders/e4e_LatentCodesDiscriminator"
    data = arrays(name)
    network = LatentDiscriminator(512)
    network.load_state_dict(filled(name)[1])
    yield compare(f"{name} logits", E4E, network(torch.from_numpy(data["w"])), data["logits"], absolute=TOLERANCE)


def loaded(chosen: EncoderConfig, state: Mapping[str, torch.Tensor]) -> Any:
    """Build and load under our names; only counters of batches, which the recipe leaves out, may be absent."""
    network = build_network(chosen).eval()
    names = network_names(chosen)
    missing, unexpected = network.load_state_dict({names(key): value for key, value in state.items()}, strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing), (missing, unexpected)
    return network


def picture(small: Any, *, factor: int = 8, key: str = "x256") -> torch.Tensor:
    """The recipe's input: small pictures repeated, and a tenth of noise."""
    x = np.repeat(np.repeat(np.asarray(small), factor, axis=2), factor, axis=3)
    return torch.from_numpy((x + 0.1 * recipe().normal(key, x.shape)).astype(np.float32))


def views_of(state: Mapping[str, torch.Tensor]) -> dict[str, TensorView]:
    """A state in memory as the loader sees a file's."""
    views = {}
    for name, value in state.items():
        array = value.numpy()
        data = memoryview(array.reshape(-1)).cast("B")
        views[name] = TensorView(data, "float32", tuple(value.shape), contiguous_strides(tuple(value.shape)), 0)
    return views


def published(name: str, options: dict[str, Any]) -> Any:
    """A whole published model, filled by the recipe, with its decoder."""
    settings, state = filled(f"encoders/{name}")
    info = table(f"encoders/{name}.keys")
    views = views_of(state)
    num_ws = 2 * int(np.log2(settings["output_size"])) - 2
    average = torch.from_numpy(recipe().value("latent_avg", (num_ws, 512), info["family"], info["prefix"]))
    held = views_of({"average": average})["average"]
    return assembled(views, {**settings, **options}, held, sum(view.nbytes for view in views.values()))


@torch.no_grad()
def psp_full_rows() -> Iterator[Row]:
    """pSp with its decoder: codes, pictures, and pictures with injected and with zeroed rows."""
    name, data = "psp_full_256", arrays("encoders/psp_full_256")
    encoder = published(name, {})
    fixture, generator = f"encoders/{name}", encoder.generator
    ws = encoder.encode(picture(data["x_small"])).latent.value
    yield compare(f"{fixture} codes", PSP, ws, data["codes"], absolute=TOLERANCE)
    mask = [int(row) for row in data["latent_mask"]]
    mixed, zeroed = ws.clone(), ws.clone()
    alpha = float(data["alpha"])
    mixed[:, mask] = alpha * torch.from_numpy(data["inject"]) + (1 - alpha) * ws[:, mask]
    zeroed[:, mask] = 0
    yield compare(f"{fixture} codes_mix_rows", PSP, mixed[:, mask], data["codes_mix_rows"], absolute=TOLERANCE)
    for key, latents in (("img", ws), ("img_noresize", ws), ("img_mix", mixed), ("img_zero", zeroed)):
        yield from picture_rows(fixture, PSP, key, generator.synthesis(latents), data)


@torch.no_grad()
def restyle_full_rows() -> Iterator[Row]:
    """ReStyle with its decoder: the average picture, and latents and pictures of three passes."""
    name, data = "restyle_full_BackboneEncoder_64", arrays("encoders/restyle_full_BackboneEncoder_64")
    encoder, fixture = published(name, {"n_iters_per_batch": 3}), f"encoders/{name}"
    average = resized(encoder.generator.synthesis(encoder.w_avg[None]), (256, 256))
    yield compare(f"{fixture} avg_image", RESTYLE, average[0], data["avg_image"], absolute=PICTURES)
    x = picture(data["x_small"])
    for number, (ws, images) in enumerate(encoder.passes(x)):
        stored = data[f"latent_iter{number}"]
        step = ws.shape[-1] // stored.shape[-1]
        yield compare(f"{fixture} latent_iter{number}", RESTYLE, ws[..., ::step], stored, absolute=TOLERANCE)
        yield compare(f"{fixture} img_iter{number}", RESTYLE, images[..., ::2, ::2], data[f"img_iter{number}_sub2"], absolute=PICTURES)


@torch.no_grad()
def arcface_rows() -> Iterator[Row]:
    """Embeddings of portraits and of cropped faces, and the identity loss with what is logged beside it."""
    name, data = "arcface_irse50_idloss", arrays("encoders/arcface_irse50_idloss")
    fixture, network = f"encoders/{name}", ArcFace().eval()
    given = filled(f"encoders/{name}")[1]
    state = {key if key.startswith("output_layer") else f"backbone.{key}": value for key, value in given.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    x = picture(data["x_small"], key="idloss")
    vectors = network.embed(x)
    yield compare(f"{fixture} feats", PSP, vectors, data["feats"], absolute=TOLERANCE)
    faces = picture(data["arc112_small"], factor=4, key="arc112")
    yield compare(f"{fixture} arc112_feats", PSP, network(faces), data["arc112_feats"], absolute=TOLERANCE)
    blend = 0.5 * x[1:2] + 0.5 * x[2:3]
    loss = identity_to(network, x[1:2])(blend)
    yield compare(f"{fixture} yhat_feats", PSP, network.embed(blend), data["yhat_feats"], absolute=TOLERANCE)
    yield compare(f"{fixture} id_loss", PSP, loss[0], data["id_loss"], absolute=1e-5)
    views = similarity(vectors[1:2], vectors[:1])[0]
    yield compare(f"{fixture} diff_views", PSP, views, data["diff_views"], absolute=1e-5)
    yield compare(f"{fixture} diff_target", PSP, 1 - loss[0], data["diff_target"], absolute=1e-5)
    yield compare(f"{fixture} diff_input", PSP, similarity(network.embed(blend), vectors[:1])[0], data["diff_input"], absolute=1e-5)
    yield compare(f"{fixture} sim_improvement", PSP, 1 - loss[0] - views, data["sim_improvement"], absolute=1e-5)


def picture_rows(fixture: str, peer: str, key: str, images: torch.Tensor, data: Mapping[str, Any]) -> Iterator[Row]:
    """Every k-th pixel and moments per channel."""
    step = images.shape[-1] // data[f"{key}_sub"].shape[-1]
    yield compare(f"{fixture} {key}_sub", peer, images[:, :, ::step, ::step], data[f"{key}_sub"], absolute=PICTURES)
    yield compare(f"{fixture} {key}_mean", peer, images.mean(dim=(2, 3)), data[f"{key}_mean"], absolute=PICTURES)
    yield compare(f"{fixture} {key}_std", peer, images.std(dim=(2, 3), correction=0), data[f"{key}_std"], absolute=PICTURES)


def hyperstyle_network(name: str) -> tuple[Any, Any]:
    """(hypernetwork, decoder) at 256 px, filled by the recipe; the aliases of the shared weights are left out."""
    settings, state = filled_without_aliases(f"encoders/{name}")
    generator = rosinality_256()
    views = views_of(state)
    config = hyperstyle_config_of(views, settings, generator)
    network = unfilled(lambda: HyperNetwork(config), sum(view.numel for view in views.values()))
    fill(network, views, sum(view.nbytes for view in views.values()), ours=hypernet_name)
    return network.eval(), generator


def filled_without_aliases(keys_file: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    info = table(f"{keys_file}.keys")
    names = set(info["keys"])
    state = {}
    for key, entry in info["keys"].items():
        value = None if is_alias(key) else recipe().value(key, tuple(entry["shape"]), info["family"], info["prefix"], names)
        if value is not None:
            state[key] = torch.from_numpy(np.array(value))
    return info["config"], state


def rosinality_256() -> Any:
    """The generator of nets/ros_256_cm2."""
    arguments, state = filled("nets/ros_256_cm2")
    size, w_dim = arguments["size"], arguments["style_dim"]
    config = StyleGAN2Config(z_dim=w_dim, w_dim=w_dim, img_resolution=size, channel_base=16384 * arguments["channel_multiplier"])
    generator: Any = build(config)
    ours = {pair.ours: state[pair.theirs] for pair in generator_pairs(config.resolutions, 8)}
    shaped = {key: value.reshape(generator.state_dict()[key].shape) for key, value in ours.items()}
    generator.load_state_dict(shaped, strict=False)
    return generator.requires_grad_(False)


@torch.no_grad()
def hyperstyle_rows() -> Iterator[Row]:
    """Changes of every layer (shape, moments, every k-th number), and pictures of the changed and the unchanged decoder."""
    name = "hyperstyle_SharedWeightsHyperNetResNetSeparable"
    fixture, data = f"encoders/{name}", arrays(f"encoders/{name}")
    network, generator = hyperstyle_network(name)
    changes = network(picture(data["x_small"]))
    for number, weight in enumerate(network.weights):
        if f"delta{number:02d}_none" in data:
            assert weight.name not in changes
            continue
        shape = (1, weight.out_channels, weight.in_channels, weight.kernel_size, weight.kernel_size)
        assert list(shape) == data[f"delta{number:02d}_shape"].tolist()
        change = changes[weight.name].expand(shape).reshape(-1)
        moments = torch.stack([change.mean(), change.std(correction=0)])
        yield compare(f"{fixture} delta{number:02d}_mean_std", HYPERSTYLE, moments, data[f"delta{number:02d}_mean_std"], absolute=TOLERANCE)
        stored = data[f"delta{number:02d}_sub"]
        sub = change[:: len(change) // len(stored)][: len(stored)]
        yield compare(f"{fixture} delta{number:02d}_sub", HYPERSTYLE, sub, stored, absolute=TOLERANCE)
    latent = Latent(torch.from_numpy(data["codes"]), LatentSpace.W_PLUS)
    owner = HyperStyle(HyperStyleConfig(network.weights, None, replace(RESNET, in_channels=6)), None, network, generator)
    yield from picture_rows(fixture, HYPERSTYLE, "img_nodelta", owner.rendered(latent, {}), data)
    yield from picture_rows(fixture, HYPERSTYLE, "img", owner.rendered(latent, changes), data)


@torch.no_grad()
def file_rows() -> Iterator[Row]:
    """Files that the peers' code wrote: pSp and e4e with their decoders (golden/ckpt)."""
    for name, peer in {"psp_strided_128": PSP, "e4e_strided_128": E4E}.items():
        fixture, data = f"ckpt/{name}.pt", arrays(f"ckpt/{name}.expected")
        encoder = load_encoder(GOLDEN / "ckpt" / f"{name}.pt")
        yield compare(f"{fixture} latent_avg", peer, encoder.w_avg, data["latent_avg"], absolute=1e-5)
        inversion = encoder.encode(picture(data["x_small"]))
        yield compare(f"{fixture} codes", peer, inversion.latent.value, data["codes"], absolute=1e-5)
        images = encoder.generator.synthesis(inversion.latent.value)
        yield from image_rows(fixture, peer, "img", images, {key: torch.from_numpy(np.array(value)) for key, value in data.items()})
