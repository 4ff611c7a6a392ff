"""What `invert encode` does with each batch: one encoder, a few passes, the facts of a record."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invert.reading import MAX_PIXELS, check_reading, mask_for, read_picture
from stylegan_core.errors import UsageError, WeightsNotFoundError
from stylegan_core.provenance import file_sha256, version

if TYPE_CHECKING:
    from torch import Tensor

    from stylegan_core.generator import Generator
    from stylegan_core.inversion import Inversion
    from stylegan_core.progress import Callback


@dataclass(frozen=True)
class EncodeOptions:
    """Everything that decides a result except the picture and the model. encoder: a name or a file; auto = that of the model's card."""

    encoder: str = "auto"
    w_encoder: str | None = None  # for HyperStyle files that are published apart from it
    method: str | None = None     # psp or e4e, for a published file that does not say
    passes: int | None = None     # of ReStyle and HyperStyle; None = the encoder's own
    perceptual: str = "auto"
    seed: int = 0
    fit: str = "crop"
    background: str = "white"
    max_pixels: int = MAX_PIXELS
    mask: str | None = None       # a picture, or a folder; only the report heeds it
    space: str = "w+"             # told by the encoder, and recorded
    preset: str = "encode"
    steps: int | None = None

    def validate(self) -> EncodeOptions:
        """Returns self; raises UsageError before any work."""
        if self.passes is not None and self.passes < 1:
            raise UsageError(f"--passes {self.passes}: a whole number from 1 is allowed")
        check_reading(self)
        return self

    def hashed(self, source: Path) -> dict[str, Any]:
        """What goes into the options hash of this picture: files by content, not by name."""
        values = asdict(self)
        for name in ("encoder", "w_encoder"):
            if values[name] is not None and Path(values[name]).is_file():
                values[name] = file_sha256(values[name])
        mask = mask_for(self.mask, source)
        values["mask"] = None if mask is None else file_sha256(mask)
        del values["max_pixels"]
        return values

    def read(self, source: Path, generator: Generator) -> tuple[Tensor, dict[str, Any], Tensor | None]:
        """(target [1, C, R, R], geometry, mask [1, 1, R, R] or None)."""
        return read_picture(source, generator, self)

    def run(self, targets: Tensor, generator: Generator, *, mask: Tensor | None = None, callback: Callback | None = None,
            sources: Sequence[Path] = ()) -> Inversion:
        """N pictures → one Inversion of N images with the facts that records need."""
        encoder = encoder_of(self, generator)
        return with_figures(encoder.encode(targets), targets, mask, generator, self)


def with_figures(inversion: Inversion, targets: Tensor, mask: Tensor | None, generator: Generator, options: Any) -> Inversion:
    """The inversion with what is measured on the picture that it renders."""
    from invert.projectors.base import quality
    from invert.projectors.measures import load_measure
    from stylegan_core.inversion import merged
    from stylegan_core.losses.perceptual import distance_to

    images = inversion.render(generator)
    psnr = quality(images, targets, mask)
    name, values = options.perceptual, [None] * len(images)
    try:
        measure = load_measure(options.perceptual, generator)
        name, values = measure.name, distance_to(measure, targets, mask, largest_side=256)(images).tolist()
    except WeightsNotFoundError:  # the latents do not depend on it; the record says null
        if options.perceptual != "auto":
            raise
    facts = [
        {
            **inversion.facts(i),
            "space": inversion.latent.space.value,
            "preset": options.preset,
            "seed": options.seed,
            "steps": inversion.facts(i).get("passes"),
            "version": version(),
            "perceptual": {"name": name, "value": values[i]},
            "psnr": float(psnr[i]),
        }
        for i in range(len(images))
    ]
    return replace(inversion, metadata=merged(facts))


def encoder_of(options: Any, generator: Generator) -> Any:
    """The encoder that options name, for this generator. Raises UsageError when none is known."""
    from invert.projectors.hybrid import known_encoder

    if options.encoder == "auto":
        encoder = known_encoder(generator)
        if encoder is None:
            raise UsageError("the card of this model names no encoder; train one with `invert train encoder` and give it with "
                             "--encoder FILE")
    else:
        encoder = _loaded(options.encoder, options.w_encoder, options.method, generator)  # type: ignore[arg-type]
    if options.passes is not None and options.passes != encoder.config.num_iterations:
        if not hasattr(encoder, "passes"):
            raise UsageError(f"--passes {options.passes}: {encoder.name} is no ReStyle and no HyperStyle; it takes one pass")
        encoder = copy.copy(encoder)  # the same weights; the cached one stays as it is
        encoder.config = replace(encoder.config, num_iterations=options.passes)
    return encoder


@lru_cache(maxsize=2)
def _loaded(name: str, w_encoder: str | None, method: str | None, generator: Generator) -> Any:
    from encoders.checkpoints import load_encoder

    return load_encoder(name, generator=generator, w_encoder=w_encoder, method=method)
