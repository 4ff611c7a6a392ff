"""Several processes, parts of batches, memory that runs out: the same training."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stylegan_core.errors import TrainingError, UsageError
from stylegan_core.networks.layers import checkpoint_layers
from stylegan_core.training.fitness import check_shares
from stylegan_core.training.loop import start_run, train_generator, train_step
from tests.stylegan_core.training.two_ranks import BATCH, configuration, pictures, start


def wait_for(processes: list) -> None:
    assert [process.wait(timeout=600) for process in processes] == [0] * len(processes)


def states_differ(a: Path, b: Path) -> dict[str, float]:
    """Name of a tensor → how far two states are apart, relative to its size."""
    one, other = load_file(str(a / "state.safetensors")), load_file(str(b / "state.safetensors"))
    assert one.keys() == other.keys()
    return {key: float(np.abs(one[key] - other[key]).max() / (np.abs(one[key]).max() + 1e-3)) for key in one if one[key].size}


def records(folder: Path, log: str = "log.jsonl") -> list[dict]:
    return [json.loads(line) for line in (folder / log).read_text().splitlines()]


def test_two_processes_equal_one_whose_passes_have_the_same_size(tmp_path: Path) -> None:
    wait_for(start(tmp_path / "two", 6, 2))
    train_generator(configuration(6, micro_batch=BATCH // 2), pictures(), tmp_path / "one")
    alone, first, second = records(tmp_path / "one"), records(tmp_path / "two"), records(tmp_path / "two", "log.1.jsonl")
    assert len(alone) == len(first) == len(second) == 6
    for name in ("loss_G", "loss_D", "real_logits", "r1", "path_length", "augment_p"):
        both = [(record[name], (a[name] + b[name]) / 2) for record, a, b in zip(alone, first, second) if name in record]
        assert both and np.allclose(*zip(*both), rtol=1e-3, atol=1e-4), name
    assert alone[-1]["augment_p"] > 0  # it moved
    apart = states_differ(tmp_path / "one", tmp_path / "two")
    weights = [value for name, value in apart.items() if name.startswith(("G.", "D.", "value."))]
    assert max(weights) < 0.02 and float(np.median(weights)) < 1e-4


@pytest.mark.slow
def test_two_processes_killed_midway_end_bit_equal_to_an_unbroken_run(tmp_path: Path) -> None:
    steps = 24
    wait_for(start(tmp_path / "unbroken", steps, 2))
    killed = start(tmp_path / "killed", steps, 2)
    log = tmp_path / "killed" / "log.jsonl"
    deadline = time.monotonic() + 300
    while not (tmp_path / "killed" / "state.safetensors").exists() or len(log.read_text().splitlines()) < 8:
        assert time.monotonic() < deadline and all(process.poll() is None for process in killed)
        time.sleep(0.02)
    for process in killed:
        process.send_signal(signal.SIGKILL)
    assert [process.wait() for process in killed] == [-signal.SIGKILL] * 2
    assert len(records(tmp_path / "killed")) < steps
    wait_for(start(tmp_path / "killed", steps, 2))
    one, other = (load_file(str(tmp_path / name / "state.safetensors")) for name in ("unbroken", "killed"))
    assert one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
    for name in ("log.jsonl", "log.1.jsonl"):
        a, b = ([{**record, "seconds": 0} for record in records(tmp_path / folder, name)] for folder in ("unbroken", "killed"))
        assert a == b and len(a) == steps


def test_parts_of_a_batch_add_up() -> None:
    """Without a minibatch statistic, which joins images, parts and the whole give one gradient."""
    discriminator = replace(configuration(1).discriminator, mbstd_num_channels=0)
    gradients = []
    for micro in (None, 2):
        config = replace(configuration(6, micro_batch=micro), pl_every=1, r1_every=1, discriminator=discriminator)
        run = start_run(config, "cpu", None)
        measured = train_step(run, config, pictures())
        gradients.append([p.grad.clone() for network in (run.generator, run.discriminator) for p in network.parameters()
                          if p.grad is not None])
        assert len(measured["loss_G"]) == BATCH and len(measured["path_length"]) == BATCH // 2
    assert len(gradients[0]) > 30
    for whole, parts in zip(*gradients):
        assert torch.allclose(whole, parts, rtol=1e-3, atol=1e-5 * float(whole.abs().max()) + 1e-7)


def test_when_memory_runs_out_passes_are_halved_and_nothing_else_changes() -> None:
    config = configuration(6)
    run, limited = start_run(config, "cpu", None), start_run(replace(config, micro_batch=2), "cpu", None)
    whole_score = run.score

    def score(images, c):
        if len(images) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole_score(images, c)

    run.score = score
    train_step(run, config, pictures())
    train_step(limited, replace(config, micro_batch=2), pictures())
    assert run.micro.size == 2
    assert all(torch.equal(a, b) for a, b in zip(run.discriminator.parameters(), limited.discriminator.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(run.generator.parameters(), limited.generator.parameters()))


def test_memory_that_does_not_suffice_for_a_group_ends_the_run_in_one_line() -> None:
    config = configuration(6)
    run = start_run(config, "cpu", None)

    def score(images, c):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    run.score = score
    with pytest.raises(TrainingError, match=r"memory runs out with 2 images per pass.*--checkpoint-activations"):
        train_step(run, config, pictures())


def test_other_errors_are_not_taken_for_memory() -> None:
    config = configuration(6)
    run = start_run(config, "cpu", None)

    def score(images, c):
        raise RuntimeError("the shapes are wrong")

    run.score = score
    with pytest.raises(RuntimeError, match="shapes are wrong"):
        train_step(run, config, pictures())
    assert run.micro.size == BATCH


def test_checkpointed_activations_change_nothing() -> None:
    config = configuration(6, pl_weight=2.0)
    states = []
    for is_on in (False, True):
        run = start_run(replace(config, checkpoint_activations=is_on), "cpu", None)
        train_step(run, config, pictures())
        states.append([*run.generator.parameters(), *run.discriminator.parameters()])
        checkpoint_layers(run.generator, False)
    assert all(torch.equal(a, b) for a, b in zip(*states))


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    for config, processes in ((configuration(1), 3), (replace(configuration(1), batch=6), 2)):
        with pytest.raises(UsageError, match="does not divide"):
            check_shares(config, processes)
    check_shares(configuration(1), 4)
