"""The first steps of a pipeline, from a photo to an inversion: align, then project, encode or tune; and the work that flows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Union

from torch import Tensor

from invert.editing.setting import Setting
from stylegan_core import align as faces
from stylegan_core import images
from stylegan_core.errors import ImageError, UsageError
from stylegan_core.files import display
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
            found = _read(Path(landmarks), work.source)
        else:
            found = [face_of_points(landmarks)]
        face = choose_face(found, self.face)
        check_inside(face, work.photo.shape[3], work.photo.shape[2])
        return face


def _read(landmarks: Path, photo: Path | None) -> list[Face]:
    """The faces of a landmark file; one that does not fit is the fault of its photo, and other photos are not stopped by it."""
    if not landmarks.is_file():
        raise UsageError(f"landmarks {display(landmarks)}: there is no such file")
    try:
        return read_landmarks(landmarks, picture=None if photo is None else photo.name)
    except UsageError as error:
        raise ImageError(str(error)) from None


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

        def project(target: Tensor, mask: Tensor | None) -> Inversion:
            return project_images(target, setting.generator, self, mask=mask, callback=work.callback)

        if work.inversion is not None:
            return work.noted("Project", skipped="an inversion came in")
        found = _found(work, setting, self.fit, project)
        assert found.inversion is not None
        return found.noted("Project", space=self.space, preset=self.preset, psnr=found.inversion.metadata.get("psnr"))


@dataclass(frozen=True)
class Encode:
    """One pass of an encoder instead of a projection; skipped when an inversion came in.

    encoder: a name or a file, 'auto' = that of the model's card. passes: of ReStyle and HyperStyle; None = the encoder's own.
    """

    encoder: str = "auto"
    passes: int | None = None
    method: str | None = None
    fit: str = "crop"

    def __call__(self, work: Work, setting: Setting) -> Work:
        from invert.encoding import EncodeOptions

        options = EncodeOptions(encoder=self.encoder, passes=self.passes, method=self.method, fit=self.fit).validate()

        def encode(target: Tensor, mask: Tensor | None) -> Inversion:
            return options.run(target, setting.generator, mask=mask)

        if work.inversion is not None:
            return work.noted("Encode", skipped="an inversion came in")
        found = _found(work, setting, self.fit, encode)
        assert found.inversion is not None
        return found.noted("Encode", encoder=self.encoder, psnr=found.inversion.metadata.get("psnr"))


@dataclass(frozen=True)
class Tune:
    """Pivotal tuning of the inversion: the weights move until the picture is right; edits keep the change. Fields as of `invert tune`."""

    steps: int = 350
    lr: float | None = None
    locality: float = 0.1
    seed: int = 0
    perceptual: str = "auto"

    def __call__(self, work: Work, setting: Setting) -> Work:
        from invert.projectors.pivotal import PivotalTuning

        pivot = work.inverted("Tune")
        if work.target is None:
            raise UsageError("step Tune: there is no picture to tune to; give a photo, not an inversion")
        tuning = PivotalTuning(steps=self.steps, lr=self.lr, locality=self.locality, seed=self.seed, measure=self.perceptual)
        target = work.target.to(setting.generator.w_avg)
        tuned = tuning.project(target, setting.generator, start=replace(pivot, metadata={}), callback=work.callback)
        tuned = replace(tuned, geometry=pivot.geometry, metadata={**pivot.metadata, **tuned.metadata})
        return replace(work, inversion=tuned, unedited=tuned, picture=None).noted("Tune", steps=self.steps, psnr=tuned.metadata.get("psnr"))


def _found(work: Work, setting: Setting, fit: str, invert: Callable[[Tensor, Tensor | None], Inversion]) -> Work:
    """The work with the inversion that `invert(target, mask)` finds, and the facts that files of it need."""
    target, geometry, mask = work.target, work.geometry, None
    if target is None:
        if work.photo is None:
            raise UsageError("there is no picture to invert")
        target, geometry, mask = images.fit(work.photo, setting.generator, mode=fit)
    place, model = setting.generator.w_avg, setting.model
    inversion = invert(target.to(place), None if mask is None else mask.to(place))
    facts = {"model": model.name, "model_sha256": model.sha256, "model_file_sha256": model.file_sha256}
    inversion = replace(inversion, geometry=geometry, metadata={**inversion.metadata, **facts})
    return replace(work, inversion=inversion, unedited=inversion, target=target, geometry=geometry, picture=None)
