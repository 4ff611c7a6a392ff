"""The parts one after the other into a folder: PART.json, PART.png, and one page of Markdown over all that are there."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from invert.reports import jsonable, options_sha256
from invert.robustness.own_domain import SAMPLES
from invert.robustness.parts import PARTS
from invert.robustness.setting import Part, Setting
from stylegan_core.files import atomic_write, write_json
from stylegan_core.images import save_image
from stylegan_core.provenance import model_sha256, version

PAGE, RECORDS = "robustness.md", "robustness.json"
MAX_RECORD_BYTES = 4 << 20
COLUMNS: Mapping[str, tuple[str, str]] = {  # key of a row → heading, format
    "model": ("model", "s"), "pictures": ("pictures", "s"), "move": ("portraits", "s"), "start": ("start", "s"), "order": ("order", "s"),
    "count": ("N", "d"), "pairs": ("pairs", "d"),
    "psnr": ("PSNR", ".1f"), "psnr_change": ("change", "+.1f"), "psnr_min": ("min", ".1f"), "psnr_latent": ("latent alone", ".1f"),
    "distance": ("judge", ".3f"), "offset": ("from mean", ".2f"), "apart": ("rows apart", ".2f"),
    "target_domain": ("picture to samples", ".2f"), "domain": ("result to samples", ".2f"),
    "ends": ("ends to samples", ".2f"), "middle": ("middle to samples", ".2f"), "faded": ("faded to samples", ".2f"),
    "from_faded": ("middle to faded", ".3f"), "from_ends": ("middle to ends", ".3f"),
}  # fmt: skip
LEGEND = """Every embedding goes into w+ from the mean unless the table says otherwise, one candidate per picture, no encoder. Medians
over the N pictures. *PSNR* in dB on 8-bit pictures; *min* its smallest; *change* of the median against the portraits as drawn; *latent
alone* with the stored noise maps in place of the found ones. *judge*: the distance of {judge}, which no objective uses. *from mean*:
how far the rows of the latent lie from the mean, in units of what is usual for samples (1). *rows apart*: how far they lie from one
another (0 in w), in the same units. *to samples*: how far a picture lies from the nearest of {samples} own samples in features of the
judge, in units of what is usual between samples (1)."""


def evaluate_robustness(setting: Setting, parts: Sequence[Part], folder: Path, *,
                        callback: Callable[[dict[str, Any], bool], None] | None = None) -> list[dict[str, Any]]:
    """One record per part, in order. A part whose record of the same options is in the folder is not run again; the page holds every
    part that is there with these options. callback: (record, whether it was there already)."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for part in parts:
        kept = record_before(folder, part, setting)
        records.append(kept or run_part(folder, part, setting))
        write_page(folder, setting)
        if callback is not None:
            callback(records[-1], kept is not None)
    return records


def run_part(folder: Path, part: Part, setting: Setting) -> dict[str, Any]:
    """Measures, and writes the picture before the record, so that what has a record is whole."""
    started = time.monotonic()
    outcome = part.measure(setting)
    save_image(outcome.picture.clamp(-1, 1), folder / f"{part.name}.png")
    record: dict[str, Any] = jsonable({
        "part": part.name, "source": part.source, "rows": outcome.rows, "caption": outcome.caption, **facts_of(setting, part),
        "options_sha256": options_sha256(facts_of(setting, part)), "seconds": round(time.monotonic() - started, 1), "version": version(),
    })  # fmt: skip
    write_json(folder / f"{part.name}.json", record)
    return record


def record_before(folder: Path, part: Part, setting: Setting) -> dict[str, Any] | None:
    """The record of a part that was done with the same options; None when there is none, or when its picture is gone."""
    path = folder / f"{part.name}.json"
    try:
        if path.stat().st_size > MAX_RECORD_BYTES or not (folder / f"{part.name}.png").is_file():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_same = isinstance(record, dict) and record.get("options_sha256") == options_sha256(facts_of(setting, part))
    return record if is_same else None


def facts_of(setting: Setting, part: Part) -> dict[str, Any]:
    """What decides the figures of a part, JSON-ready."""
    others = {"snapshots": setting.snapshots, "also": setting.also}.get(part.needs, {})
    facts: dict[str, Any] = {
        "model": setting.model, "model_sha256": _sha256(setting, setting.generator),
        "judge_sha256": _sha256(setting, setting.judge.network),
        "count": setting.count, "preset": setting.preset, "steps": setting.steps, "seed": setting.seed,
        "perceptual": setting.measure.name,
    }  # fmt: skip
    if part.needs:
        facts[part.needs] = {name: _sha256(setting, generator) for name, generator in others.items()}
    return facts


def write_page(folder: Path, setting: Setting) -> None:
    """robustness.md and robustness.json, of all parts that are there with these options."""
    found = {name: record_before(folder, part, setting) for name, part in PARTS.items()}
    records = [record for record in found.values() if record is not None]
    texts = ["# What embedding can and cannot do", f"```bash\n{command_of(setting, [record['part'] for record in records])}\n```",
             LEGEND.format(judge=setting.judge.name, samples=SAMPLES)]  # fmt: skip
    texts += [section(PARTS[record["part"]], record) for record in records]
    left = [f"`{name}`" for name, record in found.items() if record is None]
    if left:
        texts.append(f"Not run here: {', '.join(left)}.")
    write_json(folder / RECORDS, records)
    with atomic_write(folder / PAGE) as temporary:
        temporary.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def section(part: Part, record: Mapping[str, Any]) -> str:
    """One part of the page."""
    picture = f"![{part.title}]({part.name}.png)\n\n*{record['caption']}*"
    return f"## {part.title}\n\n{part.asks} ({part.source})\n\n{table(record['rows'])}\n\n{picture}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of dicts with the same keys as a Markdown table."""
    keys = list(rows[0])
    lines = ["| " + " | ".join(COLUMNS[key][0] for key in keys) + " |", "|" + "---|" * len(keys)]
    lines += ["| " + " | ".join(_cell(key, row[key]) for key in keys) + " |" for row in rows]
    return "\n".join(lines)


def command_of(setting: Setting, names: Sequence[str]) -> str:
    """What repeats this very run."""
    words = ["invert evaluate robustness", f"--count {setting.count}"]
    if setting.model != "portraits64":
        words.append(f"--model {Path(setting.model).name}")
    if setting.preset != "fast":
        words.append(f"--preset {setting.preset}")
    if setting.steps is not None:
        words.append(f"--steps {setting.steps}")
    if setting.seed:
        words.append(f"--seed {setting.seed}")
    words += [f"--also {Path(name).name}" for name in setting.also]
    if set(names) != {part.name for part in PARTS.values() if setting.also or part.needs != "also"}:
        words.append(f"--parts {','.join(names)}")
    return " ".join(words)


def _sha256(setting: Setting, module: Any) -> str:
    """Hashed once: every record asks for it."""
    key = ("sha256", id(module))
    if key not in setting.kept:
        setting.kept[key] = model_sha256(module)
    return setting.kept[key]  # type: ignore[no-any-return]


def _cell(key: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return format(value, COLUMNS[key][1]).replace("|", "\\|")
