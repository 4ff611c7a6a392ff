"""From a configuration to an encoder with random weights: the only place that constructs one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from encoders.base import OnePass
from encoders.configs import Config, EncoderConfig, HyperStyleConfig, encoder_config, hyperstyle_config
from encoders.e4e import E4E
from encoders.heads import GridHead, MapToStyle, PooledHead, RowHeads
from encoders.hypernet import HyperNetwork, start_without_change
from encoders.hyperstyle import HyperStyle
from encoders.psp import PSP, GridPSP, WEncoder
from encoders.restyle import ReStyle
from stylegan_core.errors import CheckpointError, UsageError
from stylegan_core.generator import Generator, place_of

NETWORKS: dict[str, type[nn.Module]] = {"psp": PSP, "e4e": E4E, "w": WEncoder}
KINDS = ("psp", "e4e", "w", "restyle-psp", "restyle-e4e", "hyperstyle")


def build_network(config: EncoderConfig) -> nn.Module:
    """images → offsets."""
    return GridPSP(config) if config.head == "grid" else NETWORKS[config.method](config)


def build_encoder(config: Config, *, generator: Any = None, w_avg: Tensor | None = None, name: str = "") -> Any:
    """An encoder in eval mode, fp32, on the CPU. w_avg: [num_ws, w_dim]; None = zeros, to be filled. Raises CheckpointError."""
    config.validate()
    if isinstance(config, HyperStyleConfig):
        encoder = None if config.encoder is None else build_encoder(config.encoder, generator=generator, w_avg=w_avg, name=name)
        return HyperStyle(config, encoder, HyperNetwork(config), generator, name).eval()
    network = build_network(config)
    average = torch.zeros(config.num_ws, config.w_dim) if w_avg is None else w_avg.clone()
    if config.is_iterative:
        return ReStyle(config, network, average, generator, name).eval()
    return OnePass(config, network, average, generator, name).eval()


def config_for(kind: str, generator: Generator, *, backbone: str | None = None, input_side: int | None = None,
               num_iterations: int = 5) -> Config:
    """kind: of KINDS. Everything else that the generator decides is derived from it. Raises UsageError."""
    if kind not in KINDS:
        raise UsageError(f"kind {kind!r}: one of {', '.join(KINDS)} is allowed")
    if kind == "hyperstyle":
        return hyperstyle_config(generator, backbone=backbone, input_side=input_side, num_iterations=num_iterations)
    method = kind.removeprefix("restyle-")
    return encoder_config(method, generator, backbone=backbone, input_side=input_side, is_iterative=method != kind,
                          num_iterations=num_iterations)


def encoder_for(generator: Any, kind: str, **options: Any) -> Any:
    """A fresh encoder of a kind for this generator, on its device: it gives the average for every picture. options: of `config_for`."""
    device, dtype = place_of(generator)
    average = generator.w_avg.detach().to("cpu", torch.float32).expand(generator.num_ws, -1)
    encoder = build_encoder(config_for(kind, generator, **options), generator=generator, w_avg=average)
    start_at_average(encoder)
    return encoder.to(device, dtype)


@torch.no_grad()
def start_at_average(encoder: nn.Module) -> None:
    """Zeroes the last layers, so that training starts from the average picture and from unchanged weights."""
    modules: list[Any] = list(encoder.modules())
    for module in modules:
        if isinstance(module, (MapToStyle, PooledHead, GridHead)):
            module.linear.weight.zero_()
        elif isinstance(module, RowHeads) and module.is_shared:
            rows: list[Any] = list(module.rows)
            for row in rows:
                row.weight.zero_()
        elif isinstance(module, HyperNetwork):
            start_without_change(module)


def check_generator(config: Config, generator: Any) -> None:
    """Raises CheckpointError when an encoder's latents or weights are not those of this generator."""
    if isinstance(config, HyperStyleConfig):
        parameters = {name: tuple(value.shape) for name, value in generator.named_parameters()}
        for weight in config.weights:
            shape = (weight.out_channels, weight.in_channels, weight.kernel_size, weight.kernel_size)
            if parameters.get(weight.name) != shape:
                held = parameters.get(weight.name, "no such weight")
                raise CheckpointError(f"this HyperStyle changes {weight.name} {shape}; the generator has {held}: it is for another model")
        return
    if (config.num_ws, config.w_dim) != (generator.num_ws, generator.w_dim):
        takes = f"{generator.num_ws} rows of {generator.w_dim}"
        raise CheckpointError(f"this encoder makes {config.num_ws} rows of {config.w_dim}; the generator takes {takes}: "
                              "it is for another model")
    if config.is_iterative and config.img_channels != generator.img_channels:  # of one pass, it may see something else: a sketch
        makes = generator.img_channels
        raise CheckpointError(f"this encoder sees pictures of {config.img_channels} channels; the generator makes {makes}: "
                              "it is for another model")
