"""Devices by name, and facts about the machine."""

from __future__ import annotations

import pytest
import torch

from stylegan_core.errors import UsageError
from stylegan_core.runtime import available_cpus, device_name, main_memory, parse_devices, resolve_device, set_threads


def test_devices_of_any_machine():
    assert resolve_device("cpu") == torch.device("cpu") and resolve_device(" CPU ").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    assert parse_devices("cpu, cpu") == ["cpu", "cpu"]


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "cpu:1", "cuda:99", "auto:0", "", "cuda:-1", "99"])
def test_devices_that_cannot_be(name):
    with pytest.raises(UsageError, match="device"):
        resolve_device(name)


def test_lists_of_devices_have_no_holes():
    with pytest.raises(UsageError, match="cpu,cpu"):
        parse_devices("cpu,,cpu")


def test_facts():
    memory = main_memory()
    assert available_cpus() >= 1
    assert memory.total is None or memory.total > 1 << 28
    assert memory.available is None or 0 < memory.available <= memory.total
    assert device_name(torch.device("cpu")).startswith("cpu (")


def test_threads():
    before = torch.get_num_threads()
    try:
        assert set_threads(1) == 1 and set_threads(None) == 1
        with pytest.raises(UsageError, match="threads 0"):
            set_threads(0)
    finally:
        set_threads(before)
