"""e4e (Tov et al. 2021): one w for all rows, and small deltas of the rows, which are switched on one after another."""

from __future__ import annotations

from torch import Tensor, nn

from encoders.backbones.build import build_backbone
from encoders.configs import EncoderConfig
from encoders.heads import RowHeads, stacked


class E4E(nn.Module):
    """images [N, in_channels, H, W] → offsets [N, num_ws, w_dim]: w + delta_i, with delta_0 = 0 (e4e Sec. 4.1).

    stage: how many rows have a delta; 0 = the rows are equal, num_ws - 1 = all have one (e4e Sec. 4.2, progressive training).
    """

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.num_ws = config.num_ws
        self.stage = config.num_ws - 1
        self.backbone = build_backbone(config.backbone)
        self.head = RowHeads(config)

    def forward(self, images: Tensor) -> Tensor:
        count = min(self.stage, self.num_ws - 1) + 1
        base, *deltas = self.head(self.backbone(images, self.head.strides), count)
        return stacked([base, *(base + delta for delta in deltas), *([base] * (self.num_ws - count))])
