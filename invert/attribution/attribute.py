"""`invert.attribute`: pictures and candidate models in, verdicts out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invert.attribution.calibrate import Bench, Tell, evidence_folder, measure_key, model_folder, one_class
from invert.attribution.calibration import Calibration, CalibrationError, class_of
from invert.attribution.evidence import Evidence, examine
from invert.attribution.fit import Effort, pace
from invert.attribution.groundwork import Groundwork, num_passes
from invert.attribution.laundering import Laundering, laundering_of
from invert.attribution.verdict import Attribution, Candidate, assess_candidate, check_fpr, decide
from invert.loaded import LoadedModel
from stylegan_core.errors import UsageError
from stylegan_core.files import display
from stylegan_core.generator import Generator
from stylegan_core.runtime import device_name
from stylegan_core.seeds import MAX_SEED

FEWEST_NULL, MOST_NULL = 19, 9999
CALIBRATION_FILE = "calibration.json"
Picture = tuple[Tensor, Laundering]


@dataclass(frozen=True)
class AttributeOptions:
    """Everything that decides a verdict beside pictures and models.

    perceptual: see `project`. fpr: the rate of false alarms that is allowed; None = 1 % where it can be kept. null: own samples for
    a model without a calibration. seed: of those samples. calibrations: files that win over the cache.
    """

    perceptual: str = "auto"
    fpr: float | None = None
    null: int = FEWEST_NULL
    seed: int = 0
    calibrations: tuple[str, ...] = ()
    effort: Effort = field(default_factory=Effort)

    def validate(self) -> AttributeOptions:
        """Returns self; raises UsageError before any work for values that can never be right."""
        if self.fpr is not None and not 0 < self.fpr < 1:
            raise UsageError(f"--fpr {self.fpr}: a number between 0 and 1 is allowed, such as 0.01")
        if not FEWEST_NULL <= self.null <= MOST_NULL:
            raise UsageError(f"--null {self.null}: {FEWEST_NULL} to {MOST_NULL} own samples are allowed; 19 tell 5 %, 99 tell 1 %")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed}: a whole number from 0 is allowed")
        return self


def attribute(image: Any, models: Any = ("portraits64",), *, perceptual: str = "auto", fpr: float | None = None, null: int = FEWEST_NULL,
              calibrations: Sequence[str | os.PathLike[str]] = (), seed: int = 0, device: str = "auto",
              callback: Tell | None = None) -> Attribution | list[Attribution]:  # fmt: skip
    """Which of the models made a picture: an Attribution; a list of pictures gives a list, which equals the single calls.

    image: a path (whose JPEG tables are read), or what `invert.project` takes. models: a name, a path, a generator, or several.
    The options are those of `invert attribute`; callback: called as callback(done, total, what) while own samples are measured.
    """
    from invert.api import loaded_model

    options = AttributeOptions(perceptual, fpr, null, seed, tuple(os.fspath(path) for path in calibrations)).validate()
    named = models if isinstance(models, (list, tuple)) else [models]
    if not named:
        raise UsageError("no model was given: name one or several candidates")
    benches = [bench_of(loaded_model(model, device), options, callback) for model in named]
    pictures = [read_picture(one) for one in (image if isinstance(image, list) else [image])]
    found = attribute_pictures(pictures, benches, options, tell=callback)
    return found if isinstance(image, list) else found[0]


def read_picture(image: Any, *, background: str = "white", max_pixels: int | None = None) -> Picture:
    """(pixels [1, 3, h, w], what was done to them). Raises ImageError."""
    from invert.api import picture_of
    from stylegan_core import images
    from stylegan_core.image_reader import MAX_PIXELS

    if isinstance(image, (str, os.PathLike)):
        pixels = images.load_image(image, background=background, max_pixels=max_pixels or MAX_PIXELS)
        return pixels, laundering_of(pixels, image)
    pixels = images.to_rgb(picture_of(image, keep_alpha=False)).clamp(-1, 1)
    return pixels, laundering_of(pixels)


def bench_of(loaded: LoadedModel, options: AttributeOptions, tell: Tell | None = None) -> Bench:
    """A model with what its evidence needs; measured at first use and kept."""
    from invert.projectors.measures import load_measure

    measure = load_measure(options.perceptual, loaded.generator)
    tick = None if tell is None else (lambda done, total: tell(done, total, f"first look at {loaded.name}"))
    ground = Groundwork.kept(loaded.generator, _groundworks(loaded.sha256), tick)
    folder = evidence_folder(loaded.sha256, measure_key(measure), options.effort)
    return Bench(loaded.name, loaded.sha256, ground, measure, options.effort, folder)


def known_calibrations(benches: Sequence[Bench], files: Sequence[str]) -> dict[str, Calibration]:
    """Model hash → its calibration: of a given file, the cache or the package, in this order; absent where there is none.

    Raises CalibrationError for a given file that is damaged or of another model, version or distance.
    """
    found = {}
    for file in files:
        calibration = Calibration.load(Path(file))
        matching = [bench for bench in benches if bench.sha256 == calibration.model_sha256]
        if not matching:
            names = ", ".join(bench.name for bench in benches)
            raise CalibrationError(
                f"{display(file)} was made for {display(calibration.model)} ({calibration.model_sha256[:12]}…), which is none of the "
                f"candidates ({display(names)}); run `invert calibrate` for them"
            )
        found[calibration.model_sha256] = calibration.check(matching[0].sha256, matching[0].measure_key, Path(file))
    for bench in benches:
        for path in (bench.folder / CALIBRATION_FILE, _bundled(f"calibration-{bench.sha256[:16]}.json")):
            if bench.sha256 not in found and path.is_file():
                calibration = Calibration.load(path)
                if calibration.measure == bench.measure_key:
                    found[bench.sha256] = calibration.check(bench.sha256, bench.measure_key, path)
    return found


def attribute_pictures(pictures: Sequence[Picture], benches: Sequence[Bench], options: AttributeOptions, *,
                       tell: Tell | None = None, calibrations: dict[str, Calibration] | None = None) -> list[Attribution]:  # fmt: skip
    """One batch for every model. calibrations: None = looked for; one-class ones are made here where none is known."""
    started = time.monotonic()
    known = known_calibrations(benches, options.calibrations) if calibrations is None else calibrations
    if options.fpr is not None:
        check_fpr(options.fpr, [known.get(bench.sha256) or _unknown(bench) for bench in benches])
    cases: list[list[Candidate]] = [[] for _ in pictures]
    for bench in benches:
        shape = bench.ground.generator.img_shape
        found = examine_within_memory(pictures, bench)
        classes = [class_of(evidence, shape) for evidence in found]
        calibration = known.get(bench.sha256) or one_class(bench, classes, options.null, seed=options.seed, tell=tell)
        fpr = check_fpr(options.fpr, [calibration])
        for case, evidence, name in zip(cases, found, classes):
            assessment = calibration.assess(evidence.values, name)
            case.append(assess_candidate(bench.name, bench.sha256, evidence, assessment, calibration, fpr=fpr, shape=shape))
    seconds = round((time.monotonic() - started) / len(pictures), 3)
    place = device_name(benches[0].ground.samples.w.device)
    return [replace(decide(case), facts={"seconds": seconds, "device": place}) for case in cases]


def examine_within_memory(pictures: Sequence[Picture], bench: Bench) -> list[Evidence]:
    """Halves a batch that the device cannot hold."""
    try:
        return examine(pictures, bench.ground, bench.measure, bench.effort)
    except (torch.cuda.OutOfMemoryError, MemoryError):
        if len(pictures) == 1:
            raise
        half = (len(pictures) + 1) // 2
        return examine_within_memory(pictures[:half], bench) + examine_within_memory(pictures[half:], bench)


def seconds_per_picture(bench: Bench) -> float:
    """An estimate for one picture and one model, from the time of one step."""
    return pace(bench.ground.generator) * bench.effort.num_renders


def seconds_of_groundwork(generator: Generator) -> float:
    """An estimate for the first look at a model."""
    return pace(generator) * num_passes(generator)


def has_groundwork(sha256: str) -> bool:
    """Whether a model was looked at before."""
    return any(path.is_file() for path in _groundworks(sha256))


def _groundworks(sha256: str) -> tuple[Path, Path]:
    return _bundled(f"groundwork-{sha256[:16]}.safetensors"), model_folder(sha256) / "groundwork.safetensors"


def _bundled(name: str) -> Path:
    return Path(str(resources.files("invert") / "pretrained" / name))


def _unknown(bench: Bench) -> Calibration:
    """Stands for a calibration that is still to be made from own samples alone."""
    return Calibration(bench.name, bench.sha256, bench.measure_key, {}, {}, {}, {})
