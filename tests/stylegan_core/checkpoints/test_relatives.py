"""StyleGAN-XL, StyleGAN-T, EG3D and lucidrains files, made here in their layouts: each is refused by name in one line."""

from __future__ import annotations

import pickle
import sys
import types

import pytest
import torch

from stylegan_core.checkpoints.registry import load_generator, networks_in
from stylegan_core.errors import UnknownCheckpointError, UnsafeCheckpointError

from .conftest import Persistent

WEIGHT = {"_parameters": {"weight": torch.nn.Parameter(torch.ones(2, 2))}, "_buffers": {}, "_modules": {}}


@pytest.fixture
def fake(monkeypatch):
    """fake('package.module', 'Class') → a class that pickles under that name."""

    def make(module: str, name: str) -> type:
        parts = module.split(".")
        for index in range(len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[: index + 1]), types.ModuleType(".".join(parts[: index + 1])))
        made = type(name, (), {"__module__": module, "__qualname__": name})
        setattr(sys.modules[module], name, made)
        return made

    return make


def persistent(class_name: str, source: str = "") -> Persistent:
    return Persistent(class_name, WEIGHT, source)


def refused(path, name: str) -> None:
    for function in (load_generator, networks_in):
        with pytest.raises(UnknownCheckpointError) as caught:
            function(path)
        text = str(caught.value)
        assert text.startswith(str(path)) and name in text and "\n" not in text and "StyleGAN3 files are read" in text


@pytest.fixture
def write(tmp_path, write_nvlabs):  # write_nvlabs makes the module that persistent objects name
    def write(content, protocol: int = 4):
        path = tmp_path / "network.pkl"
        with torch.no_grad():
            path.write_bytes(pickle.dumps(content, protocol=protocol))
        return path

    return write


@pytest.mark.parametrize("protocol", [2, 4])
def test_stylegan_xl(write, fake, protocol):
    refused(write({"G": None, "G_ema": persistent("SuperresGenerator")}, protocol), "StyleGAN-XL")
    stem = persistent("Generator", "# after networks_stylegan3_resetting\nclass Generator: pass\n")
    refused(write({"G_ema": stem}, protocol), "StyleGAN-XL")
    inner = fake("timm.models.vision_transformer", "VisionTransformer")()  # a class that no checkpoint here needs
    whole = {"D": persistent("ProjectedDiscriminator"), "G_ema": persistent("SuperresGenerator"), "features": inner}
    refused(write(whole, protocol), "StyleGAN-XL")


def test_stylegan_xl_state(tmp_path):
    names = ("synthesis.L0_36_1024.weight", "mapping.embed_proj.weight", "synthesis.input.freqs")
    torch.save({"G_ema": {name: torch.ones(2) for name in names}}, tmp_path / "xl.pt")
    refused(tmp_path / "xl.pt", "StyleGAN-XL")


@pytest.mark.parametrize("protocol", [2, 4])
def test_stylegan_t(write, fake, tmp_path, protocol):
    generator = fake("networks.generator", "Generator")()
    generator.state = {"weight": 1}
    refused(write({"G_ema": generator}, protocol), "StyleGAN-T")
    torch.save({"G_ema": {"mapping.clip.model.text_projection": torch.ones(2), "synthesis.input.freqs": torch.ones(2)}}, tmp_path / "t.pt")
    refused(tmp_path / "t.pt", "StyleGAN-T")


@pytest.mark.parametrize("protocol", [2, 4])
def test_eg3d(write, fake, tmp_path, protocol):
    refused(write({"G_ema": persistent("TriPlaneGenerator"), "D": persistent("DualDiscriminator")}, protocol), "EG3D")
    renderer = fake("training.volumetric_rendering.renderer", "ImportanceRenderer")()
    refused(write({"G_ema": persistent("TriPlaneGenerator"), "renderer": renderer}, protocol), "EG3D")
    torch.save({"backbone.synthesis.b4.const": torch.ones(2), "decoder.net.0.weight": torch.ones(2)}, tmp_path / "eg3d.pth")
    refused(tmp_path / "eg3d.pth", "EG3D")


def test_lucidrains(tmp_path):
    state = {f"{net}.net.0.weight": torch.ones(2) for net in ("S", "SE")}
    state |= {f"{net}.blocks.0.to_style1.weight": torch.ones(2) for net in ("G", "GE")} | {"D.to_logit.weight": torch.ones(2)}
    torch.save({"GAN": state, "version": "1.9.0"}, tmp_path / "model_3.pt")
    refused(tmp_path / "model_3.pt", "lucidrains")
    torch.save(state, tmp_path / "old.pt")
    refused(tmp_path / "old.pt", "lucidrains")


def test_what_only_asks_for_foreign_code_is_still_unsafe(write, fake):
    with pytest.raises(UnsafeCheckpointError, match="nothing was run"):
        load_generator(write({"G_ema": fake("somebody.elses", "Network")()}))
