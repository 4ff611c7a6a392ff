"""What was seen in a data set, kept in the user's cache: looking at the same pictures again takes no time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from stylegan_core.checkpoints.catalog import cache_folder
from stylegan_core.files import atomic_write
from stylegan_core.image_reader import SUFFIXES
from stylegan_core.metrics.moments import Moments
from stylegan_core.metrics.observed import Observed

FORMAT = "invert statistics 1"


@dataclass(frozen=True)
class StatisticsCache:
    """identity: says which data set it is, changed or not. folder: None = `statistics` in the user's cache."""

    identity: str
    folder: Path | None = None

    def path(self, *, detector: str, first: int, last: int, needs: Sequence[str]) -> Path:
        """Where the statistics of pictures first … last - 1 are. detector: hash of what looks; needs: what was kept."""
        key = json.dumps([FORMAT, self.identity, detector, first, last, sorted(needs)])
        folder = cache_folder() / "statistics" if self.folder is None else self.folder
        return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"

    def load(self, path: Path) -> Observed | None:
        """What was kept; None when there is nothing, or nothing that can be read."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in list(file.keys())}
            if metadata.get("format") != FORMAT:
                return None
            facts = json.loads(metadata["facts"])
            attributes = {name: tensors[f"attributes.{name}"] for name in facts["attributes"]}
            moments = None
            if "moments.mean" in tensors:
                moments = Moments(int(facts["count"]), tensors["moments.mean"], tensors["moments.scatter"])
            return Observed(
                tensors["pooled"], attributes, tuple(facts["binary"]), moments, tensors.get("classes"), tensors.get("similarity")
            )
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return None

    def store(self, path: Path, observed: Observed) -> None:
        """Writes it, whole or not at all."""
        tensors = {"pooled": observed.pooled}
        tensors |= {f"attributes.{name}": values for name, values in observed.attributes.items()}
        if observed.moments is not None:
            tensors |= {"moments.mean": observed.moments.mean, "moments.scatter": observed.moments.scatter}
        for name in ("classes", "similarity"):
            value = getattr(observed, name)
            if value is not None:
                tensors[name] = value
        facts: dict[str, Any] = {"count": len(observed), "attributes": list(observed.attributes), "binary": list(observed.binary)}
        own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        with atomic_write(path) as temporary:
            save_file(own, str(temporary), metadata={"format": FORMAT, "facts": json.dumps(facts), "identity": self.identity})


def identity_of_path(path: str | os.PathLike[str]) -> str:
    """Of a folder or a zip: where it is, and the name, size and time of every file that counts."""
    place = Path(path).expanduser().resolve()
    files = [place] if place.is_file() else sorted(each for each in place.rglob("*") if each.suffix.lower() in SUFFIXES)
    digest = hashlib.sha256()
    for file in files:
        facts = file.stat()
        digest.update(f"{file.relative_to(place.parent)}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return f"{place} {digest.hexdigest()}"


def identity_of_portraits(seed: int, resolution: int, *, law: str = "correlated", style: str = "colour") -> str:
    """Of procedural portraits: their options and the text of the renderer, so that a changed renderer is another data set."""
    digest = hashlib.sha256()
    folder = resources.files("stylegan_core") / "data"
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.name.startswith("portrait") and entry.name.endswith(".py"):
            digest.update(entry.read_bytes())
    return f"portraits(seed={seed}, resolution={resolution}, law={law}, style={style}) {digest.hexdigest()}"
