"""MoCo v2's ResNet-50 (He et al. 2020) as an embedding: what stands for identity where no face is (e4e Sec. 4.2)."""

from __future__ import annotations

import os

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.base import resized
from encoders.strict import fill, tensors_of, unfilled
from stylegan_core.checkpoints.contents import open_contents
from stylegan_core.checkpoints.inert_tree import mapping_of
from stylegan_core.errors import CheckpointError
from stylegan_core.files import display
from stylegan_core.images import to_rgb

SIDE = 224
PREFIX = "module.encoder_q."
PROJECTION = "fc."


class MoCo(nn.Module):
    """images [N, C, H, W] in [-1, 1] → unit vectors [N, 2048] before the projection."""

    def __init__(self, name: str = "moco"):
        super().__init__()
        from torchvision.models import resnet50

        self.name = name
        self.network = resnet50()
        self.network.fc = nn.Identity()

    def embed(self, images: Tensor) -> Tensor:
        """See above."""
        return F.normalize(self.network(resized(to_rgb(images), (SIDE, SIDE))), dim=1)


def load_moco(path: str | os.PathLike[str]) -> MoCo:
    """moco_v2_800ep_pretrain.pt, frozen, in eval mode, on the CPU; nothing in the file is executed. Raises CheckpointError."""
    try:
        contents = open_contents(path)
        entries = mapping_of(contents.tree) or {}
        state = mapping_of(entries.get("state_dict"))
        if state is None or not any(str(name).startswith(PREFIX) for name in state):
            raise CheckpointError(f"holds no {PREFIX}* under state_dict, so it is not a MoCo file")
        query = {name: value for name, value in state.items() if str(name).startswith(PREFIX)}
        kept = {name.removeprefix(PREFIX.removeprefix("module.")): view for name, view in tensors_of(contents, query, "state_dict").items()}
        views = {name: view for name, view in kept.items() if not name.startswith(PROJECTION)}
        network = unfilled(MoCo, sum(view.numel for view in views.values()))
        fill(network.network, views, contents.size, prefix=PREFIX)
    except CheckpointError as error:
        known = str(error).removeprefix(f"{display(path)}: ")
        raise type(error)(f"{display(path)}: {known}") from None
    network.name = os.path.basename(os.fspath(path))
    return network.eval().requires_grad_(False)


