from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stylegan_core.errors import InversionError, LatentError
from stylegan_core.inversion import FORMAT, Inversion, facts_of, merged
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.noise import Noise
from tests.tiny import tiny_generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


def inversion_of(generator, seeds: list[int], space: str = "w+", **fields) -> Inversion:
    latent = Latent.sample(generator, seeds).lower(generator, to=space)
    return Inversion(latent, Noise.random(generator, seeds).maps, **fields)


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_a_saved_inversion_renders_bit_equal_pixels(generator, tmp_path, space: str) -> None:
    inversion = inversion_of(generator, [1, 2, 3], space)
    with torch.no_grad():
        delta = 0.1 * torch.randn(3, *generator.synthesis.b8.conv1.weight.shape, generator=torch.Generator().manual_seed(0))
    inversion = replace(inversion, weight_deltas={"synthesis.b8.conv1.weight": delta}, metadata={"images": [{"i": i} for i in range(3)]})
    images = inversion.render(generator)
    for i in range(3):
        path = tmp_path / f"{i}.inversion.safetensors"
        inversion[i].save(path)
        loaded = Inversion.load(path)
        assert torch.equal(loaded.render(generator), images[i : i + 1])
        assert loaded.latent.space.value == space and loaded.metadata == {"i": i}


def test_optimised_noise_is_in_the_file(generator, tmp_path) -> None:
    inversion = inversion_of(generator, [1])
    inversion.save(tmp_path / "a.safetensors")
    without = replace(inversion, noise={}).render(generator)
    assert not torch.allclose(Inversion.load(tmp_path / "a.safetensors").render(generator), without, atol=1e-3)


def test_a_label_is_in_the_file(tmp_path) -> None:
    generator = tiny_generator(c_dim=3)
    latent = Latent.sample(generator, [0], c=torch.eye(3)[1:2])
    Inversion(latent).save(tmp_path / "a.safetensors")
    assert torch.equal(Inversion.load(tmp_path / "a.safetensors").render(generator), Inversion(latent).render(generator))


def test_batches_take_apart_and_together(generator) -> None:
    facts = {"seed": 0, "images": [{"psnr": 1.0}, {"psnr": 2.0}]}
    batch = inversion_of(generator, [1, 2], metadata=facts, geometry={"mode": "crop"})
    assert batch[1].metadata == {"seed": 0, "psnr": 2.0} == batch.facts(1)
    again = Inversion.cat([batch[0], batch[1]])
    assert again.metadata == facts and again.geometry == {"mode": "crop"}
    assert torch.equal(again.render(generator), batch.render(generator))
    other = replace(batch[0], weight_deltas={"synthesis.b8.torgb.bias": torch.zeros(1, 3)})
    with pytest.raises(LatentError, match="change different weights"):
        Inversion.cat([batch[1], other])


def test_facts_of_images_that_share_everything_stay_flat() -> None:
    assert merged([{"a": 1}, {"a": 1}]) == {"a": 1} and facts_of({"a": 1}, 1) == {"a": 1}


def test_one_image_per_file(generator, tmp_path) -> None:
    with pytest.raises(InversionError, match="a file holds one image, this inversion has 2"):
        inversion_of(generator, [1, 2]).save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_inversion_of_another_generator_is_refused(generator) -> None:
    other = tiny_generator(w_dim=24)
    with pytest.raises(LatentError, match="was it made with another model"):
        inversion_of(generator, [1]).render(other)


def header(**changes: str) -> dict[str, str]:
    return {"format": FORMAT, "format_version": "1", "space": "w", "geometry": "{}", "metadata": "{}", **changes}


@pytest.mark.parametrize(
    "tensors, metadata, message",
    [
        ({"latent": torch.zeros(1, 16)}, {}, "not an inversion file"),
        ({"latent": torch.zeros(1, 16)}, header(format_version="99"), "update invert-gan"),
        ({"other": torch.zeros(1, 16)}, header(), "no tensor named latent"),
        ({"latent": torch.zeros(2, 16)}, header(), "of one image"),
        ({"latent": torch.zeros(1, 16, dtype=torch.int32)}, header(), "floating-point"),
        ({"latent": torch.zeros(1, 16)}, header(space="q"), "unknown space"),
        ({"latent": torch.zeros(1, 16)}, header(metadata="["), "not JSON"),
        ({"latent": torch.zeros(1, 16)}, header(metadata="[" * 100_000), "not JSON"),
        ({"latent": torch.zeros(1, 16)}, header(geometry="[]"), "not a JSON object"),
    ],
)
def test_files_that_are_wrong_give_one_line(tmp_path, tensors: dict, metadata: dict, message: str) -> None:
    save_file(tensors, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(InversionError, match=message) as caught:
        Inversion.load(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"PK\x03\x04garbage", b"\xff" * 8 + b"{}"])
def test_damaged_files_give_one_line(tmp_path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(InversionError):
        Inversion.load(tmp_path / "a.safetensors")
    with pytest.raises(InversionError, match="cannot read"):
        Inversion.load(tmp_path / "missing.safetensors")


def test_projected_w_of_official_scripts_is_read(generator, tmp_path) -> None:
    ws = Latent.sample(generator, [3]).lower(generator, to="w+").value.detach()
    np.savez(tmp_path / "projected_w.npz", w=ws.numpy())
    loaded = Inversion.load(tmp_path / "projected_w.npz")
    assert loaded.latent.space is LatentSpace.W_PLUS and torch.equal(loaded.latent.value, ws)
    with torch.no_grad():  # as render does: kernels differ in the last bit when they keep a graph
        assert torch.equal(loaded.render(generator), generator.synthesis(ws))


def test_hostile_npz_files_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "object.npz", w=np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "nan.npz", w=np.full((1, 6, 4), np.nan, dtype=np.float32))
    np.savez(tmp_path / "missing.npz", x=np.zeros(3))
    huge = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    huge += "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1000000, 1000000), }".ljust(117).encode() + b"\n"
    import zipfile

    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("w.npy", huge)
    for name in ("object", "nan", "missing", "huge"):
        with pytest.raises(InversionError):
            Inversion.load(tmp_path / f"{name}.npz")


def test_metadata_is_plain_json(generator, tmp_path) -> None:
    inversion = inversion_of(generator, [1], metadata={"psnr": 31.5, "text": "ü", "nested": {"list": [1, 2]}})
    inversion.save(tmp_path / "a.safetensors")
    assert Inversion.load(tmp_path / "a.safetensors").metadata == json.loads(json.dumps(inversion.metadata))
    with pytest.raises(ValueError):
        replace(inversion, metadata={"psnr": float("nan")}).save(tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()
