"""Pictures whose origin is known: a model's own samples, other models', real ones, procedural ones, and renders of W+ codes.

Picture i of a source depends on i alone, so that a calibration can be repeated and gone on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invert.attribution.calibration import RENDERED, SAMPLED
from stylegan_core import images
from stylegan_core.errors import UsageError
from stylegan_core.files import display
from stylegan_core.generator import Generator, place_of
from stylegan_core.provenance import bytes_sha256, model_sha256
from stylegan_core.seeds import rng_from_seed, zs_from_seeds

FIRST_SEED = 3_000_000_000  # of samples for calibration: none that people type
MAX_OWN_SEED, SEED_STEP = 1000, 1_000_000  # of own samples: every seed has as many numbers to itself
PORTRAIT_SEED = 1  # validation portraits; tests use 1000 and above
FIRST_PORTRAIT = 100_000  # of that seed, beyond those that anything else uses
PROCEDURAL = ("portraits", "scenes")
KNOWN_SEEDS = 256  # samples that people are likeliest to have: seeds 0, 1, …


class Source(Protocol):
    """Endless or counted pictures of one origin."""

    @property
    def kind(self) -> str:
        """Of the origin."""
        ...

    @property
    def count(self) -> int | None:
        """How many there are; None = endless."""
        ...

    @property
    def key(self) -> str:
        """What the pictures are, for the cache."""
        ...

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        """[1, 3, H, W] in [-1, 1], of 8 bits, one per index."""
        ...


@dataclass(frozen=True)
class Samples:
    """Of a generator, psi 1 and 0.7, random and stored noise, by turns. first: seed of sample 0."""

    generator: Generator
    kind: str = SAMPLED
    first: int = FIRST_SEED
    count: int | None = None

    @property
    def key(self) -> str:
        """The model's hash and the first seed."""
        return f"samples {model_sha256(self.generator)[:16]} from {self.first}"  # type: ignore[arg-type]

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        result = []
        for index in indices:
            psi = 0.7 if index % 5 == 4 else 1.0
            result.append(sample(self.generator, self.first + index, psi=psi, noise_mode="const" if index % 4 == 3 else "random"))
        return result


@torch.no_grad()
def sample(generator: Generator, seed: int, *, psi: float = 1.0, noise_mode: str = "random") -> Tensor:
    """[1, 3, H, W] in [-1, 1], rounded to 8 bits as in a file; classes of a conditional generator by turns."""
    device, dtype = place_of(generator)
    z = zs_from_seeds([seed], generator.z_dim).to(device, dtype)
    c = F.one_hot(torch.tensor([seed % generator.c_dim], device=device), generator.c_dim).to(dtype) if generator.c_dim else None
    ws = generator.mapping(z, c, truncation_psi=psi)
    return as_file(generator.synthesis(ws, noise_mode=noise_mode, rng=rng_from_seed(seed)))


def as_file(rendered: Tensor) -> Tensor:
    """[1, C, H, W] → [1, 3, H, W] float32 on the CPU, rounded to 8 bits."""
    return images.from_u8(images.to_u8(images.to_rgb(rendered.float().cpu().clamp(-1, 1))))


@dataclass(frozen=True)
class Folder:
    """Picture files of a folder, fitted to the model's frame. paths: sorted."""

    paths: tuple[Path, ...]
    shape: Any  # the generator: `images.fit` reads its size
    kind: str = "real"

    @classmethod
    def of(cls, folder: Path, generator: Generator) -> Folder:
        """Raises UsageError for a folder without pictures."""
        from invert.inputs import collect_inputs, is_picture_file

        return cls(tuple(collect_inputs([folder], wanted=is_picture_file, recursive=True).paths), generator)

    @property
    def count(self) -> int | None:
        """Of files."""
        return len(self.paths)

    @property
    def key(self) -> str:
        """Names and sizes of the files."""
        facts = [f"{path.name} {path.stat().st_size if path.exists() else 0}" for path in self.paths]
        return f"files {bytes_sha256(chr(10).join(facts).encode('utf-8', 'backslashreplace'))[:16]}"

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        """Raises ImageError for a file that cannot be read."""
        fitted = [images.fit(images.load_image(self.paths[index]), self.shape)[0] for index in indices]
        return [as_file(target) for target in fitted]


@dataclass(frozen=True)
class Procedural:
    """Portraits or scenes that the toolkit draws. style: colour or ink, of portraits."""

    name: str
    resolution: int
    seed: int = PORTRAIT_SEED
    first: int = FIRST_PORTRAIT
    kind: str = "real"
    style: str = "colour"
    count: int | None = None

    @property
    def key(self) -> str:
        """Name, style and seeds."""
        return f"{self.name} {self.style} seed {self.seed} from {self.first}"

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        from stylegan_core.data.portraits import portrait_u8
        from stylegan_core.data.scenes import scene_u8

        size = max(8, self.resolution)
        drawn = [scene_u8(self.seed, self.first + i, size) if self.name == "scenes"
                 else portrait_u8(self.seed, self.first + i, size, style=self.style)[0] for i in indices]  # fmt: skip
        return [images.from_u8(torch.from_numpy(np.ascontiguousarray(picture))[None]) for picture in drawn]


@dataclass(frozen=True)
class Kept:
    """Pictures that were written before, index → file: renders of W+ codes of real pictures."""

    folder: Path
    kind: str = RENDERED
    count: int | None = None
    key: str = "renders of the real pictures"

    def path(self, index: int) -> Path:
        """Where picture `index` is."""
        return self.folder / f"{index:06d}.png"

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        return [images.load_image(self.path(index)) for index in indices]


def own_source_of_seed(generator: Generator, seed: int) -> Samples:
    """The samples that a calibration with this seed is made of. Raises UsageError."""
    if not 0 <= seed <= MAX_OWN_SEED:
        raise UsageError(f"--seed {seed}: a whole number from 0 to {MAX_OWN_SEED} is allowed here")
    return Samples(generator, first=FIRST_SEED + SEED_STEP * seed)


def real_source(name: str, generator: Generator) -> Source:
    """--real: 'portraits', 'scenes' or a folder. Raises UsageError."""
    if name in PROCEDURAL:
        return Procedural(name, generator.img_resolution, kind=name if name == "scenes" else "real")
    folder = Path(name)
    if not folder.is_dir():
        raise UsageError(f"--real {display(name)}: a folder of pictures, or one of {', '.join(PROCEDURAL)}, is needed")
    return Folder.of(folder, generator)


def own_copies(paths: Sequence[Path], generator: Generator, sha256: str) -> dict[Path, str]:
    """Files that are samples of this model → how that is known: their own metadata, or the pixels of a seed from 0 to 255."""
    known = {}
    for seed in range(KNOWN_SEEDS):
        known[pixels_sha256(sample(generator, seed, noise_mode="const"))] = f"equal to seed {seed}"
    found = {}
    for path in paths:
        reason = known.get(_file_pixels(path, generator)) or _told_by_metadata(path, sha256)
        if reason is not None:
            found[path] = reason
    return found


def pixels_sha256(picture: Tensor) -> str:
    """Of the 8-bit pixels of [1, 3, H, W]."""
    return bytes_sha256(images.to_u8(picture)[0].contiguous().numpy().tobytes())


def _file_pixels(path: Path, generator: Generator) -> str:
    from stylegan_core.errors import ImageError

    try:
        picture = images.load_image(path)
    except ImageError:
        return ""
    return pixels_sha256(picture) if tuple(picture.shape[2:]) == generator.img_shape else ""


def _told_by_metadata(path: Path, sha256: str) -> str | None:
    """The note that `invert generate` and `invert render` leave in PNG files."""
    import json

    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            note = json.loads(str(picture.info.get("invert", "{}"))[:100_000])
    except (OSError, ValueError, SyntaxError, RecursionError, Image.DecompressionBombError):
        return None
    return "its metadata names this model" if isinstance(note, dict) and note.get("model_sha256") == sha256 else None
