"""Each finder against its own mathematics, done another way."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from invert.editing.ganspace import GANSpace, IncrementalPCA, activations_of
from invert.editing.interfacegan import InterFaceGAN, fit_boundary
from invert.editing.jacobian import Jacobian
from invert.editing.labels import Labelled, draw, from_csv, from_pairs, labelled, score_samples
from invert.editing.layers import affine_of_rows, parse_rows, row_of_layer, rows_of_range
from invert.editing.regression import Regression
from invert.editing.sefa import SeFa, style_weights
from invert.editing.stylespace import StyleSpace, channel_direction, style_statistics
from invert.editing.text import TextDriven
from stylegan_core.errors import DirectionError, MissingExtraError, UsageError, WeightsNotFoundError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from tests.invert.editing.worlds import TinyClip, bright_or_not, scores
from tests.tiny import tiny_generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


# Layers.


def test_rows_and_weights_are_those_of_the_network(generator):
    assert row_of_layer(generator) == generator.synthesis.rows
    for name, weights in affine_of_rows(generator).items():
        module = generator.synthesis.get_submodule(name).affine
        expected = module.weight * module.weight_gain if hasattr(module, "weight_gain") else module.weight / module.weight.shape[1] ** 0.5
        assert torch.allclose(weights, expected, atol=1e-6)


def test_rows_by_name(generator):
    assert rows_of_range(generator, "coarse") == (0, 1, 2) and rows_of_range(generator, "middle") == (3, 4, 5)
    assert parse_rows("coarse,4", generator) == (0, 1, 2, 4) == parse_rows((0, 1, 2, 4), generator)
    assert parse_rows("all", generator) is None is parse_rows(None, generator)
    bad = {"fine": "no such layers", "9": "rows 0 to 5", "3-1": "rows 0 to 5", "x": "not understood", "": "not understood"}
    for text, said in bad.items():
        with pytest.raises(UsageError, match=said):
            parse_rows(text, generator)


# SeFa.


@pytest.mark.parametrize("rows", [None, "coarse", "3-4"])
def test_sefa_is_the_singular_value_decomposition_sorted(generator, rows):
    """Right singular vectors of the stacked style weights by numpy, largest first, of the very rows that were asked for."""
    found = SeFa(rows=rows, num_components=16).find(generator)
    chosen = parse_rows(rows, generator) or range(generator.num_ws)
    layers = [name for name in generator.style_dims if not name.endswith("torgb") and generator.synthesis.rows[name] in chosen]
    stacked = np.concatenate([affine_of_rows(generator)[name].double().numpy() for name in layers])
    _, values, vectors = np.linalg.svd(stacked, full_matrices=False)
    got = [direction.provenance["figures"]["singular_value"] for direction in found]
    assert np.allclose(got, values, rtol=1e-5) and got == sorted(got, reverse=True)
    for direction, vector in zip(found, vectors):
        unit = (direction.vector / direction.vector.norm()).numpy()
        assert min(np.abs(unit - vector).max(), np.abs(unit + vector).max()) < 1e-5
        assert direction.rows == (None if rows is None else tuple(chosen))


def test_sefa_edits_the_rows_that_it_was_found_in(generator):
    inversion = Inversion(draw(generator, 2, seed=1, space="w+"))
    moved = SeFa(rows="3-4", num_components=1).find(generator)[0].apply(inversion, 3)
    changed = (moved.latent.value != inversion.latent.value).any(dim=2)[0]
    assert changed.tolist() == [row in (3, 4) for row in range(generator.num_ws)]


def test_sefa_normalised_as_published(generator):
    weights = style_weights(generator)
    weights = weights / weights.norm(dim=1, keepdim=True)
    values, vectors = np.linalg.eigh((weights.T @ weights).numpy())
    found = SeFa(num_components=1, is_normalised=True).find(generator)[0]
    unit = (found.vector / found.vector.norm()).numpy()
    assert abs(abs(unit @ vectors[:, values.argmax()]) - 1) < 1e-5


# GANSpace.


def test_ganspace_is_an_independent_pca(generator):
    from sklearn.decomposition import PCA

    found = GANSpace(num_components=5, num_samples=2000).find(generator)
    pca = PCA(5).fit(draw(generator, 2000, space="w").value.double().numpy())
    for k, direction in enumerate(found):
        unit = direction.vector / direction.vector.norm()
        assert abs(abs(float(unit @ torch.from_numpy(pca.components_[k]).float())) - 1) < 1e-4
        assert direction.provenance["figures"]["explained_variance"] == pytest.approx(pca.explained_variance_ratio_[k], rel=1e-4)
        assert float(direction.vector.norm()) == pytest.approx(pca.explained_variance_[k] ** 0.5, rel=1e-3)


@pytest.mark.parametrize("keep", [None, 30])
def test_parts_give_what_the_whole_gives(keep):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 20)) @ np.diag(np.linspace(3, 0.1, 20)) + rng.standard_normal(20) * 5
    pca = IncrementalPCA(20, keep=keep)
    for part in np.array_split(x, 7):
        pca.add(torch.from_numpy(part))
    centred = x - x.mean(axis=0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(pca.mean.numpy(), x.mean(axis=0)) and np.allclose(pca.variances[:8].numpy(), values[:8] ** 2 / 399)
    assert np.allclose(np.abs((pca.components(8).numpy() * vectors[:8]).sum(axis=1)), 1, atol=1e-6)
    assert float(pca.explained_variance_ratio.sum()) == pytest.approx(1)


def test_ganspace_of_a_layer_explains_its_activations(generator):
    """Moving along a component moves the layer along the activation component more than any other step of the same length does."""
    found = GANSpace(layer="b8", num_components=2, num_samples=400).find(generator)
    latent = draw(generator, 400, space="w")
    activations = activations_of(generator, latent, "b8").flatten(1).double()
    _, _, vectors = torch.linalg.svd(activations - activations.mean(dim=0), full_matrices=False)
    centre = Latent(latent.value.mean(dim=0, keepdim=True), LatentSpace.W)
    step = found[0].vector / found[0].vector.norm() * 0.1
    moved = [activations_of(generator, Latent(centre.value + sign * step, LatentSpace.W), "b8").flatten(1).double() for sign in (-1, 1)]
    along = float((moved[1] - moved[0])[0] @ vectors[0]) ** 2
    others = []
    for seed in range(8):
        other = torch.randn(16, generator=torch.Generator().manual_seed(seed))
        pair = [activations_of(generator, Latent(centre.value + s * 0.1 * other / other.norm(), LatentSpace.W), "b8").flatten(1).double()
                for s in (-1, 1)]  # fmt: skip
        others.append(float((pair[1] - pair[0])[0] @ vectors[0]) ** 2)
    assert along > max(others)
    with pytest.raises(UsageError, match="synthesis network has"):
        GANSpace(layer="b9", num_samples=10).find(generator)


# InterFaceGAN and regression.


def planted(count: int = 600, dims: int = 16) -> tuple[Labelled, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(count, dims, generator=rng)
    normals = torch.linalg.qr(torch.randn(dims, 2, generator=rng))[0].T
    values = w @ normals.T
    data = {"age": values[:, 0], "glasses": (values[:, 1] > 0.3).float()}
    return Labelled(Latent(w, LatentSpace.W), data, frozenset({"glasses"}), "planted"), normals[0], normals[1]


def test_a_planted_boundary_is_found():
    data, age, glasses = planted()
    for name, normal in (("age", age), ("glasses", glasses)):
        boundary = fit_boundary(data, name, 0.3, 0.25, 1.0)
        assert float(boundary.normal.float() @ normal / boundary.normal.norm()) > 0.97
        assert boundary.accuracy > 0.95 and boundary.accuracy_full > 0.9


def test_chance_is_not_called_accuracy():
    data, _, _ = planted()
    noise = torch.randn(len(data), generator=torch.Generator().manual_seed(5))
    boundary = fit_boundary(Labelled(data.latent, {"noise": noise}, frozenset(), ""), "noise", 0.3, 0.25, 1.0)
    assert 0.35 < boundary.accuracy < 0.65


def test_planted_directions_of_a_generator(generator):
    """Labels given as a table of known linear functions of w: both methods find them, conditional ones leave the other alone."""
    latent = draw(generator, 800, seed=2, space="w")
    rng = torch.Generator().manual_seed(1)
    spread = torch.linalg.cholesky(torch.cov(latent.value.T) + 1e-6 * torch.eye(16))
    normals = torch.linalg.solve(spread.T, torch.linalg.qr(torch.randn(16, 2, generator=rng))[0]).T
    values = latent.value @ normals.T
    data = Labelled(latent, {"one": values[:, 0], "two": values[:, 1]}, frozenset(), "planted")
    machines = InterFaceGAN(data, conditions=("all",)), InterFaceGAN(data, conditions=("all",), metric="std")
    for method, tolerance in ((Regression(data), 0.05), *((machine, 0.3) for machine in machines)):
        for k, direction in enumerate(method.find(generator)):
            moved = normals @ direction.vector
            assert abs(float(moved[k])) == pytest.approx(float(values[:, k].std()), rel=tolerance)
            assert abs(float(moved[1 - k])) < tolerance * float(values[:, 1 - k].std())
            assert direction.provenance["conditional"]["held"] == ["two" if k == 0 else "one"]


def test_figures_are_measured_on_samples_that_were_held_out(generator):
    found = Regression(scores, num_samples=400).find(generator)
    assert all(0 < direction.provenance["figures"]["r2"] <= 1 for direction in found)
    assert all(d.provenance["figures"]["r2"] is None for d in Regression(scores, num_samples=200, held_out=0).find(generator))


def test_classes_and_one_sided_attributes(generator):
    data = score_samples(generator, bright_or_not, num_samples=200)
    assert data.binary == {"bright"}
    one_sided = Labelled(data.latent, {**data.scores, "never": torch.zeros(200)}, frozenset({"never", "bright"}), "")
    found = InterFaceGAN(one_sided).find(generator)
    assert "never" in found[0].provenance["left_out"] and [direction.name for direction in found] == ["bright", "left"]
    with pytest.raises(UsageError, match="0 have it"):
        InterFaceGAN(one_sided, attributes=("never",)).find(generator)
    with pytest.raises(UsageError, match="did you mean bright"):
        InterFaceGAN(data, attributes=("brigth",)).find(generator)


def test_directions_from_a_table_of_seeds(generator, tmp_path):
    latent = Latent.sample(generator, list(range(60))).lower(generator, to="w")
    value = latent.value @ torch.randn(16, generator=torch.Generator().manual_seed(3))
    with open(tmp_path / "mine.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["seed", "thing"])
        rows.writerows([[seed, float(score)] for seed, score in enumerate(value)])
    found = Regression(tmp_path / "mine.csv", held_out=0).find(generator)[0]
    assert found.name == "thing" and torch.corrcoef(torch.stack([found.measure(latent), value]))[0, 1] > 0.99
    bad = {
        "seed,thing\n1,x\n2,3\n": "line 2",
        "a,b\n1,2\n3,4\n": "column seed or file",
        "seed,thing\n1,2\n": "at least two",
        "seed,thing\n-1,2\n2,3\n": "seed '-1'",
    }
    for text, said in bad.items():
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(UsageError, match=said):
            from_csv(tmp_path / "bad.csv", generator)


def test_directions_from_pairs(generator, tmp_path):
    thing = torch.randn(16, generator=torch.Generator().manual_seed(3))
    pairs = []
    with open(tmp_path / "thing.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["without", "with"])
        for k in range(12):
            latent = Latent.sample(generator, [k]).lower(generator, to="w")
            pair = [Inversion(latent), Inversion(latent + 2 * thing)]
            for name, one in zip((f"{k}a", f"{k}b"), pair):
                one.save(tmp_path / f"{name}.inversion.safetensors")
            rows.writerow([f"{k}a.inversion.safetensors", f"{k}b.inversion.safetensors"])
            pairs.append(pair)
    data = labelled(tmp_path / "thing.csv", generator, num_samples=0)
    assert len(data) == 24 and data.binary == {"thing"}
    found = InterFaceGAN(data, held_out=0).find(generator)[0]
    assert float(found.vector @ thing / (found.vector.norm() * thing.norm())) > 0.8
    with pytest.raises(UsageError, match="at least two"):
        from_pairs(pairs[:1], "thing")


def test_a_function_of_the_users(generator, tmp_path):
    (tmp_path / "mine.py").write_text("def score(images):\n    return {'red': images[:, 0].mean(dim=(1, 2))}\n")
    data = labelled(f"{tmp_path / 'mine.py'}:score", generator, num_samples=20)
    assert data.source == "score" and list(data.scores) == ["red"]
    for name, said in ((f"{tmp_path / 'mine.py'}:nothing", "no function"), (f"{tmp_path / 'no.py'}:score", "no such file"),
                       ("no_such_module:score", "cannot be imported")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            labelled(name, generator, num_samples=20)
    with pytest.raises(UsageError, match="values for"):
        labelled(lambda images: {"x": [1.0]}, generator, num_samples=20)


# StyleSpace.


def test_channels_are_ranked_by_what_they_do(generator):
    """The gradient's ranking against moving every channel by its standard deviation and looking."""
    _, spread = style_statistics(generator)
    found = StyleSpace("redness", labels=scores, num_samples=16, num_components=3).find(generator)
    styles = draw(generator, 16, space=LatentSpace.S)
    before = scores(styles.render(generator))["redness"]
    effects = torch.zeros(len(spread))
    for channel in range(len(spread)):
        step = torch.zeros(len(spread))
        step[channel] = spread[channel] * 0.1
        effects[channel] = (scores((styles + step).render(generator))["redness"] - before).mean()
    best = effects.abs().argsort(descending=True)[:40].tolist()
    for direction in found:
        channel = int(direction.vector.nonzero()[0])
        assert channel in best and float(effects[channel]) * float(direction.vector[channel]) > 0
        assert int((direction.vector != 0).sum()) == 1


def test_channels_of_a_region(generator):
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    found = StyleSpace(mask=mask, num_samples=8, num_components=4).find(generator)
    figures = [direction.provenance["figures"] for direction in found]
    assert all(figure["effect"] > 0 and figure["others"] >= 0 for figure in figures)
    with pytest.raises(UsageError, match="mask is empty"):
        StyleSpace(mask=torch.zeros(1, 1, 16, 16), num_samples=4).find(generator)
    with pytest.raises(UsageError, match="one of the two"):
        StyleSpace().find(generator)


def test_labels_that_cannot_be_differentiated(generator):
    data = score_samples(generator, bright_or_not, num_samples=400)
    found = StyleSpace("bright", labels=data, num_components=2).find(generator)
    inversion = Inversion(draw(generator, 32, seed=8, space=LatentSpace.S))
    low, high = (found[0].apply(inversion, s).render(generator).mean() for s in (-3, 3))
    assert high > low


def test_a_single_channel(generator):
    direction = channel_direction(generator, "b8.conv0", 3)
    assert direction.name == "b8.conv0:3"
    for layer, channel, said in (("b9.conv0", 0, "this model has"), ("b8.conv0", 999, "channels 0 to")):
        with pytest.raises(UsageError, match=said):
            channel_direction(generator, layer, channel)


# Jacobian.


def test_jacobian_is_that_of_finite_differences(generator):
    found = Jacobian(num_components=3).find(generator)
    centre = LatentSpace.W.centre(generator).double()
    precise = tiny_generator(dtype=torch.float64).requires_grad_(False)

    def picture(w):
        return Latent(w, LatentSpace.W).render(precise).flatten()

    basis = 1e-5 * torch.eye(16, dtype=torch.float64)
    columns = torch.stack([(picture(centre + step) - picture(centre - step)) / 2e-5 for step in basis], dim=1)
    _, values, vectors = np.linalg.svd(columns.numpy(), full_matrices=False)
    for k, direction in enumerate(found):
        unit = (direction.vector / direction.vector.norm()).double().numpy()
        assert direction.provenance["figures"]["singular_value"] == pytest.approx(values[k], rel=1e-3)
        assert abs(unit @ vectors[k]) > 0.999


def test_jacobian_at_an_inversion_and_in_z(generator, tmp_path):
    inversion = Inversion(draw(generator, 2, seed=1, space="w+"))[0]
    inversion.save(tmp_path / "a.inversion.safetensors")
    one, other = (Jacobian(source, num_components=1).find(generator)[0] for source in (inversion, tmp_path / "a.inversion.safetensors"))
    assert torch.equal(one.vector, other.vector)
    assert Jacobian(space="z", num_components=1).find(generator)[0].space is LatentSpace.Z
    with pytest.raises(UsageError, match="z or w"):
        Jacobian(space="w+").find(generator)


# Text.


def test_text_moves_pictures_towards_it(generator):
    clip = TinyClip()
    direction = TextDriven("a red thing", clip=clip, num_samples=32).find(generator)[0]
    inversion = Inversion(draw(generator, 32, seed=9, space=LatentSpace.S))
    goal = torch.nn.functional.normalize(clip.encode_texts(["a red thing"]) - clip.encode_texts(["a face"]))
    low, high = (
        (torch.nn.functional.normalize(clip.encode_pictures(direction.apply(inversion, s).render(generator).clamp(-1, 1))) @ goal.T).mean()
        for s in (-2, 2)
    )
    assert high > low


def test_text_needs_a_clip(generator, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="none are bundled"):
        TextDriven("smile").find(generator)
    with pytest.raises(WeightsNotFoundError, match="no such file"):
        TextDriven("smile", clip=tmp_path / "no.pt").find(generator)
    (tmp_path / "clip.pt").write_bytes(b"x")
    monkeypatch.setattr("invert.editing.text.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="text"):
        TextDriven("smile", clip=tmp_path / "clip.pt").find(generator)
    with pytest.raises(UsageError, match="mean the same"):
        TextDriven("a face", clip=TinyClip()).find(generator)


def test_flat_directions_are_refused(generator):
    from invert.editing.units import unit_direction

    with pytest.raises(DirectionError, match="do not differ"):
        unit_direction("flat", torch.zeros(16), draw(generator, 8, space="w"))
