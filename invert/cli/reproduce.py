"""`invert reproduce`: the claims of the papers in small."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.console import Terminal
from invert.cli.loading import load_for

if TYPE_CHECKING:
    from invert.reproduce.setting import Experiment


def register(app: typer.Typer) -> None:
    command(app, "reproduce")(reproduce)


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Experiments; `all`, or none to list them.")] = None,
    model: options.Model = options.DEFAULT_MODEL,
    output: options.Output = Path("reproduced"),
    count: Annotated[int | None, typer.Option("--count", metavar="N", help="How much is drawn. (default: the experiment's)")] = None,
    ledger: Annotated[Path | None, typer.Option("--ledger", metavar="FILE.md", help="Also enter the rows here (docs/papers.md).")] = None,
    judge: Annotated[str, typer.Option("--judge", metavar="NAME|FILE", help="A network that no objective uses.")] = "portraits-judge",
    seed: options.Seed = 1000,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Try a claim of the papers on a model: NAME.json with all figures, NAME.md with the row for docs/papers.md.

    \b
    Examples:
      invert reproduce                                 # what there is
      invert reproduce noise separability -o reproduced
      invert reproduce all --model portraits64-early --ledger docs/papers.md
    """
    from invert.reproduce.experiments import EXPERIMENTS, experiment
    from stylegan_core.errors import UsageError

    terminal = Terminal(quiet=quiet)
    if not names:
        _print_table(terminal, list(EXPERIMENTS.values()), json=json)
        return
    chosen = list(EXPERIMENTS.values()) if names == ["all"] else [experiment(name) for name in names]
    for each in chosen:
        if count is not None and count < each.smallest:
            raise UsageError(f"--count {count}: {each.name} needs {each.smallest} or more")
    if dry_run:
        plan = [{"experiment": each.name, "count": count or each.count, "output": str(output / f"{each.name}.json")} for each in chosen]
        terminal.json(plan)
        return
    records = _run(terminal, chosen, model, output, count, ledger, judge, seed, device, threads)
    if json:
        terminal.json(records)
    else:
        terminal.table(["experiment", "verdict", "ours"], [[record["experiment"], record["verdict"], record["ours"]] for record in records])


def _run(terminal: Terminal, chosen: list[Experiment], model: str, output: Path, count: int | None, ledger: Path | None, judge: str,
         seed: int, device: str, threads: int | None) -> list[dict[str, Any]]:  # fmt: skip
    from invert.reproduce.ledger import enter, record_of, write_result
    from invert.reproduce.setting import Setting
    from stylegan_core.features import load_features
    from stylegan_core.runtime import resolve_device, set_threads

    set_threads(threads)
    place = resolve_device(device)
    looking = load_features(judge).to(place)
    loaded = load_for(terminal, model, place)
    records = []
    for each in chosen:
        with terminal.progress(each.name, None) as bar:

            def told(what: str, done: int, total: int) -> None:
                bar.update(done, total=total, what=what)

            setting = Setting(model, loaded.generator, looking, count or each.count, seed, output / each.name, told)
            started = time.monotonic()
            outcome = each.measure(setting)
        records.append(record_of(each, setting, outcome, time.monotonic() - started))
        paths = write_result(output, records[-1])
        if ledger is not None:
            enter(ledger, records[-1])
        terminal.say(f"{each.name}: {outcome.verdict}; {paths[0]}")
    return records


def _print_table(terminal: Terminal, experiments: list[Experiment], *, json: bool) -> None:
    if json:
        rows = [{"experiment": each.name, "claim": each.claim, "source": each.source, "paper": each.paper, "criterion": each.criterion,
                 "count": each.count} for each in experiments]  # fmt: skip
        terminal.json(rows)
        return
    terminal.table(["experiment", "claim", "source", "paper"], [[each.name, each.claim, each.source, each.paper] for each in experiments])
