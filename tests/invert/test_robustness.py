"""What embedding can do: every part at its smallest, the moves, distances to own samples, and a page that goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from invert.projectors.measures import Pixels
from invert.robustness import page
from invert.robustness.embedding import checked_preset, embed, embedded_subject, figures_of
from invert.robustness.models import ordered, untrained
from invert.robustness.morphs import pairs_of
from invert.robustness.own_domain import OwnDomain
from invert.robustness.page import COLUMNS, evaluate_robustness
from invert.robustness.parts import PARTS, parts_of
from invert.robustness.pictures import SUBJECTS, Move, moved, moved_portraits, portraits, subject
from invert.robustness.setting import Setting
from invert.robustness.turns import ORDERS, orders_of, preset_in_turn
from stylegan_core.errors import UsageError
from stylegan_core.features import load_features
from stylegan_core.latent import Latent, LatentSpace
from tests.tiny import sample_pictures, tiny_generator, tiny_stylegan3


@pytest.fixture(scope="module")
def setting() -> Setting:
    other = tiny_stylegan3().requires_grad_(False)
    return Setting("tiny", tiny_generator().requires_grad_(False), load_features("portraits-judge"), Pixels(), count=2, steps=8,
                   snapshots={"early": tiny_generator(seed=1).requires_grad_(False)}, also={"sg3": other})


@pytest.fixture(scope="module")
def done(setting, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness")
    return folder, {record["part"]: record for record in evaluate_robustness(setting, list(PARTS.values()), folder)}


@pytest.mark.parametrize("name", list(PARTS))
def test_every_part_has_a_table_and_a_picture(name, done):
    folder, records = done
    rows = records[name]["rows"]
    assert len(rows) >= 4 and all(list(row) == list(rows[0]) for row in rows) and set(rows[0]) <= set(COLUMNS)
    assert all(value is not None for row in rows for value in row.values())
    assert 0 < (folder / f"{name}.png").stat().st_size < 300_000
    assert f"![{PARTS[name].title}]({name}.png)" in (folder / "robustness.md").read_text()


def test_the_page_holds_all(done):
    folder, records = done
    text = (folder / "robustness.md").read_text()
    assert "invert evaluate robustness --count 2 --model tiny --steps 8 --also sg3\n" in text and "Not run" not in text
    assert text.count("\n| ") == sum(len(record["rows"]) + 1 for record in records.values())
    assert json.loads((folder / "robustness.json").read_text()) == list(records.values())


def test_rows_of_parts(done):
    turns, models, shifts = (done[1][name]["rows"] for name in ("turns", "models", "shifts"))
    assert [row["order"] for row in turns] == [*ORDERS, *ORDERS]
    assert all((row["apart"] < 1e-5) == (row["order"] in ("noise", "w", "w, noise")) for row in turns)
    assert {row["offset"] for row in turns if row["order"] == "noise"} == {0.0}
    assert list(dict.fromkeys(row["model"] for row in models)) == ["untrained", "early", "tiny"]
    assert list(dict.fromkeys(row["model"] for row in shifts)) == ["tiny", "sg3", "sg3, input moved too"]
    assert all(row["psnr_change"] == 0 for row in shifts if row["move"] == "as drawn")


def test_a_second_run_redoes_only_what_is_missing(setting, tmp_path, monkeypatch):
    parts = [PARTS["starts"], PARTS["morphs"]]
    first = evaluate_robustness(setting, parts, tmp_path)
    runs: list[str] = []
    seen: list[bool] = []
    run_part = page.run_part
    monkeypatch.setattr(page, "run_part", lambda folder, part, given: (runs.append(part.name), run_part(folder, part, given))[1])
    assert evaluate_robustness(setting, parts, tmp_path, callback=lambda record, there: seen.append(there)) == first
    assert not runs and seen == [True, True]
    (tmp_path / "starts.png").unlink()
    (tmp_path / "morphs.json").write_text("{")
    evaluate_robustness(setting, parts, tmp_path)
    assert runs == ["starts", "morphs"]
    evaluate_robustness(replace(setting, seed=1), parts[1:], tmp_path)
    text = (tmp_path / "robustness.md").read_text()
    assert runs == ["starts", "morphs", "morphs"] and "--seed 1" in text and "`starts`" in text


def test_moves():
    ramp = torch.linspace(-1, 1, 16 * 16).view(1, 1, 16, 16)
    shifted = moved(ramp, Move("", right=1), side=8)
    assert torch.allclose(shifted, torch.cat([ramp[..., :1], ramp[..., :1], ramp[..., :-2]], dim=3), atol=1e-5)
    assert torch.allclose(moved(ramp, Move("", degrees=90), side=8), ramp.rot90(1, dims=(2, 3)), atol=1e-5)
    larger = moved(torch.nn.functional.pad(torch.ones(1, 1, 8, 8), (4, 4, 4, 4)), Move("", scale=1.5), side=16)
    assert larger[0, 0, 8].round().sum() == 12


def test_pictures_are_of_the_models_size():
    generator = tiny_generator(img_channels=1)
    for name in SUBJECTS:
        images = subject(name, generator, 3)
        assert images.shape == (2 if name == "photos" else 3, 1, 16, 16) and images.min() >= -1 and images.max() <= 1
    still = moved_portraits(generator, 2, Move(""))
    assert (still - portraits(generator, 2)).abs().mean() < 0.05
    with pytest.raises(UsageError, match="portraits, ink, scenes, photos"):
        subject("cats", generator, 1)


def test_embedding_comes_near_and_is_made_once(setting):
    generator = setting.generator
    targets, _ = sample_pictures(generator, [5, 6])
    mean = figures_of(setting, embed(replace(setting, steps=1), targets))
    more = figures_of(setting, embed(replace(setting, steps=30), targets))
    assert more["psnr"] > mean["psnr"] + 3 and more["distance"] < mean["distance"] and more["count"] == 2
    assert embedded_subject(setting, "scenes") is embedded_subject(setting, "scenes")
    with pytest.raises(UsageError, match="stopped after 1 of 8 pictures"):
        embed(replace(setting, told=lambda *_: False), targets)


def test_distance_to_own_samples(setting):
    own = OwnDomain.of(setting, count=64)
    w = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    images = Latent(setting.generator.mapping.to_w(w), LatentSpace.W).render(setting.generator)
    other = own.distance(images)
    assert 0.2 < float(other.median()) < 5 and float(own.distance(-images).median()) > float(other.median())


def test_models_in_their_order(setting):
    assert list(ordered(setting)) == ["early", "tiny"]
    assert list(ordered(replace(setting, snapshots={"tiny": setting.generator, "ink": setting.generator}))) == ["tiny", "ink"]
    one, again = untrained(setting.generator, 0), untrained(setting.generator, 0)
    assert torch.equal(one.w_avg, again.w_avg) and not torch.equal(one.w_avg, untrained(setting.generator, 1).w_avg)


def test_what_cannot_be():
    generator = tiny_stylegan3()
    assert list(orders_of(generator)) == ["w", "w+"] and preset_in_turn("w", ORDERS["w"], 5).steps == 5
    assert pairs_of(2) == [(0, 1)] and pairs_of(3) == [(0, 1), (1, 2), (2, 0)]
    assert [part.name for part in parts_of("turns, domain")] == ["domain", "turns"]
    assert "shifts" not in [part.name for part in parts_of(None)] and len(parts_of(None, has_also=True)) == len(PARTS)
    for names, words in (("domain,fur", "fur"), ("shifts", "--also")):
        with pytest.raises(UsageError, match=words):
            parts_of(names)
    for preset, steps in (("hybrid", None), ("fast", 0), ("quick", None)):
        with pytest.raises(UsageError, match=preset if steps is None else "--steps 0"):
            checked_preset(preset, steps)
