"""The steps of a pipeline: each takes a piece of work and gives it on, with a note of what it did. Nothing is changed in place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

from invert.editing.direction import Direction
from invert.editing.inverting import Align, Encode, Project, Tune, Work
from invert.editing.layers import parse_rows
from invert.editing.masks import THROUGH, region_of, render_masked
from invert.editing.mixing import crossover, mix
from invert.editing.setting import Setting
from invert.editing.stylespace import load_region
from invert.editing.truncation import truncate
from stylegan_core import align as faces
from stylegan_core import images
from stylegan_core.errors import ImageError, InversionError, UsageError
from stylegan_core.files import display
from stylegan_core.inversion import Inversion


@dataclass(frozen=True)
class Edit:
    """Moves the inversion along a direction by `strength`. direction: a name, a file or a `Direction`. rows: where; None = all.
    hold: directions whose reading stays (conditional manipulation)."""

    direction: Direction | str
    strength: float = 1.0
    rows: Any = None
    hold: Any = ()

    def __post_init__(self) -> None:
        need_number("Edit", "strength", self.strength)

    def check(self, setting: Setting) -> None:
        """Whether the direction is there and fits. Raises UsageError, DirectionError."""
        setting.direction(self.direction, rows=self.rows, hold=self.hold)

    def __call__(self, work: Work, setting: Setting) -> Work:
        direction = setting.direction(self.direction, rows=self.rows, hold=self.hold)
        moved = direction.apply(work.inverted("Edit"), float(self.strength), generator=setting.generator)
        return work.edited(moved).noted("Edit", direction=direction.name, strength=self.strength)


@dataclass(frozen=True)
class Set:
    """Moves the inversion to where it reads `strength` standard deviations, whatever it read before; fields as of `Edit`."""

    direction: Direction | str
    strength: float = 0.0
    rows: Any = None
    hold: Any = ()

    def __post_init__(self) -> None:
        need_number("Set", "strength", self.strength)

    def check(self, setting: Setting) -> None:
        """Whether the direction is there and fits. Raises UsageError, DirectionError."""
        setting.direction(self.direction, rows=self.rows, hold=self.hold)

    def __call__(self, work: Work, setting: Setting) -> Work:
        direction = setting.direction(self.direction, rows=self.rows, hold=self.hold)
        before = direction.measure(work.inverted("Set"), generator=setting.generator)
        moved = direction.set(work.inverted("Set"), float(self.strength), generator=setting.generator)
        return work.edited(moved).noted("Set", direction=direction.name, strength=self.strength, before=round(float(before[0]), 4))


@dataclass(frozen=True)
class Until:
    """Moves along a direction until a rule holds: reach, such as 'smile>=0.8', or as far as `keep` allows, such as 'distance<=0.3'.

    labels: the features network that scores. max_strength: no further than that; its sign says which way, None = 5, the way to the score.
    """

    direction: Direction | str
    reach: str | None = None
    keep: Any = ()
    max_strength: float | None = None
    labels: str = "portraits-features"

    def __post_init__(self) -> None:
        need_number("Until", "max_strength", 1.0 if self.max_strength is None else self.max_strength)

    def check(self, setting: Setting) -> None:
        """Whether the direction fits and the rules can be read. Raises UsageError, DirectionError."""
        setting.direction(self.direction)
        self._rules(setting)

    def __call__(self, work: Work, setting: Setting) -> Work:
        from invert.editing.until import apply_until

        reached, bounds = self._rules(setting)
        outcome = apply_until(setting.direction(self.direction), work.inverted("Until"), setting.generator, reached=reached, bounds=bounds,
                              max_strength=self.max_strength)  # fmt: skip
        name = self.direction if isinstance(self.direction, str) else self.direction.name
        return work.edited(outcome.inversion).noted("Until", direction=name, strength=outcome.strength, reason=outcome.reason)

    def _rules(self, setting: Setting) -> tuple[Any, list[Any]]:
        return load_rules(self.reach, [self.keep] if isinstance(self.keep, str) else self.keep, self.labels, setting)


@dataclass(frozen=True)
class Mix:
    """Takes rows of another inversion. other: an inversion, its file, a picture (projected as this pipeline projects) or 'seed:5'."""

    other: Inversion | str | os.PathLike[str]
    rows: Any = "fine"
    amount: float = 1.0

    def __post_init__(self) -> None:
        need_number("Mix", "amount", self.amount)

    def check(self, setting: Setting) -> None:
        """Whether the other one is there and the model has the rows. Raises UsageError, InversionError."""
        setting.check_source(self.other)
        parse_rows(crossover(self.rows, setting.generator), setting.generator)

    def __call__(self, work: Work, setting: Setting) -> Work:
        other = setting.inversion(self.other)
        mixed = mix(work.inverted("Mix"), other, self.rows, generator=setting.generator, amount=self.amount)
        return work.edited(mixed).noted("Mix", rows=self.rows, amount=self.amount)


@dataclass(frozen=True)
class Truncate:
    """Draws the inversion towards a centre; fields as of `truncation.truncate`."""

    psi: float = 0.7
    centre: Any = "mean"
    rows: Any = None

    def __post_init__(self) -> None:
        need_number("Truncate", "psi", self.psi)

    def check(self, setting: Setting) -> None:
        """Whether the model has the rows. Raises UsageError."""
        parse_rows(self.rows, setting.generator)

    def __call__(self, work: Work, setting: Setting) -> Work:
        is_file = isinstance(self.centre, (str, os.PathLike)) and os.fspath(self.centre).endswith((".safetensors", ".npz"))
        centre = setting.inversion(self.centre) if is_file else self.centre
        moved = truncate(work.inverted("Truncate"), self.psi, generator=setting.generator, centre=centre, rows=self.rows)
        name = "an inversion" if isinstance(self.centre, Inversion) else str(self.centre)
        return work.edited(moved).noted("Truncate", psi=self.psi, centre=name)


@dataclass(frozen=True)
class Mask:
    """Shows the edit where a picture is white only. mask: a file or [1, 1, H, W], of the photo or of its aligned square. through: features
    or pixels."""

    mask: Any
    through: str = "features"

    def __post_init__(self) -> None:
        need_one_of("Mask", "through", self.through, THROUGH)

    def check(self, setting: Setting) -> None:
        """Whether the mask can be read. Raises UsageError, ImageError."""
        load_region(self.mask, setting.generator)

    def __call__(self, work: Work, setting: Setting) -> Work:
        return replace(work, mask=(self.mask, self.through), picture=None).noted("Mask", through=self.through)


@dataclass(frozen=True)
class Render:
    """Renders the inversion; a pipeline that ends without it does so by itself."""

    def __call__(self, work: Work, setting: Setting) -> Work:
        return rendered(work, setting).noted("Render")


@dataclass(frozen=True)
class PasteBack:
    """Puts the render back into the photo, at the photo's resolution; fields as of `align.paste`.

    photo: its file, needed when an inversion came in; None = the photo that came in.
    """

    mode: str = "replace"
    feather: float = faces.FEATHER
    colour: str = "none"
    photo: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        need_one_of("PasteBack", "mode", self.mode, faces.MODES)
        need_one_of("PasteBack", "colour", self.colour, faces.COLOURS)
        need_number("PasteBack", "feather", self.feather, least=0, most=0.5)

    def check(self, setting: Setting) -> None:
        """Whether the photo is there. Raises UsageError."""
        if self.photo is not None and not Path(self.photo).is_file():
            raise UsageError(f"step PasteBack: {display(Path(self.photo))} is no file")

    def __call__(self, work: Work, setting: Setting) -> Work:
        inversion = work.inverted("PasteBack")
        photo = work.photo if self.photo is None else images.load_image(self.photo)
        if photo is None:
            raise ImageError("step PasteBack: there is no photo to paste into; give its file, PasteBack(photo=FILE) or --photo FILE")
        if not ("quad" in inversion.geometry or "box" in inversion.geometry):
            raise InversionError("step PasteBack: the inversion does not say where in a photo it was cut out")
        work = rendered(work, setting)
        assert work.picture is not None
        unedited = None
        if self.mode == "difference":
            unedited = (work.unedited or inversion).render(setting.generator).float().cpu()
        pasted = faces.paste(work.picture, photo, inversion.geometry, feather=self.feather, colour=self.colour, unedited=unedited,
                             mode=self.mode)  # fmt: skip
        return replace(work, picture=pasted).noted("PasteBack", mode=self.mode, size=[photo.shape[3], photo.shape[2]])


def need_number(step: str, name: str, value: Any, *, least: float = -100, most: float = 100) -> None:
    """Raises UsageError for anything but a number in the range."""
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= most:
        raise UsageError(f"step {step}: {name} is {display(str(value))!r}; a number from {least:g} to {most:g} is needed")


def need_one_of(step: str, name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raises UsageError for a word that is not known, with those that are."""
    if value not in allowed:
        raise UsageError(f"step {step}: {name} {display(str(value))!r}: one of {', '.join(allowed)} is allowed")


def load_rules(reach: str | None, keep: Sequence[str], labels: str, setting: Setting) -> tuple[Any, list[Any]]:
    """(what is to be reached or None, what is to be kept) of the texts of rules, see `until.parse_rule`. Raises UsageError."""
    from invert.editing.labels import FeatureScorer
    from invert.editing.until import parse_rule

    scorer = FeatureScorer.load(labels, setting.generator)
    return None if reach is None else parse_rule(reach, scorer), [parse_rule(text, scorer) for text in keep]


def check_steps(steps: Sequence[Any], setting: Setting) -> None:
    """What can be known to fail before the first step does. Raises UsageError and its kin."""
    for step in steps:
        if type(step) in STEPS.values() and hasattr(step, "check"):
            step.check(setting)


def rendered(work: Work, setting: Setting) -> Work:
    """With its picture, rendered now if it was not yet: fp32, on the CPU, one image at a time."""
    if work.picture is not None:
        return work
    inversion = work.inverted("Render")
    if work.mask is not None:
        mask, through = work.mask
        region = region_of(mask, inversion.geometry, setting.generator)
        picture = render_masked(work.unedited or inversion, inversion, region, setting.generator, through=through)
    else:
        picture = inversion.render(setting.generator)
    return replace(work, picture=picture.float().cpu())


STEPS: dict[str, type] = {
    step.__name__: step for step in (Align, Project, Encode, Tune, Edit, Set, Until, Mix, Truncate, Mask, Render, PasteBack)
}


def describe(step: Any) -> str:
    """'Edit("smile", strength=2)': a step as Python, defaults left out."""
    if type(step).__name__ not in STEPS:
        return str(getattr(step, "__name__", repr(step)))
    shown = []
    for index, part in enumerate(fields(step)):
        value = getattr(step, part.name)
        if index == 0 and value != part.default:
            shown.append(repr(value) if isinstance(value, (str, int, float, list, tuple, dict)) else f"<{type(value).__name__}>")
        elif value != part.default:
            text = repr(value) if isinstance(value, (str, int, float, list, tuple, dict)) else f"<{type(value).__name__}>"
            shown.append(f"{part.name}={text}")
    return f"{type(step).__name__}({', '.join(shown)})"
