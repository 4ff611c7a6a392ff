"""Directions from words, by a CLIP that the user brings: global directions in s (StyleCLIP, Patashnik et al. 2021, Sec. 6).

A channel of s is relevant as far as moving it moves the picture's embedding along the difference of two texts. Weights of CLIP
are not bundled and never fetched: `load_clip` reads a file, through the extra 'text' (open_clip).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from invert.editing.direction import Direction
from invert.editing.labels import Counting
from invert.editing.stylespace import style_batches, style_statistics
from invert.editing.units import with_unit
from stylegan_core.errors import MissingExtraError, UsageError, WeightsNotFoundError
from stylegan_core.files import display
from stylegan_core.generator import Generator
from stylegan_core.images import to_rgb
from stylegan_core.latent import LatentSpace
from stylegan_core.provenance import model_sha256

TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "a drawing of {}", "a close-up of {}")
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipLike(Protocol):
    """What embeds pictures and texts in one space."""

    def encode_pictures(self, images: Tensor) -> Tensor:
        """images: [N, 3, H, W] in [-1, 1] → [N, D]; differentiable."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """→ [T, D]."""
        ...


@dataclass(frozen=True)
class TextDriven:
    """text: what to move towards; neutral: from what. clip: a `ClipLike`, or a file of weights for `load_clip`.

    threshold: share of the largest relevance below which a channel stays (StyleCLIP's β, relative). num_samples: pictures over
    which relevance is averaged.
    """

    text: str
    neutral: str = "a face"
    clip: ClipLike | str | os.PathLike[str] | None = None
    architecture: str = "ViT-B-32"
    threshold: float = 0.2
    num_samples: int = 64
    seed: int = 0

    def find(self, generator: Generator, *, callback: Counting | None = None) -> list[Direction]:
        """One direction in s, named by the text. Raises UsageError, MissingExtraError, WeightsNotFoundError."""
        if not self.text.strip() or not 0 <= self.threshold < 1 or self.num_samples < 2:
            raise UsageError(f"text {self.text!r} is needed, threshold {self.threshold} in [0, 1), num_samples {self.num_samples} from 2")
        clip = self._clip(generator)
        with torch.no_grad():
            goal = text_difference(clip, self.text, self.neutral).to(generator.w_avg)
        _, spread = style_statistics(generator, seed=self.seed)
        relevance = torch.zeros_like(spread)
        for styles, done in style_batches(generator, self.num_samples, self.seed):
            seen = normalize(clip.encode_pictures(to_rgb(generator.synthesis.render(styles).clamp(-1, 1))), dim=1)
            (slope,) = torch.autograd.grad((seen * goal).sum(), styles)
            relevance += slope.sum(dim=0).cpu() * spread / self.num_samples
            if callback is not None and callback(done, self.num_samples) is False:
                break
        kept = relevance.abs() >= self.threshold * relevance.abs().max()
        vector = torch.where(kept, relevance, torch.zeros_like(relevance)) * spread
        if not bool(vector.any()):
            raise UsageError(f"text {self.text!r}: no channel of this model moves towards it; try other words")
        notes = {"method": "text", "text": self.text, "neutral": self.neutral, "threshold": self.threshold, "samples": self.num_samples,
                 "seed": self.seed, "figures": {"channels": int(kept.sum())}}  # fmt: skip
        sha256 = model_sha256(generator)  # type: ignore[arg-type]
        return [with_unit(Direction(self.text, LatentSpace.S, vector, model_sha256=sha256, provenance=notes), generator, seed=self.seed)]

    def _clip(self, generator: Generator) -> ClipLike:
        if self.clip is None:
            raise UsageError("method text: give a file of CLIP weights (--clip FILE); none are bundled and none are fetched")
        if isinstance(self.clip, (str, os.PathLike)):
            return load_clip(self.clip, self.architecture, device=generator.w_avg.device)
        return self.clip


def text_difference(clip: ClipLike, text: str, neutral: str) -> Tensor:
    """[D] of length 1: mean embedding of the text in several sentences, less that of the neutral one (StyleCLIP Sec. 6.1)."""
    both = [
        normalize(clip.encode_texts([template.format(words) for template in TEMPLATES]), dim=1).mean(dim=0) for words in (text, neutral)
    ]
    difference = normalize(both[0], dim=0) - normalize(both[1], dim=0)
    if not float(difference.norm()) > 1e-6:
        raise UsageError(f"texts {text!r} and {neutral!r} mean the same to this CLIP; choose another neutral text")
    return normalize(difference, dim=0)


@dataclass(frozen=True)
class OpenClip:
    """open_clip's model and tokenizer as a `ClipLike`."""

    model: Any
    tokenizer: Any
    size: int

    def encode_pictures(self, images: Tensor) -> Tensor:
        x = interpolate(images, size=(self.size, self.size), mode="bicubic", align_corners=False, antialias=True)
        mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        return self.model.encode_image(((x + 1) / 2 - mean) / std)  # type: ignore[no-any-return]

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(texts))
        return self.model.encode_text(tokens.to(next(self.model.parameters()).device))  # type: ignore[no-any-return]


def load_clip(weights: str | os.PathLike[str], architecture: str = "ViT-B-32", *, device: torch.device | str = "cpu") -> OpenClip:
    """A CLIP of the user's through open_clip, its weights read by this project's own reader: safetensors or a state dict in .pt.

    Raises MissingExtraError without the extra 'text', WeightsNotFoundError, UsageError for weights of another architecture.
    """
    from invert.editing.arrays import read_arrays

    if not Path(weights).is_file():
        raise WeightsNotFoundError(f"--clip {display(weights)}: no such file; give weights of {architecture}, .safetensors or .pt")
    if find_spec("open_clip") is None:
        raise MissingExtraError("directions from text need the extra 'text': pip install 'invert-gan[text]'")
    import open_clip

    if architecture not in open_clip.list_models():
        raise UsageError(f"architecture {architecture!r}: open_clip knows {', '.join(open_clip.list_models()[:8])}, …")
    model = open_clip.create_model(architecture, pretrained=None)
    state = {name.removeprefix("module."): torch.from_numpy(value) for name, value in read_arrays(weights).items()}
    missing = [name for name, value in model.state_dict().items() if name not in state or state[name].shape != value.shape]
    if missing:
        raise UsageError(f"--clip {display(weights)}: {missing[0]} of {architecture} is missing or of another shape; name its architecture")
    model.load_state_dict(state, strict=False)
    size = model.visual.image_size
    model = model.requires_grad_(False).to(device).eval()
    return OpenClip(model, open_clip.get_tokenizer(architecture), size[0] if isinstance(size, tuple) else int(size))
