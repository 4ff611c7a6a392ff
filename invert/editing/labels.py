"""Latents with what their pictures show: by the bundled features, a function of the user's, a CSV file, or pairs.

This is what finders learn from. A scorer is a function images [N, C, H, W] in [-1, 1] → {attribute: [N]}; values that are
all 0 or 1, or that the scorer calls binary, are classes, everything else is continuous.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

import torch
from torch import Tensor

from stylegan_core.errors import InversionError, UsageError
from stylegan_core.files import display
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.seeds import MAX_SEED, rng_from_seed

Scorer = Callable[[Tensor], Mapping[str, Tensor]]
Labels = Union[str, "os.PathLike[str]", Scorer, "Labelled"]
Counting = Callable[[int, int], "bool | None"]  # (done, count); False stops
DEFAULT_LABELS = "portraits-features"
BATCH_PIXELS = 1 << 18
MAX_ROWS = 1_000_000
LATENT_STREAM, ORDER_STREAM = 11, 12


@dataclass(frozen=True)
class Labelled:
    """latent: N latents of one space. scores: attribute → [N] float32. binary: attributes that are classes. source: for provenance."""

    latent: Latent
    scores: dict[str, Tensor]
    binary: frozenset[str]
    source: str

    def __len__(self) -> int:
        return len(self.latent)

    def lowered(self, generator: Generator, space: LatentSpace) -> Labelled:
        """The same in a space further down; w+ for w is averaged over its rows, which inversions need."""
        latent = self.latent.to(generator.w_avg.device, generator.w_avg.dtype)
        if latent.space is LatentSpace.W_PLUS and space is LatentSpace.W:
            return replace(self, latent=latent.mean_row())
        with torch.no_grad():
            return replace(self, latent=latent.lower(generator, to=space))

    def rows(self, index: Tensor) -> Labelled:
        """Those samples."""
        return replace(self, latent=self.latent[index], scores={name: value[index] for name, value in self.scores.items()})

    def shuffled(self, seed: int) -> Labelled:
        """In an order that says nothing, so that the last samples measure what the first ones taught."""
        return self.rows(torch.randperm(len(self), generator=rng_from_seed(seed, ORDER_STREAM)))


def labelled(labels: Labels, generator: Generator, *, num_samples: int, seed: int = 0, callback: Counting | None = None) -> Labelled:
    """What `labels` means: a `Labelled` as it is; a scorer on samples of the generator; or a name.

    Names: a CSV file (see `from_csv`, `from_pairs`), MODULE:FUNCTION or FILE.py:FUNCTION of the user's, portraits-features or a
    features file. num_samples, seed: of the samples that a scorer sees.
    """
    if isinstance(labels, Labelled):
        return labels
    if not isinstance(labels, (str, os.PathLike)):
        return score_samples(generator, labels, num_samples=num_samples, seed=seed, callback=callback)
    name = os.fspath(labels)
    if name.lower().endswith(".csv"):
        return from_csv(name, generator)
    return score_samples(generator, load_scorer(name, generator), num_samples=num_samples, seed=seed, callback=callback)


def load_scorer(name: str, generator: Generator | None = None) -> Scorer:
    """portraits-features or a features file → its attributes; MODULE:FUNCTION, FILE.py:FUNCTION → the user's function.

    The user's module is imported, because the user named it. Raises UsageError, WeightsNotFoundError, CheckpointError.
    """
    head, colon, function = name.rpartition(":")
    if colon and function.isidentifier():
        module = _import_file(Path(head)) if head.endswith(".py") else _import_module(head)
        found = getattr(module, function, None)
        if not callable(found):
            raise UsageError(f"labels {name!r}: {display(head)} has no function {function!r}")
        return found  # type: ignore[no-any-return]
    return FeatureScorer.load(name, generator)


@dataclass(frozen=True)
class FeatureScorer:
    """Attributes by a features network: continuous ones in (-1, 1), classes as probabilities. Differentiable."""

    features: Any

    @classmethod
    def load(cls, name: str = DEFAULT_LABELS, generator: Generator | None = None) -> FeatureScorer:
        """On the device of the generator; None = the CPU."""
        from stylegan_core.features import load_features

        features = load_features(name)
        return cls(features if generator is None else features.to(generator.w_avg.device))

    @property
    def name(self) -> str:
        return str(self.features.name)

    @property
    def binary(self) -> frozenset[str]:
        """Attributes that are classes."""
        return frozenset(self.features.binary_names)

    def __call__(self, images: Tensor) -> Mapping[str, Tensor]:
        return self.features.attributes(images)  # type: ignore[no-any-return]


@torch.no_grad()
def score_samples(generator: Generator, scorer: Scorer, *, num_samples: int, seed: int = 0, callback: Counting | None = None) -> Labelled:
    """Samples of the generator, in z, with the scores of their pictures (stored noise). Raises UsageError for a scorer gone wrong."""
    latent = draw(generator, num_samples, seed=seed)
    step = max(1, BATCH_PIXELS // generator.img_resolution**2)
    parts: list[dict[str, Tensor]] = []
    for first in range(0, num_samples, step):
        images = latent[slice(first, first + step)].render(generator).clamp(-1, 1)
        parts.append(checked_scores(scorer(images), len(images)))
        if callback is not None and callback(first + len(images), num_samples) is False:
            break
    scores = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    done = sum(len(part[next(iter(part))]) for part in parts)
    source = getattr(scorer, "name", None) or getattr(scorer, "__name__", type(scorer).__name__)
    return Labelled(latent[slice(0, done)], scores, classes(scores, getattr(scorer, "binary", frozenset())), str(source))


@torch.no_grad()
def draw(generator: Generator, count: int, *, seed: int = 0, space: LatentSpace | str = LatentSpace.Z) -> Latent:
    """`count` samples in a space; those of a conditional generator go through its classes by turns."""
    if count < 2:
        raise UsageError(f"{count} samples: at least 2 are needed")
    z = torch.randn(count, generator.z_dim, generator=rng_from_seed(seed, LATENT_STREAM)).to(generator.w_avg)
    c = None
    if generator.c_dim:
        c = torch.eye(generator.c_dim)[torch.arange(count) % generator.c_dim].to(generator.w_avg)
    return Latent(z, LatentSpace.Z, c).lower(generator, to=space)


def checked_scores(scores: Any, count: int) -> dict[str, Tensor]:
    """Name → [count] float32 on the CPU. Raises UsageError when a scorer gave something else."""
    if not isinstance(scores, Mapping) or not scores:
        raise UsageError("labels: the function gave no scores; it takes images [N, C, H, W] and gives {attribute: [N]}")
    found = {}
    for name, value in scores.items():
        tensor = torch.as_tensor(value).detach().float().cpu().flatten()
        if len(tensor) != count or not torch.isfinite(tensor).all():
            raise UsageError(f"labels: {name!r} has {len(tensor)} values for {count} pictures, or some that are not finite")
        found[str(name)] = tensor
    return found


def classes(scores: Mapping[str, Tensor], known: frozenset[str] = frozenset()) -> frozenset[str]:
    """The attributes that are classes: those known to be, and those whose values are all 0 or 1."""
    return frozenset(name for name, value in scores.items() if name in known or bool(((value == 0) | (value == 1)).all()))


def from_csv(path: str | os.PathLike[str], generator: Generator) -> Labelled:
    """A table of the user's: a column `seed` or `file` (inversions, relative to the table), every other column an attribute.

    A table with the columns `without` and `with` names pairs instead, see `from_pairs`. Raises UsageError naming the line.
    """
    columns, rows = _read_table(Path(path))
    name = display(Path(path).name)
    if {"without", "with"} <= set(columns):
        pairs = [(row["without"], row["with"]) for row in rows]
        return from_pairs([tuple(_inversion(path, cell) for cell in pair) for pair in pairs], _title(Path(path)), source=name)
    key = next((column for column in ("seed", "file") if column in columns), None)
    attributes = [column for column in columns if column not in ("seed", "file")]
    if key is None or not attributes:
        raise UsageError(f"{name}: it needs a column seed or file and one per attribute (or without, with); it has {', '.join(columns)}")
    scores = {attribute: torch.tensor([_number(row, attribute, name, i) for i, row in enumerate(rows)]) for attribute in attributes}
    if key == "seed":
        seeds = [_seed(row["seed"], name, i) for i, row in enumerate(rows)]
        latent = Latent.sample(generator, seeds)
        if generator.c_dim:
            raise UsageError(f"{name}: seeds say nothing of the class of a conditional model; give inversion files in a column file")
    else:
        latent = Latent.cat([_inversion(path, row["file"]).latent for row in rows])
    return Labelled(latent, scores, classes(scores), name)


def from_pairs(pairs: Sequence[Sequence[Inversion]], attribute: str, *, source: str = "pairs") -> Labelled:
    """pairs: (without, with) of inversions in one space → one class. Raises UsageError for fewer than two pairs."""
    if len(pairs) < 2:
        raise UsageError(f"{len(pairs)} pair(s): at least two are needed")
    latent = Latent.cat([pair[side].latent for side in (0, 1) for pair in pairs])
    score = torch.tensor([0.0] * len(pairs) + [1.0] * len(pairs))
    return Labelled(latent, {attribute: score}, frozenset({attribute}), source)


def _read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            rows = [row for row, _ in zip(reader, range(MAX_ROWS))]
            columns = [column.strip() for column in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{display(path)} cannot be read as a table ({display(error, max_length=100)})") from None
    if len(rows) < 2:
        raise UsageError(f"{display(path)} has {len(rows)} line(s) below its heading; at least two are needed")
    return columns, [{(key or "").strip(): str(value).strip() for key, value in row.items()} for row in rows]


def _title(path: Path) -> str:
    return path.stem


def _number(row: Mapping[str, str], column: str, name: str, index: int) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name}, line {index + 2}: {column} is {display(row[column])!r}; a number is needed")
    return value


def _seed(text: str, name: str, index: int) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_SEED):
        raise UsageError(f"{name}, line {index + 2}: the seed {display(text)!r} is no whole number from 0 to {MAX_SEED}")
    return int(text)


def _inversion(table: str | os.PathLike[str], cell: str) -> Inversion:
    try:
        return Inversion.load(Path(table).parent / cell)
    except InversionError as error:
        raise UsageError(f"{display(Path(table).name)}: {error}") from None


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"labels {display(path)}: no such file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _import_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"labels {name!r}: the module cannot be imported ({display(error, max_length=120)})") from None
