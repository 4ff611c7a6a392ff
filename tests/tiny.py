"""Small real networks that are built in milliseconds, the same on every run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stylegan_core.networks.build import build
from stylegan_core.networks.configs import StyleGAN1Config, StyleGAN2Config, StyleGAN3Config


def tiny_generator(seed: int = 0, *, noise_strength: float = 0.1, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """A StyleGAN2 generator of 16 px with pictures mostly inside [-1, 1], noise that shows, and a w_avg of its samples."""
    facts = {"z_dim": 16, "w_dim": 16, "img_resolution": 16, "channel_base": 256, "channel_max": 16, "mapping_layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = build(StyleGAN2Config(**{**facts, **config})).to(dtype)
        z = torch.randn(500, generator.z_dim, dtype=dtype)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(noise_strength)
            if name.endswith("torgb.weight"):
                parameter.mul_(0.3)
        c = torch.eye(generator.c_dim, dtype=dtype)[torch.arange(500) % generator.c_dim] if generator.c_dim else None
        if hasattr(generator.mapping, "w_avg"):
            generator.mapping.w_avg.copy_(generator.mapping.to_w(z, c).mean(dim=0))
    return generator


def tiny_stylegan3(seed: int = 0, *, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """A StyleGAN3-T of 32 px: pictures inside [-1, 1], unit magnitudes, an input that w moves a little, and a w_avg of its samples."""
    facts = {"z_dim": 16, "w_dim": 16, "img_resolution": 32, "channel_base": 256, "channel_max": 16, "num_layers": 6, "mapping_layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = build(StyleGAN3Config(**{**facts, **config})).to(dtype)
        z = torch.randn(500, generator.z_dim, dtype=dtype)
    c = torch.eye(generator.c_dim, dtype=dtype)[torch.arange(500) % generator.c_dim] if generator.c_dim else None
    with torch.no_grad():
        generator.synthesis.input.affine.weight.copy_(torch.randn(4, generator.w_dim, generator=torch.Generator().manual_seed(1)) * 0.1)
        betas = {layer: layer.magnitude_ema_beta for layer in generator.synthesis.children() if hasattr(layer, "magnitude_ema_beta")}
        for layer in betas:
            layer.magnitude_ema_beta = 0.0
        ws = generator.mapping(z, c)
        generator.synthesis(ws[:8], update_emas=True)
        for layer, beta in betas.items():
            layer.magnitude_ema_beta = beta
        generator.mapping.w_avg.copy_(ws[:, 0].mean(dim=0))
        getattr(generator.synthesis, generator.synthesis.layer_names[-1]).weight.mul_(0.5)
    return generator


def tiny_stylegan1(seed: int = 0, *, noise_strength: float = 0.1, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """A StyleGAN generator of 16 px, likewise; its constant is no longer flat, as after training: of a flat one the first instance
    norm would leave the noise alone."""
    facts = {"z_dim": 16, "w_dim": 16, "img_resolution": 16, "channel_base": 256, "channel_max": 16, "mapping_layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator: Any = build(StyleGAN1Config(**{**facts, **config})).to(dtype)
        z = torch.randn(500, generator.z_dim, dtype=dtype)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(noise_strength)
            if name.endswith("torgb.weight"):
                parameter.mul_(0.17)
            if name.endswith("b4.const"):
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
        if generator.c_dim == 0:
            generator.mapping.w_avg.copy_(generator.mapping.to_w(z).mean(dim=0))
    return generator


@torch.no_grad()
def sample_pictures(generator: Any, seeds: list[int], *, noise_mode: str = "const") -> tuple[Tensor, Tensor]:
    """(pictures [N, C, R, R] clamped to [-1, 1], their w [N, w_dim])."""
    from stylegan_core.latent import Latent

    c = torch.eye(generator.c_dim).to(generator.w_avg)[:1].expand(len(seeds), -1) if generator.c_dim else None
    latent = Latent.sample(generator, seeds, c=c).lower(generator, to="w")
    return latent.render(generator, noise_mode=noise_mode).clamp(-1, 1), latent.value


class LinearEncoder:
    """Pictures → w by ridge regression on samples of a generator: the smallest encoder that knows something."""

    def __init__(self, generator: Any, count: int = 400, ridge: float = 1.0):
        from stylegan_core.seeds import zs_from_seeds

        self.name, self.generator = "linear", generator
        with torch.no_grad():
            w = generator.mapping.to_w(zs_from_seeds(range(count), generator.z_dim).to(generator.w_avg))
            pixels = generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1)).flatten(1)
            self.pixel_mean, self.w_mean = pixels.mean(dim=0), w.mean(dim=0)
            x = pixels - self.pixel_mean
            self.matrix = x.t() @ torch.linalg.solve(x @ x.t() + ridge * torch.eye(count).to(x), w - self.w_mean)

    def __call__(self, images: Tensor) -> Tensor:
        """→ w [N, w_dim]."""
        return self.w_mean + (images.flatten(1) - self.pixel_mean) @ self.matrix

    def encode(self, images: Tensor) -> Any:
        """→ an inversion in W."""
        from stylegan_core.inversion import Inversion
        from stylegan_core.latent import Latent, LatentSpace

        return Inversion(Latent(self(images), LatentSpace.W))
