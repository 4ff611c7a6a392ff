"""Tiny models as files, a few pictures, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invert.cli.app import main
from stylegan_core.checkpoints.native import save_native
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN2Config

RESOLUTION = 16


def write_model(path: Path, *, seed: int = 0, **options) -> Path:
    """A random generator of 16 px whose w_avg and noise strengths are set, so that everything has an effect."""
    config = StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=RESOLUTION, channel_base=128, channel_max=8, mapping_layers=2, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = build(config)
        labels = torch.eye(config.c_dim)[torch.arange(512) % config.c_dim] if config.c_dim else None
        with torch.no_grad():
            generator.mapping.w_avg.copy_(generator.mapping.to_w(torch.randn(512, 8), labels).mean(dim=0))
            for name, value in generator.named_parameters():
                if name.endswith("noise_strength"):
                    value.fill_(0.05)
    save_native(generator, path)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder with three readable pictures, a.png, b.jpg, c.png, none of them of the model's size."""
    folder = tmp_path / "photos"
    folder.mkdir()
    write_photos(folder, ("a.png", "b.jpg", "c.png"))
    return folder


def write_photos(folder: Path, names) -> None:
    for index, name in enumerate(names):
        rng = np.random.default_rng(index)
        small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((40, 32), Image.Resampling.BICUBIC).save(folder / name)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def invert(capsys) -> Callable[..., Result]:
    """Runs the command line in this process."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = left.value.code
        assert "Traceback" not in captured.err
        return Result(0 if code is None else int(code), captured.out, captured.err)

    return run
