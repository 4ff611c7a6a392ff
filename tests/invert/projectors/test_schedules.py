from __future__ import annotations

import pytest

from invert.projectors.schedules import Jitter, Ramp, shared_out


def test_a_ramp_rises_stays_and_falls() -> None:
    ramp = Ramp(0.1, 0.05, 0.25)
    rates = [ramp.lr_at(step, 1000) for step in range(1000)]
    assert rates[0] == 0 and rates[25] == pytest.approx(0.05) and rates[50] == rates[700] == pytest.approx(0.1)
    assert rates[-1] < 1e-5 and rates[50:] == sorted(rates[50:], reverse=True)


def test_a_flat_ramp_moves_from_the_first_step() -> None:
    assert [Ramp(0.01, 0.0, 0.0).lr_at(step, 3) for step in range(3)] == [0.01] * 3


def test_jitter_dies_out() -> None:
    jitter = Jitter(0.05, 0.75)
    assert jitter.scale_at(0, 100) == 0.05 and jitter.scale_at(75, 100) == 0.0 == Jitter(0.0).scale_at(0, 100)


@pytest.mark.parametrize("total", [0, 1, 2, 7, 99, 100, 1000, 1050])
@pytest.mark.parametrize("shares", [[1.0], [0.2, 0.03, 0.37, 0.4], [1, 1, 1], [0, 1, 0]])
def test_no_step_is_lost_or_made(total: int, shares: list[float]) -> None:
    counts = shared_out(total, shares)
    assert sum(counts) == total and min(counts) >= 0
    assert all(abs(count - total * share / sum(shares)) < 1 for count, share in zip(counts, shares))


def test_shares_that_make_no_sense_are_refused() -> None:
    for total, shares in ((-1, [1.0]), (5, []), (5, [0.0]), (5, [-1.0, 2.0])):
        with pytest.raises(ValueError):
            shared_out(total, shares)
