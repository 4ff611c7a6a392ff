"""The mapping network: z and a label to w (SG Sec. 2; labels as in SG2-ADA), with the running mean of w for truncation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stylegan_core.errors import LatentError
from stylegan_core.networks.layers import FullyConnectedLayer, normalize_2nd_moment


class MappingNetwork(nn.Module):
    """z: [N, z_dim], c: [N, c_dim] → ws: [N, num_ws, w_dim], or w: [N, w_dim] when num_ws is None."""

    w_avg: Tensor
    fc0: FullyConnectedLayer

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int | None, *, num_layers: int = 8,
                 embed_features: int | None = None,   # None = w_dim
                 layer_features: int | None = None,   # None = w_dim
                 activation: str = "lrelu", lr_multiplier: float = 0.01,
                 w_avg_beta: float | None = 0.998,    # None = no w_avg
                 joint_norm: bool = False):           # normalise z and the embedded label as one vector; False = each by itself
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.num_layers, self.w_avg_beta, self.joint_norm = num_layers, w_avg_beta, joint_norm
        embed_features = (w_dim if embed_features is None else embed_features) if c_dim > 0 else 0
        hidden = w_dim if layer_features is None else layer_features
        widths = [z_dim + embed_features] + [hidden] * (num_layers - 1) + [w_dim]
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embed_features)
        for i in range(num_layers):
            layer = FullyConnectedLayer(widths[i], widths[i + 1], activation=activation, lr_multiplier=lr_multiplier)
            setattr(self, f"fc{i}", layer)
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def to_w(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        """w: [N, w_dim], before truncation. Raises LatentError when z or c do not fit this network."""
        parts = []
        if self.z_dim > 0:
            if z is None or z.ndim != 2 or z.shape[1] != self.z_dim:
                raise LatentError(f"z has the shape {None if z is None else tuple(z.shape)}; this network takes [N, {self.z_dim}]")
            parts.append(z.to(self.fc0.weight.dtype if self.num_layers else getattr(self, "w_avg", z).dtype))
        if self.c_dim > 0:
            if c is None or c.ndim != 2 or c.shape[1] != self.c_dim:
                given = "none was given" if c is None else f"its shape is {tuple(c.shape)}"
                raise LatentError(f"this network is conditional and needs a label c [N, {self.c_dim}]; {given} (command line: --class)")
            parts.append(self.embed(c.to(self.embed.weight.dtype)))
        if self.joint_norm:
            x = normalize_2nd_moment(torch.cat(parts, dim=1))
        else:
            x = torch.cat([normalize_2nd_moment(part) for part in parts], dim=1)
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        return x

    def forward(self, z: Tensor | None, c: Tensor | None = None, truncation_psi: float = 1.0,
                truncation_cutoff: int | None = None, update_emas: bool = False) -> Tensor:
        """truncation_psi: 1 = none, 0 = the mean. truncation_cutoff: number of rows it applies to; None = all (SG App. B)."""
        w = self.to_w(z, c)
        if update_emas and self.w_avg_beta is not None and hasattr(self, "w_avg"):
            self.w_avg.copy_(w.detach().mean(dim=0).to(self.w_avg.dtype).lerp(self.w_avg, self.w_avg_beta))
        if self.num_ws is None:
            return w
        ws = w[:, None].repeat(1, self.num_ws, 1)
        if truncation_psi == 1:
            return ws
        if not hasattr(self, "w_avg"):
            raise LatentError("this network has no w_avg, so it cannot truncate; use truncation_psi=1")
        rows = self.num_ws if truncation_cutoff is None else truncation_cutoff
        return torch.cat([self.w_avg.lerp(ws[:, :rows], truncation_psi), ws[:, rows:]], dim=1)
