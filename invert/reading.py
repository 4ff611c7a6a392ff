"""How commands read the picture that they are to match: decoded, fitted to the generator, with a mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan_core.errors import UsageError
from stylegan_core.files import display
from stylegan_core.image_reader import FIT_MODES, MAX_PIXELS, parse_color

if TYPE_CHECKING:
    from torch import Tensor

    from stylegan_core.generator import Generator


def check_reading(options: Any) -> None:
    """Raises UsageError for values of fit, background, max_pixels and mask that can never be right."""
    if options.fit not in FIT_MODES:
        raise UsageError(f"--fit {options.fit!r}: one of {', '.join(FIT_MODES)} is allowed")
    if options.max_pixels < 1:
        raise UsageError("--max-megapixels: a number above 0 is allowed")
    if options.mask is not None and not Path(options.mask).exists():
        raise UsageError(f"--mask {display(options.mask)} does not exist")
    parse_color(options.background)


def read_picture(source: Path, generator: Generator, options: Any, *, fit: str | None = None
                 ) -> tuple[Tensor, dict[str, Any], Tensor | None]:
    """(target [1, C, R, R], geometry, mask [1, 1, R, R] or None). fit: None = that of the options. Raises ImageError."""
    from stylegan_core import images

    background = None if generator.img_channels == 4 else options.background
    image = images.load_image(source, background=background, max_pixels=options.max_pixels)
    target, geometry, mask = images.fit(image, generator, mode=fit or options.fit)
    painted = mask_for(options.mask, source)
    if painted is not None:
        region = images.fit_mask(images.load_mask(painted), geometry)
        mask = region if mask is None else region * mask
    return target, geometry, mask


def mask_for(mask: str | None, source: Path) -> Path | None:
    """The mask of this picture: the file itself, or the one of the same stem in a folder; None where there is none."""
    if mask is None:
        return None
    path = Path(mask)
    if not path.is_dir():
        return path
    matches = sorted(file for file in path.iterdir() if file.stem == source.stem and not file.is_dir())
    if len(matches) > 1:
        raise UsageError(
            f"--mask {display(path)}: {display(matches[0].name)} and {display(matches[1].name)} are both for {display(source.stem)}"
        )
    return matches[0] if matches else None


__all__ = ["MAX_PIXELS", "check_reading", "mask_for", "read_picture"]
