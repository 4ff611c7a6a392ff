"""Projecting many pictures into one folder: what is to be done, what is done already, and the files of each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from invert.inputs import check_outputs, stem_of
from invert.reading import MAX_PIXELS, check_reading, mask_for, read_picture
from invert.reports import DONE, FAILED, options_sha256
from stylegan_core.errors import (
    DownloadError,
    ImageError,
    InversionError,
    MissingExtraError,
    OutputError,
    UsageError,
    WeightsNotFoundError,
)
from stylegan_core.files import display
from stylegan_core.provenance import file_sha256, version
from stylegan_core.seeds import MAX_SEED

if TYPE_CHECKING:
    from torch import Tensor

    from invert.loaded import LoadedModel
    from stylegan_core.generator import Generator
    from stylegan_core.inversion import Inversion
    from stylegan_core.progress import Callback

# What is wrong with the command and not with one picture: it ends the work instead of failing every picture in turn.
ABORTING = (UsageError, WeightsNotFoundError, MissingExtraError, DownloadError)
SPACES = ("z", "w", "w+", "s")


class JobOptions(Protocol):
    """What decides the results of a command that turns pictures into inversions: `project`, `encode`, `tune`."""

    @property
    def space(self) -> str: ...
    @property
    def preset(self) -> str: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def perceptual(self) -> str: ...

    def hashed(self, source: Path) -> dict[str, Any]:
        """What goes into the options hash of this picture."""
        ...

    def read(self, source: Path, generator: Generator) -> tuple[Tensor, dict[str, Any], Tensor | None]:
        """(target [1, C, R, R], geometry, mask [1, 1, R, R] or None)."""
        ...

    def run(self, targets: Tensor, generator: Generator, *, mask: Tensor | None = None, callback: Callback | None = None,
            sources: Sequence[Path] = ()) -> Inversion:
        """N pictures → one Inversion of N images. sources: their files."""
        ...


@dataclass(frozen=True)
class ProjectOptions:
    """Everything that decides a result except the picture and the model. None = the preset decides."""

    space: str = "w+"
    preset: str = "fast"
    steps: int | None = None
    seed: int = 0
    perceptual: str = "auto"
    start: str = "auto"  # auto, mean, nearest, seed, or an inversion file
    restarts: int | None = None
    class_index: int | str | None = None  # a number, or "search"
    fit: str = "crop"
    background: str = "white"
    max_pixels: int = MAX_PIXELS
    transform: bool = False  # also find rotation and motion of the generator's input (StyleGAN3)
    mask: str | None = None  # a picture, or a folder with a mask of the same stem for each picture
    encoder: str = "auto"  # a name or a file that a start needs; auto = that of the model's card

    def validate(self) -> ProjectOptions:
        """Returns self; raises UsageError before any work for values that can never be right."""
        if self.space not in SPACES:
            raise UsageError(f"--space {self.space!r}: one of {', '.join(SPACES)} is allowed")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps {self.steps}: a whole number from 1 is allowed")
        if self.restarts is not None and self.restarts < 1:
            raise UsageError(f"--restarts {self.restarts}: a whole number from 1 is allowed")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed}: a whole number from 0 to {MAX_SEED} is allowed")
        check_reading(self)
        return self

    def hashed(self, source: Path) -> dict[str, Any]:
        """What goes into the options hash of this picture: files by content, not by name."""
        values = asdict(self)
        mask = mask_for(self.mask, source)
        values["mask"] = None if mask is None else file_sha256(mask)
        if Path(self.start).is_file():
            values["start"] = file_sha256(self.start)
        if Path(self.encoder).is_file():
            values["encoder"] = file_sha256(self.encoder)
        del values["max_pixels"]
        if not self.transform:
            del values["transform"]  # so that the hash of what was made before stays
        return values

    def read(self, source: Path, generator: Generator) -> tuple[Tensor, dict[str, Any], Tensor | None]:
        """(target [1, C, R, R], geometry, mask [1, 1, R, R] or None)."""
        return read_picture(source, generator, self)

    def run(self, targets: Tensor, generator: Generator, *, mask: Tensor | None = None, callback: Callback | None = None,
            sources: Sequence[Path] = ()) -> Inversion:
        """N pictures → one Inversion of N images. sources: their files."""
        from invert.projectors.project import project_images

        return project_images(targets, generator, self, mask=mask, callback=callback)


@dataclass(frozen=True)
class Outputs:
    """The files of one picture."""

    inversion: Path
    render: Path
    compare: Path
    video: Path | None = None

    @classmethod
    def of(cls, source: Path, folder: Path, video: Path | None = None) -> Outputs:
        """photo.png → photo.inversion.safetensors, photo.png, photo.compare.png in the folder. video: as it is."""
        stem = stem_of(source)
        return cls(folder / f"{stem}.inversion.safetensors", folder / f"{stem}.png", folder / f"{stem}.compare.png", video)

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(path for path in (self.inversion, self.render, self.compare, self.video) if path is not None)


@dataclass(frozen=True)
class Task:
    """One picture to project. sha256: of the input file; options_sha256: of what decides the result."""

    source: Path
    outputs: Outputs
    sha256: str
    options_sha256: str

    @property
    def key(self) -> str:
        """The input as the user named it."""
        return str(self.source)


def parse_class(text: str | None) -> int | str | None:
    """--class: a whole number, 'search', or nothing."""
    if text is None or text == "search":
        return text
    if not text.isascii() or not text.isdecimal():
        raise UsageError(f"--class {text!r}: a whole number or the word search is allowed")
    return int(text)


def plan_outputs(sources: Sequence[Path], folder: Path, video: Path | None) -> dict[Path, Outputs]:
    """The files of every input. video: that file for one input; walk.gif → walk.photo.gif, … for several.

    Raises UsageError when two inputs would write the same file or a result would overwrite an input.
    """
    outputs = {}
    for source in sources:
        own = video if video is None or len(sources) == 1 else video.with_name(f"{video.stem}.{stem_of(source)}{video.suffix}")
        outputs[source] = Outputs.of(source, folder, own)
    check_outputs((source, files.files) for source, files in outputs.items())
    return outputs


def plan_task(source: Path, outputs: Outputs, options: JobOptions) -> Task:
    """Raises ImageError when the input is no readable file, OutputError when a file that is not ours is in the way."""
    from stylegan_core.image_reader import check_file

    check_file(source, display(source))
    try:
        sha256 = file_sha256(source)
        decided = options_sha256(options.hashed(source))
    except OSError as error:
        raise ImageError(f"{display(error.filename)} cannot be read: {(error.strerror or '').lower()}") from None
    _check_in_the_way(outputs)
    return Task(source, outputs, sha256, decided)


def project_record(
    key: str, options: JobOptions, model: LoadedModel, *, task: Task | None = None,
    facts: Mapping[str, Any] | None = None, psnr: float | None = None, ssim: float | None = None,
    error: BaseException | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A record of report.json. facts: metadata of the saved inversion; error: why it failed, None = it is done."""
    known = facts or {}
    return {
        "input": key,
        "input_sha256": None if task is None else task.sha256,
        "model": model.name,
        "model_sha256": model.sha256,
        "model_file_sha256": model.file_sha256,
        "space": known.get("space", options.space),
        "preset": options.preset,
        "seed": options.seed,
        "steps": known.get("steps", options.steps),
        "perceptual": known.get("perceptual", {"name": options.perceptual, "value": None}),
        "psnr": psnr,
        "ssim": ssim,
        "seconds": known.get("seconds"),
        "device": known.get("device"),
        "version": known.get("version", version()),
        "status": DONE if error is None else FAILED,
        "error": None if error is None else str(error),
        "advice": known.get("advice"),
        "options_sha256": None if task is None else task.options_sha256,
        "outputs": [] if task is None or error is not None else [path.name for path in task.outputs.files],
    }


def is_inversion_done(task: Task, model_sha256: str) -> bool:
    """Whether the inversion file is there, whole, and of the same input, options and model."""
    from stylegan_core.inversion import Inversion

    try:
        facts = Inversion.load(task.outputs.inversion).metadata
    except InversionError:
        return False
    wanted = {"input_sha256": task.sha256, "options_sha256": task.options_sha256, "model_sha256": model_sha256}
    return all(facts.get(key) == value for key, value in wanted.items())


def split_batches(tasks: Sequence[Task], batch: int, num_workers: int) -> list[list[Task]]:
    """Batches of at most `batch`, small enough that every worker gets one where there are pictures enough."""
    size = max(1, min(batch, -(-len(tasks) // num_workers)))
    return [list(tasks[i : i + size]) for i in range(0, len(tasks), size)]


def default_batch(resolution: int, device_type: str) -> int:
    """How many pictures are optimised together: as many as fit the caches of a CPU, or keep a GPU busy."""
    pixels = (1 << 15) if device_type == "cpu" else (1 << 20)
    return max(1, min(16, pixels // resolution**2))


def _check_in_the_way(outputs: Outputs) -> None:
    """A picture under our name without an inversion beside it is somebody's photo: it is never overwritten."""
    for path in (outputs.render, outputs.compare):
        if path.exists() and not outputs.inversion.exists() and not _is_ours(path):
            raise OutputError(f"{display(path)} exists and was not made by this toolkit; move it away or choose another -o")


def _is_ours(path: Path) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return "invert" in picture.info
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
        return False
