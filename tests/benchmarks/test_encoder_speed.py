"""Folded encoders: equal latents always, the measured table of the published size when asked (-m slow)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from encoders.configs import BACKBONES, EncoderConfig
from encoders.folded import folded
from encoders.hyperstyle import HyperStyle
from invert.bench import Machine, machine
from invert.bench_encoder import bench_encoder, markdown, random_encoder
from stylegan_core.errors import UsageError

TINY = replace(BACKBONES["tiny"], in_channels=3)
SHAPES = {
    "maps": EncoderConfig("psp", TINY, "maps", w_dim=16, num_ws=8, level_rows=(3, 4, 1), input_shape=(64, 64)),
    "deltas": EncoderConfig("e4e", TINY, "maps", w_dim=16, num_ws=8, level_rows=(3, 4, 1), input_shape=(64, 64)),
    "levels": EncoderConfig("psp", TINY, "levels", w_dim=16, num_ws=6, level_rows=(3, 3, 0), input_shape=(32, 32)),
    "pool": EncoderConfig("w", TINY, "pool", w_dim=16, num_ws=6, level_rows=(6, 0, 0), input_shape=(16, 16)),
    "grid": EncoderConfig("psp", TINY, "grid", w_dim=16, num_ws=6, level_rows=(6, 0, 0), input_shape=(64, 64)),
    "resnet": EncoderConfig("psp", replace(BACKBONES["resnet-18"], in_channels=3, widths=(8, 12, 16, 20)), "maps", w_dim=16, num_ws=4,
                            level_rows=(4, 0, 0), input_shape=(64, 64)),
    "oblong": EncoderConfig("psp", TINY, "maps", w_dim=16, num_ws=4, level_rows=(3, 1, 0), input_shape=(48, 64)),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_folded_latents_are_equal(name: str) -> None:
    encoder = random_encoder(SHAPES[name])
    x = torch.randn(3, 3, *SHAPES[name].input_shape, generator=torch.Generator().manual_seed(1))
    plain, quick = encoder.encode(x).latent.value, folded(encoder).encode(x).latent.value
    assert plain.shape == quick.shape and float((plain - quick).abs().max()) < 1e-4
    rough = folded(encoder, precision="bf16").encode(x).latent.value
    assert rough.dtype == torch.float32 and float((plain - rough).abs().mean()) < 0.02 * float(plain.std())


def test_a_stage_of_e4e_stays() -> None:
    encoder = random_encoder(SHAPES["deltas"])
    encoder.network.stage = 2
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(encoder.encode(x).latent.value, folded(encoder).encode(x).latent.value, atol=1e-5)


def test_what_cannot_be_folded_says_so() -> None:
    with pytest.raises(UsageError, match="fp32 or bf16"):
        folded(random_encoder(SHAPES["pool"]), precision="fp8")
    with pytest.raises(UsageError, match="HyperStyle spends its time"):
        folded(HyperStyle.__new__(HyperStyle))


def test_rows_of_the_table() -> None:
    rows = bench_encoder(2, config=SHAPES["maps"], repeats=2, seconds=5)
    assert [row.variant for row in rows] == ["plain", "folded", "folded-bf16"] and rows[0].ratio == 1
    assert all(row.milliseconds > 0 and row.repeats >= 1 for row in rows) and rows[1].error < 1e-3
    assert "| 2 | folded |" in markdown(rows, Machine("cpu", torch.__version__, 1.0, 1.0, False))


@pytest.mark.slow
def test_the_published_size(capsys: pytest.CaptureFixture[str]) -> None:
    place = machine(torch.device("cpu"))
    rows = [row for batch in (1, 8) for row in bench_encoder(batch)]
    with capsys.disabled():
        print("\n" + markdown(rows, place))
    for row in rows:
        assert row.variant != "folded" or (row.ratio >= 1.3 and row.error <= 1e-4)
        assert row.variant != "folded-bf16" or not place.has_fast_bf16 or (row.ratio >= 1.5 and row.error <= 0.02)
