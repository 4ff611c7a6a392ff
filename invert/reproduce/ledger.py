"""Results of experiments: a JSON file with everything, and the row of docs/papers.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from invert.reproduce.setting import Experiment, Outcome, Setting
from stylegan_core.errors import UsageError
from stylegan_core.files import atomic_write, display, write_json
from stylegan_core.provenance import model_sha256, version

HEADING = "| claim | source | command | paper | ours | |"
RULE = "|---|---|---|---|---|---|"


def record_of(experiment: Experiment, setting: Setting, outcome: Outcome, seconds: float) -> dict[str, Any]:
    """JSON-ready: the claim, what was found, and with what."""
    return {
        "experiment": experiment.name,
        "claim": experiment.claim,
        "source": experiment.source,
        "paper": experiment.paper,
        "criterion": experiment.criterion,
        "command": command_of(experiment, setting),
        "verdict": outcome.verdict,
        "ours": outcome.ours,
        "figures": outcome.figures,
        "model": setting.model,
        "model_sha256": model_sha256(setting.generator),
        "judge": setting.judge.name,
        "judge_sha256": model_sha256(setting.judge.network),
        "count": setting.count,
        "seed": setting.seed,
        "seconds": round(seconds, 1),
        "version": version(),
    }


def command_of(experiment: Experiment, setting: Setting) -> str:
    """What repeats this very run."""
    parts = [experiment.command]
    if setting.model != "portraits64":
        parts.append(f"--model {Path(setting.model).name}")
    if setting.count != experiment.count:
        parts.append(f"--count {setting.count}")
    if setting.seed != 1000:
        parts.append(f"--seed {setting.seed}")
    return " ".join(parts)


def row_of(record: Mapping[str, Any]) -> str:
    """One line of the ledger."""
    cells = [record["claim"], record["source"], f"`{record['command']}`", record["paper"], record["ours"], record["verdict"]]
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def write_result(folder: Path, record: Mapping[str, Any]) -> tuple[Path, Path]:
    """(NAME.json, NAME.md) in the folder; the second holds the row."""
    paths = folder / f"{record['experiment']}.json", folder / f"{record['experiment']}.md"
    write_json(paths[0], dict(record))
    with atomic_write(paths[1]) as temporary:
        temporary.write_text(row_of(record) + "\n", encoding="utf-8")
    return paths


def enter(ledger: Path, record: Mapping[str, Any]) -> None:
    """Puts the row into a ledger: in place of one with the same command, else behind the last row of its table.

    Raises UsageError for a file that has no such table.
    """
    try:
        lines = ledger.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{display(ledger)} is not a ledger that can be read; docs/papers.md is one") from None
    if HEADING not in lines:
        raise UsageError(f"{display(ledger)} has no table {HEADING!r}")
    start = lines.index(HEADING) + 2
    end = next((index for index in range(start, len(lines)) if not lines[index].startswith("|")), len(lines))
    command = f"| `{record['command']}` |"
    place = next((index for index in range(start, end) if command in lines[index]), None)
    if place is None:
        lines.insert(end, row_of(record))
    else:
        lines[place] = row_of(record)
    with atomic_write(ledger) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
