"""Faces to squares and back: the quad, the crop, the paste; points by hand, from files, by a detector."""

from __future__ import annotations

import json
import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from stylegan_core.align import Quad, align, crop, paste, quad_of, quad_of_face
from stylegan_core.data.portraits import portrait_u8
from stylegan_core.errors import ImageError, MissingExtraError, UsageError
from stylegan_core.images import fit, from_u8, to_u8
from stylegan_core.landmarks import Face, check_inside, choose_face, face_of_points, mtcnn, parse_face, read_landmarks

# The points that facenet-pytorch finds on skimage's astronaut, to 0.1 px, and the quad of FFHQ for them.
ASTRONAUT = {"eye_left": (205.0, 101.7), "eye_right": (246.8, 103.7), "nose": (224.7, 129.0),
             "mouth_left": (201.7, 139.2), "mouth_right": (245.3, 141.9)}  # fmt: skip
ASTRONAUT_QUAD = [(146.8, 18.4), (137.6, 185.4), (304.5, 194.6), (313.7, 27.6)]
RESOLUTION = 64
GENERATOR = SimpleNamespace(img_channels=3, img_shape=(RESOLUTION, RESOLUTION))
WIDTH, HEIGHT, ANGLE = 1600, 1200, math.radians(20)


def turned_quad(side: float = 520.0, centre: tuple[float, float] = (830.3, 610.7), angle: float = ANGLE) -> Quad:
    x = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64) * side / 2
    y = torch.stack([-x[1], x[0]])
    middle = torch.tensor(centre, dtype=torch.float64)
    return Quad(torch.stack([middle - x - y, middle - x + y, middle + x + y, middle + x - y]))


def points_of(quad: Quad) -> dict[str, tuple[float, float]]:
    """Eye and mouth points whose FFHQ quad is this one: PG App. C solved for a symmetric face."""
    side = quad.sides[0]
    x, y = ((quad.corners[3] - quad.corners[0]) / side, (quad.corners[1] - quad.corners[0]) / side)
    centre = quad.corners.mean(dim=0)
    across, down = side / 4.0, side / 3.7  # the eyes decide the size: 4 · across > 3.6 · down
    eyes = centre - 0.1 * down * y  # CENTRE_SHIFT of the way to the mouth lies the centre
    mouth = eyes + down * y
    found = {"eye_left": eyes - across / 2 * x, "eye_right": eyes + across / 2 * x, "nose": eyes + 0.5 * down * y,
             "mouth_left": mouth - 0.3 * across * x, "mouth_right": mouth + 0.3 * across * x}  # fmt: skip
    return {name: (float(point[0]), float(point[1])) for name, point in found.items()}


@pytest.fixture(scope="module")
def photo() -> tuple[torch.Tensor, Quad]:
    """1600×1200, a portrait of 520 px turned by 20° on a background of smooth noise; 8-bit values."""
    rng = torch.Generator().manual_seed(0)
    base = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 16, generator=rng), size=(HEIGHT, WIDTH), mode="bicubic") * 1.6 - 0.8
    picture = from_u8(torch.from_numpy(portrait_u8(1000, 3, 512)[0])[None])
    quad = turned_quad()
    geometry = {"quad": quad.corners.tolist(), "source_size": [WIDTH, HEIGHT], "pads": [0, 0, 0, 0], "size": [512, 512]}
    return from_u8(to_u8(paste(picture, base.clamp(-1, 1), geometry, feather=0))), quad


def test_the_quad_of_ffhq():
    quad = Face(ASTRONAUT).quad
    assert np.allclose(quad.corners.numpy(), ASTRONAUT_QUAD, atol=0.25) and quad.sides[0] == pytest.approx(167.2, abs=0.25)


def test_points_and_quad_belong_to_each_other():
    quad = turned_quad()
    assert torch.allclose(Face(points_of(quad)).quad.corners, quad.corners, atol=1e-6)


def test_there_and_back_is_the_same_point():
    quad = turned_quad()
    points = torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 1000
    assert torch.allclose(quad.to_photo(quad.to_crop(points)), points, atol=1e-9)


def test_a_straight_quad_is_a_plain_crop():
    image = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    quad = Quad.of([(4, 3), (4, 11), (12, 11), (12, 3)])
    assert torch.allclose(crop(image, quad, (8, 8)), image[:, :, 3:11, 4:12], atol=1e-5)
    halves = torch.nn.functional.avg_pool2d(image[:, :, 3:11, 4:12], 2)
    assert torch.allclose(crop(image, quad, (4, 4)), halves, atol=1e-5)


def test_the_round_trip_of_the_quad_is_below_half_a_pixel(photo):
    """The picture is found again where it was put: the shift between the crop and the portrait itself, in photo pixels."""
    image, quad = photo
    target, geometry = align(image, Face(points_of(quad)).quad, GENERATOR)
    portrait = from_u8(torch.from_numpy(portrait_u8(1000, 3, 512)[0])[None])
    small = torch.nn.functional.avg_pool2d(portrait, 512 // RESOLUTION)
    assert (target - small).abs().mean() < 0.02
    shift = _shift_between(target, small) * quad.sides[0] / RESOLUTION
    assert float(shift.norm()) < 0.5
    assert torch.allclose(quad_of(geometry).corners, quad.corners, atol=0.01)


def _shift_between(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(dx, dy) in pixels by one Gauss–Newton step of least squares over the gradients."""
    dx = (other[..., 1:-1, 2:] - other[..., 1:-1, :-2]) / 2
    dy = (other[..., 2:, 1:-1] - other[..., :-2, 1:-1]) / 2
    columns = torch.stack([dx.flatten(), dy.flatten()], dim=1).double()
    return torch.linalg.lstsq(columns, (one - other)[..., 1:-1, 1:-1].flatten()[:, None].double()).solution[:, 0]


def test_nothing_outside_of_the_quad_changes(photo):
    image, quad = photo
    target, geometry = align(image, quad, GENERATOR)
    pasted = paste(target, image, geometry)
    before, after = to_u8(image)[0], to_u8(pasted)[0]
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    uv = quad.to_crop(torch.stack([x.flatten(), y.flatten()], dim=1)).view(HEIGHT, WIDTH, 2)
    outside = ((uv < 0) | (uv > 1)).any(dim=2)
    assert torch.equal(before[outside], after[outside]) and torch.equal(image[:, :, outside], pasted[:, :, outside])
    assert not torch.equal(before, after)
    inside = ((uv > 0.2) & (uv < 0.8)).all(dim=2)
    assert (pasted - image)[:, :, inside].abs().mean() < 0.08  # what 64 px of it lose


def test_a_difference_leaves_an_unedited_photo_alone(photo):
    image, quad = photo
    target, geometry = align(image, quad, GENERATOR)
    assert torch.equal(paste(target, image, geometry, mode="difference", unedited=target), image)
    edited = target.clone()
    edited[..., 28:36, 28:36] += 0.5
    pasted = paste(edited, image, geometry, mode="difference", unedited=target)
    middle = quad.to_photo(torch.tensor([[0.5, 0.5]]))[0].int()
    changed = (pasted - image)[0, :, middle[1], middle[0]]
    assert float(changed.min()) == pytest.approx(0.5, abs=0.1) or float(pasted[0, :, middle[1], middle[0]].max()) == pytest.approx(
        1, abs=1e-3
    )
    with pytest.raises(UsageError, match="before the edit"):
        paste(edited, image, geometry, mode="difference")


def test_colours_meet_along_the_seam(photo):
    image, quad = photo
    target, geometry = align(image, quad, GENERATOR)
    tinted = (target * 0.8 + 0.2).clamp(-1, 1)
    matched, plain = (paste(tinted, image, geometry, colour=colour) for colour in ("border", "none"))
    assert (matched - image).abs().mean() < 0.6 * (plain - image).abs().mean()


def test_a_photo_smaller_than_the_render_and_a_quad_beyond_its_edge():
    image = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    quad = Quad.of([(-10, 5), (-10, 35), (20, 35), (20, 5)])
    target, geometry = align(image, quad, GENERATOR)
    assert target.shape == (1, 3, 64, 64) and torch.isfinite(target).all()
    pasted = paste(target, image, geometry, feather=0)
    assert torch.equal(pasted[..., 20:], image[..., 20:]) and (pasted - image).abs().mean() < 0.1


def test_a_box_of_fit_is_a_quad_too():
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    target, geometry, _ = fit(image, GENERATOR)
    pasted = paste(target, image, geometry, feather=0)
    assert torch.equal(pasted[..., :16], image[..., :16]) and torch.equal(pasted[..., 112:], image[..., 112:])
    assert not torch.equal(pasted, image)
    with pytest.raises(ImageError, match="same photo"):
        paste(target, image[..., :100], geometry)


@pytest.mark.parametrize(
    "corners, said",
    [([(0, 0), (0, 1), (1, 1), (1, 0)], "side of"), ([(0, 0), (0, 9), (30, 9), (9, 0)], "parallelogram"), ([(0, 0), (0, 9)], "four points"),
     ([(0, 0), (0, float("nan")), (9, 9), (9, 0)], "four points"), ([(0, 0), (9, 9), (18, 18), (9, 9)], "no area")],
)  # fmt: skip
def test_no_quads(corners, said):
    with pytest.raises(UsageError, match=said):
        Quad.of(corners)


def test_points_in_every_form():
    face = Face(ASTRONAUT)
    five = [list(point) for point in ASTRONAUT.values()]
    four = [five[k] for k in (0, 1, 3, 4)]
    whole = [[0.0, 0.0]] * 68
    for group, point in ((range(36, 42), five[0]), (range(42, 48), five[1]), ((30,), five[2]), ((48,), five[3]), ((54,), five[4])):
        for k in group:
            whole[k] = point
    for points in (dict(ASTRONAUT), five, four, whole):
        assert torch.allclose(face_of_points(points).quad.corners, face.quad.corners, atol=1e-6)
    for points, said in ((five[:3], "3 points"), ({"eye_left": [1, 2]}, "eye_right is missing"), ([*five[:4], [1]], "no point"),
                         ([*five[:4], ["a", 1]], "no point"), (7, "none points"), ([*five[:4], [1e9, 1]], "finite")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            face_of_points(points)


def test_landmark_files(tmp_path):
    five = [list(point) for point in ASTRONAUT.values()]
    cases = {
        "one.json": five,
        "named.json": dict(ASTRONAUT),
        "several.json": [five, five],
        "by_name.json": {"a.png": five, "b.png": [five] * 3},
    }
    for name, value in cases.items():
        (tmp_path / name).write_text(json.dumps(value))
    assert len(read_landmarks(tmp_path / "one.json")) == len(read_landmarks(tmp_path / "named.json")) == 1
    assert len(read_landmarks(tmp_path / "several.json")) == 2
    assert len(read_landmarks(tmp_path / "by_name.json", picture="b.png")) == 3
    columns = [f"{name}_{axis}" for name in ASTRONAUT for axis in "xy"]
    row = ",".join(str(v) for point in five for v in point)
    (tmp_path / "table.csv").write_text(f"file,{','.join(columns)}\na.png,{row}\nb.png,{row}\n")
    assert torch.allclose(read_landmarks(tmp_path / "table.csv", picture="a.png")[0].quad.corners, Face(ASTRONAUT).quad.corners)
    bad = {
        "bad.json": ("{", "Expecting"),
        "empty.json": ("[]", "0 points"),
        "other.json": (json.dumps({"x": five, "y": five}), "no landmarks of"),
        "other.csv": ("file,x\na,1\n", "no landmarks of"),
        "word.csv": (",".join(columns) + "\n1,x\n", "could not convert"),
    }
    for name, (text, said) in bad.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError) as error:
            read_landmarks(tmp_path / name, picture="b.png")
        assert name in str(error.value) and said in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_landmarks(tmp_path / "missing.json")


def test_which_face():
    def moved(dx: float, scale: float = 1.0) -> Face:
        return Face({name: (x * scale + dx, y * scale) for name, (x, y) in ASTRONAUT.items()})

    left, right = moved(0), moved(400, 1.5)
    with pytest.raises(ImageError, match="2 faces were found"):
        choose_face([right, left])
    assert choose_face([right, left], "largest") is right and choose_face([right, left], 0) is left and choose_face([left]) is left
    with pytest.raises(ImageError, match="numbered from 0"):
        choose_face([left, right], 2)
    with pytest.raises(ImageError, match="no face was found"):
        choose_face([])
    with pytest.raises(ImageError, match="profile"):
        choose_face([Face({**ASTRONAUT, "nose": (255.0, 125.0)})])
    with pytest.raises(ImageError, match="not below"):
        choose_face([Face({**ASTRONAUT, "eye_left": ASTRONAUT["eye_right"], "eye_right": ASTRONAUT["eye_left"]})])
    with pytest.raises(ImageError, match="outside of the picture"):
        check_inside(left, 200, 200)
    assert parse_face("2") == 2 and parse_face("largest") == "largest"
    with pytest.raises(UsageError, match="largest"):
        parse_face("biggest")
    with pytest.raises(UsageError, match="one point"):
        quad_of_face((1, 1), (1, 1), (1, 1), (1, 1))


def test_the_detector_of_the_extra(monkeypatch):
    monkeypatch.setattr("stylegan_core.landmarks.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="face"):
        mtcnn()

    class MTCNN:
        """The interface of facenet_pytorch.MTCNN: boxes, probabilities, landmarks as arrays of objects; None without a face."""

        def __init__(self, **options):
            assert options["keep_all"]

        def detect(self, picture, landmarks):
            assert picture.mode == "RGB" and landmarks
            if picture.size[0] < 100:
                return None, [None], None
            points = np.array([list(ASTRONAUT.values())], dtype=object)
            return np.zeros((1, 4)), np.array([0.99]), points

    module = ModuleType("facenet_pytorch")
    module.MTCNN = MTCNN
    monkeypatch.setitem(sys.modules, "facenet_pytorch", module)
    monkeypatch.setattr("stylegan_core.landmarks.find_spec", lambda name: object())
    detect = mtcnn()
    (face,) = detect(torch.zeros(1, 3, 300, 400))
    assert face.points["nose"] == (224.7, 129.0) and face.confidence == 0.99
    with pytest.raises(ImageError, match="no face was found"):
        choose_face(detect(torch.zeros(1, 3, 50, 50)))
