"""Reading right what is right, one line for what is not; fitting to a generator and back; 8 bits."""

from __future__ import annotations

import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from stylegan_core.errors import ImageError, InvertError, OutputError, UsageError
from stylegan_core.image_reader import is_picture
from stylegan_core.images import (
    fit,
    fit_mask,
    from_pil,
    from_u8,
    load_image,
    load_mask,
    paste,
    resize,
    save_image,
    to_channels,
    to_pil,
    to_rgb,
    to_u8,
)


@dataclass(frozen=True)
class Shape:
    img_shape: tuple[int, int] = (32, 32)
    img_channels: int = 3
    config: object = None


def _photo(height: int = 20, width: int = 30) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 8, columns * 6, (rows + columns) * 4], axis=2).clip(0, 255).astype(np.uint8)


def _u8(path: Path, **options) -> np.ndarray:
    return to_u8(load_image(path, **options))[0].numpy()


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tif", "webp"])
def test_lossless_formats_are_read_exactly(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(_photo()).save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = load_image(path)
    assert image.shape == (1, 3, 20, 30) and image.dtype == torch.float32
    assert image.min() >= -1 and image.max() <= 1
    np.testing.assert_array_equal(to_u8(image)[0].numpy(), _photo())


def test_jpeg_and_grey_and_bilevel(tmp_path):
    Image.fromarray(_photo()).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(_u8(tmp_path / "a.jpg").astype(int) - _photo()).mean() < 4
    Image.fromarray(_photo()[..., 0]).save(tmp_path / "g.png")
    np.testing.assert_array_equal(_u8(tmp_path / "g.png"), _photo()[..., :1].repeat(3, axis=2))
    Image.fromarray(_photo()[..., 0] > 70).save(tmp_path / "b.png")
    assert set(np.unique(_u8(tmp_path / "b.png"))) == {0, 255}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path, orientation):
    upright = Image.fromarray(_photo())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that a camera holding it so would have stored
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "r.png", exif=exif)
    np.testing.assert_array_equal(_u8(tmp_path / "r.png"), _photo())


def test_sixteen_bit_grey_keeps_its_middle(tmp_path):
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"s.{suffix}")
        image = load_image(tmp_path / f"s.{suffix}")
        assert abs(to_u8(image).float().mean() - 127.5) < 0.6
        torch.testing.assert_close(image[0, 0], torch.from_numpy(values / 32767.5 - 1).float(), atol=1e-6, rtol=0)


def test_sixteen_bit_colour_png(tmp_path):
    rows = b"".join(b"\0" + b"\x80\x00\x40\x00\xff\xff" * 4 for _ in range(4))
    path = tmp_path / "c.png"
    path.write_bytes(_png(4, 4, zlib.compress(rows), bits=16, color=2))
    np.testing.assert_allclose(_u8(path)[0, 0], [128, 64, 255], atol=1)


def test_cmyk(tmp_path):
    cmyk = Image.fromarray(_photo()).convert("CMYK")
    cmyk.save(tmp_path / "c.tif")
    np.testing.assert_array_equal(_u8(tmp_path / "c.tif"), np.asarray(cmyk.convert("RGB")))


def test_transparency_is_composited_not_exposed(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0] = 255  # red, hidden on the left half
    rgba[:, 2:, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert _u8(tmp_path / "a.png")[0, 0].tolist() == [255, 255, 255]
    assert _u8(tmp_path / "a.png", background="black")[0, 0].tolist() == [0, 0, 0]
    assert _u8(tmp_path / "a.png", background="#102030")[0, 0].tolist() == [16, 32, 48]
    assert _u8(tmp_path / "a.png")[0, 3].tolist() == [255, 0, 0]
    assert load_image(tmp_path / "a.png", background=None).shape == (1, 4, 4, 4)
    with pytest.raises(UsageError, match="background 'whitish'"):
        load_image(tmp_path / "a.png", background="whitish")


def test_transparent_palette_and_grey(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "p.png", transparency=0)
    pixels = _u8(tmp_path / "p.png")
    assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[3, 3].tolist() == [0, 0, 255]
    Image.fromarray(np.array([[[0, 0], [0, 255]], [[0, 255], [0, 255]]], np.uint8), "LA").save(tmp_path / "la.png")
    pixels = _u8(tmp_path / "la.png")
    assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[1, 1].tolist() == [0, 0, 0]
    Image.new("L", (3, 3), 7).save(tmp_path / "l.png", transparency=7)
    assert _u8(tmp_path / "l.png").min() == 255


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for name, options in (("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {})):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert _u8(tmp_path / name)[4, 4].tolist() == [255, 0, 0]


def test_colour_profiles(tmp_path):
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(_photo()).save(tmp_path / "srgb.png", icc_profile=swapped)
    assert np.abs(_u8(tmp_path / "srgb.png").astype(int) - _photo()).max() <= 1
    Image.fromarray(_photo()).save(tmp_path / "junk.png", icc_profile=b"junk" * 100)
    np.testing.assert_array_equal(_u8(tmp_path / "junk.png"), _photo())


def test_damaged_exif_says_nothing_about_the_pixels(tmp_path):
    plain = _jpeg_bytes()
    for exif in (b"Exif\0\0" + b"\xff" * 60, b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0"):
        segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
        (tmp_path / "e.jpg").write_bytes(plain[:2] + segment + plain[2:])
        (tmp_path / "plain.jpg").write_bytes(plain)
        np.testing.assert_array_equal(_u8(tmp_path / "e.jpg"), _u8(tmp_path / "plain.jpg"))


def _png(width: int, height: int, data: bytes, *, bits: int = 8, color: int = 2, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _bomb_text() -> bytes:
    body = b"Comment\0\0" + zlib.compress(b"\0" * 100_000_000)
    return struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))


def _jpeg_bytes() -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(_photo(64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


ROW = zlib.compress(b"\0" + b"\x10" * 90)
BAD_FILES = {
    "empty.jpg": (b"", "empty"),
    "page.jpg": (b"<!DOCTYPE html><html>quota exceeded</html>", "web page"),
    "random.png": (bytes(range(256)) * 4, "not a picture"),
    "zeros.png": (b"\0" * 5, "not a picture"),
    "pickle.png": (b"\x80\x04\x95\x00", "not a picture"),
    "eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "PostScript"),
    "drawing.svg": (b"<?xml version='1.0'?><svg width='9'/>", "SVG"),
    "cut.jpg": (_jpeg_bytes()[:-200], "damaged or cut short"),
    "header.jpg": (_jpeg_bytes()[:40], "not a picture|damaged"),
    "short_idat.png": (_png(64, 64, ROW), "damaged or cut short"),
    "crc.png": (_png(30, 1, ROW)[:-20] + b"\1" * 8 + _png(30, 1, ROW)[-12:], "damaged|small"),
    "bomb.png": (_png(30_000, 30_000, ROW), "too large"),
    "thin.png": (_png(1, 60_000, ROW), "too small"),
    "text_bomb.png": (_png(30, 4, ROW, extra=_bomb_text()), "damaged or cut short"),
    "one.png": (_png(1, 1, zlib.compress(b"\0\1\2\3")), "too small"),
    "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, "extra 'heif'|damaged"),
    "bomb.tif": (
        b"II*\0\x08\0\0\0\x03\0" + struct.pack("<HHIIHHIIHHII", 256, 4, 1, 60_000, 257, 4, 1, 60_000, 273, 4, 1, 8) + b"\0" * 4,
        "too large|not a picture|damaged",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_one_line(tmp_path, name):
    data, expected = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    started = time.monotonic()
    with pytest.raises(ImageError, match=expected) as caught:
        load_image(path)
    message = str(caught.value)
    assert name in message and "\n" not in message and len(message) < 500
    assert time.monotonic() - started < 2


def test_things_that_are_not_files(tmp_path):
    with pytest.raises(ImageError, match="does not exist"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(ImageError, match=r"cannot be opened|does not exist"):
        load_image(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(ImageError, match="device, pipe or socket"):
            load_image(path)
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image("a\0b.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(ImageError, match="permission denied"):
        load_image(path)


def test_float_and_wide_integer_pictures_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match="unknown range"):
        load_image(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 1 << 20, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(ImageError, match="unknown range"):
        load_image(tmp_path / "i.tif")


def test_limit_of_pixels_is_an_option(tmp_path):
    Image.fromarray(_photo()).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"30×20 is 0.0006 megapixels, the limit is 0.0005"):
        load_image(tmp_path / "a.png", max_pixels=500)
    assert load_image(tmp_path / "a.png", max_pixels=600).shape[2:] == (20, 30)


def test_file_names_cannot_write_to_the_terminal(tmp_path):
    for name in ("x\x1b[2J.png", "new\nline.png", "[red].png", "-rf.png", os.fsdecode(b"\xff\xfe.png")):
        path = tmp_path / name
        path.write_bytes(b"nothing")
        with pytest.raises(ImageError) as caught:
            load_image(path)
        assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)
        str(caught.value).encode("utf-8")


def test_is_picture_goes_by_content(tmp_path):
    Image.fromarray(_photo()).save(tmp_path / "a.dat", format="PNG")
    (tmp_path / "b.png").write_bytes(b"words")
    assert is_picture(tmp_path / "a.dat") and not is_picture(tmp_path / "b.png") and not is_picture(tmp_path / "none")


def test_u8_round_trip_and_rounding():
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    assert torch.equal(to_u8(from_u8(every)), every)
    assert to_u8(torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 1, 5)).flatten().tolist() == [0, 0, 128, 255, 255]
    with pytest.raises(ImageError, match="NaN"):
        to_u8(torch.full((1, 3, 2, 2), float("nan")))


def test_channels():
    grey, rgba = torch.rand(2, 1, 4, 4) * 2 - 1, torch.rand(2, 4, 4, 4) * 2 - 1
    assert torch.equal(to_rgb(grey)[:, 2:], grey)
    torch.testing.assert_close(to_channels(to_rgb(grey), 1), grey)
    transparent = torch.cat([rgba[:, :3], -torch.ones(2, 1, 4, 4)], dim=1)
    assert torch.equal(to_rgb(transparent), torch.ones(2, 3, 4, 4))
    opaque = to_channels(rgba[:, :3], 4)
    assert torch.equal(opaque[:, 3], torch.ones(2, 4, 4)) and torch.equal(to_rgb(opaque), rgba[:, :3])
    with pytest.raises(ImageError, match="5 channels"):
        to_rgb(torch.zeros(1, 5, 4, 4))


@pytest.mark.parametrize("size", [(20, 30), (30, 20), (32, 32), (7, 100)])
@pytest.mark.parametrize("mode", ["crop", "pad", "stretch"])
def test_fit_and_paste(size, mode):
    photo = from_u8(torch.from_numpy(_photo(*size))[None])
    target, geometry, mask = fit(photo, Shape(), mode=mode)
    assert target.shape == (1, 3, 32, 32) and geometry["source_size"] == [size[1], size[0]] and geometry["mode"] == mode
    assert (mask is not None) == (mode == "pad" and size != (32, 32))
    pasted = paste(target, photo, geometry)
    assert pasted.shape == photo.shape
    if mode == "crop":
        left, top, right, bottom = geometry["box"]
        outside = torch.ones_like(photo, dtype=torch.bool)
        outside[:, :, top:bottom, left:right] = False
        assert torch.equal(pasted[outside], photo[outside]) and right - left == bottom - top == min(size)
    if min(size) > 10:
        assert (pasted - photo).abs().mean() < 0.05


def test_fit_leaves_a_matching_picture_alone():
    photo = torch.rand(1, 3, 32, 32) * 2 - 1
    for mode in ("crop", "pad", "stretch"):
        target, _, mask = fit(photo, Shape(), mode=mode)
        assert torch.equal(target, photo) and mask is None


def test_fit_to_grey_rgba_and_rectangular_models():
    photo = torch.rand(1, 3, 40, 40) * 2 - 1
    assert fit(photo, Shape(img_channels=1))[0].shape == (1, 1, 32, 32)
    assert fit(photo, Shape(img_channels=4))[0][:, 3].min() == 1
    target, geometry, _ = fit(photo, Shape(img_shape=(16, 32)))
    assert target.shape == (1, 3, 16, 32) and geometry["box"] == [0, 10, 40, 30]


def test_fit_fills_only_the_content_box():
    @dataclass(frozen=True)
    class Config:
        content_box: tuple[int, int, int, int] = (0, 4, 32, 28)

    photo = torch.rand(1, 3, 60, 80) * 2 - 1
    target, geometry, mask = fit(photo, Shape(config=Config()))
    assert mask is None and target[:, :, :4].max() == -1 and target[:, :, 28:].max() == -1 and geometry["box"] == [0, 0, 80, 60]
    assert geometry["pads"] == [0, 4, 0, 4]
    _, geometry, mask = fit(photo[:, :, :, :60], Shape(config=Config()), mode="pad")
    assert mask.min() == 0 and mask[:, :, :4].min() == 1 and geometry["pads"] == [4, 4, 4, 4]


def test_resize_is_antialiased_and_stays_in_range():
    stripes = torch.ones(1, 3, 64, 64)
    stripes[:, :, :, ::2] = -1
    assert resize(stripes, (16, 16))[:, :, :, 2:-2].abs().max() < 0.05  # no moiré: grey
    assert resize(stripes, (150, 150)).abs().max() <= 1


def test_mask_follows_the_picture(tmp_path):
    painted = np.zeros((20, 30), np.uint8)
    painted[:, :10] = 255
    Image.fromarray(painted).save(tmp_path / "m.png")
    mask = load_mask(tmp_path / "m.png")
    _, geometry, _ = fit(torch.zeros(1, 3, 20, 30), Shape())
    fitted = fit_mask(mask, geometry)
    assert fitted.shape == (1, 1, 32, 32) and fitted[..., 0].min() > 0.9 and fitted[..., 16:].max() < 0.1
    with pytest.raises(ImageError, match="same size"):
        fit_mask(mask[:, :, :10], geometry)
    Image.fromarray(painted * 0).save(tmp_path / "black.png")
    with pytest.raises(ImageError, match="black everywhere"):
        load_mask(tmp_path / "black.png")
    with pytest.raises(UsageError, match="fit 'squeeze'"):
        fit(torch.zeros(1, 3, 20, 30), Shape(), mode="squeeze")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_save_image_round_trip(tmp_path, channels):
    image = from_u8(torch.randint(0, 256, (1, 8, 9, channels), dtype=torch.uint8))
    if channels == 4:
        image[:, 3] = 1
    save_image(image, tmp_path / "deep" / "a.png", metadata={"invert": '{"seed": 1, "name": "é\\n"}'})
    assert torch.equal(to_u8(load_image(tmp_path / "deep" / "a.png")), to_u8(to_rgb(image)))
    with Image.open(tmp_path / "deep" / "a.png") as saved:
        assert '"seed": 1' in saved.text["invert"]
    save_image(image, tmp_path / "b.jpg")
    save_image(image, tmp_path / "c.webp")
    assert torch.equal(to_u8(load_image(tmp_path / "c.webp")), to_u8(to_rgb(image)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.jpg", "c.webp", "deep"]


def test_save_image_errors(tmp_path):
    with pytest.raises(OutputError, match=r"\.png, \.jpg"):
        save_image(torch.zeros(1, 3, 4, 4), tmp_path / "a.xyz")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="not a folder"):
        save_image(torch.zeros(1, 3, 4, 4), tmp_path / "file" / "a.png")
    with pytest.raises(InvertError, match="not one picture"):
        save_image(torch.zeros(2, 3, 4, 4), tmp_path / "a.png")


def test_pillow_pictures():
    assert torch.equal(to_u8(from_pil(Image.fromarray(_photo())))[0], torch.from_numpy(_photo()))
    assert to_pil(torch.zeros(3, 4, 5)).size == (5, 4) and to_pil(torch.zeros(1, 1, 4, 5)).mode == "L"
