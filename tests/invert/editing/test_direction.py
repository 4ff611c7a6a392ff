"""Directions: units, spaces, rows; nothing is changed in place; files; what does not fit is refused in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from invert.editing.arithmetic import combine, orthogonalise, restrict, to_styles, to_w_plus
from invert.editing.direction import Direction
from invert.editing.labels import draw
from invert.editing.notes import edits_of
from invert.editing.units import unit_direction, with_unit
from stylegan_core.errors import DirectionError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.noise import Noise
from tests.tiny import tiny_generator

SPACES = [space.value for space in LatentSpace]


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(generator, space: str = "w", seed: int = 0, name: str = "smile") -> Direction:
    chosen = LatentSpace.parse(space)
    return with_unit(Direction(name, chosen, torch.randn(chosen.shape(generator), generator=rng(seed))), generator)


def inversion_of(generator, space: str = "w+", seeds=(1, 2)) -> Inversion:
    latent = Latent.sample(generator, list(seeds)).lower(generator, to=space)
    if space == "w+":
        latent = latent + 0.1 * torch.randn(latent.value.shape, generator=rng(7))
    return Inversion(latent, Noise.random(generator, list(seeds)).maps, metadata={"psnr": 30.0, "preset": "fast"})


@pytest.mark.parametrize("space", SPACES)
def test_strength_one_is_a_standard_deviation_over_samples(generator, space):
    direction = made(generator, space)
    readings = direction.measure(draw(generator, 4000, seed=5), generator=generator) if space != "z" else direction.measure(
        draw(generator, 4000, seed=5))  # fmt: skip
    assert float(readings.std()) == pytest.approx(1, abs=0.1) and float(readings.mean()) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("space", SPACES)
def test_apply_moves_and_set_arrives(generator, space):
    direction, inversion = made(generator, space), inversion_of(generator, space)
    before = inversion.latent.value.clone()
    moved = direction.apply(inversion, 1.5)
    assert torch.allclose(direction.measure(moved) - direction.measure(inversion), torch.tensor(1.5), atol=1e-4)
    assert torch.allclose(direction.measure(direction.set(inversion, -2.0)), torch.tensor(-2.0), atol=1e-4)
    assert torch.equal(inversion.latent.value, before) and "edits" not in inversion.metadata
    assert edits_of(moved, 1) == [{"step": "apply", "direction": "smile", "strength": 1.5, "space": space, "rows": "all"}]
    assert "psnr" not in moved.metadata and moved.metadata["projection"]["psnr"] == 30.0
    assert all(torch.equal(moved.noise[name], value) for name, value in inversion.noise.items())


def test_each_image_has_its_own_strength(generator):
    direction, inversion = made(generator), inversion_of(generator)
    moved = direction.apply(inversion, torch.tensor([0.0, 2.0]))
    assert torch.equal(moved.latent.value[0], inversion.latent.value[0])
    assert [edits_of(moved, i)[0]["strength"] for i in (0, 1)] == [0.0, 2.0]
    assert torch.equal(moved[1].latent.value, direction.apply(inversion[1], 2.0).latent.value)


def test_zero_is_the_same_picture(generator):
    inversion = inversion_of(generator)
    assert torch.equal(made(generator).apply(inversion, 0).render(generator), inversion.render(generator))


def test_edits_add_up_and_are_noted_in_order(generator):
    smile, age, inversion = made(generator), made(generator, seed=1, name="age"), inversion_of(generator)
    one, other = age.apply(smile.apply(inversion, 1), -2), smile.apply(age.apply(inversion, -2), 1)
    assert torch.allclose(one.latent.value, other.latent.value, atol=1e-6)
    assert [note["direction"] for note in edits_of(one)] == ["smile", "age"]


@pytest.mark.parametrize("space", ["z", "w"])
def test_a_latent_is_lowered_where_it_must_be(generator, space):
    inversion, direction = inversion_of(generator, space), made(generator, "s")
    with pytest.raises(DirectionError, match="give the generator"):
        direction.apply(inversion, 1)
    assert direction.apply(inversion, 1, generator=generator).latent.space is LatentSpace.S
    rows = restrict(made(generator), "0-1", generator)
    moved = rows.apply(inversion, 1, generator=generator)
    assert moved.latent.space is LatentSpace.W_PLUS
    whole = inversion.latent.lower(generator, to="w+").value
    assert torch.equal(moved.latent.value[:, 2:], whole[:, 2:]) and not torch.equal(moved.latent.value[:, :2], whole[:, :2])


def test_z_lies_uphill(generator):
    with pytest.raises(DirectionError, match="acts in z"):
        made(generator, "z").apply(inversion_of(generator, "w"), 1, generator=generator)


def test_carried_over_to_styles_it_gives_the_same_picture(generator):
    inversion = inversion_of(generator)
    for direction in (made(generator), restrict(made(generator), "1,3", generator), made(generator, "w+")):
        moved = direction.apply(inversion, 1.2)
        carried = to_styles(direction, generator).apply(inversion, 1.2, generator=generator)
        assert carried.latent.space is LatentSpace.S
        assert torch.allclose(carried.render(generator), moved.render(generator), atol=1e-5)
        lowered = Inversion(inversion.latent.lower(generator, to="s"), inversion.noise)
        assert torch.allclose(direction.apply(lowered, 1.2, generator=generator).render(generator), moved.render(generator), atol=1e-5)


def test_w_written_as_w_plus(generator):
    inversion = inversion_of(generator)
    for direction in (made(generator), restrict(made(generator), (0, 2), generator)):
        wide = to_w_plus(direction, generator)
        assert torch.allclose(wide.apply(inversion, 2).latent.value, direction.apply(inversion, 2).latent.value, atol=1e-6)
        assert torch.allclose(wide.measure(inversion), direction.measure(inversion), atol=1e-5)


@pytest.mark.parametrize("with_covariance", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_held_readings_stay(generator, count, with_covariance):
    others = [made(generator, seed=1 + k, name=f"other{k}") for k in range(count)]
    latent = draw(generator, 1000, space="w").value
    direction = orthogonalise(made(generator), others, covariance=torch.cov(latent.T) if with_covariance else None)
    inversion = inversion_of(generator)
    moved = direction.apply(inversion, 2)
    assert torch.allclose(direction.measure(moved) - direction.measure(inversion), torch.tensor(2.0), atol=1e-3)
    for other in others:
        assert torch.allclose(other.measure(moved), other.measure(inversion), atol=1e-4)
    assert direction.provenance["conditional"]["held"] == [other.name for other in others]


def test_a_conditional_direction_keeps_its_vector(generator):
    """Held again it stays as it is; with one more condition it moves no further from its vector than that condition asks."""
    latent = draw(generator, 1000, space="w").value
    age, hat = made(generator, seed=1, name="age"), made(generator, seed=2, name="hat")
    once = orthogonalise(made(generator), [age], covariance=torch.cov(latent.T))
    again = orthogonalise(once, [age])
    assert torch.allclose(again.vector, once.vector, atol=1e-5)
    assert again.provenance["conditional"]["before"] == once.provenance["conditional"]
    both = orthogonalise(once, [age, hat])
    kept = torch.nn.functional.cosine_similarity(both.vector, once.vector, dim=0)
    assert kept > torch.nn.functional.cosine_similarity(orthogonalise(made(generator), [age, hat]).vector, once.vector, dim=0)
    assert both.reader @ both.vector == pytest.approx(1, abs=1e-4) and (age.reader @ both.vector).abs() < 1e-4


def test_one_condition_is_the_papers_projection(generator):
    """InterFaceGAN Sec. 3.2: n1 - (n1ᵀ n2) n2, of unit normals."""
    first, second = made(generator), made(generator, seed=1, name="age")
    n1, n2 = (direction.vector / direction.vector.norm() for direction in (first, second))
    expected = n1 - (n1 @ n2) * n2
    vector = orthogonalise(first, [second]).vector
    assert torch.allclose(vector / vector.norm(), expected / expected.norm(), atol=1e-5)


def test_nothing_left_is_refused(generator):
    smile = made(generator)
    with pytest.raises(DirectionError, match="nothing is left"):
        orthogonalise(smile, [replace(smile, name="grin")])
    with pytest.raises(DirectionError, match="one space"):
        orthogonalise(smile, [made(generator, "s")])


def test_sums(generator):
    smile, age, inversion = made(generator), made(generator, seed=1, name="age"), inversion_of(generator)
    both = combine([smile, age], [1, -0.5])
    expected = age.apply(smile.apply(inversion, 2), -1).latent.value
    assert torch.allclose(both.apply(inversion, 2).latent.value, expected, atol=1e-5)
    assert torch.allclose(both.measure(both.set(inversion, 1.5)), torch.tensor(1.5), atol=1e-4)
    with pytest.raises(DirectionError, match="cancel"):
        combine([smile, smile], [1, -1])
    with pytest.raises(DirectionError, match="one space"):
        combine([smile, made(generator, "s")])


def test_reversed_and_scaled(generator):
    smile, inversion = made(generator), inversion_of(generator)
    frown = smile.reversed("frown")
    assert torch.allclose(frown.apply(inversion, 1).latent.value, smile.apply(inversion, -1).latent.value)
    assert torch.allclose(frown.measure(inversion), -smile.measure(inversion), atol=1e-5)
    assert torch.allclose(smile.scaled(2).apply(inversion, 1).latent.value, smile.apply(inversion, 2).latent.value)
    assert torch.allclose(smile.scaled(2).measure(inversion) * 2, smile.measure(inversion), atol=1e-5)


def test_restricted_to_layers(generator):
    smile = made(generator)
    assert restrict(smile, "all", generator) is smile
    coarse, middle = restrict(smile, "coarse", generator), restrict(smile, "middle", generator)
    inversion = inversion_of(generator)
    both = middle.apply(coarse.apply(inversion, 1), 1).latent.value
    assert torch.allclose(both, smile.apply(inversion, 1).latent.value, atol=1e-6)
    styles = to_styles(smile, generator)
    parts = [restrict(styles, rows, generator).vector for rows in ("coarse", "middle")]
    assert torch.equal(parts[0] + parts[1], styles.vector) and all(bool(part.any()) for part in parts)


@pytest.mark.parametrize("space", SPACES)
def test_a_file_keeps_everything(generator, tmp_path, space):
    direction = replace(made(generator, space), model="tiny", model_sha256="ab" * 32, licence="MIT", provenance={"method": "x"})
    if space == "w":
        direction = replace(direction, rows=(0, 2))
    direction.save(tmp_path / "a.direction.safetensors")
    again = Direction.load(tmp_path / "a.direction.safetensors")
    assert torch.equal(again.vector, direction.vector) and again.provenance.pop("written_by")
    assert replace(again, vector=direction.vector, normal=direction.normal) == direction
    assert torch.equal(again.reader, direction.reader)


def test_what_does_not_fit(generator, tmp_path):
    smile = replace(made(generator), model_sha256="ab" * 32, model="tiny")
    wrong = replace(inversion_of(generator), metadata={"model_sha256": "cd" * 32, "model": "other"})
    for given in (None, generator):
        with pytest.raises(DirectionError, match="was found in tiny"):
            smile.apply(wrong, 1, generator=given)
    assert smile.for_model("cd" * 32, "other").apply(wrong, 1).metadata["edits"][0]["direction"] == "smile"
    with pytest.raises(DirectionError, match="has the shape"):
        made(generator).apply(inversion_of(generator), 1, generator=tiny_generator(w_dim=8))
    with pytest.raises(DirectionError, match="rows 9"):
        replace(smile, rows=(9,)).check(generator)
    for bad in ({"vector": torch.zeros(16)}, {"vector": torch.ones(2, 3)}, {"unit": "metre"}, {"rows": ()}, {"normal": torch.ones(3)},
                {"vector": torch.full((16,), float("nan"))}, {"space": LatentSpace.Z, "rows": (1,)}):  # fmt: skip
        with pytest.raises(DirectionError, match="smile"):
            replace(smile, **bad)
    with pytest.raises(DirectionError):
        unit_direction("flat", torch.zeros(16), draw(generator, 10, space="w"))


def test_damaged_files(generator, tmp_path):
    from safetensors.torch import save_file

    def header(version: str = "1", text: str = '{"name": "a", "space": "w", "unit": "std"}') -> dict[str, str]:
        return {"format": "invert-direction", "format_version": version, "direction": text}

    cases = {
        "missing": None,
        "empty": b"",
        "text": b"hello, this is no direction",
        "inversion": {"format": "invert-inversion"},
        "version": header("9"),
        "json": header(text="{"),
        "rows": header(text='{"name": "a", "space": "w", "unit": "std", "rows": ["x"]}'),
        "space": header(text='{"name": "a", "space": "q", "unit": "std"}'),
        "origin": header(text='{"name": "a", "space": "w", "unit": "std", "origin": "0"}'),
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.direction.safetensors"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            save_file({"vector": torch.ones(16)}, path, metadata=content)
        with pytest.raises(DirectionError) as error:
            Direction.load(path)
        assert path.name in str(error.value) and "\n" not in str(error.value)
