"""`invert encode`: files, report, resume, errors."""

from __future__ import annotations

import json

import pytest
import torch

from encoders.build import encoder_for
from encoders.native import save_encoder
from encoders.style_mixing import variants
from stylegan_core.checkpoints.registry import load_generator
from stylegan_core.inversion import Inversion


def write_encoder(model: str, path, kind: str = "e4e") -> str:
    generator = load_generator(model)
    encoder = encoder_for(generator, kind, backbone="tiny", num_iterations=2)
    with torch.no_grad():
        for name, value in encoder.named_parameters():
            if name.endswith("linear.weight"):
                value.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    save_encoder(encoder, path, generator_name=model)
    return str(path)


@pytest.mark.parametrize("kind", ["e4e", "restyle-psp", "w"])
def test_pictures_become_inversions(invert, model, photos, tmp_path, kind: str) -> None:
    encoder = write_encoder(model, tmp_path / "encoder.safetensors", kind)
    out = tmp_path / "out"
    result = invert("encode", photos, "-o", out, "--encoder", encoder, "--perceptual", "none")
    assert result.code == 0, result.err
    records = json.loads((out / "report.json").read_text())
    assert len(records) == 3 and {record["status"] for record in records} == {"done"}
    first = records[0]
    assert first["preset"] == "encode" and first["space"] == ("w" if kind == "w" else "w+") and first["model"] == model
    assert first["perceptual"]["name"] == "none" and first["psnr"] > 0 and first["seconds"] is not None
    inversion = Inversion.load(out / "a.inversion.safetensors")
    assert inversion.metadata["method"] == kind and inversion.metadata["encoder"] == "encoder.safetensors"
    assert (out / "a.png").exists() and (out / "a.compare.png").exists()
    again = invert("encode", photos, "-o", out, "--encoder", encoder, "--perceptual", "none")
    assert again.code == 0 and again.err.count("done before") == 3
    rendered = invert("render", out / "a.inversion.safetensors", "-o", tmp_path / "again.png")
    assert rendered.code == 0 and (tmp_path / "again.png").read_bytes() == (out / "a.png").read_bytes()


def test_a_broken_picture_fails_alone(invert, model, photos, tmp_path) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    encoder = write_encoder(model, tmp_path / "encoder.safetensors")
    result = invert("encode", photos, "-o", tmp_path / "out", "--encoder", encoder, "--perceptual", "none", "--json")
    assert result.code == 1
    status = {record["input"].rsplit("/", 1)[1]: record["status"] for record in json.loads(result.out)}
    assert status == {"a.png": "done", "b.jpg": "done", "broken.png": "failed", "c.png": "done"}


def test_a_dry_run_writes_nothing(invert, model, photos, tmp_path) -> None:
    result = invert("encode", photos / "a.png", "-o", tmp_path / "out", "--encoder", "x.pt", "--dry-run")
    assert result.code == 0 and json.loads(result.out)["encoder"] == "x.pt" and not (tmp_path / "out").exists()


def test_errors_say_what_to_do(invert, model, photos, tmp_path) -> None:
    nothing = invert("encode", photos / "a.png", "-o", tmp_path / "out", "--model", model)
    assert nothing.code == 2 and "names no encoder" in nothing.err and "invert train encoder" in nothing.err
    encoder = write_encoder(model, tmp_path / "encoder.safetensors")
    passes = invert("encode", photos / "a.png", "-o", tmp_path / "out", "--encoder", encoder, "--passes", 3, "--perceptual", "none")
    assert passes.code == 2 and "it takes one pass" in passes.err
    missing = invert("encode", photos / "a.png", "-o", tmp_path / "out", "--encoder", tmp_path / "none.pt")
    assert missing.code == 1 and "none.pt: no such file" in missing.err


def test_variants_keep_the_coarse_rows(invert, model, photos, tmp_path) -> None:
    encoder = write_encoder(model, tmp_path / "encoder.safetensors")
    result = invert("encode", photos / "a.png", "-o", tmp_path / "out", "--encoder", encoder, "--perceptual", "none", "--variants", 2)
    assert result.code == 0, result.err
    pictures = [(tmp_path / "out" / name).read_bytes() for name in ("a.png", "a.variant1.png", "a.variant2.png")]
    assert len(set(pictures)) == 3
    generator = load_generator(model)
    inversion = Inversion.load(tmp_path / "out" / "a.inversion.safetensors")
    mixed = variants(inversion, generator, [1, 2], first_row=4)
    assert torch.equal(mixed.latent.value[:, :4], inversion.latent.value[:, :4].expand(2, -1, -1))
    assert not torch.allclose(mixed.latent.value[:, 4:], inversion.latent.value[:, 4:].expand(2, -1, -1))


def test_project_goes_on_from_an_encoder(invert, model, photos, tmp_path) -> None:
    encoder = write_encoder(model, tmp_path / "encoder.safetensors")
    result = invert("project", photos / "a.png", "-o", tmp_path / "out", "--model", model, "--preset", "hybrid", "--encoder", encoder,
                    "--steps", 4, "--perceptual", "none")  # fmt: skip
    assert result.code == 0, result.err
    facts = Inversion.load(tmp_path / "out" / "a.inversion.safetensors").metadata
    assert facts["effective"]["start"] == "encoder:encoder.safetensors"
