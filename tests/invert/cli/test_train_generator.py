"""`invert train generator` for every preset and kind of picture, in small: it moves, its snapshot loads, a resume is the straight run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stylegan_core.checkpoints.registry import load_discriminator, load_generator
from stylegan_core.training.config import PRESET_NAMES
from stylegan_core.training.stylegan1_presets import PRESETS as STYLEGAN1

WORDS = ("--data", "portraits", "--count", "16", "--batch", "8", "--cbase", "128", "--cmax", "8", "--snapshot-kimg", "0.008",
         "--device", "cpu")  # fmt: skip
KINDS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {  # more words, shape of a picture
    "conditional": (("--preset", "config-e", "--resolution", "32", "--cond"), (3, 32, 32)),
    "conditional StyleGAN that grows": (("--preset", "config-a", "--resolution", "32", "--cond", "--growing-kimg", "0.004"), (3, 32, 32)),
    "grey": (("--preset", "stylegan2", "--resolution", "32", "--channels", "1"), (1, 32, 32)),
    "rgba": (("--preset", "auto", "--resolution", "32", "--channels", "4"), (4, 32, 32)),
    "48x32": (("--preset", "config-d", "--resolution", "48x32", "--augment", "bgcfnc", "--p", "0.5"), (3, 48, 32)),
}


def check(invert, folder: Path, words: tuple[str, ...], shape: tuple[int, ...], kimg: float) -> None:
    """Runs `words` straight and in two parts."""
    for name, parts in (("straight", [kimg]), ("parts", [kimg / 2, kimg])):
        for length in parts:
            result = invert("train", "generator", *WORDS, *words, "--kimg", length, "-o", folder / name)
            assert result.code == 0, result.err
    one, other = (load_file(str(folder / name / "state.safetensors")) for name in ("straight", "parts"))
    assert one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
    records = [json.loads(line) for line in (folder / "parts" / "log.jsonl").read_text().splitlines()]
    assert len({record["loss_D"] for record in records}) == len(records) > 1
    newest = sorted((folder / "parts").glob("snapshot-*.safetensors"))[-1]
    generator = load_generator(newest)
    discriminator = load_discriminator(newest.with_name(newest.name.replace("snapshot", "discriminator")))
    c = torch.eye(generator.c_dim)[:2] if generator.c_dim else None
    images = generator(torch.randn(2, generator.z_dim), c)
    assert images.shape == (2, *shape) and discriminator(images, c).shape == (2, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture(invert, tmp_path: Path, kind: str) -> None:
    check(invert, tmp_path, *KINDS[kind], kimg=0.016)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_every_preset(invert, tmp_path: Path, preset: str) -> None:
    growing = ("--growing-kimg", "0.016") if preset in STYLEGAN1 else ()
    check(invert, tmp_path, ("--preset", preset, "--resolution", "32", *growing), (3, 32, 32), kimg=0.1)
