"""Projecting batches of pictures on one device: load, project, save, render from the saved file, compare, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from invert.jobs import ABORTING, JobOptions, Task, is_inversion_done, project_record
from invert.loaded import LoadedModel
from invert.rendering import metadata_of, render_file
from invert.reports import jsonable
from invert.video import Recorder, save_video
from stylegan_core import images
from stylegan_core.errors import InvertError
from stylegan_core.files import display
from stylegan_core.metrics.reconstruction import psnr, ssim
from stylegan_core.provenance import version
from stylegan_core.runtime import device_name
from stylegan_core.sheet import compare

if TYPE_CHECKING:
    from stylegan_core.inversion import Inversion
    from stylegan_core.progress import StepInfo


@dataclass(frozen=True)
class Step:
    """Progress of a batch, small enough to send between processes. keys: its inputs. psnr: mean in dB or None."""

    keys: tuple[str, ...]
    step: int
    num_steps: int
    psnr: float | None
    seconds: float


@dataclass(frozen=True)
class Subject:
    """A picture ready to be projected. target: [1, C, R, R]; mask: [1, 1, R, R] or None."""

    task: Task
    target: Tensor
    geometry: dict[str, Any]
    mask: Tensor | None


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Runs the body with this many threads; None = as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Worker:
    """Projects batches with one model on one device and tells what happens through its two callbacks."""

    model: LoadedModel
    options: JobOptions
    device: torch.device
    on_step: Callable[[Step], None]
    on_record: Callable[[str, dict[str, Any]], None]
    with_metadata: bool = True
    threads: int | None = None  # of the optimisation; None = as it is
    render_threads: int | None = None  # of the final rendering, where the same number gives the same pixels; None = as it is

    def run(self, batches: Sequence[Sequence[Task]]) -> None:
        """Every task ends in exactly one record. What is wrong with one picture does not touch the others."""
        for batch in batches:
            subjects = [subject for task in batch if (subject := self._load(task)) is not None]
            fresh = [subject for subject in subjects if not self._is_projected(subject.task)]
            with cpu_threads(self.threads):
                failed = self._project_within_memory(fresh)
            with cpu_threads(self.render_threads):
                for subject in subjects:
                    if subject.task.key not in failed:
                        self._finish(subject)

    def _is_projected(self, task: Task) -> bool:
        has_video = task.outputs.video is None or task.outputs.video.exists()
        return has_video and is_inversion_done(task, self.model.sha256)

    def _load(self, task: Task) -> Subject | None:
        try:
            target, geometry, mask = self.options.read(task.source, self.model.generator)
            return Subject(task, target, geometry, mask)
        except InvertError as error:
            self.on_record(task.key, self._record(task, error=error))
            return None

    def _project_within_memory(self, subjects: Sequence[Subject]) -> set[str]:
        """Projects; halves a batch that the device cannot hold and separates pictures when one of them fails.

        Returns the keys of what failed; their records are out.
        """
        if not subjects:
            return set()
        try:
            self._project(subjects)
            return set()
        except ABORTING:
            raise
        except (InvertError, torch.cuda.OutOfMemoryError, MemoryError) as error:
            if len(subjects) > 1:
                half = (len(subjects) + 1) // 2
                return self._project_within_memory(subjects[:half]) | self._project_within_memory(subjects[half:])
            self.on_record(subjects[0].task.key, self._record(subjects[0].task, error=error))
            return {subjects[0].task.key}

    def _project(self, subjects: Sequence[Subject]) -> None:
        """Projects one batch and saves its inversions."""
        started = time.monotonic()
        targets = torch.cat([subject.target for subject in subjects]).to(self.device)
        mask = None
        if any(subject.mask is not None for subject in subjects):
            everywhere = torch.ones_like(targets[:1, :1]).cpu()
            mask = torch.cat([everywhere if subject.mask is None else subject.mask for subject in subjects]).to(self.device)
        recorder = Recorder(targets) if any(subject.task.outputs.video for subject in subjects) else None
        keys = tuple(subject.task.key for subject in subjects)

        def callback(info: StepInfo) -> None:
            if recorder is not None:
                recorder(info)
            mean = None if info.psnr is None else float(info.psnr.mean())
            self.on_step(Step(keys, info.step, info.num_steps, mean, time.monotonic() - started))

        sources = [subject.task.source for subject in subjects]
        inversion = self.options.run(targets, self.model.generator, mask=mask, callback=callback, sources=sources)
        seconds = (time.monotonic() - started) / len(subjects)
        for i, subject in enumerate(subjects):
            if recorder is not None and subject.task.outputs.video is not None:
                save_video(recorder.frames[i], subject.task.outputs.video)
            self._save(subject, inversion[i], seconds)

    def _save(self, subject: Subject, inversion: Inversion, seconds: float) -> None:
        facts = {
            **inversion.metadata,
            "input": display(subject.task.source.name),
            "input_sha256": subject.task.sha256,
            "options": self.options.hashed(subject.task.source),
            "options_sha256": subject.task.options_sha256,
            "model": self.model.name,
            "model_sha256": self.model.sha256,
            "model_file_sha256": self.model.file_sha256,
            "seconds": round(seconds, 3),
            "device": device_name(self.device),
            "version": version(),
        }
        replace(inversion, geometry=subject.geometry, metadata=jsonable(facts)).save(subject.task.outputs.inversion)

    def _finish(self, subject: Subject) -> None:
        """The picture and the comparison from the saved file, and the record."""
        task, generator = subject.task, self.model.generator
        try:
            image, inversion = render_file(task.outputs.inversion, self.model)
            facts = inversion.metadata
            metadata = metadata_of(inversion) if self.with_metadata else None
            images.save_image(images.picture_proper(image, generator), task.outputs.render, metadata=metadata)
            saved = images.from_u8(images.to_u8(image))
            target = images.from_u8(images.to_u8(subject.target))
            images.save_image(compare(target, saved, subject.mask), task.outputs.compare, metadata=metadata)
            want, got = (images.to_u8(images.picture_proper(images.to_rgb(x), generator)) for x in (target, saved))
            mask = None if subject.mask is None else images.picture_proper(subject.mask, generator)
            self.on_record(task.key, self._record(task, facts=facts, psnr=psnr(want, got, mask), ssim=ssim(want, got, mask)))
        except InvertError as error:
            self.on_record(task.key, self._record(task, error=error))

    def _record(self, task: Task, *, facts: dict[str, Any] | None = None, psnr: Tensor | None = None,
                ssim: Tensor | None = None,
                error: BaseException | None = None) -> dict[str, Any]:  # fmt: skip
        return project_record(
            task.key, self.options, self.model, task=task, facts=facts, error=error,
            psnr=None if psnr is None else round(psnr.item(), 4), ssim=None if ssim is None else round(ssim.item(), 6),
        )  # fmt: skip
