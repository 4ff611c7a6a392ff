"""Seeds as people type them, and what they draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylegan_core.errors import UsageError
from stylegan_core.seeds import parse_seeds, rng_from_seed, z_from_seed, zs_from_seeds


@pytest.mark.parametrize(
    ("text", "seeds"), [("0", [0]), ("0,1,4-6", [0, 1, 4, 5, 6]), (" 3 , 7-7 ", [3, 7]), ("9,2,9", [9, 2, 9])]
)
def test_parse_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,,2", "6-4", "-1", "1.5", "0-99999999", "4294967296", "1-2-3", "１"])
def test_bad_seeds_say_what_is_allowed(text):
    with pytest.raises(UsageError, match="seed"):
        parse_seeds(text)


def test_z_is_what_the_official_scripts_draw():
    expected = torch.from_numpy(np.random.RandomState(303).randn(1, 16)).float()
    assert torch.equal(z_from_seed(303, 16), expected)
    assert torch.equal(zs_from_seeds([1, 303], 16)[1:], expected)
    with pytest.raises(UsageError, match="seed -1"):
        z_from_seed(-1, 16)


def test_streams_depend_on_their_numbers_only():
    def draw(*seed: int) -> torch.Tensor:
        return torch.randn(4, generator=rng_from_seed(*seed))

    torch.randn(3)
    assert torch.equal(draw(5, 1), draw(5, 1))
    assert not torch.equal(draw(5, 1), draw(1, 5)) and not torch.equal(draw(5), draw(5, 1))
