"""Picture files from outside, read defensively: allow-listed formats, limits before decoding, one-line errors.

Decoding is Pillow's and nothing else's. What Pillow gets wrong is done by hand: 16-bit grey, transparency, rotation by
EXIF, colour profiles. Everything leaves here as a float32 array in [0, 1].
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageOps

from stylegan_core.errors import ImageError, UsageError
from stylegan_core.files import display

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
SUFFIXES = frozenset(
    {
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".avif",
        ".heic",
        ".heif",
    }
)
FIT_MODES = ("crop", "pad", "stretch")  # here, where no torch is imported: the command line checks them
MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 2
MAX_FILE_BYTES = 1 << 30
MAX_PROFILE_BYTES = 4 << 20
Color = tuple[int, int, int]
Source = str | os.PathLike[str] | io.BytesIO

# What Pillow's decoders raise for damaged data; all of them mean the same to a person.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def read_image(path: str | os.PathLike[str], *, background: str | None = "white", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Array [H, W, 3] float32 in [0, 1], RGB (sRGB), upright; frame 0 of an animation.

    background: colour under transparent pixels; None keeps the transparency: [H, W, 4] for a picture that has any.
    """
    name = display(Path(path))
    check_file(path, name)
    return _read(path, name, background, max_pixels)


def read_image_bytes(data: bytes, name: str, *, background: str | None = "white", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The same of a file in memory (from an archive, a data base). name: what errors call it."""
    if not data:
        raise ImageError(f"{display(name)} is empty (0 bytes)")
    return _read(io.BytesIO(data), display(name), background, max_pixels)


def _read(source: Source, name: str, background: str | None, max_pixels: int) -> np.ndarray:
    color = None if background is None else parse_color(background)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about odd metadata and sizes; our own limits decide
        try:
            with _open(source, name, max_pixels) as image:
                _check_size(image.size, name, max_pixels)
                image.seek(0)
                image.load()
                _check_size(image.size, name, max_pixels)
                pixels = _to_array(_upright(image), name)
        except ImageError:
            raise
        except Image.DecompressionBombError:
            raise ImageError(f"{name} is too large: more than {max_pixels / 1e6:.3g} megapixels; shrink it first") from None
        except _DECODER_ERRORS as error:
            raise ImageError(
                f"{name} is damaged or cut short: {display(str(error).strip(), max_length=120) or type(error).__name__}"
            ) from None
    return pixels if color is None else _composite(pixels, color)


def is_picture(path: str | os.PathLike[str]) -> bool:
    """True when the first bytes of a regular file look like a picture of an allowed format, whatever its name."""
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError:
        return False
    return (
        start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"))
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or (start[4:8] == b"ftyp" and start[8:12] in (*_HEIF_BRANDS, b"avif"))
    )


def parse_color(text: str) -> Color:
    """A colour name or '#rrggbb' → (r, g, b) in 0..255."""
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
        return red, green, blue
    except ValueError:
        raise UsageError(f"background {text!r}: a colour name such as white, black, grey, or #rrggbb is allowed") from None


def check_file(path: str | os.PathLike[str], name: str) -> None:
    """Raises ImageError, with `name` in it, unless the path is a regular, non-empty file of a size that fits."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be opened: {_reason(error)}") from None
    if stat.S_ISDIR(facts.st_mode):
        raise ImageError(f"{name} is a folder, not a picture")
    if not stat.S_ISREG(facts.st_mode):
        raise ImageError(f"{name} is a device, pipe or socket, not a picture file")
    if facts.st_size == 0:
        raise ImageError(f"{name} is empty (0 bytes)")
    if facts.st_size > MAX_FILE_BYTES:
        raise ImageError(f"{name} is too large: {facts.st_size / 1e9:.3g} GB, at most {MAX_FILE_BYTES / 1e9:.3g} are read")


def _open(source: Source, name: str, max_pixels: int) -> Image.Image:
    try:
        Image.init()
        return Image.open(source, formats=[kind for kind in FORMATS if kind in Image.OPEN])
    except PermissionError:
        raise ImageError(f"{name} cannot be opened: permission denied") from None
    except Image.UnidentifiedImageError:
        pass
    if isinstance(source, io.BytesIO):
        start = source.getvalue()[:512]
    else:
        with open(source, "rb") as file:
            start = file.read(512)
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        return _open_heif(source, name, max_pixels)
    raise ImageError(f"{name} is {_what_it_is(start)}; PNG, JPEG, WebP, TIFF, GIF, BMP, PPM and AVIF pictures are read")


def _open_heif(source: Source, name: str, max_pixels: int) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(f"{name} is a HEIC picture, which needs the extra 'heif': pip install 'invert-gan[heif]'") from None
    heif = pillow_heif.open_heif(source)
    _check_size(heif.size, name, max_pixels)
    return heif.to_pillow()


def _what_it_is(start: bytes) -> str:
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page, not a picture"
    if text.startswith(b"<svg") or b"<svg" in text:
        return "an SVG drawing, not a pixel picture"
    if start.startswith(b"%!PS") or start.startswith(b"\xc5\xd0\xd3\xc6"):
        return "a PostScript file, not a pixel picture"
    if start.startswith(b"%PDF"):
        return "a PDF document, not a picture"
    if start.startswith(b"PK\x03\x04"):
        return "a zip archive, not a picture"
    return "not a picture that can be read (unknown or damaged format)"


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is too large: {width}×{height} is {width * height / 1e6:.3g} megapixels, "
            f"the limit is {max_pixels / 1e6:.3g}; "
            "shrink it first"
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(f"{name} is too small: {width}×{height} pixels, at least {MIN_SIDE_PX} a side are needed")


def _upright(image: Image.Image) -> Image.Image:
    try:
        rotated = ImageOps.exif_transpose(image)
    except _DECODER_ERRORS:  # a damaged EXIF block says nothing about the pixels
        return image
    return image if rotated is None else rotated


def _to_array(image: Image.Image, name: str) -> np.ndarray:
    """[H, W, 3 or 4] float32 in [0, 1] from a decoded picture of any mode."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return _sixteen_bit(image, name)
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point grey values of unknown range; save it with 8 or 16 bits")
    has_alpha = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    if image.mode == "La":
        image = image.convert("LA")
    alpha = image.convert("RGBA").getchannel("A") if has_alpha else None
    color = _to_srgb(image) if alpha is None or image.mode in ("RGBA", "RGB") else image.convert("RGBA").convert("RGB")
    pixels = np.array(color, dtype=np.float32)
    pixels /= 255
    if alpha is None:
        return pixels
    opacity = np.asarray(alpha, dtype=np.float32)[..., None] / 255
    return np.concatenate([pixels, opacity], axis=2) if opacity.min() < 1 else pixels


def _sixteen_bit(image: Image.Image, name: str) -> np.ndarray:
    """Grey of 16 bits; Pillow's own conversion clips it to white."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"{name} holds 32-bit grey values of unknown range ({values.min()} to {values.max()}); save it with 8 or 16 bits")
    grey = (values / 65535).astype(np.float32)[..., None].repeat(3, axis=2)
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    return np.concatenate([grey, (values != transparent).astype(np.float32)[..., None]], axis=2)


def _to_srgb(image: Image.Image) -> Image.Image:
    """RGB of 8 bits; an embedded colour profile other than sRGB is applied, a broken one is ignored."""
    profile = image.info.get("icc_profile")
    rgb_before = image.convert("RGB") if image.mode == "RGBA" else image
    if isinstance(profile, bytes) and 128 < len(profile) <= MAX_PROFILE_BYTES and rgb_before.mode in ("RGB", "CMYK", "L"):
        try:
            source: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" not in (ImageCms.getProfileDescription(source) or "").lower():
                converted = ImageCms.profileToProfile(rgb_before, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, *_DECODER_ERRORS):
            pass  # a profile that cannot be used is treated as absent
    return rgb_before.convert("RGB")


def _composite(pixels: np.ndarray, color: Color) -> np.ndarray:
    if pixels.shape[2] == 3:
        return pixels
    opacity = pixels[..., 3:]
    return pixels[..., :3] * opacity + (np.asarray(color, dtype=np.float32) / 255) * (1 - opacity)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return display(error, max_length=120) or "unknown reason"
