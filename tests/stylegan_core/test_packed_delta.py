"""Packed changes of weights: sizes, exactness from a file, relatives, and what is refused."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.errors import InversionError, LatentError, UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent
from stylegan_core.packed_delta import PackedDelta, pack_int8, pack_low_rank
from stylegan_core.weight_deltas import num_bytes, packed
from tests.tiny import tiny_generator

NAME = "synthesis.b16.conv1.weight"


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


def change_of(generator, scale: float = 0.1, count: int = 1) -> torch.Tensor:
    shape = dict(generator.named_parameters())[NAME].shape
    return scale * torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def inversion_of(generator, deltas) -> Inversion:
    return Inversion(Latent.sample(generator, [3]).lower(generator, to="w"), weight_deltas=deltas)


@pytest.mark.parametrize("method", ["int8", "low-rank:4", "none"])
def test_a_file_renders_the_same_pixels(generator, tmp_path, method: str) -> None:
    change = {NAME: change_of(generator), "synthesis.b16.conv1.bias": torch.ones(1, 16)}
    inversion = inversion_of(generator, change if method == "none" else packed(change, method))
    inversion.save(tmp_path / "a.safetensors")
    again = Inversion.load(tmp_path / "a.safetensors")
    assert torch.equal(again.render(generator), inversion.render(generator))
    assert not torch.allclose(again.render(generator), Inversion(inversion.latent).render(generator), atol=1e-2)
    again.save(tmp_path / "b.safetensors")
    assert torch.equal(Inversion.load(tmp_path / "b.safetensors").render(generator), inversion.render(generator))
    assert (tmp_path / "a.safetensors").stat().st_size == (tmp_path / "b.safetensors").stat().st_size


def test_eight_bits_are_near_and_small(generator) -> None:
    change = change_of(generator, count=2)
    delta = pack_int8(change)
    assert float((delta.dense() - change).abs().max()) <= float(change.abs().max()) / 254 + 1e-6
    assert delta.nbytes < 0.3 * change.numel() * 4 and delta[1:].dense().shape == change[1:].shape
    assert torch.equal(pack_int8(torch.zeros(1, 2, 3, 1, 1)).dense(), torch.zeros(1, 2, 3, 1, 1))


def test_low_rank_is_the_best_of_its_rank(generator) -> None:
    left, right = torch.randn(1, 16, 2), torch.randn(1, 2, 144)
    exact = (left @ right).view(1, 16, 16, 3, 3)
    assert torch.allclose(pack_low_rank(exact, 2).dense(), exact, atol=2e-2)
    assert pack_low_rank(exact, 1).nbytes < pack_low_rank(exact, 2).nbytes
    deltas = packed({NAME: exact}, "low-rank:1")
    assert deltas[NAME].kind == "low-rank" and num_bytes(deltas) == 2 * (16 + 144)


def test_a_relative_change_suits_a_relative(generator) -> None:
    value = change_of(generator)
    delta = PackedDelta("dense", {"value": value}, tuple(value.shape), is_relative=True)
    sibling = tiny_generator(seed=1).requires_grad_(False)
    for model in (generator, sibling):
        weight = dict(model.named_parameters())[NAME]
        assert torch.allclose(delta.applied(weight), weight * (1 + value[0]))
    assert inversion_of(generator, {NAME: delta}).render(sibling).shape == (1, 3, 16, 16)


def test_batches_keep_to_one_way_of_packing(generator) -> None:
    one = inversion_of(generator, packed({NAME: change_of(generator)}, "int8"))
    both = Inversion.cat([one, one])
    assert torch.equal(both.render(generator)[1:], one.render(generator))
    other = inversion_of(generator, packed({NAME: change_of(generator)}, "low-rank:2"))
    with pytest.raises(LatentError, match="packed in different ways"):
        Inversion.cat([one, other])


BAD = {
    "kind": PackedDelta("int4", {"value": torch.zeros(1, 2)}, (1, 2)),
    "type": PackedDelta("int8", {"steps": torch.zeros(1, 2, 2), "scale": torch.ones(1, 2, 1)}, (1, 2, 2)),
    "finite": PackedDelta("dense", {"value": torch.full((1, 2), float("nan"))}, (1, 2)),
    "shape": PackedDelta("low-rank", {"left": torch.zeros(1, 2, 1).half(), "right": torch.zeros(1, 1, 5).half()}, (1, 2, 2)),
    "broadcast": PackedDelta("dense", {"value": torch.zeros(1, 3)}, (1, 2)),
    "size": PackedDelta("dense", {"value": torch.zeros(1, 1)}, (1, 1 << 40)),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_changes_are_refused(name: str) -> None:
    with pytest.raises(LatentError):
        BAD[name].check()


def test_files_with_stray_or_missing_parts_are_refused(generator, tmp_path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    inversion_of(generator, packed({NAME: change_of(generator)}, "int8")).save(path)
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    missing = {key: value for key, value in tensors.items() if not key.endswith(".scale")}
    save_file(missing, tmp_path / "b.safetensors", metadata=header)
    with pytest.raises(InversionError, match="is damaged"):
        Inversion.load(tmp_path / "b.safetensors")
    save_file({**tensors, "packed.x.steps": torch.zeros(1, 1)}, tmp_path / "c.safetensors", metadata=header)
    with pytest.raises(InversionError, match="belongs to no weight change"):
        Inversion.load(tmp_path / "c.safetensors")


def test_unknown_packings_are_named() -> None:
    with pytest.raises(UsageError, match="packing 'zip': int8 or low-rank:N"):
        packed({}, "zip")
