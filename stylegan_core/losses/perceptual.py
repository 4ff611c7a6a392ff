"""Perceptual distances: LPIPS by the `lpips` package, the bundled features, or any features of one's own.

Every distance here is a squared Euclidean distance between feature maps, so that target features are computed once and
Gauss–Newton can take the maps as residuals. LPIPS (LPIPS Eq. 1) has that form: sqrt(lin weight / pixels) scales the
unit-normalised activations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan_core.checkpoints.catalog import cache_folder
from stylegan_core.checkpoints.contents import open_contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.errors import CheckpointError, UsageError, WeightsNotFoundError
from stylegan_core.files import display
from stylegan_core.images import to_rgb
from stylegan_core.losses.pixel import check_target
from stylegan_core.provenance import file_sha256

UNIT_EPS = 1e-10
DISTANCES = ("vgg", "alex", "squeeze", "features", "none")


class FeatureDistance(Protocol):
    """‖features(a) - features(b)‖², one value per image."""

    name: str

    def features(self, images: Tensor) -> list[Tensor]:
        """images: [N, C, H, W] in [-1, 1] → maps [N, …], already scaled."""
        ...


@dataclass(frozen=True)
class Trunk:
    """Published weights of a classifier; the name of the file holds the first digits of its SHA-256."""

    file: str
    sha256_prefix: str
    address: str
    smallest_side: int  # below this the pooling layers have nothing left


_ADDRESS = "https://download.pytorch.org/models/"
TRUNKS: Mapping[str, Trunk] = {
    "vgg": Trunk("vgg16-397923af.pth", "397923af", f"{_ADDRESS}vgg16-397923af.pth", 16),
    "alex": Trunk("alexnet-owt-7be5be79.pth", "7be5be79", f"{_ADDRESS}alexnet-owt-7be5be79.pth", 31),
    "squeeze": Trunk("squeezenet1_1-b8a52dc0.pth", "b8a52dc0", f"{_ADDRESS}squeezenet1_1-b8a52dc0.pth", 17),
}


class LPIPS(nn.Module):
    """LPIPS v0.1 (LPIPS Sec. 3, "lin"), as scaled feature maps. Grey pictures are repeated, RGBA is put on white."""

    def __init__(self, name: str, network: Any):
        """network: an lpips.LPIPS whose trunk and lin layers are loaded; use `load_lpips`."""
        super().__init__()
        self.name = name
        self.smallest_side = TRUNKS[name].smallest_side
        self.network = network.eval().requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """images: [N, 1, 3 or 4, H, W] in [-1, 1] → one map [N, channels, h, w] per depth."""
        x = to_rgb(images)
        side = min(x.shape[2:])
        if side < self.smallest_side:
            x = F.interpolate(x, scale_factor=-(-self.smallest_side // side), mode="bilinear", align_corners=False)
        maps = []
        for activation, lin in zip(self.network.net(self.network.scaling_layer(x)), self.network.lins):
            weight = lin.model[-1].weight.clamp_min(0)  # [1, channels, 1, 1]; training kept them positive
            scale = (weight / (activation.shape[2] * activation.shape[3])).sqrt()
            maps.append(unit_normalised(activation) * scale)
        return maps


class OwnFeatures:
    """Any function images [N, C, H, W] → [N, …] as a distance."""

    def __init__(self, name: str, function: Callable[[Tensor], Tensor | Sequence[Tensor]]):
        self.name = name
        self.function = function

    def features(self, images: Tensor) -> list[Tensor]:
        """What the function gives, as a list."""
        value = self.function(images)
        return [value] if isinstance(value, Tensor) else list(value)


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Sum of squared differences of two lists of maps, [N]."""
    return torch.stack([(x - y).square().flatten(1).sum(dim=1) for x, y in zip(a, b, strict=True)]).sum(dim=0)


def distance_to(
    measure: FeatureDistance, target: Tensor, mask: Tensor | None = None, *, largest_side: int | None = None
) -> Callable[[Tensor], Tensor]:
    """images → [N], with the target's features computed once and kept.

    target: [N, C, H, W] in [-1, 1], checked. mask: [N, 1, H, W]; outside it the target replaces the picture, so nothing
    there counts. largest_side: larger pictures are first shrunk to it by area (SG2 App. D); None = as they are.
    """
    check_target(target, mask)
    with torch.no_grad():
        kept = measure.features(shrink(target, largest_side))

    def measured(images: Tensor) -> Tensor:
        if mask is not None:
            images = images * mask + target * (1 - mask)
        return distance(measure.features(shrink(images, largest_side)), kept)

    return measured


def shrink(images: Tensor, largest_side: int | None) -> Tensor:
    """Pictures larger than this are resampled to it by area."""
    side = max(images.shape[2:])
    if largest_side is None or side <= largest_side:
        return images
    height, width = (max(1, round(size * largest_side / side)) for size in images.shape[2:])
    return F.interpolate(images, size=(height, width), mode="area")


def unit_normalised(activation: Tensor) -> Tensor:
    """[N, C, h, w] scaled to length 1 over the channels (LPIPS Sec. 3); zeros stay 0, with a finite gradient."""
    length = (activation.square().sum(dim=1, keepdim=True) + UNIT_EPS**2).sqrt()
    return activation / (length + UNIT_EPS)


def load_lpips(name: str, *, trunk: Trunk | None = None) -> LPIPS:
    """name: vgg, alex or squeeze. The trunk is looked for where torchvision and we keep weights, and verified.

    trunk: None = the published one. Raises WeightsNotFoundError with file, address and alternatives; CheckpointError
    for a file that is not the published one.
    """
    if name not in TRUNKS:
        raise UsageError(f"perceptual {name!r}: one of {', '.join(DISTANCES)} is allowed")
    trunk = trunk or TRUNKS[name]
    path = find_trunk(trunk)
    digest = file_sha256(path)
    if not digest.startswith(trunk.sha256_prefix):
        raise CheckpointError(
            f"{display(path)} has the SHA-256 {digest[:16]}…, not {trunk.sha256_prefix}…; "
            f"delete it and fetch {trunk.address} again"
        )
    return LPIPS(name, with_trunk(empty_lpips(name), read_trunk(path)))


def find_trunk(trunk: Trunk) -> Path:
    """The first of the caches that has the file."""
    folders = trunk_folders()
    for folder in folders:
        if (folder / trunk.file).is_file():
            return folder / trunk.file
    raise WeightsNotFoundError(
        f"{trunk.file} is not on this machine; download {trunk.address} into {display(folders[0])}, "
        "or use --perceptual features (bundled with the package) or --perceptual none (pixels only)"
    )


def trunk_folders() -> list[Path]:
    """This toolkit's cache (INVERT_CACHE, or the system's), then torch's own (TORCH_HOME)."""
    torch_home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return [cache_folder(), Path(torch_home).expanduser() / "hub" / "checkpoints"]


def empty_lpips(name: str) -> Any:
    """An lpips.LPIPS with its trained lin layers, which its package ships, and a random trunk; without network."""
    import contextlib
    import io
    import warnings

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import lpips

        return lpips.LPIPS(net=name, pretrained=True, pnet_rand=True, verbose=False)


def with_trunk(network: Any, state: Mapping[str, Tensor]) -> Any:
    """state: torchvision's names ('features.0.weight'), all of the trunk's; else CheckpointError."""
    own = network.net.state_dict()
    loaded = {}
    for key, value in own.items():
        source = "features." + key.split(".", 1)[1]  # slice2.3.weight ← features.3.weight
        if source not in state:
            raise CheckpointError(f"the weights of the perceptual trunk lack {source}")
        if state[source].shape != value.shape:
            raise CheckpointError(
                f"{source} of the perceptual trunk: shape {tuple(state[source].shape)}, not {tuple(value.shape)}"
            )
        loaded[key] = state[source]
    network.net.load_state_dict(loaded)
    return network


def read_trunk(path: Path) -> dict[str, Tensor]:
    """The convolutions ('features.*') of a torchvision classifier, by the reader that runs nothing of a file."""
    contents = open_contents(path)
    entries = mapping_of(contents.tree)
    if entries is None:
        raise CheckpointError(f"{display(path)} holds no state of a network")
    views = {key: contents.tensors.view(node) for key, node in entries.items() if str(key).startswith("features.")}
    return {key: view.to_tensor() for key, view in views.items() if view is not None}
