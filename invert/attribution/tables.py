"""The tables and pictures of an evaluation, as Markdown and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invert.attribution.evaluation import LAUNDERED, Evaluation
from invert.attribution.measures import reliability, roc, tippett
from invert.plots import Line, alone, bins_for, chart, steps_of
from stylegan_core.files import atomic_write

START, END = "<!-- tables of `invert evaluate attribution` -->", "<!-- end of the tables -->"
PUBLIC = {"clean": 0.95, LAUNDERED: 0.918}  # inversion as the only cue, on unseen StyleGAN3 faces: the detector challenge of its authors


def markdown(tables: Mapping[str, list[dict[str, Any]]], facts: Mapping[str, Any]) -> str:
    """Every table with its heading."""
    parts = [f"Model {facts['model']} ({facts['model_sha256'][:12]}…), {facts['count']} pictures of every class and laundering, "
             f"calibration {facts['calibration'][:12]}…, printed by `{facts['command']}`."]  # fmt: skip
    for heading, text in (
        ("Attribution to a candidate", _attribution(tables["attribution"])),
        ("Thresholds", _thresholds(tables["thresholds"])),
        ("Verdicts, clean, at 1 %", _verdicts(tables["verdicts"])),
        ("Likelihood ratios", _ratios(tables["ratios"])),
        ("Detection of pictures of a generator that nothing here has seen", _detection(tables["detection"])),
        ("What the evidence is worth: AUC with a part of it left out", _ablation(tables["ablation"])),
        ("The yardstick: a fingerprint classifier trained on the same pictures", _fingerprint(tables["fingerprint"])),
    ):
        parts += [f"### {heading}", text or "Nothing to show."]
    return "\n\n".join(parts) + "\n"


def put_into(path: Path, text: str) -> None:
    """Replaces what lies between the two marks of a page, or appends marks and text."""
    page = path.read_text(encoding="utf-8") if path.is_file() else ""
    block = f"{START}\n\n{text}\n{END}"
    if START in page and END in page:
        page = page[: page.index(START)] + block + page[page.index(END) + len(END) :]
    else:
        page = f"{page.rstrip()}\n\n{block}\n".lstrip()
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def pictures(evaluation: Evaluation, folder: Path) -> list[Path]:
    """ROC, Tippett plot, calibration curve and histograms of the distance, clean and laundered."""
    files = []
    for chain in ("clean", LAUNDERED):
        own = evaluation.scores("psi 1", chain)
        lines, tails = [], []
        for kind in evaluation.other_kinds:
            others = evaluation.scores(kind, chain)
            if own and others:
                x, y = roc(own, others)
                lines.append(Line(f"against {kind}", np.log10(np.maximum(x, 1e-3)).tolist(), y.tolist()))
            ratios = [one.assessment.log10_ratio for one in evaluation.chosen(kind, chain) if one.assessment.log10_ratio is not None]
            if ratios:
                x, y = tippett(ratios)
                tails.append(Line(kind, x.tolist(), y.tolist(), is_dashed=True))
        if lines:
            svg = chart(lines, title=f"ROC, {chain}", x_label="log10 of the false alarm rate", y_label="hit rate", x_range=(-3, 0),
                        y_range=(0, 1))  # fmt: skip
            files.append(_write(folder / f"roc-{chain}.svg", svg))
        mine = [one.assessment.log10_ratio for one in evaluation.chosen("psi 1", chain) if one.assessment.log10_ratio is not None]
        if mine and tails:
            x, y = tippett(mine)
            lines = [Line("own, psi 1", x.tolist(), y.tolist()), *tails]
            svg = chart(lines, title=f"Tippett plot, {chain}", x_label="log10 likelihood ratio at least", y_label="share", y_range=(0, 1))
            files.append(_write(folder / f"tippett-{chain}.svg", svg))
            others = [one.assessment.log10_ratio for kind in evaluation.other_kinds for one in evaluation.chosen(kind, chain)
                      if one.assessment.log10_ratio is not None]  # fmt: skip
            files.append(_write(folder / f"reliability-{chain}.svg", _reliability_chart(mine, others, chain)))
    files.append(_write(folder / "fig9.svg", distance_chart({evaluation.bench.name: evaluation})))
    return files


def _reliability_chart(own: Sequence[float], others: Sequence[float], chain: str) -> str:
    rows = reliability(own, others)
    lines = [Line("measured", [row[0] for row in rows], [row[1] for row in rows]), Line("exact", [-3, 3], [-3, 3], is_dashed=True)]
    return chart(lines, title=f"Calibration, {chain}", x_label="log10 likelihood ratio", y_label="log10 of the observed ratio")


def distance_chart(evaluations: Mapping[str, Evaluation]) -> str:
    """SG2 Fig. 9 again: the perceptual distance (or what was minimised, without one) of own and real pictures after W."""
    groups = {}
    for name, evaluation in evaluations.items():
        for kind, word in (("psi 1", "own"), ("real", "real")):
            groups[f"{name}, {word}"] = [distance_of(one.measured.values) for one in evaluation.chosen(kind, "clean")]
    groups = {name: values for name, values in groups.items() if values}
    if not groups:
        return chart([Line("nothing measured", [0, 1], [0, 0])], title="Distances", x_label="", y_label="")
    edges = bins_for(list(groups.values()))
    return chart([steps_of(name, values, edges) for name, values in groups.items()], title="Distance of projections in W (SG2 Fig. 9)",
                 x_label="log10 of the distance", y_label="share of pictures")  # fmt: skip


def distance_of(values: Mapping[str, float]) -> float:
    """log10 of the perceptual distance after W, or of the coarse difference where there is no perceptual distance."""
    return values["feature_bare"] if values["feature_bare"] else values["bare_low"]


def _write(path: Path, svg: str) -> Path:
    with atomic_write(path) as temporary:
        temporary.write_text(alone(svg), encoding="utf-8")
    return path


def _attribution(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[row["own"], row["against"], row["laundering"], f"{row['num_own']} / {row['num_others']}", _interval(row["auc"]),
              _interval(row["tpr"], 2)] for row in rows]  # fmt: skip
    return _table(["own pictures", "against", "laundering", "N", "AUC (95 %)", "TPR at 1 % FPR (95 %)"], cells)


def _thresholds(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for row in rows:
        worst = row["worst"]
        word = worst["place"] if row["guaranteed"] else "not guaranteed: calibration never saw it"
        interval = f"{worst['low']:.4f} to {worst['high']:.4f}"
        cells.append([row["laundering"], f"{row['fpr']:g}", f"{row['alarms']} / {row['count']}", worst["kind"],
                      f"{worst['alarms']} / {worst['count']}", f"{worst['rate']:.4f}", interval, word])  # fmt: skip
    return _table(["laundering", "allowed", "false alarms", "worst kind", "its alarms", "its rate", "99 % interval", ""], cells)


def _verdicts(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ("made_by", "none", "cannot_say", "origin sampled", "origin rendered", "origin not told")
    cells = [[row["kind"], str(row["count"]), *(f"{100 * row[name]:.0f} %" for name in names)] for row in rows]
    return _table(["pictures", "N", *names], cells)


def _ratios(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[row["against"], row["laundering"], f"{row['cllr']:.3f}", f"{row['cllr_min']:.3f}"] for row in rows]
    return _table(["against", "laundering", "Cllr", "Cllr min"], cells)


def _detection(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for row in rows:
        cells.append([row["generator"], row["laundering"], str(row["count"]), _interval(row["auc"]), f"{PUBLIC[row['laundering']]:g}"])
    return _table(["generator", "laundering", "N", "AUC (95 %)", "public figure, other data"], cells) if rows else ""


def _ablation(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    columns = [name for name in rows[0] if name != "left out"]
    return _table(["left out", *columns], [[row["left out"], *(f"{row[name]:.4f}" for name in columns)] for row in rows])


def _fingerprint(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[row["against"], row["laundering"], _interval(row["auc"]), _interval(row["tpr"], 2)] for row in rows]
    return _table(["against", "laundering", "AUC (95 %)", "TPR at 1 % FPR (95 %)"], cells) if rows else ""


def _interval(values: Sequence[float], digits: int = 3) -> str:
    return f"{values[0]:.{digits}f} ({values[1]:.{digits}f} to {values[2]:.{digits}f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])

