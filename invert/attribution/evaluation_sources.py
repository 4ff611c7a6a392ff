"""The classes of pictures that `invert evaluate attribution` measures on, all from numbers that no calibration uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invert.attribution.groundwork import Groundwork
from invert.attribution.sources import Kept, Procedural, Samples, Source, as_file, sample
from stylegan_core.generator import Generator
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.noise import Noise
from stylegan_core.seeds import rng_from_seed, zs_from_seeds

FIRST_SEED = 100_000  # of samples
TEST_SEED = 1000  # of portraits and scenes
STRENGTH = 2.0  # standard deviations of an edit
EDITS = 10  # principal directions of W that edits go along
CANVAS = 2.5  # sides of the larger picture, in sides of the face
OWN_CLASSES = ("psi 1", "psi 0.7", "stored noise", "style-mixed", "edited", "in W+", "pasted")


@dataclass(frozen=True)
class Variant:
    """Own pictures of one class. kind: of OWN_CLASSES."""

    ground: Groundwork
    kind: str
    count: int | None = None

    @property
    def key(self) -> str:
        """Model, class and first seed."""
        return f"{self.kind} of {self.ground.samples.sha256[:16]} from {FIRST_SEED}"

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        return [self._picture(FIRST_SEED + index) for index in indices]

    def _picture(self, seed: int) -> Tensor:
        generator = self.ground.generator
        if self.kind == "psi 0.7":
            return sample(generator, seed, psi=0.7)
        if self.kind == "stored noise":
            return sample(generator, seed, noise_mode="const")
        if self.kind == "style-mixed":
            return mixed_styles(generator, seed)
        if self.kind == "edited":
            return edited(self.ground, seed)
        if self.kind == "pasted":
            return pasted(edited(self.ground, seed), seed)
        return sample(generator, seed)


@torch.no_grad()
def mixed_styles(generator: Generator, seed: int) -> Tensor:
    """The coarse half of the rows from one seed, the fine half from another."""
    ws = generator.mapping(zs_from_seeds([seed, seed + 50_000], generator.z_dim).to(generator.w_avg), _labels(generator, seed, 2))
    half = generator.num_ws // 2
    return as_file(generator.synthesis(torch.cat([ws[:1, :half], ws[1:, half:]], dim=1), noise_mode="random", rng=rng_from_seed(seed)))


@torch.no_grad()
def edited(ground: Groundwork, seed: int) -> Tensor:
    """A sample moved along one of the first principal directions of W."""
    generator = ground.generator
    w = generator.mapping.to_w(zs_from_seeds([seed], generator.z_dim).to(generator.w_avg), _labels(generator, seed, 1))
    v = ground.prior.whiten(w)
    v[0, seed % min(EDITS, generator.w_dim)] += STRENGTH if seed % 2 else -STRENGTH
    noise = Noise.random(generator, [seed]).maps
    return as_file(Latent(ground.prior.unwhiten(v), LatentSpace.W).render(generator, noise=noise))


def pasted(face: Tensor, seed: int) -> Tensor:
    """The face in a landscape, at a place of its own."""
    side = max(face.shape[2:])
    size = round(CANVAS * side)
    scene = Procedural("scenes", size, seed=TEST_SEED, first=0).pictures([seed])[0]
    rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
    left, top = (int(rng.integers(0, size - side + 1)) for _ in range(2))
    picture = scene.clone()
    picture[:, :, top : top + face.shape[2], left : left + face.shape[3]] = face
    return picture


@dataclass(frozen=True)
class Photographs:
    """Squares out of the two photographs that scikit-learn ships."""

    resolution: int
    kind: str = "photographs"
    count: int | None = None
    key: str = f"squares of sample photographs from {TEST_SEED}"

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        from sklearn.datasets import load_sample_images

        photos = load_sample_images().images
        result = []
        for index in indices:
            rng = np.random.default_rng(np.random.SeedSequence([TEST_SEED, index]))
            photo = photos[index % 2]
            side = int(rng.integers(photo.shape[0] // 4, photo.shape[0] + 1))
            top, left = (int(rng.integers(0, size - side + 1)) for size in photo.shape[:2])
            part = torch.from_numpy(photo[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
            size = (self.resolution, self.resolution)
            result.append(as_file(F.interpolate(part, size=size, mode="bilinear", antialias=True, align_corners=False)))
        return result


@dataclass(frozen=True)
class Shrunk:
    """Pictures of another source at a side that is too small to say anything."""

    source: Source
    side: int = 16
    kind: str = "16 px"

    @property
    def count(self) -> int | None:
        """Of the source."""
        return self.source.count

    @property
    def key(self) -> str:
        """Side and source."""
        return f"{self.side} px of {self.source.key}"

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        size = (self.side, self.side)
        return [as_file(F.interpolate(picture, size=size, mode="bilinear", antialias=True, align_corners=False))
                for picture in self.source.pictures(indices)]  # fmt: skip


def own_sources(ground: Groundwork, renders: Kept) -> list[Source]:
    """One of each of OWN_CLASSES; `renders`: of W+ codes of held-out real pictures."""
    return [replace(renders, kind="in W+") if kind == "in W+" else Variant(ground, kind) for kind in OWN_CLASSES]


def other_samples(generator: Generator, name: str) -> Samples:
    """Held-out samples of another model, of the kind that a calibration calls 'by NAME'."""
    return Samples(generator, kind=f"by {name}", first=FIRST_SEED)


def held_out_portraits(resolution: int) -> Procedural:
    """Real portraits of the test seed."""
    return Procedural("portraits", resolution, seed=TEST_SEED, first=0)


def _labels(generator: Generator, seed: int, count: int) -> Tensor | None:
    if not generator.c_dim:
        return None
    return F.one_hot(torch.full((count,), seed % generator.c_dim, device=generator.w_avg.device), generator.c_dim).to(generator.w_avg)
