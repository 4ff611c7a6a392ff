"""Embedders from files: their names, what is wrong with a file, and the distance."""

from __future__ import annotations

import pytest
import torch

from encoders.arcface import ArcFace, load_arcface
from encoders.identity import load_embedder
from stylegan_core.errors import CheckpointError
from stylegan_core.losses.identity import identity_to


def published_state() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ArcFace()
    return {name.removeprefix("backbone."): value for name, value in network.state_dict().items()}


@torch.no_grad()
def test_an_arcface_file_embeds_portraits_of_any_size(tmp_path) -> None:
    path = tmp_path / "model_ir_se50.pth"
    torch.save(published_state(), path)
    network = load_embedder(path)
    assert isinstance(network, ArcFace) and network.name == "model_ir_se50.pth"
    vectors = network.embed(torch.rand(2, 1, 64, 64) * 2 - 1)
    assert vectors.shape == (2, 512) and torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_what_is_wrong_names_itself(tmp_path) -> None:
    state = published_state()
    del state["body.3.res_layer.1.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: 'body\.3\.res_layer\.1\.weight' is missing \(1 missing"):
        load_arcface(tmp_path / "a.pth")
    torch.save({"state_dict": {"x": torch.zeros(1)}}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"b\.pth: holds no module\.encoder_q"):
        load_embedder(tmp_path / "b.pth")
    torch.save({"x": torch.zeros(1)}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=r"c\.pth: is neither"):
        load_embedder(tmp_path / "c.pth")


def test_distance_is_zero_at_the_target_and_differentiable() -> None:
    features = load_embedder("features")
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    distance = identity_to(features, images)
    assert torch.allclose(distance(images), torch.zeros(2), atol=1e-5)
    moved = (0.5 * images).requires_grad_()
    values = distance(moved)
    assert bool((values > 0).all())
    (gradient,) = torch.autograd.grad(values[0], moved)
    assert float(gradient[1].abs().max()) == 0 and float(gradient[0].abs().max()) > 0
