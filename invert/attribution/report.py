"""The case file of one picture: a page that needs nothing but itself, and the same as JSON, with all that repeats the verdict."""

from __future__ import annotations

import base64
import html
import io
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invert.attribution.calibration import CLASSES, RENDERED, SAMPLED
from invert.attribution.registration import WORDS
from invert.attribution.verdict import CANNOT_SAY, CONSISTENT, MADE_BY, NONE, Attribution, Candidate
from invert.plots import STYLE, Line, bins_for, chart, steps_of
from invert.reports import jsonable
from stylegan_core.files import atomic_write, display, write_json
from stylegan_core.images import to_pil
from stylegan_core.provenance import version
from stylegan_core.sheet import difference, magnify

PAGE, DATA = "case.html", "case.json"
PANEL_PX = 192
TITLES = {MADE_BY: "Made by {}", CONSISTENT: "Consistent with {}", NONE: "Made by none of the candidates", CANNOT_SAY: "Cannot say"}
MEANS = {
    MADE_BY: "The picture fits the model as its own pictures do, and so well that at most the stated share of pictures of other "
    "origin, of the kinds that were calibrated and laundered alike, would be called so by mistake.",
    CONSISTENT: "The picture fits the model as its own samples do. No pictures of other origin were calibrated, so how often such a "
    "picture would fit as well is not known: this is not proof that the model made it.",
    NONE: "The picture fits each candidate worse than nearly all of its own pictures. A picture of a candidate would be excluded by "
    "mistake as often as p (made by it) says.",
    CANNOT_SAY: "The evidence does not reach for a statement whose error rates would hold.",
}
CSS = """@page{size:A4;margin:16mm}*{box-sizing:border-box}
body{font:14px/1.45 system-ui,sans-serif;color:#161616;max-width:186mm;margin:24px auto;padding:0 12px}
h1{font-size:26px;margin:.1em 0}h2{font-size:18px;margin:1.4em 0 .3em;border-bottom:1px solid #bbb}h3{font-size:15px;margin:1em 0 .3em}
.kind{color:#555;margin:0}.reason{font-size:16px}table{border-collapse:collapse;width:100%;margin:.5em 0}
td,th{border-bottom:1px solid #ddd;padding:3px 8px 3px 0;text-align:left;vertical-align:top}td.n,th.n{text-align:right}
.panels{display:flex;gap:8px;flex-wrap:wrap}.panels figure{margin:0;flex:1 1 20%;min-width:110px}
.panels img{width:100%;image-rendering:pixelated;border:1px solid #ccc}figcaption{font-size:12px;color:#444}
.pair{display:flex;gap:10px;flex-wrap:wrap}.pair>*{flex:1 1 300px}
code,pre{font:12px ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}
.note{background:#fff6dd;border-left:4px solid #d9a400;padding:4px 10px}section{break-inside:avoid}
@media print{body{margin:0;padding:0;max-width:none;font-size:10.5pt}.panels,.pair,table{break-inside:avoid}a{color:inherit}}
"""


def write_case(
    folder: Path, source: Path, picture: Tensor, record: dict[str, Any], found: Attribution, command: Sequence[str]
) -> list[Path]:
    """case.html, case.json, the picture and the calibrations that were used; returns the files. picture: [1, 3, h, w] as read.

    record: of report.json. command: the words of the command line that was run.
    """
    copy = folder / f"input{source.suffix.lower()}"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(copy) as temporary:
        shutil.copyfile(source, temporary)
    calibrations = []
    for index, candidate in enumerate(found.candidates):
        path = folder / f"calibration.{index}.json"
        candidate.calibration.save(path)
        calibrations.append(path)
    case = {**record, "command": list(command), "repeat": repeat_command(copy, found, calibrations, record), "environment": environment(),
            "curves": {candidate.model: list(candidate.evidence.curve) for candidate in found.candidates},
            "calibrations": {candidate.model: candidate.calibration.facts for candidate in found.candidates}}  # fmt: skip
    write_json(folder / DATA, jsonable(case))
    page = page_of(picture, case, found)
    with atomic_write(folder / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    return [folder / PAGE, folder / DATA, copy, *calibrations]


def repeat_command(copy: Path, found: Attribution, calibrations: Sequence[Path], record: dict[str, Any]) -> list[str]:
    """Run in the case's folder, gives the same verdict whatever the cache of the machine holds."""
    words = ["invert", "attribute", copy.name]
    for candidate, path in zip(found.candidates, calibrations):
        words += ["--model", candidate.model, "--calibration", path.name]
    options = record.get("options", {})
    words += ["--perceptual", str(options.get("perceptual", "auto"))]
    return words + ([] if options.get("fpr") is None else ["--fpr", f"{options['fpr']:g}"]) + ["--device", "cpu", "-o", "again"]


def environment() -> dict[str, str]:
    """Versions of what computed the verdict."""
    import numpy
    import PIL
    import scipy
    import sklearn

    return {"invert": version(), "python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
            "scipy": scipy.__version__, "scikit-learn": sklearn.__version__, "pillow": PIL.__version__,
            "system": platform.platform()}  # fmt: skip


def page_of(picture: Tensor, case: dict[str, Any], found: Attribution) -> str:
    """The whole page."""
    title = TITLES[found.verdict].format(_text(found.model or ""))
    body = [
        '<p class="kind">Attribution of a picture to a generator: case file</p>',
        f'<h1>{title}</h1><p class="reason">{_text(found.reason)}.</p><p>{MEANS[found.verdict]}</p>',
        '<section><h2>The picture</h2><div class="pair">',
        f"<div>{_image(picture, 'the picture as it was read')}</div><div>{_facts(case, found)}</div></div></section>",
        "<section><h2>Candidates</h2>", _table(found), "</section>",
        *(_candidate(candidate) for candidate in found.candidates),
        "<section><h2>To repeat it</h2>", _repeating(case, found), "</section>",
    ]  # fmt: skip
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: {_text(Path(str(case["input"])).name)}</title>'
            f"<style>{CSS}{STYLE}</style></head><body>{''.join(body)}</body></html>\n")  # fmt: skip


def _facts(case: dict[str, Any], found: Attribution) -> str:
    evidence = found.candidates[0].evidence
    laundering, placement = evidence.laundering, evidence.placement
    quality = "none was found" if laundering.quality is None else (
        f"quality {laundering.quality}, " + ("from the tables of the file" if laundering.from_tables else "from its blocks"))  # fmt: skip
    frame = ", ".join(f"{edge:g}" for edge in placement.frame)
    rows = [("File", _text(case["input"])), ("SHA-256", f"<code>{_text(case['input_sha256'])}</code>"), ("JPEG", quality),
            ("Where the model's frame lies in it", WORDS[placement.kind] + (", mirrored" if placement.is_mirrored else "") + f" ({frame})"),
            ("Softness", f"{evidence.blur:g} px of blur put before the comparison"),
            ("Class of laundering", CLASSES[found.candidates[0].assessment.laundering_class])]  # fmt: skip
    return "<table>" + "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows) + "</table>"


def _table(found: Attribution) -> str:
    head = ("Model", "Verdict", "Score", "Likelihood ratio", "p (made by it)", "p (not made by it)")
    rows = ["<tr>" + "".join(f'<th class="{"n" if i > 1 else ""}">{name}</th>' for i, name in enumerate(head)) + "</tr>"]
    for candidate in found.candidates:
        a = candidate.assessment
        cells = [
            f"{a.score:.3f}",
            ratio_text(a.log10_ratio),
            f"{a.p_generated:.4f}",
            "not known" if a.p_not_generated is None else f"{a.p_not_generated:.4f}",
        ]
        rows.append(
            f"<tr><td>{_text(candidate.model)}</td><td>{candidate.verdict}</td>"
            + "".join(f'<td class="n">{cell}</td>' for cell in cells)
            + "</tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def ratio_text(log10_ratio: float | None) -> str:
    """'25 to 1', '1 to 40'."""
    if log10_ratio is None:
        return "not known"
    value = 10.0 ** abs(log10_ratio)
    shown = f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return f"{shown} to 1" if log10_ratio >= 0 else f"1 to {shown}"


def _candidate(candidate: Candidate) -> str:
    evidence, a = candidate.evidence, candidate.assessment
    target, bare, full = (evidence.pictures[name] for name in ("target", "w", "noise"))
    panels = [
        (target, "as it is compared"),
        (bare, "nearest in W"),
        (full, "with noise"),
        (difference(target, full), "what is left, four times stronger"),
    ]
    steps = list(range(1, len(evidence.curve) + 1))
    curve = chart([Line("squared difference", steps, evidence.curve)], title="Distance over the steps in W", x_label="step",
                  y_label="grey levels²", is_log=True)  # fmt: skip
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in candidate.notes)
    return (f"<section><h2>{_text(candidate.model)}: {candidate.verdict}</h2><p>{_text(candidate.reason)}.</p>{notes}"
            f'<div class="panels">{"".join(_figure(picture, words) for picture, words in panels)}</div>'
            f'<div class="pair">{curve}{calibration_chart(candidate)}</div>{_words(candidate)}'
            f"<p><code>model SHA-256 {candidate.model_sha256}</code></p></section>" if a else "")  # fmt: skip


def calibration_chart(candidate: Candidate) -> str:
    """Scores of the calibration's pictures of this class of laundering, and this picture's."""
    a = candidate.assessment
    null = candidate.calibration.null.get(a.laundering_class, {})
    groups = {"own, sampled" if kind == SAMPLED else "own, rendered" if kind == RENDERED else kind: scores
              for kind, scores in null.items() if scores}  # fmt: skip
    if not groups:
        return "<p>No calibrated pictures of this class of laundering.</p>"
    edges = bins_for([*groups.values(), [a.score]])
    return chart([steps_of(name, scores, edges) for name, scores in groups.items()], title=f"Scores: {CLASSES[a.laundering_class]}",
                 x_label="score", y_label="share of pictures", mark=a.score, mark_name="this picture")  # fmt: skip


def _words(candidate: Candidate) -> str:
    a, facts = candidate.assessment, candidate.calibration.facts
    lines = [f"Of its own pictures, {a.p_generated:.2%} or fewer fit as badly as this one."]
    if a.p_not_generated is not None:
        lines.append(f"Of pictures of other origin, {a.p_not_generated:.2%} or fewer of any calibrated kind fit as well.")
        ratio = ratio_text(a.log10_ratio)
        lines.append(f"How much likelier the picture is if the model made it than if not: {ratio}, capped by how many were calibrated.")
    for test in facts.get("tests", []):
        if test["class"] == a.laundering_class:
            rate = test["rate_at_0.01"]
            lines.append(f"Measured on pictures that calibration did not use, against {_text(test['against'])}: area under the ROC curve "
                         f"{test['auc'][0]:.3f}; {rate['alarms']} false alarms in {rate['count']} at 1 %.")  # fmt: skip
    for warning in facts.get("warnings", []):
        lines.append(f"Warning of the calibration: {_text(warning)}.")
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _repeating(case: dict[str, Any], found: Attribution) -> str:
    """Commands, versions, seeds, hashes."""
    rows = [
        ("Command", _text(_joined(case["command"]))),
        ("The same from this folder, whatever the cache holds", _text(_joined(case["repeat"]))),
    ]
    rows += [(_text(name), _text(value)) for name, value in case["environment"].items()]
    rows += [("Device", _text(case.get("device", "")))]
    for candidate in found.candidates:
        facts = candidate.calibration.facts
        rows.append((f"Calibration of {_text(candidate.model)}",
                     f"SHA-256 {candidate.calibration.sha256}; {_text(facts.get('count', 'unknown'))} pictures of each kind; sources "
                     f"{_text(facts.get('sources', {}))}; seeds {_text(facts.get('seeds', 'in the sources'))}"))  # fmt: skip
    return "<table>" + "".join(f"<tr><td>{name}</td><td><code>{value}</code></td></tr>" for name, value in rows) + "</table>"


def _joined(words: Sequence[str]) -> str:
    import shlex

    return shlex.join(str(word) for word in words)


def _figure(picture: Tensor, words: str) -> str:
    return f"<figure>{_image(picture, words)}<figcaption>{_text(words)}</figcaption></figure>"


def _image(picture: Tensor, words: str) -> str:
    height, width = picture.shape[2:]
    shown = magnify(picture, PANEL_PX) if max(height, width) < PANEL_PX else picture
    file, image = io.BytesIO(), to_pil(shown.clamp(-1, 1))
    image.thumbnail((1024, 1024))
    image.save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}" style="max-width:100%">'


def _text(value: object) -> str:
    return html.escape(display(value, max_length=2000))
