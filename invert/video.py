"""Moving pictures: GIF and WebP with Pillow, mp4 with the extra 'video' (PyAV)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan_core.errors import MissingExtraError, UsageError
from stylegan_core.files import atomic_write, display

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from stylegan_core.progress import StepInfo

SUFFIXES = (".gif", ".webp", ".mp4")
MAX_FRAMES = 240
HOLD_SECONDS = 1.0  # the last frame stays this long


def check_video(path: Path) -> None:
    """Before the work: UsageError for another suffix, MissingExtraError when mp4 cannot be written here."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"--video {display(path)}: {', '.join(SUFFIXES)} are allowed")
    if suffix == ".mp4" and find_spec("av") is None:
        raise MissingExtraError(
            f"--video {display(path)}: mp4 needs the extra 'video': pip install 'invert-gan[video]'; .gif and .webp work without"
        )


def save_video(
    frames: Sequence[np.ndarray], path: Path, *, fps: int = 20, note: str | None = None, is_held: bool = True
) -> None:
    """frames: [H, W, 3] uint8 of one size. Whole or not at all; the last frame is held for a second unless is_held is False.

    note: how it was made, kept as the file's comment; None = nothing.
    """
    check_video(path)
    if not frames:
        raise UsageError(f"no frames for {display(path)}: nothing was rendered")
    held = [*frames, *[frames[-1]] * round(HOLD_SECONDS * fps)] if is_held else list(frames)
    with atomic_write(path) as temporary:
        if path.suffix.lower() == ".mp4":
            _write_mp4(held, temporary, fps, note)
        else:
            _write_with_pillow(frames, temporary, path.suffix.lower(), fps, note, is_held=is_held)


class Recorder:
    """A callback that keeps what an optimisation looks like: target beside render, at most MAX_FRAMES per image."""

    def __init__(self, targets: Tensor):
        self.targets = targets
        self.frames: list[list[np.ndarray]] = [[] for _ in range(targets.shape[0])]
        self._every = 1
        self._last_step = 0

    def __call__(self, info: StepInfo) -> None:
        """Adds a frame for every image of the batch where this step is due."""
        if info.images is None or (info.step % self._every and info.step != info.num_steps):
            return
        for frames, target, image in zip(self.frames, self.targets, info.images):
            frames.append(_frame(target, image))
        if len(self.frames[0]) > MAX_FRAMES:  # keep every other one and slow down
            self.frames = [frames[::2] for frames in self.frames]
            self._every *= 2


def _frame(target: Tensor, image: Tensor) -> np.ndarray:
    import torch

    from stylegan_core.images import to_rgb, to_u8
    from stylegan_core.sheet import grid, magnify

    pair = torch.cat([to_rgb(target[None].float().cpu()), to_rgb(image[None].detach().float().cpu())])
    return to_u8(grid(magnify(pair), columns=2))[0].numpy()


def _write_with_pillow(
    frames: Sequence[np.ndarray], path: Path, suffix: str, fps: int, note: str | None = None, *, is_held: bool = True
) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    times = [round(1000 / fps)] * (len(frames) - 1) + [round(1000 * (HOLD_SECONDS if is_held else 1 / fps))]
    options: dict[str, Any] = {"quality": 90, "method": 4} if suffix == ".webp" else {"optimize": False}
    if note is not None:
        options |= {"xmp": note.encode()} if suffix == ".webp" else {"comment": note.encode()}
    pictures[0].save(path, format=suffix[1:].upper(), save_all=True, append_images=pictures[1:], duration=times, loop=0, **options)


def _write_mp4(frames: Sequence[np.ndarray], path: Path, fps: int, note: str | None = None) -> None:
    import av
    import numpy as np

    height, width = frames[0].shape[:2]
    even = ((0, height % 2), (0, width % 2), (0, 0))  # the pixel format halves colour: sides must be even
    with av.open(str(path), "w", format="mp4") as container:
        if note is not None:
            container.metadata["comment"] = note
        stream = container.add_stream("libx264", rate=fps, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.pad(frame, even, mode="edge"), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
