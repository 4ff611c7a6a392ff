"""Procedural portraits whose attributes are known: who is sampled, how a person changes, and how pictures are written.

Portrait i of seed S comes from `numpy.random.SeedSequence([S, i])`: one child stream chooses attributes and identity,
another the stochastic detail (freckles, hair strands, grain), so that one person can be drawn with other detail.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import erf
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.special import ndtri
from scipy.stats import beta

from stylegan_core.data.portrait_face import draw_portrait
from stylegan_core.data.portrait_person import IDENTITY_TRAITS, Person
from stylegan_core.errors import UsageError
from stylegan_core.files import atomic_write

ATTRIBUTES: tuple[str, ...] = (
    "yaw",  # -1 looks to the left of the picture, 1 to the right
    "tilt",  # head leaning: -1 towards the left of the picture, 1 towards the right
    "smile",  # -1 frown, 1 smile
    "mouth_open",  # -1 closed, 1 wide open
    "eyes_open",  # -1 shut, 1 wide open
    "age",  # -1 child, 1 old
    "glasses",  # 0 or 1
    "beard",  # 0 or 1
    "hat",  # 0 or 1
    "hair_length",  # -1 cropped, 1 below the shoulders
    "hair_colour",  # -1 black, then brown, auburn, ginger, blond, 1 platinum
    "skin_tone",  # -1 dark, 1 light
    "light",  # -1 light from the left of the picture, 1 from the right
    "background",  # position on a path of colours
)
BINARY_ATTRIBUTES = ("glasses", "beard", "hat")
LAWS = ("correlated", "independent")
STYLES = ("colour", "ink")
POSE_LAW = ([1.7, 2.2, 1.3, 1.1, 1.5], [1.7, 2.2, 1.1, 1.4, 1.0])  # beta laws of yaw, tilt, smile, mouth_open, eyes_open
DRAWING_VERSION = 1  # of the pictures; it goes up when a seed gives another picture than before


@dataclass(frozen=True)
class Portrait:
    """Everything that is needed to draw one picture."""

    attributes: dict[str, float]  # keys of ATTRIBUTES, in that order
    identity: dict[str, float]  # keys of IDENTITY_TRAITS, each in [-1, 1]
    detail_seed: int  # freckles, strands and grain
    style: str = "colour"  # or "ink"

    def with_attributes(self, **changes: float) -> Portrait:
        """The same person and detail with some attributes changed: a true counterfactual."""
        for name, value in changes.items():
            _check_attribute(name, value)
        values = {name: float(changes.get(name, value)) for name, value in self.attributes.items()}
        return replace(self, attributes=values)

    def with_detail(self, seed: int) -> Portrait:
        """The same person and attributes with other stochastic detail."""
        if seed < 0:
            raise UsageError(f"a detail seed is 0 or more, not {seed}")
        return replace(self, detail_seed=int(seed))


def sample_portrait(seed: int, index: int, *, law: str = "correlated", style: str = "colour") -> Portrait:
    """Portrait `index` of the endless set `seed` (training 0, validation 1, tests from 1000)."""
    if seed < 0 or index < 0:
        raise UsageError(f"a portrait needs a seed and an index of 0 or more, not seed {seed}, index {index}")
    _check_choice("law", law, LAWS)
    _check_choice("style", style, STYLES)
    person_stream, detail_stream = np.random.SeedSequence([seed, index]).spawn(2)
    rng = np.random.default_rng(person_stream)
    attributes = _draw_attributes(rng, law)
    traits = rng.uniform(-1.0, 1.0, len(IDENTITY_TRAITS))
    identity = {name: float(value) for name, value in zip(IDENTITY_TRAITS, traits, strict=True)}
    return Portrait(attributes, identity, int(detail_stream.generate_state(1)[0]), style)


def render_portrait(portrait: Portrait, resolution: int) -> np.ndarray:
    """[R, R, 3] uint8; the same composition at every resolution."""
    _check_resolution(resolution)
    _check_choice("style", portrait.style, STYLES)
    person = Person.from_values(portrait.attributes, portrait.identity)
    return draw_portrait(person, portrait.detail_seed, portrait.style, resolution)


def portrait_u8(
    seed: int, index: int, resolution: int = 64, *, law: str = "correlated", style: str = "colour"
) -> tuple[np.ndarray, dict[str, float]]:
    """Picture [R, R, 3] uint8 and attributes of portrait `index` of `seed`."""
    portrait = sample_portrait(seed, index, law=law, style=style)
    return render_portrait(portrait, resolution), dict(portrait.attributes)


def write_portraits(
    output: Path,
    *,
    count: int,
    resolution: int,
    seed: int,
    law: str = "correlated",
    style: str = "colour",
    callback: Callable[[int, int], bool | None] | None = None,
) -> Path:
    """Write portraits 0 … count - 1 of `seed` to output/images/000000.png … and their attributes to output/labels.csv.

    A picture that is already there, whole and drawn from the same seed, law, style and resolution, is kept. callback:
    called as callback(done, count) after each picture, False stops, and a later call goes on; None is silent. The
    labels are written last and name the pictures that are done. Returns `output`.
    """
    if count < 1:
        raise UsageError(f"count={count}: at least one portrait is needed")
    _check_resolution(resolution)
    images = Path(output) / "images"
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("file", *ATTRIBUTES))
    for index in range(count):
        portrait = sample_portrait(seed, index, law=law, style=style)
        path = images / f"{index:06d}.png"
        recipe = f"seed={seed} index={index} law={law} style={style} version={DRAWING_VERSION}"
        if not _is_whole(path, resolution, recipe):
            with atomic_write(path) as temporary:
                temporary.write_bytes(_png(render_portrait(portrait, resolution), recipe))
        rows.writerow((path.name, *(f"{portrait.attributes[name]:.6g}" for name in ATTRIBUTES)))
        if callback is not None and callback(index + 1, count) is False:
            break
    with atomic_write(Path(output) / "labels.csv") as temporary:
        temporary.write_text(table.getvalue(), encoding="utf-8", newline="")
    return Path(output)


def _png(picture: np.ndarray, recipe: str) -> bytes:
    notes = PngInfo()
    notes.add_text("portrait", recipe)
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG", pnginfo=notes, compress_level=4)
    return data.getvalue()


def _is_whole(path: Path, resolution: int, recipe: str) -> bool:
    """Whether path is an undamaged picture of that size and recipe."""
    try:
        with Image.open(path) as picture:
            if picture.size != (resolution, resolution) or picture.info.get("portrait") != recipe:
                return False
            picture.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


# Joint laws.


def portrait_normals(seed: int, index: int) -> np.ndarray:
    """[54] float64: the random draws behind portrait `index`, each mapped to a standard normal number by its own distribution.

    Independent and complete: whoever draws 54 standard normal numbers has drawn a portrait of the same law, save its detail.
    """
    pose, normal, chance, background, traits = _draws_of(seed, index)
    return _normals(pose, normal, chance, background, traits)


def twin_normals(seed: int, index: int, rng: np.random.Generator, *, law: str = "correlated") -> np.ndarray:
    """[54] float64: other numbers that draw the same picture as portrait `index`.

    Drawn anew is what the picture cannot show: the shape of glasses that nobody wears, and by how much a chance was missed.
    """
    pose, normal, chance, background, traits = _draws_of(seed, index)
    shares = _shares_of_worn(_uniform_of_normal(normal[0]), law)
    is_worn = {name: u < p for name, u, p in zip(BINARY_ATTRIBUTES, chance, shares, strict=True)}
    lowest = [0.0 if worn else p for worn, p in zip(is_worn.values(), shares)]
    highest = [p if worn else 1.0 for worn, p in zip(is_worn.values(), shares)]
    for k, trait in enumerate(IDENTITY_TRAITS):
        if not is_worn.get(trait.split("_")[0], True):
            traits[k] = rng.uniform(-1.0, 1.0)
    return _normals(pose, normal, rng.uniform(lowest, highest), background, traits)


def _draws_of(seed: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray]:
    person_stream, _ = np.random.SeedSequence([seed, index]).spawn(2)
    rng = np.random.default_rng(person_stream)
    return (*_draw(rng), rng.uniform(-1.0, 1.0, len(IDENTITY_TRAITS)))


def _normals(pose: np.ndarray, normal: np.ndarray, chance: np.ndarray, background: float, traits: np.ndarray) -> np.ndarray:
    uniforms = np.concatenate([beta.cdf(pose, *POSE_LAW), chance, [(background + 1) / 2], (traits + 1) / 2])
    return np.concatenate([normal, ndtri(uniforms.clip(1e-6, 1 - 1e-6))])


def _draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The draws that attributes are made of: pose [5] in [0, 1], normal [5], chance [3] in [0, 1], background in [-1, 1]."""
    return rng.beta(*POSE_LAW), rng.standard_normal(5), rng.uniform(size=3), rng.uniform(-1.0, 1.0)


def _draw_attributes(rng: np.random.Generator, law: str) -> dict[str, float]:
    """Attributes of one person; both laws use the same number of draws, so identity does not depend on the law."""
    pose, normal, chance, background = _draw(rng)
    pose = 2.0 * pose - 1.0
    age, length, colour, skin, light = normal
    if law == "correlated":
        colour = 0.40 * age + 0.40 * skin + 0.825 * colour
        length = -0.30 * age + 0.954 * length
        pose[3] = 0.75 * pose[3] + 0.25 * pose[2]
    age, length, colour, skin, light = (_uniform_of_normal(value) for value in (age, length, colour, skin, light))
    has_glasses, has_beard, has_hat = (float(u < p) for u, p in zip(chance, _shares_of_worn(age, law), strict=True))
    if law == "correlated" and has_beard:
        length = -1.0 + (length + 1.0) * 0.65  # nobody with a beard has hair longer than 0.3
    values = (*pose, age, has_glasses, has_beard, has_hat, length, colour, skin, light, background)
    return {name: float(value) for name, value in zip(ATTRIBUTES, values, strict=True)}


def _shares_of_worn(age: float, law: str) -> tuple[float, float, float]:
    """How likely glasses, beard and hat are at this age in [-1, 1]."""
    return (0.30 + 0.22 * age, 0.30 + 0.16 * age, 0.22) if law == "correlated" else (0.30, 0.30, 0.22)


def _uniform_of_normal(value: float) -> float:
    """Map a standard normal value to a uniform one in [-1, 1]."""
    return erf(value / 2.0**0.5)


def _check_attribute(name: str, value: float) -> None:
    if name not in ATTRIBUTES:
        raise UsageError(f"unknown attribute {name!r}; there are {', '.join(ATTRIBUTES)}")
    if not isinstance(value, (int, float, np.number)):
        raise UsageError(f"{name}={value!r}: it is a number")
    if name in BINARY_ATTRIBUTES:
        if value not in (0, 1):
            raise UsageError(f"{name}={value}: it is either 0 or 1")
    elif not -1.0 <= value <= 1.0:
        raise UsageError(f"{name}={value}: it lies between -1 and 1")


def _check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{option}={value!r} is not one of {', '.join(allowed)}")


def _check_resolution(resolution: int) -> None:
    if not 8 <= resolution <= 4096:
        raise UsageError(f"resolution={resolution} is not between 8 and 4096")
