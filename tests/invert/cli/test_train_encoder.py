"""`invert train encoder`: every kind in a CI-sized run from the command line, its dry run and its errors."""

from __future__ import annotations

import json

import pytest

from encoders.build import KINDS

QUICK = ("--kimg", 0.008, "--batch", 4, "--perceptual", "none", "--backbone", "tiny", "--passes", 2, "--snapshot-kimg", 0.004)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_and_goes_on(invert, model, tmp_path, kind: str) -> None:
    more = []
    if kind == "hyperstyle":
        assert invert("train", "encoder", "--kind", "w", "--model", model, "-o", tmp_path / "w", *QUICK).code == 0
        more = ["--w-encoder", sorted((tmp_path / "w").glob("encoder-*.safetensors"))[-1]]
    output = tmp_path / kind
    result = invert("train", "encoder", "--kind", kind, "--model", model, "-o", output, *QUICK, *more)
    assert result.code == 0, result.err
    newest = sorted(output.glob("encoder-*.safetensors"))[-1]
    assert f"newest snapshot: {newest}" in result.err.replace("\n", "") or newest.name in result.err
    assert json.loads((output / "config.json").read_text())["training"]["kind"] == kind
    longer = invert("train", "encoder", "--kind", kind, "--model", model, "-o", output, *QUICK, *more, "--kimg", 0.012)
    assert longer.code == 0, longer.err
    assert len((output / "log.jsonl").read_text().splitlines()) == 3


def test_real_pictures_and_a_sketch(invert, model, photos, tmp_path) -> None:
    psp = ("train", "encoder", "--kind", "psp", "--model", model, *QUICK)
    mixed = invert(*psp, "-o", tmp_path / "mixed", "--data", photos, "--samples-share", 0.5)
    assert mixed.code == 0, mixed.err
    sketch = invert(*psp, "-o", tmp_path / "sketch", "--source-transform", "sketch")
    assert sketch.code == 0, sketch.err
    newest = sorted((tmp_path / "sketch").glob("encoder-*.safetensors"))[-1]
    assert invert("encode", photos / "a.png", "-o", tmp_path / "out", "--encoder", newest, "--perceptual", "none").code == 0


def test_training_starts_from_weights_of_its_own_kind(invert, model, tmp_path) -> None:
    common = ("train", "encoder", "--model", model, *QUICK)
    assert invert(*common, "--kind", "psp", "-o", tmp_path / "first").code == 0
    newest = sorted((tmp_path / "first").glob("encoder-*.safetensors"))[-1]
    assert invert(*common, "--kind", "psp", "-o", tmp_path / "second", "--start", newest).code == 0
    other = invert(*common, "--kind", "w", "-o", tmp_path / "third", "--start", newest)
    assert other.code == 2 and "is a psp; w is needed" in other.err


def test_a_dry_run_tells_the_configuration(invert, model, tmp_path) -> None:
    result = invert("train", "encoder", "--kind", "e4e", "--model", model, "-o", tmp_path / "x", "--dry-run", "--loss", "latent=0.5",
                    "--loss", "adversarial=0", "--progressive", "none", "--identity", "features")  # fmt: skip
    told = json.loads(result.out)["training"]
    assert result.code == 0 and told["latent"] == 0.5 and told["adversarial"] == 0 and told["progressive_start_kimg"] is None
    assert told["identity"] == 0.5 and told["encoder"]["method"] == "e4e" and not (tmp_path / "x").exists()


@pytest.mark.parametrize("arguments, message", [
    (("--kind", "magic"), "one of psp, e4e, w, restyle-psp, restyle-e4e, hyperstyle"),
    (("--kind", "hyperstyle"), "train one with --kind w and give it with --w-encoder"),
    (("--loss", "beauty=1"), "one of pixel, perceptual"),
    (("--loss", "pixel"), "NAME=X is allowed"),
    (("--progressive", "soon"), "START:EVERY"),
    (("--backbone", "vgg"), "one of ir-50"),
    (("--source-transform", "magic"), "super-resolution, inpainting, sketch"),
    (("--samples-share", 0.5, "--perceptual", "none"), "there is no --data"),
])  # fmt: skip
def test_errors_say_what_is_allowed(invert, model, tmp_path, arguments: tuple, message: str) -> None:
    result = invert("train", "encoder", "--model", model, "-o", tmp_path / "x", *arguments)
    assert result.code == 2 and message in result.err.replace("\n", " "), result.err
