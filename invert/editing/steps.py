"""The steps of a pipeline: each takes a piece of work and gives it on, with a note of what it did. Nothing is changed in place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Union

from torch import Tensor

from invert.editing.direction import Direction
from invert.editing.masks import render_masked
from invert.editing.mixing import mix
from invert.editing.setting import Setting
from invert.editing.truncation import truncate
from stylegan_core import align as faces
from stylegan_core import images
from stylegan_core.errors import ImageError, InversionError, UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.landmarks import SUFFIX, Face, check_inside, choose_face, face_of_points, mtcnn, read_landmarks
from stylegan_core.progress import Callback

Landmarks = Union[None, str, "os.PathLike[str]", Sequence[Any], dict[str, Any]]


@dataclass(frozen=True)
class Work:
    """What flows through a pipeline.

    name: of the input. source: its file, None = it has none. photo: [1, C, H, W] as it came. target: [1, C, R, R], aligned or cut, with
    geometry. inversion: as edited so far; unedited: as it was found. mask: (region, through) for the render. picture: the result so
    far, [1, C, H, W], None = not rendered yet. report: a note for each step.
    """

    name: str
    source: Path | None = None
    photo: Tensor | None = None
    target: Tensor | None = None
    geometry: dict[str, Any] = field(default_factory=dict)
    inversion: Inversion | None = None
    unedited: Inversion | None = None
    mask: tuple[Any, str] | None = None
    picture: Tensor | None = None
    report: tuple[dict[str, Any], ...] = ()
    callback: Callback | None = None

    def noted(self, step: str, **facts: Any) -> Work:
        """With one more note."""
        return replace(self, report=(*self.report, {"step": step, **facts}))

    def inverted(self, step: str) -> Inversion:
        """The inversion. Raises UsageError when there is none yet."""
        if self.inversion is None:
            raise UsageError(f"step {step}: there is no inversion yet; put Project before it, or give an inversion")
        return self.inversion

    def edited(self, inversion: Inversion) -> Work:
        """With another inversion, not rendered yet."""
        return replace(self, inversion=inversion, picture=None)


@dataclass(frozen=True)
class Align:
    """Cuts the face out of the photo as face models know it.

    landmarks: points or their file (see `landmarks`), 'detect' for the detector of the extra 'face'; None = the file NAME.landmarks.json
    beside the photo, else the picture is aligned already and is cut by `fit`. face: which of several, 'largest' or a number from the left.
    """

    landmarks: Landmarks = None
    face: str | int | None = None
    fit: str = "crop"

    def __call__(self, work: Work, setting: Setting) -> Work:
        if work.inversion is not None and work.photo is None:
            return work.noted("Align", skipped="an inversion came in")
        if work.photo is None:
            raise UsageError("step Align: there is no picture")
        found = self._face(work, setting)
        if found is None:
            target, geometry, _ = images.fit(work.photo, setting.generator, mode=self.fit)
            return replace(work, target=target, geometry=geometry).noted("Align", how="taken as aligned already", box=geometry["box"])
        target, geometry = faces.align(work.photo, found.quad, setting.generator)
        return replace(work, target=target, geometry=geometry).noted("Align", how="by landmarks", quad=geometry["quad"])

    def landmarks_for(self, source: Path | None) -> Any:
        """A `Path`, 'detect', points, or None: what the field means for this photo."""
        if self.landmarks is None and source is not None:
            beside = source.with_name(f"{source.stem}{SUFFIX}")
            return beside if beside.is_file() else None
        return Path(self.landmarks) if isinstance(self.landmarks, (str, os.PathLike)) and self.landmarks != "detect" else self.landmarks

    def _face(self, work: Work, setting: Setting) -> Face | None:
        assert work.photo is not None
        landmarks = self.landmarks_for(work.source)
        if landmarks is None:
            return None
        if landmarks == "detect":
            return choose_face(mtcnn(setting.generator.w_avg.device)(work.photo), self.face)
        if isinstance(landmarks, os.PathLike):
            found = read_landmarks(landmarks, picture=None if work.source is None else work.source.name)
        else:
            found = [face_of_points(landmarks)]
        face = choose_face(found, self.face)
        check_inside(face, work.photo.shape[3], work.photo.shape[2])
        return face


@dataclass(frozen=True)
class Project:
    """Finds the picture in the generator; the fields are those of `invert project`. Skipped when an inversion came in."""

    space: str = "w+"
    preset: str = "fast"
    steps: int | None = None
    seed: int = 0
    perceptual: str = "auto"
    start: str = "auto"
    restarts: int | None = None
    class_index: int | str | None = None
    transform: bool = False
    encoder: Any = "auto"
    fit: str = "crop"

    def __call__(self, work: Work, setting: Setting) -> Work:
        from invert.projectors.project import project_images

        if work.inversion is not None:
            return work.noted("Project", skipped="an inversion came in")
        target, geometry, mask = work.target, work.geometry, None
        if target is None:
            if work.photo is None:
                raise UsageError("step Project: there is no picture")
            target, geometry, mask = images.fit(work.photo, setting.generator, mode=self.fit)
        place = setting.generator.w_avg
        region = None if mask is None else mask.to(place)
        inversion = project_images(target.to(place), setting.generator, self, mask=region, callback=work.callback)
        model = setting.model
        facts = {"model": model.name, "model_sha256": model.sha256, "model_file_sha256": model.file_sha256}
        inversion = replace(inversion, geometry=geometry, metadata={**inversion.metadata, **facts})
        work = replace(work, inversion=inversion, unedited=inversion, target=target, geometry=geometry, picture=None)
        return work.noted("Project", space=self.space, preset=self.preset, psnr=inversion.metadata.get("psnr"))


@dataclass(frozen=True)
class Edit:
    """Moves the inversion along a direction by `strength`. direction: a name, a file or a `Direction`. rows: where; None = all.
    hold: directions whose reading stays (conditional manipulation)."""

    direction: Direction | str
    strength: float = 1.0
    rows: Any = None
    hold: Any = ()

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

    def __call__(self, work: Work, setting: Setting) -> Work:
        direction = setting.direction(self.direction, rows=self.rows, hold=self.hold)
        before = direction.measure(work.inverted("Set"), generator=setting.generator)
        moved = direction.set(work.inverted("Set"), float(self.strength), generator=setting.generator)
        return work.edited(moved).noted("Set", direction=direction.name, strength=self.strength, before=round(float(before[0]), 4))


@dataclass(frozen=True)
class Until:
    """Moves along a direction until a rule holds: reach, such as 'smile>=0.8', or as far as `keep` allows, such as 'distance<=0.3'.

    labels: the features network that scores. max_strength: no further than that; its sign says which way.
    """

    direction: Direction | str
    reach: str | None = None
    keep: Any = ()
    max_strength: float = 5.0
    labels: str = "portraits-features"

    def __call__(self, work: Work, setting: Setting) -> Work:
        from invert.editing.labels import FeatureScorer
        from invert.editing.until import apply_until, parse_rule

        scorer = FeatureScorer.load(self.labels, setting.generator)
        bounds = [parse_rule(text, scorer) for text in ([self.keep] if isinstance(self.keep, str) else self.keep)]
        reached = None if self.reach is None else parse_rule(self.reach, scorer)
        outcome = apply_until(setting.direction(self.direction), work.inverted("Until"), setting.generator, reached=reached, bounds=bounds,
                              max_strength=self.max_strength)  # fmt: skip
        name = self.direction if isinstance(self.direction, str) else self.direction.name
        return work.edited(outcome.inversion).noted("Until", direction=name, strength=outcome.strength, reason=outcome.reason)


@dataclass(frozen=True)
class Mix:
    """Takes rows of another inversion. other: an inversion, its file, a picture (projected as this pipeline projects) or 'seed:5'."""

    other: Inversion | str | os.PathLike[str]
    rows: Any = "fine"
    amount: float = 1.0

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

    def __call__(self, work: Work, setting: Setting) -> Work:
        is_file = isinstance(self.centre, (str, os.PathLike)) and os.fspath(self.centre).endswith((".safetensors", ".npz"))
        centre = setting.inversion(self.centre) if is_file else self.centre
        moved = truncate(work.inverted("Truncate"), self.psi, generator=setting.generator, centre=centre, rows=self.rows)
        return work.edited(moved).noted("Truncate", psi=self.psi, centre=str(self.centre) if is_file else "mean")


@dataclass(frozen=True)
class Mask:
    """Shows the edit where a picture is white only. mask: a file or [1, 1, H, W], of the aligned square. through: features or pixels."""

    mask: Any
    through: str = "features"

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

    def __call__(self, work: Work, setting: Setting) -> Work:
        inversion = work.inverted("PasteBack")
        photo = work.photo if self.photo is None else images.load_image(self.photo)
        if photo is None:
            raise ImageError("step PasteBack: there is no photo to paste into; give PasteBack(photo=FILE)")
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


def rendered(work: Work, setting: Setting) -> Work:
    """With its picture, rendered now if it was not yet: fp32, on the CPU, one image at a time."""
    if work.picture is not None:
        return work
    inversion = work.inverted("Render")
    if work.mask is not None:
        region, through = work.mask
        picture = render_masked(work.unedited or inversion, inversion, region, setting.generator, through=through)
    else:
        picture = inversion.render(setting.generator)
    return replace(work, picture=picture.float().cpu())


STEPS: dict[str, type] = {step.__name__: step for step in (Align, Project, Edit, Set, Until, Mix, Truncate, Mask, Render, PasteBack)}


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
