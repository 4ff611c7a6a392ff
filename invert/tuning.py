"""What `invert tune` does with each batch: a pivot, and changes of the generator's weights by pivotal tuning or HyperStyle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invert.encoding import encoder_of, with_figures
from invert.inputs import is_inversion_file
from invert.reading import MAX_PIXELS, check_reading, mask_for, read_picture
from stylegan_core.errors import InversionError, UsageError
from stylegan_core.files import display
from stylegan_core.provenance import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

    from invert.projectors.pivotal import PivotalTuning
    from stylegan_core.generator import Generator
    from stylegan_core.inversion import Inversion
    from stylegan_core.progress import Callback

METHODS = ("pivotal", "hyperstyle")
PIVOTS = ("auto", "encoder", "project")


@dataclass(frozen=True)
class TuneOptions:
    """Everything that decides a result except the input and the model. None = the method decides.

    pivot: of a picture: auto = the encoder of the model's card, else a projection into W; an inversion is its own pivot.
    pictures: where the pictures of inversions are; None = beside them. together: the inputs' hashes when they share one change.
    """

    method_name: str = "pivotal"
    pivot: str = "auto"
    pictures: str | None = None
    together: tuple[str, ...] = ()
    steps: int | None = None
    lr: float | None = None
    locality: float | None = None
    stop_below: float = 0.0
    pack: str = "int8"
    encoder: str = "auto"         # the HyperStyle, or the encoder of the pivot
    w_encoder: str | None = None
    method: str | None = None     # psp or e4e, for a published encoder that does not say
    passes: int | None = None
    perceptual: str = "auto"
    seed: int = 0
    fit: str = "crop"
    background: str = "white"
    max_pixels: int = MAX_PIXELS
    mask: str | None = None
    space: str = "w"

    @property
    def preset(self) -> str:
        """What records call it."""
        return self.method_name

    def validate(self) -> TuneOptions:
        """Returns self; raises UsageError before any work."""
        if self.method_name not in METHODS:
            raise UsageError(f"--method {self.method_name!r}: one of {', '.join(METHODS)} is allowed")
        if self.pivot not in PIVOTS:
            raise UsageError(f"--pivot {self.pivot!r}: one of {', '.join(PIVOTS)} is allowed")
        if self.method_name == "hyperstyle" and (self.steps, self.lr, self.locality) != (None, None, None):
            raise UsageError("--steps, --lr and --locality are of --method pivotal; HyperStyle takes --passes")
        check_reading(self)
        self.tuning().validate()
        return self

    def tuning(self) -> PivotalTuning:
        """The hyper-parameters of pivotal tuning."""
        from invert.projectors.pivotal import PivotalTuning

        given: dict[str, Any] = {"steps": self.steps, "lr": self.lr, "locality": self.locality}
        return PivotalTuning(stop_below=self.stop_below, pack=self.pack, is_shared=bool(self.together), seed=self.seed,
                             measure=self.perceptual, **{name: value for name, value in given.items() if value is not None})

    def hashed(self, source: Path) -> dict[str, Any]:
        """What goes into the options hash of this input: files by content, not by name."""
        values = asdict(self)
        for name in ("encoder", "w_encoder"):
            if values[name] is not None and Path(values[name]).is_file():
                values[name] = file_sha256(values[name])
        mask = mask_for(self.mask, source)
        values["mask"] = None if mask is None else file_sha256(mask)
        for name in ("max_pixels", "pictures"):
            del values[name]
        return values

    def read(self, source: Path, generator: Generator) -> tuple[Tensor, dict[str, Any], Tensor | None]:
        """(target [1, C, R, R], geometry, mask [1, 1, R, R] or None) of a picture, or of the one that an inversion is of."""
        if not is_inversion_file(source):
            return read_picture(source, generator, self)
        from stylegan_core.inversion import Inversion

        facts = Inversion.load(source)
        options = facts.metadata.get("options")
        fit = facts.geometry.get("mode") or (options.get("fit") if isinstance(options, dict) else None)
        return read_picture(picture_of(source, facts.metadata, self.pictures), generator, self, fit=fit)

    def run(self, targets: Tensor, generator: Generator, *, mask: Tensor | None = None, callback: Callback | None = None,
            sources: Sequence[Path] = ()) -> Inversion:
        """N pictures → one Inversion of N images that change the weights."""
        if self.together and len(targets) != len(self.together):
            raise UsageError(f"{len(targets)} of {len(self.together)} pictures of --together are left to do; choose another -o to "
                             "start again")
        given = [self._pivot(source, targets[i : i + 1], generator) for i, source in enumerate(sources)]
        from stylegan_core.inversion import Inversion

        pivots = None if any(pivot is None for pivot in given) else Inversion.cat([pivot for pivot in given if pivot is not None])
        if self.method_name == "pivotal":
            return self.tuning().project(targets, generator, mask=mask, start=pivots, callback=callback)
        encoder = encoder_of(self, generator)
        if not hasattr(encoder, "refine"):
            raise UsageError(f"{encoder.name} is no HyperStyle; give one with --encoder")
        refined = encoder.encode(targets) if pivots is None else encoder.refine(targets, pivots.latent)
        return with_figures(refined, targets, mask, generator, self)

    def _pivot(self, source: Path, target: Tensor, generator: Generator) -> Inversion | None:
        """The inversion itself, or what an encoder makes of the picture; None = the method finds its own."""
        from invert.projectors.hybrid import known_encoder
        from invert.projectors.project import PresetProjector
        from stylegan_core.inversion import Inversion

        if is_inversion_file(source):
            return replace(Inversion.load(source), geometry={}, metadata={})
        if self.method_name == "hyperstyle":
            return None
        is_encoded = self.pivot == "encoder" or (self.pivot == "auto" and (self.encoder != "auto" or known_encoder(generator) is not None))
        if is_encoded:
            return encoder_of(self, generator).encode(target)
        return PresetProjector(space="w", perceptual=self.perceptual, seed=self.seed, encoder=None).project(target, generator)


def picture_of(source: Path, facts: dict[str, Any], where: str | None) -> Path:
    """The file that an inversion was made from, by its name and hash. where: a folder or the file; None = beside and above it.

    Raises InversionError, naming what was looked for.
    """
    name, sha256 = facts.get("input"), facts.get("input_sha256")
    if where is not None and Path(where).is_file():
        candidates = [Path(where)]
    elif not isinstance(name, str):
        raise InversionError(f"{display(source)} does not say which picture it is of; give it with --pictures FILE")
    else:
        folders = [Path(where)] if where is not None else [source.parent, source.parent.parent, Path.cwd()]
        candidates = [folder / Path(name).name for folder in folders]
    for path in candidates:
        if path.is_file() and sha256 in (None, file_sha256(path)):
            return path
    looked = ", ".join(dict.fromkeys(display(path.parent) for path in candidates))
    raise InversionError(f"{display(source)} is of {display(name)}, which was not found in {looked}; give the folder with --pictures")
