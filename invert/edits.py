"""Editing inputs into a folder: each photo or inversion, at every strength of every direction, as pictures, sheets and a record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invert.editing.direction import Direction
from invert.editing.setting import Setting
from invert.editing.steps import Align, PasteBack, Project, Work, load_rules, rendered
from invert.editing.sweep import safe_name, sheet, strength_label, strip, sweep, there_and_back
from invert.editing.until import apply_until
from invert.inputs import check_outputs, is_inversion_file, stem_of
from invert.rendering import metadata_of
from invert.reports import DONE, FAILED, options_sha256
from stylegan_core import images
from stylegan_core.errors import ImageError, InversionError, InvertError, OutputError, UsageError
from stylegan_core.files import display
from stylegan_core.inversion import Inversion
from stylegan_core.progress import Callback
from stylegan_core.provenance import file_sha256, version
from stylegan_core.runtime import device_name

if TYPE_CHECKING:
    from torch import Tensor

    from invert.pipeline import Pipeline


@dataclass(frozen=True)
class EditOptions:
    """What is done to every input.

    strengths: of every direction. is_absolute: move to them, not by them. also: (direction, strength) applied before all. align,
    project: how a photo is inverted. mask: (file, through) or None. paste: how renders go back into the photo, None = not. reach, keep:
    rules that find the strength, see `until.parse_rule`. labels: the features network of the rules.
    """

    strengths: tuple[float, ...] = (-2.0, 0.0, 2.0)
    is_absolute: bool = False
    also: tuple[tuple[str, float], ...] = ()
    align: Align = field(default_factory=Align)
    project: Project = field(default_factory=Project)
    mask: tuple[str, str] | None = None
    paste: PasteBack | None = None
    reach: str | None = None
    keep: tuple[str, ...] = ()
    max_strength: float | None = None
    labels: str = "portraits-features"

    @property
    def has_rules(self) -> bool:
        """Whether the strength is found, not given."""
        return self.reach is not None or bool(self.keep)


@dataclass(frozen=True)
class EditFiles:
    """The files of one input: photo.inversion.safetensors, photo.smile+2.00.png, photo.smile.sheet.png, …"""

    source: Path
    folder: Path
    stem: str

    @classmethod
    def of(cls, source: Path, folder: Path) -> EditFiles:
        return cls(source, folder, stem_of(source))

    @property
    def inversion(self) -> Path:
        """Before the edits."""
        return self.folder / f"{self.stem}.inversion.safetensors"

    def picture(self, direction: str, strength: float, kind: str = "") -> Path:
        """kind: '' or '.pasted'."""
        return self.folder / f"{self.stem}.{safe_name(direction)}{strength_label(strength)}{kind}.png"

    def sheet(self, direction: str | None = None) -> Path:
        """Of one direction, or of all."""
        return self.folder / (f"{self.stem}.sheet.png" if direction is None else f"{self.stem}.{safe_name(direction)}.sheet.png")

    def edited(self, suffix: str) -> Path:
        """The result of a pipeline."""
        return self.folder / f"{self.stem}.edited{suffix}"


def plan_files(sources: Sequence[Path], folder: Path) -> list[EditFiles]:
    """Raises UsageError when two inputs would write the same file, or a photo would be overwritten.

    An inversion that lies in the output folder is read and left as it is.
    """
    files = [EditFiles.of(source, folder) for source in sources]
    check_outputs((one.source, [one.edited(".png"), *([] if is_inversion_file(one.source) else [one.inversion])]) for one in files)
    return files


def edit_input(
    files: EditFiles, setting: Setting, directions: Sequence[Direction], options: EditOptions, *, with_metadata: bool = True,
    video: Path | None = None, callback: Callback | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One input → its files and its record; what is wrong with it is in the record."""
    started = time.monotonic()
    record: dict[str, Any] = {"input": str(files.source), "input_sha256": None, "model": setting.model.name,
                              "model_sha256": setting.model.sha256, "direction": [direction.name for direction in directions],
                              "strengths": list(options.strengths), "version": version(),
                              "device": device_name(setting.generator.w_avg.device)}  # fmt: skip
    try:
        record["input_sha256"] = _sha256(files.source)
        work = inverted(files, setting, options, record["input_sha256"], callback=callback)
        for name, strength in options.also:
            assert work.inversion is not None
            work = work.edited(setting.direction(name).apply(work.inversion, strength, generator=setting.generator))
        outputs, found, rows = [files.inversion], {}, []
        for direction in directions:
            versions = _versions(work, direction, options, setting)
            if options.has_rules:
                found[direction.name] = versions[0][2]
            pictures = []
            for strength, inversion, _ in versions:
                pictures.append(_write(files, direction.name, strength, work.edited(inversion), setting, options, outputs, with_metadata))
            rows.append([_plain(work, setting), *pictures] if options.has_rules else pictures)
            target = files.sheet(direction.name)
            images.save_image(strip(rows[-1]), target, metadata=_note(versions[-1][1], with_metadata))
            outputs.append(target)
        if len(rows) > 1:
            images.save_image(sheet(rows), files.sheet(), metadata=_note(work.inversion, with_metadata))
            outputs.append(files.sheet())
        if video is not None:
            _save_video(video, rows, with_metadata, record)
            outputs.append(video)
        record |= {"outputs": [path.name for path in outputs], "status": DONE, "error": None}
        if found:
            record |= {"until": found, "strengths": [outcome["strength"] for outcome in found.values()]}
    except InvertError as error:
        if isinstance(error, UsageError):
            raise
        record |= {"outputs": [], "status": FAILED, "error": str(error)}
    record["seconds"] = round(time.monotonic() - started, 3)
    return record


def run_pipeline(files: EditFiles, pipeline: Pipeline, *, with_metadata: bool = True, callback: Callback | None = None) -> dict[str, Any]:
    """One input through a pipeline → photo.edited.png, both inversions, and its record with the notes of the steps."""
    started = time.monotonic()
    setting = pipeline.setting()
    record: dict[str, Any] = {"input": str(files.source), "input_sha256": None, "model": setting.model.name,
                              "model_sha256": setting.model.sha256, "version": version(),
                              "device": device_name(setting.generator.w_avg.device)}  # fmt: skip
    try:
        record["input_sha256"] = sha256 = _sha256(files.source)
        work: Work = pipeline(files.source, callback=callback)
        assert work.picture is not None and work.inversion is not None
        outputs = [files.edited(".png"), files.edited(".inversion.safetensors")]
        images.save_image(work.picture, outputs[0], metadata=_note(work.inversion, with_metadata))
        _with_source(work.inversion, sha256, None).save(outputs[1])
        if work.unedited is not None and not is_inversion_file(files.source):
            _with_source(work.unedited, sha256, None).save(files.inversion)
            outputs.append(files.inversion)
        record |= {"steps": list(work.report), "outputs": [path.name for path in outputs], "status": DONE, "error": None}
    except InvertError as error:
        if isinstance(error, UsageError):
            raise
        record |= {"steps": [], "outputs": [], "status": FAILED, "error": str(error)}
    record["seconds"] = round(time.monotonic() - started, 3)
    return record


def inverted(files: EditFiles, setting: Setting, options: EditOptions, sha256: str, *, callback: Callback | None = None) -> Work:
    """The input as an inversion: read, or found and saved. What was found before from the same things is taken again."""
    if is_inversion_file(files.source) or files.source.suffix == ".npz":
        inversion = setting.checked(Inversion.load(files.source), display(files.source))
        if files.inversion.resolve() != files.source.resolve():
            _with_source(inversion, None, None).save(files.inversion)
        return Work(files.stem, files.source, inversion=inversion, unedited=inversion)
    landmarks = options.align.landmarks_for(files.source)
    points = file_sha256(landmarks) if isinstance(landmarks, Path) and landmarks.is_file() else landmarks
    decided = options_sha256({"align": {**asdict(options.align), "landmarks": points}, "project": asdict(options.project)})
    photo = images.load_image(files.source, background=None if setting.generator.img_channels == 4 else "white")
    work = Work(files.stem, files.source, photo=photo, callback=callback)
    before = _found_before(files.inversion, sha256, decided, setting)
    if before is not None:
        return replace(work, inversion=before, unedited=before, geometry=before.geometry)
    work = options.project(options.align(work, setting), setting)
    assert work.inversion is not None
    inversion = _with_source(work.inversion, sha256, decided)
    inversion.save(files.inversion)
    return replace(work, inversion=inversion, unedited=inversion)


def _versions(work: Work, direction: Direction, options: EditOptions, setting: Setting) -> list[tuple[float, Inversion, dict[str, Any]]]:
    """(strength, edited inversion, how it was found) for every picture of a direction."""
    assert work.inversion is not None
    if not options.has_rules:
        moved = sweep(work.inversion, direction, options.strengths, setting.generator, is_absolute=options.is_absolute)
        return [(strength, inversion, {}) for strength, inversion in zip(options.strengths, moved)]
    reached, bounds = load_rules(options.reach, options.keep, options.labels, setting)
    outcome = apply_until(direction, work.inversion, setting.generator, reached=reached, bounds=bounds,
                          max_strength=options.max_strength)  # fmt: skip
    return [(outcome.strength, outcome.inversion, {"strength": round(outcome.strength, 4), "reason": outcome.reason})]


def _write(
    files: EditFiles, direction: str, strength: float, work: Work, setting: Setting, options: EditOptions, outputs: list[Path],
    with_metadata: bool,
) -> Tensor:  # fmt: skip
    """Renders one version, saves it (and the photo with it pasted back), and gives the render."""
    shown = rendered(replace(work, mask=options.mask), setting)
    assert shown.picture is not None
    picture, note = images.picture_proper(shown.picture, setting.generator), _note(work.inversion, with_metadata)
    target = files.picture(direction, strength)
    images.save_image(picture, target, metadata=note)
    outputs.append(target)
    if options.paste is not None:
        pasted = options.paste(shown, setting)
        assert pasted.picture is not None
        outputs.append(files.picture(direction, strength, ".pasted"))
        images.save_image(pasted.picture, outputs[-1], metadata=note)
    return picture


def _plain(work: Work, setting: Setting) -> Tensor:
    picture = rendered(replace(work, mask=None, picture=None), setting).picture
    assert picture is not None
    return images.picture_proper(picture, setting.generator)


def _save_video(path: Path, rows: list[list[Tensor]], with_metadata: bool, record: dict[str, Any]) -> None:
    from invert.video import save_video

    count = min(len(row) for row in rows)
    frames = [strip([row[k] for row in rows]) for k in range(count)]
    arrays = [images.to_u8(frame)[0].numpy() for frame in there_and_back(frames)]
    note = f"invert {version()}, edited, model {record['model_sha256']}" if with_metadata else None
    save_video(arrays, path, fps=10, note=note, is_held=False)


def _note(inversion: Inversion | None, with_metadata: bool) -> dict[str, str] | None:
    return metadata_of(inversion) if with_metadata and inversion is not None else None


def _with_source(inversion: Inversion, sha256: str | None, decided: str | None) -> Inversion:
    facts = {"input_sha256": sha256, "options_sha256": decided}
    return replace(inversion, metadata={**inversion.metadata, **{key: value for key, value in facts.items() if value is not None}})


def _found_before(path: Path, sha256: str, decided: str, setting: Setting) -> Inversion | None:
    """The inversion of an earlier run from the same picture, options and model."""
    try:
        inversion = Inversion.load(path)
    except InversionError:
        if path.exists():
            raise OutputError(f"{display(path)} exists and is no inversion; move it away or choose another -o") from None
        return None
    wanted = {"input_sha256": sha256, "options_sha256": decided, "model_sha256": setting.model.sha256}
    return inversion if all(inversion.metadata.get(key) == value for key, value in wanted.items()) else None


def _sha256(source: Path) -> str:
    try:
        return file_sha256(source)
    except OSError as error:
        raise ImageError(f"{display(source)} cannot be read: {(error.strerror or '').lower()}") from None
