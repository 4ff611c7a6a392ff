"""Pipelines: the same in Python and from a file, on every kind of input, with the user's own steps; what cannot work is one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import invert
from invert.editing.direction import Direction
from invert.editing.labels import draw
from invert.editing.units import with_unit
from invert.pipeline import Align, Edit, Encode, Mask, Mix, PasteBack, Pipeline, Project, Render, Set, Truncate, Tune, Until, Work
from stylegan_core.align import align
from stylegan_core.errors import DirectionError, ImageError, InversionError, UsageError
from stylegan_core.images import load_image, to_u8
from stylegan_core.inversion import Inversion
from stylegan_core.latent import LatentSpace
from tests.invert.cli.conftest import write_model, write_photos
from tests.stylegan_core.test_align import HEIGHT, WIDTH, points_of, turned_quad

QUICK = {"preset": "fast", "steps": 4, "perceptual": "none", "start": "mean"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_model(folder / "tiny.safetensors")
    write_photos(folder, ["a.png", "b.png"])
    generator = invert.load_generator(folder / "tiny.safetensors")
    vector = torch.randn(8, generator=torch.Generator().manual_seed(0))
    with_unit(Direction("smile", LatentSpace.W, vector), generator).save(folder / "smile.direction.safetensors")
    Image.fromarray(np.repeat(np.uint8([[255] * 8 + [0] * 8]), 16, axis=0)).save(folder / "mask.png")
    return folder


@pytest.fixture
def steps(world):
    return [
        Align(),
        Project(space="w+", **QUICK),
        Edit(str(world / "smile.direction.safetensors"), 2),
        Mix("seed:3", rows="middle"),
        PasteBack(),
    ]


def test_align_invert_edit_paste(world, steps):
    pipeline = Pipeline(steps, model=str(world / "tiny.safetensors"), device="cpu")
    work = pipeline(world / "a.png")
    photo = load_image(world / "a.png")
    assert isinstance(work, Work) and work.picture.shape == photo.shape == (1, 3, 32, 40)
    assert torch.equal(work.picture[..., :4], photo[..., :4]) and torch.equal(work.picture[..., 36:], photo[..., 36:])
    assert not torch.equal(work.picture, photo)
    assert [note["step"] for note in work.report] == ["Align", "Project", "Edit", "Mix", "PasteBack"]
    assert [note["step"] for note in work.inversion.metadata["edits"]] == ["apply", "mix"]
    assert "edits" not in work.unedited.metadata


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_file_gives_the_same_pixels(world, steps, tmp_path, suffix):
    pipeline = Pipeline(steps, model=str(world / "tiny.safetensors"))
    pipeline.save(tmp_path / f"edit{suffix}")
    again = Pipeline.load(tmp_path / f"edit{suffix}")
    assert again.steps == pipeline.steps and str(again) == str(pipeline) and again.to_dict() == pipeline.to_dict()
    one, other = pipeline(world / "a.png"), again(world / "a.png")
    assert torch.equal(one.picture, other.picture) and torch.equal(one.inversion.latent.value, other.inversion.latent.value)


def test_a_file_written_by_hand(world, tmp_path):
    (tmp_path / "edit.yaml").write_text(
        f"model: {world / 'tiny.safetensors'}\nsteps:\n  - Align\n  - Project: {{space: w, steps: 3, perceptual: none, start: mean}}\n"
        f"  - Edit: [{world / 'smile.direction.safetensors'}, 1.5]\n  - Truncate: 0.8\n  - Render\n"
    )
    pipeline = Pipeline.load(tmp_path / "edit.yaml")
    direction = str(world / "smile.direction.safetensors")
    expected = [Align(), Project(space="w", steps=3, perceptual="none", start="mean"), Edit(direction, 1.5), Truncate(0.8), Render()]
    assert list(pipeline.steps) == expected
    assert pipeline(world / "b.png").picture.shape == (1, 3, 16, 16)


def test_every_kind_of_input(world, tmp_path):
    model = str(world / "tiny.safetensors")
    pipeline = Pipeline([Align(), Project(**QUICK), Edit(str(world / "smile.direction.safetensors"), 1)], model=model)
    photo = world / "a.png"
    works = [pipeline(source) for source in (photo, str(photo), Image.open(photo), np.asarray(Image.open(photo)), load_image(photo))]
    assert all(torch.equal(work.picture, works[0].picture) for work in works)
    inversion = works[0].unedited
    inversion.save(tmp_path / "a.inversion.safetensors")
    before = inversion.latent.value.clone()
    for source in (inversion, tmp_path / "a.inversion.safetensors"):
        work = pipeline(source)
        assert torch.equal(work.picture, works[0].picture) and work.report[1]["skipped"] == "an inversion came in"
    assert torch.equal(inversion.latent.value, before)
    batch = pipeline([photo, world / "b.png"])
    assert [work.name for work in batch] == ["a", "b"] and torch.equal(batch[0].picture, works[0].picture)
    assert len(pipeline(Inversion.cat([inversion, inversion]))) == 2


def test_steps_of_the_user(world, tmp_path):
    model = str(world / "tiny.safetensors")

    def darker(work: Work):
        return Inversion(work.inversion.latent * 0.9, metadata=work.inversion.metadata)

    def grey(work: Work):
        return torch.zeros(1, 3, 16, 16)

    pipeline = Pipeline([Project(**QUICK), darker, Render(), lambda work: work], model=model)
    work = pipeline(world / "a.png")
    assert [note["step"] for note in work.report] == ["Project", "darker", "Render", "<lambda>"]
    assert torch.allclose(work.inversion.latent.value, work.unedited.latent.value * 0.9)
    assert not Pipeline([Project(**QUICK), grey], model=model)(world / "a.png").picture.any()
    with pytest.raises(UsageError, match=r"step 2 \(darker\) is a function"):
        pipeline.save(tmp_path / "edit.yaml")
    with pytest.raises(UsageError, match="gave int"):
        Pipeline([Project(**QUICK), lambda work: 3], model=model)(world / "a.png")
    direction = Direction.load(world / "smile.direction.safetensors")
    with pytest.raises(UsageError, match="holds a Direction"):
        Pipeline([Edit(direction, 1)], model=model).to_dict()
    assert "<Direction>" in str(Pipeline([Edit(direction, 1)], model=model))


def test_set_until_mask_and_landmarks(world, tmp_path):
    model = str(world / "tiny.safetensors")
    direction = Direction.load(world / "smile.direction.safetensors")
    work = Pipeline([Project(**QUICK), Set(direction, 1.5)], model=model)(world / "a.png")
    assert float(direction.measure(work.inversion)) == pytest.approx(1.5, abs=1e-3) and work.report[1]["before"] is not None
    masked = Pipeline([Project(**QUICK), Edit(direction, 3), Mask(str(world / "mask.png"), "pixels")], model=model)(world / "a.png")
    plain = Pipeline([Project(**QUICK)], model=model)(world / "a.png").picture
    edited = Pipeline([Project(**QUICK), Edit(direction, 3)], model=model)(world / "a.png").picture
    assert torch.allclose(masked.picture[..., :6], edited[..., :6], atol=1e-4) and torch.allclose(
        masked.picture[..., 10:], plain[..., 10:], atol=1e-4
    )
    Image.fromarray(np.repeat(np.uint8([[255] * 19 + [0] * 21]), 32, axis=0)).save(tmp_path / "photo_mask.png")  # as large as the photo
    whole = Pipeline([Project(**QUICK), Edit(direction, 3), Mask(str(tmp_path / "photo_mask.png"), "pixels")], model=model)(world / "a.png")
    assert torch.allclose(whole.picture[..., :4], edited[..., :4], atol=1e-4) and torch.allclose(
        whole.picture[..., 11:], plain[..., 11:], atol=1e-4
    )
    until = Pipeline([Project(**QUICK), Until(direction, keep="distance<=0.05", max_strength=2)], model=model)(world / "a.png")
    assert until.report[1]["reason"] in ("bound", "limit")
    points = [[14, 12], [26, 12], [16, 22], [24, 22]]
    by_hand = Pipeline([Align(points), Project(**QUICK), PasteBack(feather=0)], model=model)(world / "a.png")
    assert by_hand.report[0]["how"] == "by landmarks" and len(by_hand.inversion.geometry["quad"]) == 4
    write_photos(tmp_path, ["a.png"])
    (tmp_path / "a.landmarks.json").write_text(json.dumps(points))
    beside = Pipeline([Align(), Project(**QUICK), PasteBack(feather=0)], model=model)(tmp_path / "a.png")
    assert torch.equal(beside.picture, by_hand.picture)
    by_hand.inversion.save(tmp_path / "turned.inversion.safetensors")
    again = Pipeline([PasteBack(feather=0, photo=str(world / "a.png"))], model=model)(tmp_path / "turned.inversion.safetensors")
    assert torch.equal(to_u8(again.picture), to_u8(by_hand.picture))


def test_a_large_photo_with_a_turned_face(world, tmp_path):
    """1600×1200, the face turned by 20°: nothing outside of the quad changes, and inside there is the reconstruction."""
    model, quad = str(world / "tiny.safetensors"), turned_quad()
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "party.png")
    (tmp_path / "party.landmarks.json").write_text(json.dumps(points_of(quad)))
    smile = str(world / "smile.direction.safetensors")
    work = Pipeline([Align(), Project(**QUICK), Edit(smile, 0), PasteBack(feather=0)], model=model)(tmp_path / "party.png")
    assert np.allclose(work.inversion.geometry["quad"], quad.corners.numpy(), atol=0.01)
    before, after = to_u8(load_image(tmp_path / "party.png"))[0], to_u8(work.picture)[0]
    assert after.shape == (HEIGHT, WIDTH, 3)
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    inside = ((uv := quad.to_crop(torch.stack([x.flatten(), y.flatten()], dim=1))) >= 0).all(dim=1) & (uv <= 1).all(dim=1)
    assert torch.equal(before.reshape(-1, 3)[~inside], after.reshape(-1, 3)[~inside])
    assert not torch.equal(before.reshape(-1, 3)[inside], after.reshape(-1, 3)[inside])
    again, geometry = align(work.picture, quad, invert.load_generator(model))
    assert (again - work.unedited.render(invert.load_generator(model)).clamp(-1, 1)).abs().mean() < 0.05
    assert geometry["quad"] == work.inversion.geometry["quad"]


def test_encoded_and_tuned(world, tmp_path):
    from encoders.build import encoder_for
    from encoders.native import save_encoder

    model = str(world / "tiny.safetensors")
    save_encoder(encoder_for(invert.load_generator(model), "psp", backbone="tiny"), tmp_path / "e.safetensors")
    encode, smile = Encode(str(tmp_path / "e.safetensors")), Edit(str(world / "smile.direction.safetensors"), 2)
    pipeline = Pipeline([Align(), encode, Tune(steps=3, perceptual="none"), smile], model=model)
    work = pipeline(world / "a.png")
    assert [note["step"] for note in work.report] == ["Align", "Encode", "Tune", "Edit"]
    assert work.inversion.weight_deltas and "box" in work.inversion.geometry and work.report[2]["psnr"] > 0
    assert not torch.equal(work.picture, work.unedited.render(invert.load_generator(model)))
    pipeline.save(tmp_path / "edit.yaml")
    assert torch.equal(Pipeline.load(tmp_path / "edit.yaml")(world / "a.png").picture, work.picture)
    with pytest.raises(UsageError, match="no picture to tune to"):
        Pipeline([Tune(steps=1)], model=model)(work.unedited)


@pytest.mark.parametrize(
    "make, said",
    [(lambda smile: Edit("smlie"), "smlie"), (lambda smile: Edit(smile, rows="top"), "rows 'top'"),
     (lambda smile: Edit(5), "of the type int"), (lambda smile: Edit(smile, hold=5), "of the type int"),
     (lambda smile: Edit(smile, rows=2.5), "rows 2.5"),
     (lambda smile: Set(smile, rows="99"), "rows '99'"), (lambda smile: Until(smile, "smile>>1"), "write smile"),
     (lambda smile: Mix("nowhere.png", rows="middle"), "neither a picture"), (lambda smile: Mix("seed:3", rows="from 40"), "from 40"),
     (lambda smile: Mix(3, rows="middle"), "of the type int"), (lambda smile: Mask("nowhere.png"), "nowhere.png"),
     (lambda smile: Truncate(rows="7-3"), "rows '7-3'"), (lambda smile: PasteBack(photo="nowhere.png"), "nowhere.png")],
)  # fmt: skip
def test_what_cannot_work_is_told_before_the_first_step(world, make, said):
    def never(work):
        raise AssertionError("a step ran")

    with pytest.raises((UsageError, ImageError), match=said):
        Pipeline([never, make(str(world / "smile.direction.safetensors"))], model=str(world / "tiny.safetensors"))(world / "a.png")


def test_what_cannot_work(world, tmp_path):
    model = str(world / "tiny.safetensors")
    photo, smile = world / "a.png", str(world / "smile.direction.safetensors")
    for bad, error, said in (
        ([Edit(smile, 1)], UsageError, "put Project before"),
        ([Project(**QUICK), Edit("smlie", 1)], UsageError, "none come with this model"),
        ([Project(**QUICK), Mix("nowhere.png")], UsageError, "neither a picture"),
        ([Align([[1, 2]])], UsageError, "1 points"),
        ([Align([[14, 12], [260, 12], [16, 22], [24, 22]])], ImageError, "outside of the picture"),
        ([Project(space="v")], UsageError, "space"),
    ):
        with pytest.raises(error, match=said):
            Pipeline(bad, model=model)(photo)
    inversion = Inversion(draw(invert.load_generator(model), 2, space="w"))[0]
    with pytest.raises(ImageError, match="no photo"):
        Pipeline([PasteBack()], model=model)(inversion)
    with pytest.raises(InversionError, match="where in a photo"):
        Pipeline([PasteBack(photo=str(photo))], model=model)(inversion)
    write_model(tmp_path / "other.safetensors", seed=1)
    named = Pipeline([Project(**QUICK)], model=model)(photo).inversion
    with pytest.raises(InversionError, match="--related"):
        Pipeline([Edit(smile, 1)], model=str(tmp_path / "other.safetensors"))(named)
    other = str(tmp_path / "other.safetensors")
    found = invert.load_generator(other)
    with_unit(Direction("s", LatentSpace.W, torch.ones(8), model_sha256="ab" * 32, model="x"), found).save(
        tmp_path / "s.direction.safetensors"
    )
    with pytest.raises(DirectionError, match="was found in x"):
        Pipeline([Edit(str(tmp_path / "s.direction.safetensors"), 1)], model=other)(Inversion(draw(found, 2, space="w"))[0])
    related = Pipeline([Edit(str(tmp_path / "s.direction.safetensors"), 1)], model=other, is_related=True)
    assert related(named).inversion.metadata["inverted_with"] == named.metadata["model_sha256"]


NO_PIPELINES = {
    "steps: [Edti: {direction: smile}]": "did you mean Edit",
    "steps: [Edit]": "needs direction",
    "steps: [Edit: {colour: red}]": "no option",
    "steps: []": "with `steps`",
    "[1": "neither YAML nor JSON",
    "steps: [Align]\nfoo: 1": "'foo' is not known",
    "steps: [3]": "step 1",
    "steps: [Render: [1, 2]]": "takes at most 0",
    "steps: [!!python/object/apply:os.system ['true']]": "neither YAML nor JSON",
    "steps: [{Edit: smile, Set: age}]": "one name",
    "steps: [Align]\nis_related: maybe": "true or false",
    "steps: [Align, Edit: [smile, much]]": "step 2: strength is 'much'",
    "steps: [PasteBack: {mode: glue}]": "step 1: mode 'glue'",
    "steps: [PasteBack: {feather: 2}]": "from 0 to 0.5",
    "steps: [Mask: [a.png, walls]]": "features, pixels",
    "steps: [Mix: {other: 'seed:1', amount: .nan}]": "amount is 'nan'",
}


@pytest.mark.parametrize("text, said", NO_PIPELINES.items())
def test_files_that_are_no_pipelines(tmp_path, text, said):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UsageError, match=said) as error:
        Pipeline.load(tmp_path / "bad.yaml")
    assert "bad.yaml" in str(error.value) and "\n" not in str(error.value)
