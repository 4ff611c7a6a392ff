"""pSp (Richardson et al. 2021) and single-layer encoders: pictures → offsets of rows of W+, or of w, from the average."""

from __future__ import annotations

from torch import Tensor, nn

from encoders.backbones.build import build_backbone
from encoders.configs import EncoderConfig
from encoders.heads import COARSE, GridHead, PooledHead, RowHeads, stacked


class PSP(nn.Module):
    """images [N, in_channels, H, W] → offsets [N, num_ws, w_dim]: one head per row (pSp Sec. 3)."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        self.head = RowHeads(config)

    def forward(self, images: Tensor) -> Tensor:
        return stacked(self.head(self.backbone(images, self.head.strides)))


class GridPSP(nn.Module):
    """images → offsets [N, num_ws, w_dim] from the coarsest map by one layer: pSp's baseline (pSp Sec. 4.1)."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        self.head = GridHead(config.backbone.channels(COARSE), config.w_dim, config.num_ws)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[COARSE])


class WEncoder(nn.Module):
    """images → offset [N, 1, w_dim] of w."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        self.head = PooledHead(config.backbone.channels(COARSE), config.w_dim)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[COARSE])[:, None]
