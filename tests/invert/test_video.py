"""Moving pictures: frames, sizes, the extra that mp4 needs."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from invert.video import MAX_FRAMES, Recorder, check_video, save_video
from stylegan_core.errors import MissingExtraError, UsageError
from stylegan_core.progress import StepInfo


def _frames(count: int) -> list[np.ndarray]:
    return [np.full((33, 47, 3), 20 * i, np.uint8) for i in range(count)]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_pillow_formats(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    save_video(_frames(5), path)
    with Image.open(path) as video:
        assert video.n_frames == 5 and video.size == (47, 33)
        video.seek(4)
        assert abs(int(np.asarray(video.convert("RGB")).mean()) - 80) < 6
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(find_spec("av") is None, reason="the extra 'video' is not installed")
def test_mp4(tmp_path):
    import av

    save_video(_frames(5), tmp_path / "v.mp4", fps=10)
    with av.open(str(tmp_path / "v.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 15 and (frames[0].width, frames[0].height) == (48, 34)


def test_what_cannot_be(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"walk.avi"):
        check_video(tmp_path / "walk.avi")
    monkeypatch.setattr("invert.video.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"invert-gan\[video\]"):
        check_video(tmp_path / "walk.mp4")
    with pytest.raises(UsageError, match="no frames"):
        save_video([], tmp_path / "walk.gif")


def test_a_recorder_thins_long_runs_out():
    targets = torch.zeros(2, 1, 16, 16)
    recorder = Recorder(targets)
    steps = 2 * MAX_FRAMES + 30
    for step in range(1, steps + 1):
        recorder(StepInfo(step, steps, torch.zeros(2), images=torch.ones(2, 1, 16, 16)))
    recorder(StepInfo(steps, steps, torch.zeros(2), images=None))
    assert MAX_FRAMES / 4 < len(recorder.frames[0]) == len(recorder.frames[1]) <= MAX_FRAMES + 1
    frame = recorder.frames[1][0]
    assert frame.shape == (264, 524, 3) and frame[100, 100].tolist() == [128] * 3 and frame[100, 400].tolist() == [255] * 3
