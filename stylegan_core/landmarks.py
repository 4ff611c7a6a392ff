"""Where eyes and mouth are: by hand, from a file, or by a detector of the extra 'face'; and which face of several is meant."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from stylegan_core.align import Quad, quad_of_face
from stylegan_core.errors import ImageError, MissingExtraError, UsageError
from stylegan_core.files import display

NAMES = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")  # left and right as they are seen in the picture
SUFFIX = ".landmarks.json"
MAX_FILE_BYTES = 4 << 20
EYE_POINTS = (range(36, 42), range(42, 48))  # of the 68-point scheme; the mean of each
MOUTH_POINTS = (48, 54)
PROFILE = 0.15  # of the distance of the eyes: the nose of a frontal face lies this far inside of them


@dataclass(frozen=True)
class Face:
    """points: name → (x, y) in photo pixels; nose may be missing. confidence: of a detector, None for points by hand."""

    points: Mapping[str, tuple[float, float]]
    confidence: float | None = None

    @property
    def quad(self) -> Quad:
        """The square of FFHQ around it."""
        return quad_of_face(*(self.points[name] for name in NAMES if name != "nose"))

    @property
    def size(self) -> float:
        """Side of the quad in pixels."""
        return self.quad.sides[0]

    def check(self) -> None:
        """Raises ImageError for a profile or points in an order that no face has."""
        left, right = (torch.tensor(self.points[name], dtype=torch.float64) for name in ("eye_left", "eye_right"))
        mouth = (torch.tensor(self.points["mouth_left"]) + torch.tensor(self.points["mouth_right"])).double() / 2
        across = right - left
        width = float(across.norm())
        below = float(across[0] * (mouth - left)[1] - across[1] * (mouth - left)[0])
        if width < 1e-6 or below <= 0:
            raise ImageError("the points are no face: the left eye seen on the left, the mouth is not below; check their order")
        if "nose" in self.points:
            along = float((torch.tensor(self.points["nose"], dtype=torch.float64) - left) @ across) / width**2
            if not PROFILE <= along <= 1 - PROFILE:
                raise ImageError("the face is seen from the side (a profile): its nose is not between the eyes; models know frontal ones")


class Detector(Protocol):
    """photo [1, 3, H, W] in [-1, 1] → the faces in it."""

    def __call__(self, photo: Tensor) -> Sequence[Face]: ...


def parse_face(choice: str | int) -> str | int:
    """'largest' or the number of a face, counted from the left. Raises UsageError."""
    text = str(choice)
    if text == "largest":
        return text
    if not text.isdecimal():
        raise UsageError(f"face {choice!r}: largest, or a number from 0, counted from the left, is allowed")
    return int(text)


def choose_face(faces: Sequence[Face], choice: str | int | None = None) -> Face:
    """choice: None = there must be exactly one; 'largest'; or a number, counted from the left. Raises ImageError."""
    if not faces:
        raise ImageError("no face was found; give eye and mouth points in a landmark file, or crop the picture yourself")
    ordered = sorted(faces, key=lambda face: face.points["eye_left"][0])
    if choice is None and len(ordered) > 1:
        places = ", ".join(f"{k} at ({face.points['nose' if 'nose' in face.points else 'eye_left'][0]:.0f}, "
                           f"{face.points['eye_left'][1]:.0f})" for k, face in enumerate(ordered))  # fmt: skip
        raise ImageError(f"{len(ordered)} faces were found: {places}; choose one with --face largest or --face NUMBER")
    chosen = parse_face("largest" if choice is None else choice)
    if chosen == "largest":
        face = max(ordered, key=lambda one: one.size)
    elif int(chosen) >= len(ordered):
        raise ImageError(f"face {chosen}: there are {len(ordered)}, numbered from 0 from the left")
    else:
        face = ordered[int(chosen)]
    face.check()
    return face


def face_of_points(points: Any) -> Face:
    """A dictionary of NAMES (nose may be missing), or 4, 5 or 68 points [x, y] → a face. Raises UsageError.

    4 points: eyes, then the corners of the mouth; 5: with the nose between them, in the order of NAMES; 68: the usual scheme.
    """
    if isinstance(points, Mapping):
        missing = [name for name in NAMES if name not in points and name != "nose"]
        if missing:
            raise UsageError(f"landmarks: {missing[0]} is missing; needed are {', '.join(name for name in NAMES if name != 'nose')}")
        return Face({name: _point(points[name], name) for name in NAMES if name in points})
    if not isinstance(points, Sequence) or isinstance(points, str) or len(points) not in (4, 5, 68):
        count = len(points) if isinstance(points, Sequence) and not isinstance(points, str) else "none"
        raise UsageError(f"landmarks: {count} points; 4 (eyes, mouth corners), 5 (eyes, nose, mouth corners) or 68 are understood")
    if len(points) == 68:
        plain = [_point(point, f"point {k}") for k, point in enumerate(points)]
        left, right = (_mean([plain[k] for k in group]) for group in EYE_POINTS)
        corners = {"mouth_left": plain[MOUTH_POINTS[0]], "mouth_right": plain[MOUTH_POINTS[1]]}
        return Face({"eye_left": left, "eye_right": right, "nose": plain[30], **corners})
    names = [name for name in NAMES if name != "nose" or len(points) == 5]
    return Face({name: _point(point, name) for name, point in zip(names, points)})


def read_landmarks(path: str | os.PathLike[str], *, picture: str | None = None) -> list[Face]:
    """Faces of a JSON or CSV file. Raises UsageError in one line that names the file.

    JSON: one face (see `face_of_points`), a list of faces, or a dictionary from picture names to those. CSV: one face per line, with
    the columns eye_left_x, eye_left_y, …; a column `file` names the picture. picture: which one is meant; None = the only one.
    """
    source = Path(path)
    name = display(source)
    try:
        if source.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{name} is larger than {MAX_FILE_BYTES} bytes; it is no landmark file")
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} cannot be read as a landmark file ({display(error, max_length=100)})") from None
    try:
        return _faces_of_csv(text, picture) if source.suffix.lower() == ".csv" else _faces_of_json(text, picture)
    except (UsageError, ValueError, RecursionError) as error:
        raise UsageError(f"{name}: {display(error, max_length=300)}") from None


def check_inside(face: Face, width: int, height: int) -> None:
    """Raises ImageError when a point lies outside of the picture: the file is of another one, or of another size."""
    for name, (x, y) in face.points.items():
        if not (0 <= x <= width and 0 <= y <= height):
            raise ImageError(f"landmarks: {name} at ({x:g}, {y:g}) lies outside of the picture ({width}×{height}); another size?")


def mtcnn(device: torch.device | str = "cpu") -> Detector:
    """The detector of facenet-pytorch (extra 'face'): five points, its weights come with that package. Raises MissingExtraError."""
    if find_spec("facenet_pytorch") is None:
        raise MissingExtraError("finding faces needs the extra 'face': pip install 'invert-gan[face]'; or give points in a landmark file")
    from facenet_pytorch import MTCNN

    network = MTCNN(keep_all=True, post_process=False, device=device)

    def detect(photo: Tensor) -> Sequence[Face]:
        from stylegan_core.images import to_pil, to_rgb

        _, confidence, points = network.detect(to_pil(to_rgb(photo)), landmarks=True)
        if points is None:
            return []
        return [
            Face({name: (float(x), float(y)) for name, (x, y) in zip(NAMES, five)}, float(sure)) for five, sure in zip(points, confidence)
        ]

    return detect


def _point(value: Any, name: str) -> tuple[float, float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise UsageError(f"landmarks: {name} is no point [x, y]")
    numbers = [float(v) if isinstance(v, (int, float)) and not isinstance(v, bool) else float("nan") for v in value]
    if not all(abs(v) < 1e7 for v in numbers):
        raise UsageError(f"landmarks: {name} is no point [x, y] of finite numbers")
    return numbers[0], numbers[1]


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _faces_of_json(text: str, picture: str | None) -> list[Face]:
    value = json.loads(text)
    if isinstance(value, dict) and not any(name in value for name in NAMES):
        if picture is None and len(value) == 1:
            value = next(iter(value.values()))
        elif picture in value:
            value = value[picture]
        else:
            raise UsageError(f"it has no landmarks of {picture!r}; it has those of {', '.join(map(str, list(value)[:5]))}")
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)) and not _is_point(value[0]):
        return [face_of_points(one) for one in value]
    return [face_of_points(value)]


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)


def _faces_of_csv(text: str, picture: str | None) -> list[Face]:
    rows = list(csv.DictReader(text.splitlines()))
    if rows and "file" in rows[0] and picture is not None:
        rows = [row for row in rows if row["file"] == picture]
    if not rows:
        raise UsageError(f"it has no landmarks{f' of {picture!r}' if picture else ''}")
    faces = []
    for row in rows:
        points = {
            name: [float(row[f"{name}_x"]), float(row[f"{name}_y"])] for name in NAMES if row.get(f"{name}_x") and row.get(f"{name}_y")
        }
        faces.append(face_of_points(points))
    return faces
