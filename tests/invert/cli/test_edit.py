"""`invert edit`, `mix`, `interpolate`, `blend`, `directions`: files, records, exit codes, one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from .conftest import write_model

QUICK = ("--perceptual", "none", "--steps", "3", "--device", "cpu")


@pytest.fixture(scope="module")
def smile(model, tmp_path_factory) -> str:
    from invert.editing.direction import Direction
    from invert.editing.units import with_unit
    from stylegan_core.checkpoints.registry import load_generator
    from stylegan_core.latent import LatentSpace
    from stylegan_core.provenance import model_sha256

    generator = load_generator(model)
    vector = torch.randn(8, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("directions") / "smile.direction.safetensors"
    with_unit(Direction("smile", LatentSpace.W, vector, model="tiny", model_sha256=model_sha256(generator)), generator).save(path)
    return str(path)


@pytest.fixture(scope="module")
def inversion(model, tmp_path_factory) -> str:
    from dataclasses import replace

    from invert.editing.labels import draw
    from stylegan_core.checkpoints.registry import load_generator
    from stylegan_core.inversion import Inversion
    from stylegan_core.provenance import model_sha256

    generator = load_generator(model)
    path = tmp_path_factory.mktemp("inversions") / "photo.inversion.safetensors"
    facts = {"model": model, "model_sha256": model_sha256(generator)}
    replace(Inversion(draw(generator, 2, space="w+"))[0], metadata=facts).save(path)
    return str(path)


def test_a_photo_at_several_strengths(invert, model, smile, photos, tmp_path):
    out = tmp_path / "out"
    result = invert("edit", photos / "a.png", "-d", smile, "--strength", "-2:2:3", "--model", model, *QUICK, "-o", out, "--json")
    assert result.code == 0, result.err
    names = {"a.smile-2.00.png", "a.smile+0.00.png", "a.smile+2.00.png", "a.smile.sheet.png", "a.inversion.safetensors", "report.json"}
    assert {path.name for path in out.iterdir()} == names
    (record,) = json.loads((out / "report.json").read_text())
    assert record == json.loads(result.out)[0]
    assert set(record) >= {"input", "input_sha256", "model", "model_sha256", "direction", "strengths", "seconds", "device", "version",
                           "status", "error"}  # fmt: skip
    assert record["direction"] == ["smile"] and record["strengths"] == [-2, 0, 2] and record["status"] == "done"
    note = json.loads(Image.open(out / "a.smile+2.00.png").info["invert"])
    assert note["edited"][0] == {"direction": "smile", "rows": "all", "space": "w", "step": "apply", "strength": 2.0}
    assert note["model_sha256"] == record["model_sha256"]
    pixels = [np.asarray(Image.open(out / f"a.smile{s}.png")) for s in ("-2.00", "+0.00", "+2.00")]
    assert all(p.shape == (16, 16, 3) for p in pixels) and (pixels[0] != pixels[2]).any()
    made = (out / "a.inversion.safetensors").stat().st_mtime_ns
    assert invert("edit", photos / "a.png", "-d", smile, "-s", "1", "--model", model, *QUICK, "-o", out).code == 0
    assert (out / "a.inversion.safetensors").stat().st_mtime_ns == made  # taken again, not projected again


def test_an_inversion_is_left_as_it_is(invert, model, smile, inversion, tmp_path):
    before = Path(inversion).read_bytes()
    result = invert(
        "edit", inversion, "-d", smile, "-s", "2", "--model", model, "-o", Path(inversion).parent, "--no-metadata", "--device", "cpu"
    )
    assert result.code == 0, result.err
    assert Path(inversion).read_bytes() == before
    assert "invert" not in Image.open(Path(inversion).parent / "photo.smile+2.00.png").info


def test_more_of_it(invert, model, smile, inversion, photos, tmp_path):
    out = tmp_path / "out"
    two = ("-d", smile, "-d", "b8.conv0:1", "-s", "-1,1", "--also", f"{smile}=0.5")
    extra = ("--paste", "replace", "--colour", "border", "--video", out / "a.gif")
    result = invert("edit", photos / "a.png", *two, *extra, "--model", model, *QUICK, "-o", out)
    assert result.code == 0, result.err
    assert {"a.sheet.png", "a.gif", "a.b8-conv0-1+1.00.png", "a.smile-1.00.pasted.png"} <= {path.name for path in out.iterdir()}
    assert Image.open(out / "a.smile-1.00.pasted.png").size == (40, 32)
    gif = Image.open(out / "a.gif")
    assert gif.n_frames == 2 and b"edited" in gif.info["comment"]


def test_rules(invert, model, smile, inversion, tmp_path):
    result = invert(
        "edit", inversion, "-d", smile, "--keep", "distance<=0.05", "--model", model, "-o", tmp_path, "--json", "--device", "cpu"
    )
    assert result.code == 0, result.err
    (record,) = json.loads(result.out)
    assert record["until"]["smile"]["reason"] in ("bound", "limit") and len(record["strengths"]) == 1
    for rule, said in (("smile", "write smile"), ("nose>=1", "attributes are"), ("distance>=1", "kept small")):
        wrong = invert("edit", inversion, "-d", smile, "--until", rule, "--model", model, "-o", tmp_path, "--device", "cpu")
        assert wrong.code == 2 and said in wrong.err


def test_pipeline_files(invert, model, smile, photos, tmp_path):
    steps = ["Align", {"Project": {"steps": 3, "perceptual": "none"}}, {"Edit": [smile, 2]}, "PasteBack"]
    (tmp_path / "edit.json").write_text(json.dumps({"model": model, "steps": steps}))
    out = tmp_path / "out"
    result = invert(
        "edit", photos / "a.png", photos / "c.png", "--pipeline", tmp_path / "edit.json", "-o", out, "--device", "cpu", "--json"
    )
    assert result.code == 0, result.err
    records = json.loads(result.out)
    assert [note["step"] for note in records[0]["steps"]] == ["Align", "Project", "Edit", "PasteBack"]
    assert Image.open(out / "a.edited.png").size == (40, 32)
    assert {"a.edited.inversion.safetensors", "a.inversion.safetensors", "c.edited.png"} <= {path.name for path in out.iterdir()}


def test_a_bad_photo_among_good_ones(invert, model, smile, photos, tmp_path):
    (photos / "bad.png").write_bytes(b"bad")
    result = invert("edit", photos / "a.png", photos / "bad.png", "-d", smile, "-s", "1", "--model", model, *QUICK, "-o", tmp_path / "out")
    assert result.code == 1 and "bad.png" in result.err
    records = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [record["status"] for record in records] == ["done", "failed"]


@pytest.mark.parametrize(
    "arguments, said",
    [(("-s", "1"), "one of the two"), (("-d", "smile", "-s", "1:2"), "strength '1:2'"), (("-d", "smile"), "none come with this model"),
     (("-d", "SMILE", "--mask", "no.png"), "not known"), (("-d", "SMILE", "--also", "age"), "write NAME=STRENGTH"),
     (("-d", "SMILE", "--video", "a.avi"), ".gif"), (("-d", "SMILE", "--face", "third"), "largest"),
     (("-d", "SMILE", "--paste", "glue"), "replace, difference")],
)  # fmt: skip
def test_usage(invert, model, inversion, tmp_path, arguments, said):
    result = invert("edit", inversion, *arguments, "--model", model, "-o", tmp_path, "--device", "cpu")
    assert result.code == 2 and said in result.err and len(result.err.strip().splitlines()) == 1


def test_a_direction_of_another_model(invert, smile, tmp_path, photos):
    other = write_model(tmp_path / "other.safetensors", seed=1)
    result = invert("edit", photos / "a.png", "-d", smile, "--model", other, *QUICK, "-o", tmp_path / "out")
    assert result.code == 1 and "was found in tiny" in result.err
    assert invert("edit", photos / "a.png", "-d", smile, "-s", "1", "--model", other, *QUICK, "-o", tmp_path / "out", "--related").code == 0


def test_landmarks_of_one_photo_do_not_stop_the_others(invert, model, smile, photos, tmp_path):
    (photos / "a.landmarks.json").write_text("[[1, 2]]")
    out = tmp_path / "out"
    result = invert("edit", photos / "a.png", photos / "c.png", "-d", smile, "-s", "1", "--model", model, *QUICK, "-o", out)
    (photos / "a.landmarks.json").unlink()
    assert result.code == 1 and "a.landmarks.json" in result.err
    assert [record["status"] for record in json.loads((out / "report.json").read_text())] == ["failed", "done"]


def test_files_and_methods_that_need_more(invert, model, inversion, tmp_path):
    np.save(tmp_path / "smile.npy", np.ones(8, np.float32))
    result = invert("edit", inversion, "-d", tmp_path / "smile.npy", "--model", model, "-o", tmp_path / "out", "--device", "cpu")
    assert result.code == 2 and "directions import" in result.err
    result = invert("directions", "find", "--method", "text", "--model", model, "-o", tmp_path / "out", "--device", "cpu")
    assert result.code == 2 and "--text" in result.err


def test_plans(invert, model, smile, photos, tmp_path):
    plan = json.loads(invert("edit", photos / "a.png", "-d", smile, "-n", "-o", tmp_path / "out").out)
    assert plan["strengths"] == [-2, 0, 2] and len(plan["inputs"][0]["outputs"]) == 3 and not (tmp_path / "out").exists()


def test_mix(invert, model, inversion, tmp_path):
    result = invert("mix", inversion, "seed:3", "seed:4", "--model", model, "-o", tmp_path / "out", "--json", "--device", "cpu")
    assert result.code == 0, result.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"photo.seed3.coarse.png", "photo.seed4.middle.inversion.safetensors", "photo.mix.png", "report.json"} <= names
    assert len(json.loads(result.out)) == 4
    assert invert("mix", inversion, "seed:3", "--rows", "from 2", "--model", model, "-o", tmp_path / "b", "--device", "cpu").code == 0
    for arguments, said in (((inversion,), "at least one other"), ((inversion, "seed:3", "--rows", "fine"), "no such layers"),
                            (("seed:3", "seed:3"), "rename one"), ((inversion, "nothing.png"), "neither a picture")):  # fmt: skip
        wrong = invert("mix", *arguments, "--model", model, "-o", tmp_path / "c", "--device", "cpu")
        assert wrong.code == 2 and said in wrong.err


@pytest.mark.parametrize("method", ["linear", "slerp", "spline"])
def test_interpolate(invert, model, inversion, tmp_path, method):
    target = tmp_path / "walk.gif"
    options = ("--method", method, "--frames", "4", "--loop", "--perceptual", "none", "--model", model, "--device", "cpu")
    result = invert("interpolate", inversion, "seed:3", *options, "-o", target)
    assert result.code == 0, result.err
    assert Image.open(target).n_frames == 8
    lines = result.out.strip().splitlines()
    assert "d / eps^2" in lines[0] and len(lines) == 9 and all(float(line.split()[1]) > 0 for line in lines[1:])
    assert "local path length" in result.err


def test_interpolate_into_files(invert, model, tmp_path):
    options = ("--frames", "2", "--no-lengths", "--model", model, "--device", "cpu")
    assert invert("interpolate", "seed:1-3", *options, "-o", tmp_path / "frames").code == 0
    assert len(list((tmp_path / "frames").glob("*.png"))) == 5
    assert invert("interpolate", "seed:1-2", *options, "-o", tmp_path / "sheet.png").code == 0
    for arguments in (
        ("seed:1", "-o", "x.gif"),
        ("seed:1-2", "-o", "x.txt"),
        ("seed:1-2", "--method", "round"),
        ("seed:1-2", "--frames", "0"),
    ):
        assert invert("interpolate", *arguments, "--model", model, "--device", "cpu").code == 2


def test_blend(invert, model, tmp_path):
    child = write_model(tmp_path / "child.safetensors", seed=1)
    options = ("--sheet", tmp_path / "s.png", "--seeds", "0-1", "--device", "cpu", "--json")
    result = invert("blend", model, child, "--swap", "8", "-o", tmp_path / "both.safetensors", *options)
    assert result.code == 0, result.err
    both, first, second = (load_file(path) for path in (tmp_path / "both.safetensors", model, child))
    assert torch.equal(both["synthesis.b16.conv1.weight"], second["synthesis.b16.conv1.weight"])
    assert torch.equal(both["synthesis.b4.conv1.weight"], first["synthesis.b4.conv1.weight"])
    assert invert("blend", model, model, "--amount", "0.3", "-o", tmp_path / "same.safetensors", "--device", "cpu").code == 0
    same = load_file(tmp_path / "same.safetensors")
    assert all(torch.equal(same[name], value) for name, value in first.items())
    for arguments, code in ((("--amount", "1", "--swap", "8"), 2), (("--swap", "16"), 2), ((), 2)):
        assert invert("blend", model, child, *arguments, "-o", tmp_path / "x.safetensors", "--device", "cpu").code == code


def test_directions_found_listed_and_shown(invert, model, tmp_path):
    found = invert(
        "directions", "find", "--method", "sefa", "--count", "2", "--rows", "coarse", "--model", model, "-o", tmp_path, "--device", "cpu"
    )
    assert found.code == 0, found.err
    assert sorted(path.name for path in tmp_path.glob("*.direction.safetensors")) == [
        "sefa-0.direction.safetensors",
        "sefa-1.direction.safetensors",
    ]
    assert "singular_value" in found.out
    listed = invert("directions", "list", tmp_path)
    assert listed.code == 0 and "sefa-1" in listed.out and "sefa" in listed.out
    direction = tmp_path / "sefa-0.direction.safetensors"
    shown = invert(
        "directions", "show", direction, "--model", model, "--seeds", "0-1", "-s", "-1,0,1", "-o", tmp_path / "s.png", "--device", "cpu"
    )
    assert shown.code == 0 and "rows: 0-2" in shown.out and (tmp_path / "s.png").exists()
    moving = invert(
        "directions", "show", direction, "--model", model, "--seeds", "0", "-s", "-1,0,1", "-o", tmp_path / "s.gif", "--device", "cpu"
    )
    assert moving.code == 0 and Image.open(tmp_path / "s.gif").n_frames == 4
    assert invert("directions", "list").code == 0


def test_directions_from_a_table_and_imported(invert, model, tmp_path):
    lines = ["seed,thing", *[f"{seed},{np.sin(seed)}" for seed in range(40)]]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    result = invert("directions", "find", "--method", "regression", "--labels", tmp_path / "mine.csv", "--hold", "none", "--model", model,
                    "-o", tmp_path / "d", "--json", "--licence", "MIT", "--device", "cpu")  # fmt: skip
    assert result.code == 0, result.err
    (facts,) = json.loads(result.out)
    assert facts["name"] == "thing" and facts["licence"] == "MIT" and facts["provenance"]["labels"] == "mine.csv"
    np.save(tmp_path / "b.npy", np.ones((1, 8), np.float32))
    assert invert("directions", "import", tmp_path / "b.npy", "--model", model, "-o", tmp_path / "d", "--device", "cpu").code == 0
    assert (tmp_path / "d" / "b.direction.safetensors").exists()
    for arguments, said in ((("--method", "sefi"), "did you mean sefa"), (("--method", "sefa", "--attribute", "x"), "no option"),
                            (("--method", "stylespace"), "one of the two"), (("--labels", "no.csv"), "cannot be read")):  # fmt: skip
        wrong = invert("directions", "find", *arguments, "--model", model, "-o", tmp_path / "e", "--device", "cpu")
        assert wrong.code == 2 and said in wrong.err
