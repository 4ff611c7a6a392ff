"""ArcFace (Deng et al. 2019) with an IR-SE backbone, as the published encoders use it for the identity of faces."""

from __future__ import annotations

import os
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.backbones.ir_se import IRBackbone
from encoders.base import resized
from encoders.configs import BACKBONES
from encoders.heads import COARSE
from encoders.strict import fill, tensors_of, unfilled
from stylegan_core.checkpoints.contents import open_contents
from stylegan_core.errors import CheckpointError
from stylegan_core.files import display
from stylegan_core.images import to_rgb

SIDE = 112                        # of the picture that the network sees
FRAME = 256                       # side of an aligned portrait, in which FACE lies
FACE = (35, 223, 32, 220)         # top, bottom, left, right (pSp App. A)
EMBED_DIM = 512


class ArcFace(nn.Module):
    """images → unit vectors [N, 512]. `forward` takes faces of 112 px, `embed` aligned portraits of any size."""

    def __init__(self, backbone: str = "ir-se-50", name: str = "arcface"):
        super().__init__()
        self.name = name
        config = replace(BACKBONES[backbone], in_channels=3)
        channels = config.channels(COARSE)
        self.backbone = IRBackbone(config)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels), nn.Dropout(0.4), nn.Flatten(), nn.Linear(channels * (SIDE // COARSE) ** 2, EMBED_DIM),
            nn.BatchNorm1d(EMBED_DIM))

    def forward(self, faces: Tensor) -> Tensor:
        return F.normalize(self.output_layer(self.backbone(faces)[COARSE]), dim=1)

    def embed(self, images: Tensor) -> Tensor:
        """images: [N, C, H, W] in [-1, 1], aligned as FFHQ is."""
        top, bottom, left, right = FACE
        portrait = resized(to_rgb(images), (FRAME, FRAME))
        return self(F.adaptive_avg_pool2d(portrait[:, :, top:bottom, left:right], SIDE))


def load_arcface(path: str | os.PathLike[str]) -> ArcFace:
    """model_ir_se50.pth, frozen, in eval mode, on the CPU; nothing in the file is executed. Raises CheckpointError."""
    try:
        contents = open_contents(path)
        views = tensors_of(contents, contents.tree, "the file")
        network = unfilled(ArcFace, sum(view.numel for view in views.values()))
        fill(network, views, contents.size, ours=lambda name: name if name.startswith("output_layer") else f"backbone.{name}")
    except CheckpointError as error:
        known = str(error).removeprefix(f"{display(path)}: ")
        raise type(error)(f"{display(path)}: {known}") from None
    network.name = os.path.basename(os.fspath(path))
    return network.eval().requires_grad_(False)
