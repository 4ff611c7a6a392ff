"""Projecting inputs into a folder: what is done is skipped, the rest is shared out, one report is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invert.jobs import (
    JobOptions,
    Outputs,
    Task,
    default_batch,
    is_inversion_done,
    plan_task,
    project_record,
    split_batches,
)
from invert.loaded import LoadedModel
from invert.reports import Report
from stylegan_core.errors import InvertError, UsageError
from stylegan_core.runtime import available_cpus, resolve_device

if TYPE_CHECKING:
    from invert.workers import Step


@dataclass(frozen=True)
class Execution:
    """How the work is run; none of this decides a result. batch: None = by size. threads: None = as they are."""

    devices: tuple[str, ...] = ("cpu",)
    batch: int | None = None
    threads: int | None = None
    render_threads: int | None = None
    with_metadata: bool = True

    def validate(self) -> Execution:
        """Returns self; raises UsageError."""
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"--batch {self.batch}: a whole number from 1 is allowed")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise UsageError(f"--threads {self.threads}: a whole number from 1 to 1024 is allowed")
        return self


def project_folder(
    outputs: Mapping[Path, Outputs],
    model: LoadedModel,
    options: JobOptions,
    execution: Execution,
    folder: Path,
    *,
    on_step: Callable[[Step], None],
    on_record: Callable[[str, dict[str, Any], bool], None],
) -> Report:
    """Does what is not done yet and returns the report, which is written after every picture and names all inputs.

    model: on the device, or on the CPU where there are several. on_step: called after every step of a batch.
    on_record: called as on_record(input, record, is_new); what was done before is not new.
    """
    execution.validate()
    report = Report(folder, [str(source) for source in outputs])

    def settle(key: str, record: dict[str, Any], is_new: bool = True) -> None:
        report.put(key, record)
        on_record(key, record, is_new)

    tasks = []
    for source, files in outputs.items():
        try:
            task = plan_task(source, files, options)
        except UsageError:
            raise
        except InvertError as error:
            settle(str(source), project_record(str(source), options, model, error=error))
            continue
        before = _finished_before(task, model, report)
        if before is None:
            tasks.append(task)
        else:
            settle(task.key, {**before, "input": task.key}, is_new=False)
    if tasks:
        _work(tasks, model, options, execution, on_step=on_step, on_record=settle)
    report.write()
    return report


def _finished_before(task: Task, model: LoadedModel, report: Report) -> dict[str, Any] | None:
    """The record of an earlier run when all files of this picture are there and made from the same things."""
    facts = {"input_sha256": task.sha256, "options_sha256": task.options_sha256, "model_sha256": model.sha256}
    record = report.record_before(**facts, outputs=[path.name for path in task.outputs.files])
    is_whole = all(path.is_file() for path in task.outputs.files) and is_inversion_done(task, model.sha256)
    return record if is_whole else None


def _work(
    tasks: list[Task],
    model: LoadedModel,
    options: JobOptions,
    execution: Execution,
    *,
    on_step: Callable[[Step], None],
    on_record: Callable[[str, dict[str, Any]], None],
) -> None:
    from invert.sharding import Shard, deal, run_sharded
    from invert.workers import Worker

    devices = execution.devices
    batch = execution.batch or default_batch(model.generator.img_resolution, resolve_device(devices[0]).type)
    batches = split_batches(tasks, batch, len(devices))
    if len(devices) == 1:
        Worker(
            model,
            options,
            resolve_device(devices[0]),
            on_step=on_step,
            on_record=on_record,
            with_metadata=execution.with_metadata,
            threads=execution.threads,
            render_threads=execution.render_threads,
        ).run(batches)
        return
    threads = execution.threads or max(1, available_cpus() // len(devices))
    shards = [
        Shard(
            device,
            part,
            model.name,
            options,
            with_metadata=execution.with_metadata,
            threads=threads,
            render_threads=execution.render_threads or threads,
            parent=os.getpid(),
        )
        for device, part in zip(devices, deal(batches, len(devices)))
        if part
    ]
    run_sharded(shards, model, on_step=on_step, on_record=on_record)
