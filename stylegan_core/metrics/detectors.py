"""Networks that look at pictures for metrics: the judge, Inception where its weights are to be had, or one of your own.

Only an Inception network's figures are called FID, KID and Inception score; the same formulas in another network's features are
frechet, kernel and class-score, beside that network's name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.errors import CheckpointError, UsageError, WeightsNotFoundError
from stylegan_core.features import Features, load_features
from stylegan_core.files import display
from stylegan_core.images import to_rgb
from stylegan_core.metrics.class_score import joint_probabilities
from stylegan_core.networks.inception import NUM_CLASSES, NUM_FEATURES, Inception2015
from stylegan_core.provenance import file_sha256, model_sha256

INCEPTION = "inception"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256_PREFIX = "6726825d"  # as its name says
INCEPTION_ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"


@dataclass(frozen=True)
class Seen:
    """vectors: [n, D]. classes: [n, K] probabilities or None. logits: [n, A] of the judge's attributes or None."""

    vectors: Tensor
    classes: Tensor | None = None
    logits: Tensor | None = None


@dataclass(frozen=True)
class Detector:
    """look: pictures [n, C, H, W] in [-1, 1] on any device → Seen. sha256: of its weights.

    A network of your own: Detector("mine", "", lambda images: Seen(my_network(images))).
    """

    name: str
    sha256: str
    look: Callable[[Tensor], Seen]
    is_inception: bool = False
    has_classes: bool = False
    judge: Features | None = None  # when its logits are the attributes of this network


def judge_detector(judge: Features) -> Detector:
    """An attribute network: vectors are its pooled ones, classes the joint answers to its yes-or-no attributes."""
    binary = [judge.attribute_names.index(name) for name in judge.binary_names]

    def look(images: Tensor) -> Seen:
        vectors = judge.pooled(images.to(next(judge.parameters()).device))
        logits = judge.network.attributes(vectors)
        return Seen(vectors, joint_probabilities(logits[:, binary].cpu().double().sigmoid()), logits)

    return Detector(judge.name, model_sha256(judge.network), look, has_classes=bool(binary), judge=judge)


def inception_detector(network: nn.Module, sha256: str, name: str = INCEPTION) -> Detector:
    """network: 8-bit values [n, 3, H, W] as floats → (features, logits), as `Inception2015`."""

    def look(images: Tensor) -> Seen:
        features, logits = network(whole_values(images.to(next(network.parameters()).device)))
        return Seen(features, logits.cpu().double().softmax(dim=1))

    return Detector(name, sha256, look, is_inception=True, has_classes=True)


def load_detector(name_or_path: str, *, device: torch.device | str = "cpu", trusted_sha256: str | None = None) -> Detector:
    """An attribute network by name or file; `inception`, or its published weights as a file; or a TorchScript file.

    TorchScript is a program, NVIDIA's detector too, so such a file is run only when trusted_sha256 is its SHA-256. Raises
    WeightsNotFoundError with file and address when weights are not on this machine, UsageError for a script without trust.
    """
    if name_or_path == INCEPTION:
        return inception_of(find_inception(), device)
    path = Path(name_or_path).expanduser()
    if path.is_file() and is_torchscript(path):
        return script_detector(path, device, trusted_sha256)
    if path.is_file() and holds_inception(path):
        return inception_of(path, device)
    return judge_detector(load_features(name_or_path).to(device))


def find_inception() -> Path:
    """The published weights in one of the caches."""
    from stylegan_core.losses.perceptual import trunk_folders

    names = (INCEPTION_FILE, INCEPTION_FILE.removeprefix("weights-"), f"pt_{INCEPTION_FILE.removeprefix('weights-')}")
    for folder in trunk_folders():
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise WeightsNotFoundError(
        f"the Inception weights are not on this machine; download {INCEPTION_ADDRESS} into {display(trunk_folders()[0])}, or "
        "measure frechet, kernel and class-score in the features of portraits-judge or of --detector FILE"
    )


def inception_of(path: Path, device: torch.device | str) -> Detector:
    """The network with the weights of a file; it has the name `inception` when they are the published ones."""
    digest = file_sha256(path)
    network = Inception2015()
    state = read_state(path)
    wanted = network.state_dict()
    for key, value in wanted.items():
        held = state.get(key)
        if held is None and key.endswith("num_batches_tracked"):
            state[key] = value
        elif held is None or held.shape != value.shape:
            raise CheckpointError(f"{display(path)} is not an Inception network of 2015: {key} is missing or has another shape")
    network.load_state_dict({key: state[key] for key in wanted})
    name = INCEPTION if digest.startswith(INCEPTION_SHA256_PREFIX) else f"{INCEPTION} of {display(path.name)}"
    return inception_detector(network.to(device), digest, name)


def holds_inception(path: Path) -> bool:
    """Whether a file that is no native one has the names of this network."""
    from stylegan_core.errors import InvertError

    if path.suffix == ".safetensors":
        return False
    try:
        return "Mixed_7c.branch_pool.conv.weight" in read_state(path)
    except InvertError:
        return False


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch file that holds one state, by the reader that runs nothing of a file."""
    from stylegan_core.checkpoints.contents import open_contents
    from stylegan_core.checkpoints.inert_tree import mapping_of

    contents = open_contents(path)
    entries = mapping_of(contents.tree)
    if entries is None:
        raise CheckpointError(f"{display(path)} holds no state of a network")
    views = {str(key): contents.tensors.view(node) for key, node in entries.items()}
    return {key: view.to_tensor() for key, view in views.items() if view is not None}


def is_torchscript(path: Path) -> bool:
    """A zip archive with a program in it: a folder `code` beside the data."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in f"/{name}" for name in archive.namelist()[:10_000])


def script_detector(path: Path, device: torch.device | str, trusted_sha256: str | None) -> Detector:
    """A detector that NVIDIA's releases and others use: script(images 0 … 255, return_features=True) → [n, D]."""
    digest = file_sha256(path)
    if trusted_sha256 is None or digest != trusted_sha256.lower():
        said = "" if trusted_sha256 is None else f", not {display(trusted_sha256, max_length=80)}"
        raise UsageError(
            f"{display(path)} is a TorchScript program, which runs when it is used; its SHA-256 is {digest}{said}: "
            "give it as --detector-sha256 if you know where the file is from"
        )
    script: Any = torch.jit.load(str(path), map_location=device).eval()

    def look(images: Tensor) -> Seen:
        pictures = whole_values(images).to(device, torch.uint8)
        features = script(pictures, return_features=True)
        return Seen(features, script(pictures, no_output_bias=True) if has_classes else None)

    features, classes = probed(script, device)
    has_classes = classes > 0
    is_inception = (features, classes) == (NUM_FEATURES, NUM_CLASSES)
    name = "inception (NVIDIA's detector)" if is_inception else display(path.stem)
    return Detector(name, digest, look, is_inception, has_classes)


def probed(script: Any, device: torch.device | str) -> tuple[int, int]:
    """(features, classes) of a detector that is shown one grey picture; 0 classes where it does not classify."""
    picture = torch.full([1, 3, 64, 64], 128, dtype=torch.uint8, device=device)
    with torch.no_grad():
        try:
            features = script(picture, return_features=True)
        except (RuntimeError, TypeError) as error:
            first_line = str(error).strip().partition("\n")[0]
            raise UsageError(f"the detector does not take (images, return_features=True): {display(first_line, max_length=120)}") from None
        try:
            classes = script(picture, no_output_bias=True)
        except (RuntimeError, TypeError):
            return int(features.shape[1]), 0
    is_probability = classes.ndim == 2 and bool((classes.sum(dim=1) - 1).abs().max() < 1e-3)
    return int(features.shape[1]), int(classes.shape[1]) if is_probability else 0


def whole_values(images: Tensor) -> Tensor:
    """[n, C, H, W] in [-1, 1] → [n, 3, H, W] with the 8-bit values 0 to 255, as floats."""
    return (to_rgb(images) * 127.5 + 127.5).round().clamp(0, 255)
