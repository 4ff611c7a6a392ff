"""What layers keep between calls, and when the fast way is open."""

from __future__ import annotations

import copy
import pickle

import torch

from stylegan_core.networks.layers import Kept, best_memory_format, is_frozen, is_plain_call


def test_kept_until_it_changes() -> None:
    kept, calls = Kept(), []
    weight = torch.nn.Parameter(torch.arange(200.0))
    make = lambda value: calls.append(1) or value.sum()  # noqa: E731
    assert kept.get(weight, make) == kept.get(weight, make) and len(calls) == 1
    with torch.no_grad():
        weight[3] = 7
    assert kept.get(weight, make) == weight.sum() and len(calls) == 2
    weight.data.add_(1)  # not counted by the version, but seen
    assert kept.get(weight, make) == weight.sum() and len(calls) == 3
    kept.get(weight, make, "variant")
    assert len(calls) == 4
    other = weight.detach().clone()
    assert kept.get(other, make, "variant") == weight.sum() and len(calls) == 5
    with torch.inference_mode():
        kept.get(torch.ones(3), make)


def test_copies_start_empty() -> None:
    kept = Kept()
    kept.get(torch.ones(3), torch.sum)
    assert copy.deepcopy(kept)._entry is None and pickle.loads(pickle.dumps(kept))._entry is None


def test_when_weights_count_as_frozen() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    assert not is_frozen(weight)
    with torch.no_grad():
        assert is_frozen(weight)
    assert is_frozen(weight.requires_grad_(False))


def test_when_a_call_is_plain() -> None:
    x = torch.ones(1)
    assert is_plain_call(x, None, x)
    assert not is_plain_call(x, x.double())
    assert not is_plain_call(x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_plain_call(x)
    seen = []
    torch.func.vmap(lambda value: seen.append(is_plain_call(value)) or value)(x)
    with torch.autograd.forward_ad.dual_level():
        seen.append(is_plain_call(torch.autograd.forward_ad.make_dual(x, x)))
        assert is_plain_call(x)
    assert seen == [False, False]


def test_memory_format_by_device() -> None:
    assert best_memory_format(torch.ones(1)) == torch.channels_last
