"""What `project`, `encode` and `tune` do alike on the command line: plan, run with a bar, say, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from invert.cli.console import Terminal, duration

if TYPE_CHECKING:
    from invert.folder import Execution
    from invert.jobs import JobOptions, Outputs
    from invert.loaded import LoadedModel
    from invert.reports import Report
    from invert.workers import Step


def run_jobs(terminal: Terminal, verb: str, outputs: dict[Path, Outputs], loaded: LoadedModel, chosen: JobOptions, execution: Execution,
             folder: Path, *, json: bool, then: Callable[[], None] | None = None) -> None:
    """Works on every input and leaves with 1 when one failed. then: what follows when all had their turn."""
    report = reported(terminal, verb, outputs, loaded, chosen, execution, folder)
    if then is not None:
        then()
    if json:
        terminal.json(report.records)
    if report.failed:
        raise typer.Exit(1)


def reported(terminal: Terminal, verb: str, outputs: dict[Path, Outputs], loaded: LoadedModel, chosen: JobOptions, execution: Execution,
             folder: Path) -> Report:
    """The report of all inputs, with a bar on the way."""
    from invert.folder import project_folder

    steps_done: dict[tuple[str, ...], float] = {}
    with terminal.progress(verb, len(outputs)) as bar:

        def on_step(step: Step) -> None:
            steps_done[step.keys] = len(step.keys) * step.step / max(1, step.num_steps)
            name = Path(step.keys[0]).name + (f" and {len(step.keys) - 1} more" if len(step.keys) > 1 else "")
            quality = "" if step.psnr is None else f", {step.psnr:.1f} dB"
            done = min(len(outputs), finished + sum(steps_done.values()))
            bar.update(done, what=name, note=f"step {step.step}/{step.num_steps}{quality}")

        finished = 0

        def on_record(key: str, record: dict[str, Any], is_new: bool) -> None:
            nonlocal finished
            finished += 1
            for keys in [keys for keys in steps_done if key in keys]:
                steps_done[keys] = max(0.0, steps_done[keys] - 1)
            bar.update(min(len(outputs), finished + sum(steps_done.values())))
            say_record(terminal, record, is_new)

        report = project_folder(outputs, loaded, chosen, execution, folder, on_step=on_step, on_record=on_record)
    num_failed = len(report.failed)
    terminal.say(f"{len(report.records) - num_failed} done, {num_failed} failed: {folder / 'report.json'}")
    return report


def say_record(terminal: Terminal, record: dict[str, Any], is_new: bool) -> None:
    """One line, and the advice if there is one."""
    if record["status"] == "failed":
        terminal.fail(f"{record['input']}: {record['error']}" if record["input"] not in record["error"] else record["error"])
        return
    took = f" in {duration(record['seconds'])}" if is_new and record["seconds"] is not None else ""
    terminal.say(f"{record['input']}: PSNR {record['psnr']:.1f} dB, SSIM {record['ssim']:.3f}{took if is_new else ' (done before)'}")
    advice = record.get("advice")
    if advice:
        terminal.say(f"  {advice['text'] if isinstance(advice, dict) else advice}")


def plan_of(chosen: Any, outputs: dict[Path, Outputs], **facts: Any) -> dict[str, Any]:
    """What --dry-run says."""
    inputs = [{"input": str(path), "outputs": [str(file) for file in files.files]} for path, files in outputs.items()]
    return {**facts, **asdict(chosen), "inputs": inputs}
