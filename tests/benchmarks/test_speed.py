"""The speed of synthesis against the plain grouped form, in one run: a small ratio always, the whole table when asked (-m slow)."""

from __future__ import annotations

import pytest
import torch

from invert.bench import NARROW, VARIANTS, Case, Machine, Row, bench, convolution_operations, default_cases, machine, markdown
from invert.bench_grouped import render_grouped
from stylegan_core.errors import UsageError
from stylegan_core.networks.acceleration import accelerate
from tests.tiny import tiny_generator

CPU = torch.device("cpu")
SMALL = Case("small", 8, 32, 64, {4: 256, 8: 256, 16: 256, 32: 128})


def test_the_grouped_form_gives_the_same_pictures() -> None:
    generator = tiny_generator(dtype=torch.float64).requires_grad_(False)
    ws = generator.mapping(torch.randn(3, 16, dtype=torch.float64)).requires_grad_()
    ours, theirs = generator.synthesis(ws), render_grouped(generator, ws)
    assert torch.allclose(ours, theirs)
    assert torch.allclose(*(torch.autograd.grad(images.square().sum(), ws)[0] for images in (ours, theirs)))


def test_a_batch_is_much_faster_than_the_grouped_form() -> None:
    rows = {(row.work, row.variant): row for row in bench([SMALL], repeats=3, seconds=20)}
    assert set(rows) == {(work, variant) for work in ("forward", "forward+backward") for variant in ("grouped", "eager")}
    assert rows["forward+backward", "eager"].ratio >= 2
    assert rows["forward", "grouped"].ratio == 1
    assert all(0 < row.fastest <= row.milliseconds and row.floor_milliseconds > 0 for row in rows.values())


def test_operations_are_counted() -> None:
    generator = Case("", 1, 8, 8, {4: 6, 8: 4}).build(CPU)
    convolutions = 9 * (6 * 6 * 16 + 6 * 4 * 16 + 4 * 4 * 64)  # b4.conv1, b8.conv0 at its input's size, b8.conv1
    assert convolution_operations(generator, 3) == 3 * 2 * (convolutions + 6 * 3 * 16 + 4 * 3 * 64)


def test_cases_and_their_table() -> None:
    cases = default_cases(CPU)
    assert [(case.resolution, case.batch) for case in cases] == [(64, 8), (64, 1), (64, 8), (256, 1), (256, 8), (1024, 1)]
    assert default_cases(torch.device("cuda"))[-1].batch == 8
    assert cases[0].channels == NARROW
    row = Row("64²", 64, 8, "forward", "eager", 12.345, 12.0, 5, 3.456, 6.0)
    text = markdown([row], Machine("cpu (x)", "2.9", 171.0, 48.0, False))
    assert "| 64² | 8 | forward | eager | 12.3 | 3.46 | 6.0 |" in text and "48 in bfloat16 (emulated)" in text
    assert row.to_dict()["ratio"] == 3.456


def test_unknown_variants_are_named_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="variant 'fast': eager, bf16"):
        next(bench(default_cases(CPU), ["fast"]))


@pytest.mark.parametrize("options", [{}, {"precision": "bf16"}])
def test_accelerated_generators_behave_like_their_original(options: dict[str, str]) -> None:
    generator = tiny_generator().requires_grad_(False)
    fast = accelerate(generator, **options)
    ws = generator.mapping(torch.randn(2, 16)).requires_grad_()
    streams = lambda: [torch.Generator().manual_seed(i) for i in range(2)]  # noqa: E731
    for noise in ({"noise_mode": "const"}, {"noise_mode": "none"}, {"noise_mode": "random", "rng": streams}):
        noise = {key: value() if callable(value) else value for key, value in noise.items()}
        again = {**noise, "rng": streams()} if "rng" in noise else noise
        images = fast.synthesis(ws, **noise)
        assert images.dtype == torch.float32 and (images - generator.synthesis(ws, **again)).abs().max() < 0.1
    assert torch.isfinite(torch.autograd.grad(images.square().sum(), ws)[0]).all()
    assert fast.num_ws == generator.num_ws and fast.w_avg is generator.w_avg
    assert fast(torch.randn(1, 16), truncation_psi=0.5).shape == (1, 3, 16, 16)


def test_acceleration_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator()
    with pytest.raises(UsageError, match="precision 'fp8': one of fp32, bf16, auto"):
        accelerate(generator, precision="fp8")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler"):
        accelerate(generator, compile=True)


@pytest.mark.slow
def test_compiled_equals_eager() -> None:
    generator = tiny_generator().requires_grad_(False)
    fast = accelerate(generator, compile=True)
    ws = generator.mapping(torch.randn(2, 16)).requires_grad_()
    images, expected = fast.synthesis(ws), generator.synthesis(ws)
    assert torch.allclose(images, expected, atol=1e-5)
    assert torch.allclose(*(torch.autograd.grad(value.square().sum(), ws)[0] for value in (images, expected)), atol=1e-3)


@pytest.mark.slow
def test_the_whole_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(bench(default_cases(CPU), list(VARIANTS)))
    with capsys.disabled():
        print("\n" + markdown(rows, machine(CPU)))
    ratios = {(row.case, row.batch): row.ratio for row in rows if row.work == "forward+backward" and row.variant == "eager"}
    assert ratios["256²", 1] >= 1.4 and ratios["256²", 8] >= 4 and ratios["64²", 8] >= 5
