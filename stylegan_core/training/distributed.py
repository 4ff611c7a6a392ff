"""Several processes, one run: each takes its share of every batch, gradients and running means are averaged (torchrun sets it up).

Processes stay equal to each other bit for bit. Random numbers belong to samples, not to processes, so that a run of two equals a
run of one whose passes have the same size, up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def start_processes(device: str) -> str:
    """Joins the group that torchrun announces in the environment; returns the device of this process, given what was asked for.

    Nothing to do in a single process. On CUDA every process of a machine takes the device of its own number there.
    """
    if announced_processes() == 1:
        return device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    return device


def announced_processes() -> int:
    """How many processes torchrun announces; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process, from 0; process 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def num_processes() -> int:
    """1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_gradients(network: nn.Module) -> None:
    """Every parameter's gradient becomes its mean over the processes, in one message."""
    if num_processes() > 1:
        average([p.grad for p in network.parameters() if p.grad is not None])


def average(tensors: Iterable[Tensor]) -> None:
    """In place: the mean over the processes."""
    tensors = list(tensors)
    if num_processes() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= num_processes()
    for tensor, value in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(value.reshape(tensor.shape))


def any_stops(stops: bool) -> bool:
    """True when any process wants to stop, so that all stop after the same step."""
    if num_processes() == 1:
        return stops
    flag = torch.tensor([float(stops)])
    dist.all_reduce(flag)
    return bool(flag.item() > 0)
