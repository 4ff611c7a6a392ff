"""Losses and scores of a run for TensorBoard, beside the log of lines that is always written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stylegan_core.errors import MissingExtraError
from stylegan_core.progress import StepInfo


class TensorBoardLog:
    """A callback that writes the mean of every measured value. Raises MissingExtraError where tensorboard is not installed.

    images_at: step → images shown until then, which is the axis of the curves.
    """

    def __init__(self, folder: Path, images_at: Callable[[int], int]):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("--tensorboard needs the package tensorboard: pip install 'invert-gan[train]'") from None
        self._writer, self._images_at = SummaryWriter(str(folder)), images_at

    def __call__(self, info: StepInfo) -> None:
        for name, value in info.parts.items():
            self._writer.add_scalar(f"train/{name}", value.float().mean().item(), self._images_at(info.step), new_style=True)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()
