"""Files in the layouts that other projects publish, made here: read as data, moving pictures as their maths says."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from invert.editing.arrays import read_arrays
from invert.editing.labels import draw
from invert.editing.published import import_directions
from stylegan_core.errors import DirectionError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import LatentSpace
from stylegan_core.provenance import model_sha256
from tests.parity.rows import GOLDEN
from tests.tiny import tiny_generator

ADVERSARIAL = GOLDEN / "adversarial"


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


@pytest.fixture(scope="module")
def inversion(generator):
    return Inversion(draw(generator, 2, seed=1, space="w+"))


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    value = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return value / np.linalg.norm(value)


def test_an_interfacegan_boundary(generator, inversion, tmp_path):
    """[1, D], a unit normal: their edit adds distance · normal; ours does in units of the projection's standard deviation."""
    boundary = unit(1, 16)
    np.save(tmp_path / "smile_boundary.npy", boundary)
    (direction,) = import_directions(tmp_path / "smile_boundary.npy", generator, licence="MIT", model="tiny")
    assert direction.name == "smile_boundary" and direction.space is LatentSpace.W and direction.licence == "MIT"
    assert direction.model_sha256 == model_sha256(generator) and len(direction.provenance["file_sha256"]) == 64
    sigma = float((draw(generator, 4000, seed=9, space="w").value @ torch.from_numpy(boundary[0])).std())
    assert float(direction.vector.norm()) == pytest.approx(sigma, rel=0.1)
    moved = direction.apply(inversion, 2).latent.value
    expected = inversion.latent.value + 2 * direction.vector.norm() * torch.from_numpy(boundary)
    assert torch.allclose(moved, expected, atol=1e-5)
    in_z = import_directions(tmp_path / "smile_boundary.npy", generator, space="z")[0]
    assert in_z.space is LatentSpace.Z and float(in_z.vector.norm()) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 16), (16,), (1, 1, 16)])
def test_a_tensor_of_e4e(generator, inversion, tmp_path, shape):
    vector = torch.from_numpy(unit(*shape, seed=2)) * 3
    torch.save(vector, tmp_path / "age.pt")
    (direction,) = import_directions(tmp_path / "age.pt", generator)
    assert direction.name == "age" and direction.space is LatentSpace.W
    way = direction.vector / direction.vector.norm()
    assert torch.allclose(way, vector.flatten() / vector.norm(), atol=1e-6)


def test_a_direction_in_w_plus_and_a_dictionary(generator, inversion, tmp_path):
    wide, narrow = torch.from_numpy(unit(1, 6, 16, seed=3)), torch.from_numpy(unit(1, 16, seed=4))
    torch.save({"00_5_o_Clock_Shadow": wide, "31_Smiling": narrow, "note": "text"}, tmp_path / "attributes.pt")
    found = {direction.name: direction for direction in import_directions(tmp_path / "attributes.pt", generator)}
    assert found["00_5_o_Clock_Shadow"].space is LatentSpace.W_PLUS and found["31_Smiling"].space is LatentSpace.W
    moved = found["00_5_o_Clock_Shadow"].apply(inversion, 1).latent.value - inversion.latent.value
    assert torch.allclose(moved[0] / moved[0].norm(), wide[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["npz", "pt"])
def test_components(generator, inversion, tmp_path, kind):
    """GANSpace's own file and that of e4e, whose edit sets the coordinate of the first row: delta = (s - w_coord) · comp · std."""
    comp = np.linalg.qr(np.random.default_rng(5).standard_normal((16, 16)))[0][:4].astype(np.float32).reshape(4, 1, 16)
    mean, std = unit(1, 16, seed=6) * 0.3, np.array([2, 1, 0.5, 0.25], np.float32)
    if kind == "npz":
        others = {"act_comp": comp, "act_mean": mean, "act_stdev": std, "var_ratio": std, "random_stdevs": std}
        np.savez_compressed(tmp_path / "pca.npz", lat_comp=comp, lat_mean=mean, lat_stdev=std, **others)
        path = tmp_path / "pca.npz"
    else:
        path = tmp_path / "pca.pt"
        torch.save({"comp": torch.from_numpy(comp), "mean": torch.from_numpy(mean), "std": torch.from_numpy(std)}, path)
    found = import_directions(path, generator)
    assert [direction.name for direction in found] == [f"pca-{k}" for k in range(4)]
    lifted = Inversion(draw(generator, 2, seed=1, space="w+"))[0]
    for k, direction in enumerate(found):
        added = direction.apply(inversion, 1.5).latent.value - inversion.latent.value
        assert torch.allclose(added, 1.5 * std[k] * torch.from_numpy(comp[k]).expand_as(added), atol=1e-5)
        ws = lifted.latent.value[0]
        coordinate = ((ws - torch.from_numpy(mean))[0] @ torch.from_numpy(comp[k, 0])) / std[k]
        delta = (-2.0 - coordinate) * torch.from_numpy(comp[k]) * std[k]
        assert torch.allclose(direction.set(lifted, -2.0).latent.value[0], ws + delta, atol=1e-4)


def test_styles_with_and_without_torgb(generator, tmp_path):
    total = sum(generator.style_dims.values())
    without = sum(width for layer, width in generator.style_dims.items() if not layer.endswith("torgb"))
    for name, width in (("all", total), ("convolutions", without)):
        np.save(tmp_path / f"{name}.npy", unit(width, seed=7))
        (direction,) = import_directions(tmp_path / f"{name}.npy", generator)
        assert direction.space is LatentSpace.S and len(direction.vector) == total
    torgb = torch.cat([torch.full((width,), layer.endswith("torgb")) for layer, width in generator.style_dims.items()])
    assert not bool(direction.vector[torgb].any()) and bool(direction.vector[~torgb].all())


def test_files_that_are_no_directions(generator, tmp_path):
    np.save(tmp_path / "short.npy", unit(7))
    np.save(tmp_path / "nan.npy", np.full(16, np.nan, np.float32))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.savez(tmp_path / "half.npz", lat_comp=unit(2, 1, 16))
    np.savez(tmp_path / "wide.npz", lat_comp=unit(2, 1, 9), lat_mean=unit(1, 9), lat_stdev=np.ones(2, np.float32))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "page.pt").write_bytes(b"<html><body>quota exceeded</body></html>")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-4])
    for name in ("short.npy", "nan.npy", "text.npy", "half.npz", "wide.npz", "empty.npy", "page.pt", "cut.npy", "missing.npy"):
        with pytest.raises(DirectionError) as error:
            import_directions(tmp_path / name, generator)
        assert "\n" not in str(error.value) and (name in str(error.value) or name.split(".")[0] in str(error.value))


@pytest.mark.parametrize("name", ["object_array.npy", "huge_shape.npy", "projected_w_object.npz", "zip_exec.pt", "reduce_os_system.pkl"])
def test_hostile_files(name):
    with pytest.raises(DirectionError):
        read_arrays(ADVERSARIAL / name)


def test_an_inflating_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w", force_zip64=True) as file:
        for _ in range(17):
            file.write(bytes(64 << 20))
    with pytest.raises(DirectionError, match="larger than"):
        read_arrays(tmp_path / "bomb.npz")
