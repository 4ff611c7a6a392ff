"""One worker process per device: batches are dealt out, records and progress come back to the parent.

Only the parent writes the report.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from invert.jobs import ABORTING, JobOptions, Task, project_record
from invert.loaded import LoadedModel, load_model
from stylegan_core.errors import InvertError
from stylegan_core.files import display

_UNEXPECTED = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    OSError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    MemoryError,
)
POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Shard:
    """What one process does. parent: its process id, watched so that no worker outlives it."""

    device: str
    batches: list[list[Task]]
    model_name: str
    options: JobOptions
    with_metadata: bool
    threads: int
    render_threads: int
    parent: int


class WorkerError(InvertError):
    """A worker process ended before its pictures were done."""


def deal(batches: Sequence[list[Task]], num_devices: int) -> list[list[list[Task]]]:
    """Batches in turn, one list per device."""
    return [list(batches[i::num_devices]) for i in range(num_devices)]


def run_sharded(
    shards: Sequence[Shard],
    model: LoadedModel,
    *,
    on_step: Callable[[Any], None],
    on_record: Callable[[str, dict[str, Any]], None],
) -> None:
    """Runs all shards and returns when every task has its record. Workers end with the parent, however it ends."""
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    pending = {index: {task.key: task for batch in shard.batches for task in batch} for index, shard in enumerate(shards)}
    processes = [context.Process(target=_work, args=(index, shard, messages), daemon=True) for index, shard in enumerate(shards)]
    for process in processes:
        process.start()
    try:
        while any(pending.values()):
            try:
                index, kind, value = messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                _give_up_on_dead(shards, processes, pending, model, on_record)
                continue
            if kind == "step":
                on_step(value)
            elif kind == "record":
                key, record = value
                pending[index].pop(key, None)
                on_record(key, record)
            else:
                _raise_or_record(value, shards[index], pending[index], model, on_record)
        for process in processes:
            process.join(GRACE_SECONDS)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()


def _raise_or_record(
    error: BaseException,
    shard: Shard,
    tasks: dict[str, Task],
    model: LoadedModel,
    on_record: Callable[[str, dict[str, Any]], None],
) -> None:
    if isinstance(error, ABORTING):
        raise error
    for key, task in tasks.items():
        on_record(key, project_record(key, shard.options, model, task=task, error=error))
    tasks.clear()


def _give_up_on_dead(
    shards: Sequence[Shard],
    processes: Sequence[Any],
    pending: dict[int, dict[str, Task]],
    model: LoadedModel,
    on_record: Callable[[str, dict[str, Any]], None],
) -> None:
    for index, process in enumerate(processes):
        if pending[index] and not process.is_alive():
            error = WorkerError(f"the worker for {shards[index].device} ended with code {process.exitcode}; start again to go on")
            _raise_or_record(error, shards[index], pending[index], model, on_record)


def _work(index: int, shard: Shard, messages: Any) -> None:
    """The body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    from invert.workers import Worker
    from stylegan_core.runtime import resolve_device

    def tell(kind: str, value: Any) -> None:
        if os.getppid() != shard.parent:
            os._exit(1)
        messages.put((index, kind, value))

    try:
        device = resolve_device(shard.device)
        model = replace(load_model(shard.model_name, device), name=shard.model_name)
        worker = Worker(
            model,
            shard.options,
            device,
            on_step=lambda step: tell("step", step),
            on_record=lambda key, record: tell("record", (key, record)),
            with_metadata=shard.with_metadata,
            threads=shard.threads,
            render_threads=shard.render_threads,
        )
        worker.run(shard.batches)
    except InvertError as error:
        tell("error", error)
    except _UNEXPECTED as error:
        tell(
            "error",
            WorkerError(f"unexpected {type(error).__name__} in the worker for {shard.device}: {display(error)}"),
        )
