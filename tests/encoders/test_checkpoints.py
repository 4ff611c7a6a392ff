"""Every published layout loads, encodes and renders with its decoder; wrong and missing tensors are named; nothing is executed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from encoders.checkpoints import load_encoder
from encoders.hyperstyle import HyperStyle
from encoders.restyle import ReStyle
from stylegan_core.errors import CheckpointError, InvertError, UnknownCheckpointError, UnsafeCheckpointError
from stylegan_core.weight_deltas import call_with
from tests.encoders import published
from tests.encoders.published import IR, RESNET
from tests.parity.rows import GOLDEN

LAYOUTS = {  # the published class → (configuration, options)
    "GradualStyleEncoder": (published.config("psp", "maps"), {}),
    "BackboneEncoderUsingLastLayerIntoWPlus": (published.config("psp", "grid", levels=(6, 0, 0)), {}),
    "BackboneEncoderUsingLastLayerIntoW": (published.config("w", "pool", levels=(6, 0, 0)), {"learn_in_w": True}),
    "WEncoder": (published.config("w", "pool", levels=(6, 0, 0)), {}),
    "Encoder4Editing": (published.config("e4e", "maps"), {"as_namespace": True}),
    "BackboneEncoder": (published.config("psp", "maps", channels=6, levels=(6, 0, 0)), {"n_iters_per_batch": 2}),
    "ProgressiveBackboneEncoder": (published.config("e4e", "maps", channels=6, levels=(6, 0, 0)), {"n_iters_per_batch": 2}),
    "ResNetBackboneEncoder": (published.config("psp", "maps", backbone=RESNET, channels=6, levels=(6, 0, 0)), {"n_iters_per_batch": 2}),
    "ResNetGradualStyleEncoder": (published.config("psp", "maps", backbone=RESNET, channels=6), {"n_iters_per_batch": 2}),
}


@pytest.fixture(scope="module")
def generator():
    return published.decoder()


@pytest.fixture(scope="module")
def pictures(generator):
    return generator(torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(5))).clamp(-1, 1)


def state_of(name: str, generator) -> dict[str, torch.Tensor]:
    return {**published.encoder_state(published.network(LAYOUTS[name][0])), **published.decoder_state(generator)}


@pytest.mark.parametrize("name", LAYOUTS)
@torch.no_grad()
def test_a_published_file_encodes_and_renders(name: str, generator, pictures, tmp_path) -> None:
    config, options = LAYOUTS[name]
    average = published.average_of(generator)
    kept = average[:1] if options.get("learn_in_w") else average
    path = published.write(tmp_path / "encoder.pt", state_of(name, generator), name, kept, **options)
    encoder = load_encoder(path)
    assert encoder.config == config and encoder.name == "encoder.pt"
    inversion = encoder.encode(pictures)
    network = published.network(config)
    seen = torch.nn.functional.adaptive_avg_pool2d(pictures, 256)
    if isinstance(encoder, ReStyle):
        ws = average[None].expand(2, -1, -1)
        for _ in range(2):
            ws = ws + network(torch.cat([seen, torch.nn.functional.adaptive_avg_pool2d(generator.synthesis(ws), 256)], dim=1))
    else:
        ws = average + network(seen)
    expected = ws if config.space == "w+" else ws[:, 0]
    assert torch.allclose(inversion.latent.value, expected, atol=1e-4)
    assert torch.allclose(inversion.render(encoder.generator), generator.synthesis(ws), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("is_separable", [False, True])
def test_a_hyperstyle_file_changes_the_weights(is_separable: bool, generator, pictures, tmp_path) -> None:
    config, network = published.hyper(generator, is_separable=is_separable)
    state = {**published.hyper_state(network), **published.decoder_state(generator)}
    average = published.average_of(generator)
    path = published.write(tmp_path / "hyper.pt", state, "SharedWeightsHyperNetResNet", average, n_iters_per_batch=2)
    inner = published.config("w", "pool", levels=(6, 0, 0))
    w_path = published.write(
        tmp_path / "w.pt", {**published.encoder_state(published.network(inner)), **published.decoder_state(generator)}, "WEncoder",
        average)
    encoder = load_encoder(path, w_encoder=w_path)
    assert isinstance(encoder, HyperStyle) and encoder.config == config
    kinds = [weight.is_shared for weight in config.weights if weight.is_tuned]
    assert kinds.count(True) >= 2 and kinds.count(False) >= 1
    inversion = encoder.encode(pictures)
    one = pictures[:1]
    w = encoder.encoder.encode(one).latent
    picture, total = w.render(generator), {}
    for _ in range(2):
        seen = torch.cat([one, picture], dim=1)
        for name, value in network(torch.nn.functional.adaptive_avg_pool2d(seen, 128)).items():
            total[name] = total.get(name, 0) + value
        parameters = dict(generator.named_parameters())
        change = {name: parameters[name] * value[0] for name, value in total.items()}
        picture = call_with(generator, change, lambda changed: w.render(changed))
    assert torch.allclose(inversion[0].render(encoder.generator), picture, atol=5e-3)  # changes are kept in half precision
    assert all(delta.is_relative for delta in inversion.weight_deltas.values())


def test_without_its_w_encoder_a_hyperstyle_says_what_it_needs(generator, pictures, tmp_path) -> None:
    _, network = published.hyper(generator)
    state = {**published.hyper_state(network), **published.decoder_state(generator)}
    encoder = load_encoder(published.write(tmp_path / "h.pt", state, "SharedWeightsHyperNetResNet", published.average_of(generator)))
    with pytest.raises(Exception, match="--w-encoder"):
        encoder.encode(pictures)


LATERAL = "encoder.latlayer1.bias"
DAMAGES = {
    "missing": (lambda s: s.pop("encoder.styles.2.convs.4.weight"), r"encoder\.styles\.2\.convs\.4\.weight|convolutions"),
    "missing bias": (lambda s: s.pop("encoder.latlayer1.bias"), r"'encoder\.latlayer1\.bias' is missing \(1 missing, 0 unexpected"),
    "unexpected": (lambda s: s.update({"encoder.styles.2.extra": torch.zeros(3)}), r"'encoder\.styles\.2\.extra' does not belong"),
    "stray": (lambda s: s.update({"other.thing": torch.zeros(3)}), r"'other\.thing' does not belong to an encoder file"),
    "shape": (lambda s: s.update({LATERAL: torch.zeros(7)}), r"'encoder\.latlayer1\.bias' has the shape \[7\]; \[20\] is needed"),
    "type": (lambda s: s.update({LATERAL: torch.zeros(20, dtype=torch.long)}), r"'encoder\.latlayer1\.bias' does not hold"),
    "nan": (lambda s: s["encoder.latlayer1.bias"].fill_(float("nan")), r"'encoder\.latlayer1\.bias' holds values that are not finite"),
    "decoder": (lambda s: s.pop("decoder.to_rgb1.bias"), r"in decoder\.\*: 'to_rgb1\.bias' is missing"),
    "stem": (lambda s: s.pop("encoder.input_layer.0.weight"), r"'input_layer\.0\.weight' \(IR\)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_names_itself(damage: str, generator, tmp_path) -> None:
    change, message = DAMAGES[damage]
    state = {name: value.clone() for name, value in state_of("GradualStyleEncoder", generator).items()}
    change(state)
    path = published.write(tmp_path / "bad.pt", state, "GradualStyleEncoder", published.average_of(generator))
    with pytest.raises(CheckpointError, match=rf"bad\.pt: .*{message}"):
        load_encoder(path)


def test_an_average_of_another_shape_names_itself(generator, tmp_path) -> None:
    path = published.write(tmp_path / "a.pt", state_of("GradualStyleEncoder", generator), "GradualStyleEncoder", torch.zeros(4, 20))
    with pytest.raises(CheckpointError, match=r"a\.pt: 'latent_avg' has the shape \[4, 20\]"):
        load_encoder(path)


def test_a_file_that_does_not_say_its_method_asks_for_it(generator, pictures, tmp_path) -> None:
    path = tmp_path / "silent.pt"
    torch.save({"state_dict": state_of("Encoder4Editing", generator), "latent_avg": published.average_of(generator)}, path)
    with pytest.raises(CheckpointError, match=r"silent\.pt: does not say whether it is a pSp or an e4e .*method='e4e'"):
        load_encoder(path)
    assert load_encoder(path, method="e4e").config.method == "e4e"


def test_files_that_are_no_encoders_say_what_they_are(generator, tmp_path) -> None:
    torch.save({"state_dict": {"layer.weight": torch.zeros(2, 2)}}, tmp_path / "other.pt")
    with pytest.raises(UnknownCheckpointError, match=r"other\.pt: is no encoder file: .* but layer\.weight"):
        load_encoder(tmp_path / "other.pt")
    from stylegan_core.checkpoints.native import save_native

    save_native(generator, tmp_path / "g.safetensors")
    with pytest.raises(UnknownCheckpointError, match=r"g\.safetensors: .*format tag: invert-network\); use load_generator"):
        load_encoder(tmp_path / "g.safetensors")


def test_nothing_in_a_file_is_executed(generator, tmp_path) -> None:
    marker = tmp_path / "marker"

    class Payload:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    path = tmp_path / "evil.pt"
    content = {"state_dict": state_of("GradualStyleEncoder", generator), "opts": Payload(), "latent_avg": published.average_of(generator)}
    torch.save(content, path)
    marker.unlink(missing_ok=True)
    with pytest.raises(UnsafeCheckpointError, match=r"evil\.pt"):
        load_encoder(path)
    assert not marker.exists()


def test_an_encoder_with_another_generator(generator, pictures, tmp_path) -> None:
    sibling = published.decoder(seed=1)
    name = "GradualStyleEncoder"
    path = published.write(tmp_path / "e.pt", state_of(name, generator), name, published.average_of(generator))
    encoder = load_encoder(path, generator=sibling)
    oblong = load_encoder(path, generator=sibling, input_shape=(192, 256))
    assert oblong.config.input_shape == (192, 256) and oblong.encode(pictures).latent.value.shape == (2, 6, 20)
    assert encoder.generator is sibling and encoder.encode(pictures).render(sibling).shape == (2, 3, 16, 16)
    assert IR.kind == encoder.config.backbone.kind


HOSTILE = sorted(path for path in (GOLDEN / "adversarial").iterdir() if path.suffix in (".pt", ".pkl", ".safetensors"))


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_hostile_files_are_refused_in_one_line(path) -> None:
    with pytest.raises(InvertError) as refused:
        load_encoder(path)
    assert path.name in str(refused.value) and "\n" not in str(refused.value)
    assert not [name for name in Path("/tmp").glob("golden_adversarial_marker_*") if path.name in name.name]
