"""`invert calibrate`: what a score is worth for a model, from pictures whose origin is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invert.cli import options
from invert.cli.app import command
from invert.cli.attribute import prepared
from invert.cli.console import Terminal, duration
from invert.cli.loading import load_for

if TYPE_CHECKING:
    from invert.attribution.calibration import Calibration

DEFAULT_COUNT = 240


def register(app: typer.Typer) -> None:
    command(app, "calibrate")(calibrate)


def calibrate(
    model: options.Model = options.DEFAULT_MODEL,
    real: Annotated[
        list[str] | None,
        typer.Option("--real", metavar="DIR|portraits", help="Pictures that no model made; repeat it for several kinds."),
    ] = None,
    other_models: Annotated[
        list[str] | None,
        typer.Option("--other-model", metavar="NAME|FILE", help="Models whose samples are to be told from this one's; repeat it."),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="Pictures of every kind and laundering.")] = DEFAULT_COUNT,
    chains: Annotated[
        str, typer.Option("--laundering", metavar="LIST", help="Of clean, jpeg, resized, cropped, processed.")
    ] = "clean,jpeg,resized,cropped,processed",
    perceptual: Annotated[str, typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.")] = "auto",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the calibration here.")] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Calibrate a model: own samples, real pictures and other models' samples, clean and laundered.

    \b
    Examples:
      invert calibrate --model portraits64 --real portraits --other-model portraits64-early
      invert calibrate --model ffhq.pkl --real photos/ --count 400
      invert calibrate --model ffhq.pkl --count 99             # own samples alone: one-class

    The calibration is kept in the user's cache by the model's hash. A run that was stopped goes on where it was. Without --real and
    --other-model it is one-class: it controls misses, not false alarms, and `invert attribute` never says made_by by it.
    """
    from invert.attribution.attribute import AttributeOptions
    from invert.attribution.chains import CHAINS
    from stylegan_core.errors import UsageError
    from stylegan_core.runtime import resolve_device, set_threads

    terminal = Terminal(quiet=quiet)
    chosen = [name.strip() for name in chains.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in CHAINS]
    if unknown or not chosen:
        raise UsageError(f"--laundering {chains!r}: of {', '.join(CHAINS)}")
    least = 40 if real or other_models else 19
    if count < least:
        raise UsageError(f"--count {count}: at least {least} are needed; 240 tell 1 %")
    if model in (other_models or []):
        raise UsageError(f"--other-model {model}: this is the model itself")
    place = resolve_device(device)
    kinds = 1 + len(real or []) + len(other_models or []) + bool(real)
    if dry_run:
        terminal.json({"model": model, "real": real, "other_models": other_models, "count": count, "laundering": chosen, "seed": seed,
                       "device": str(place), "pictures": kinds * count * len(chosen)})  # fmt: skip
        return
    set_threads(threads)
    options_of = AttributeOptions(perceptual, seed=seed)
    calibration = _run(terminal, model, real or [], other_models or [], count, chosen, options_of, place, output)
    if json:
        terminal.json({"model": calibration.model, "model_sha256": calibration.model_sha256, "sha256": calibration.sha256,
                       "one_class": calibration.is_one_class, "limits": calibration.limits, **calibration.facts})  # fmt: skip


def _run(terminal: Terminal, model: str, real: list[str], other_models: list[str], count: int, chains: list[str], chosen: Any,
         place: Any, output: Path | None) -> Calibration:  # fmt: skip
    from invert.attribution.attribute import CALIBRATION_FILE, seconds_per_picture
    from invert.attribution.calibrate import collect_all, fit_calibration, fit_one_class, plan_facts
    from invert.attribution.sources import Samples, own_source_of_seed, real_source

    started = time.monotonic()
    loaded = load_for(terminal, model, place)
    with terminal.progress("calibrate") as bar:
        tell = lambda done, total, what: bar.update(done, total=total, note=what)  # noqa: E731
        bench = prepared(terminal, loaded, chosen, tell)
        generator = loaded.generator
        own = own_source_of_seed(generator, chosen.seed)
        reals = [real_source(name, generator) for name in real]
        others = [Samples(load_for(terminal, name, place).generator, kind=f"by {Path(name).stem}") for name in other_models]
        warnings = own_copies_in(terminal, reals, loaded)
        total = count * len(chains) * (1 + len(reals) + len(others) + bool(reals))
        terminal.say(f"{total} pictures, about {duration(total * seconds_per_picture(bench))}; a stopped run goes on where it was")
        rows, unread = collect_all(bench, own, reals, others, count=count, chains=chains, tell=tell)
    facts = plan_facts(bench, own, reals, others, count, chains, [*warnings, *unread], started)
    calibration = fit_calibration(bench, rows, facts) if reals or others else fit_one_class(bench, rows, facts)
    path = bench.folder / CALIBRATION_FILE
    calibration.save(path)
    if output is not None:
        calibration.save(output)
    _say(terminal, calibration, path)
    return calibration


def own_copies_in(terminal: Terminal, reals: list[Any], loaded: Any) -> list[str]:
    """Warnings about real pictures that the model itself made, which are also said."""
    from invert.attribution.sources import Folder, own_copies

    warnings = []
    for source in reals:
        if isinstance(source, Folder):
            for path, reason in own_copies(source.paths, loaded.generator, loaded.sha256).items():
                warnings.append(f"{path.name} among the real pictures was made by this model ({reason}); take it out and calibrate again")
    for warning in warnings:
        terminal.warn(warning)
    return warnings


def _say(terminal: Terminal, calibration: Calibration, path: Path) -> None:
    if calibration.is_one_class:
        numbers = ", ".join(f"{len(kinds.get('sampled', []))} {name}" for name, kinds in sorted(calibration.null.items()))
        terminal.say(f"one-class, by own samples alone ({numbers}): it controls misses, not false alarms")
    rows = [
        [test["class"], test["against"], f"{test['auc'][0]:.3f}", f"{test['tpr_at_0.01'][0]:.2f}",
         f"{test['rate_at_0.01']['rate']:.3f}", f"{test['num_own']} / {test['num_others']}"]
        for test in calibration.facts.get("tests", [])
    ]  # fmt: skip
    if rows and not terminal.quiet:
        terminal.table(["laundering", "against", "AUC", "TPR at 1 %", "rate at 1 %", "tested"], rows, right=range(2, 6))
    terminal.say(f"kept: {path}")
