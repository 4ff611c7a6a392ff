"""LPIPS with filled trunks against golden/lpips; the lin layers are the package's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch

from stylegan_core.losses.perceptual import LPIPS, TRUNKS, distance, distance_to, empty_lpips
from tests.parity.rows import Row, arrays, compare, filled

PEER = "lpips 0.1.4"
TOLERANCE = dict(absolute=1e-5, relative=1e-4)


@torch.no_grad()
def rows() -> Iterator[Row]:
    data = {key: torch.from_numpy(value).float() for key, value in arrays("lpips/lpips").items()}
    a, b = data["a"], data["b"]
    for name in TRUNKS:
        measure = filled_lpips(name)
        of_a, of_b = measure.features(a), measure.features(b)
        by_layer = torch.stack([distance([x], [y]) for x, y in zip(of_a, of_b, strict=True)])
        spatial = sum(
            torch.nn.functional.interpolate(
                (x - y).square().sum(dim=1, keepdim=True) * (x.shape[2] * x.shape[3]),
                size=a.shape[2:],
                mode="bilinear",
                align_corners=False,
            )
            for x, y in zip(of_a, of_b, strict=True)
        )
        ours = {
            "dist": distance_to(measure, b)(a),
            "dist_normalize": distance_to(measure, ((b + 1) / 2) * 2 - 1)(((a + 1) / 2) * 2 - 1),
            "per_layer": by_layer,
            "spatial_sub": spatial[:, :, ::4, ::4],
            "self": distance_to(measure, a)(a),
        }
        for key, value in ours.items():
            yield compare(f"lpips/lpips {name}_{key}", PEER, value, data[f"{name}_{key}"], **TOLERANCE)
        ones = [
            (torch.nn.functional.normalize(x, dim=1) - torch.nn.functional.normalize(y, dim=1)).square()
            for x, y in zip(activations(measure, a), activations(measure, b), strict=True)
        ]
        baseline = torch.stack([x.sum(dim=1).mean(dim=(1, 2)) for x in ones]).sum(dim=0)
        yield compare(f"lpips/lpips {name}_baseline_dist", PEER, baseline, data[f"{name}_baseline_dist"], **TOLERANCE)


@lru_cache(maxsize=3)
def filled_lpips(name: str) -> LPIPS:
    """Trained lin layers on a trunk that the recipe fills."""
    network = empty_lpips(name)
    _, state = filled(f"lpips/{name}")
    own = network.net.state_dict()
    network.net.load_state_dict({key: state[f"net.{key}"] for key in own})
    return LPIPS(name, network)


def activations(measure: LPIPS, images: torch.Tensor) -> list[torch.Tensor]:
    """What the trunk gives, before normalisation."""
    return list(measure.network.net(measure.network.scaling_layer(images)))
