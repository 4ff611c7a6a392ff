"""Truncation of inversions and samples: towards the mean, the nearest of many centroids, or any other picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from invert.editing.labels import draw
from invert.editing.layers import describe_rows, parse_rows
from invert.editing.notes import noted
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace

CLUSTER_SAMPLES = 10_000


def truncate(
    inversion: Inversion,
    psi: float,
    *,
    generator: Generator,
    centre: str | int | Inversion = "mean",
    rows: str | Sequence[int] | None = None,
    seed: int = 0,
) -> Inversion:
    """Latents psi of their way from a centre: 1 = as they are, 0 = the centre (SG App. B). Arguments stay as they are.

    centre: 'mean' (w_avg), 'clusters:K' (the nearest of K centroids of w), a seed, or an inversion of one image. rows: of ws; None =
    all. seed: of the samples that are clustered. Raises UsageError; z has no truncation.
    """
    place = generator.w_avg.device, generator.w_avg.dtype
    latent = inversion.latent.to(*place)
    if latent.space is LatentSpace.Z:
        latent = latent.lower(generator, to="w")
    chosen = parse_rows(rows, generator)
    if chosen is not None:
        if latent.space is LatentSpace.S:
            raise UsageError("rows of ws: an inversion in s has none; truncate all of it, or project again with --space w+")
        latent = latent.lower(generator, to="w+")
    centres, name = _centre_of(latent, centre, generator, seed)
    value = torch.lerp(centres, latent.value, psi)
    if chosen is not None:
        kept = torch.ones(generator.num_ws, dtype=torch.bool, device=value.device)
        kept[list(chosen)] = False
        value = torch.where(kept[None, :, None], latent.value, value)
    note = {"step": "truncate", "psi": psi, "centre": name, "rows": describe_rows(chosen)}
    return noted(inversion, replace(latent, value=value), [note] * len(inversion))


def centroids(generator: Generator, count: int, *, seed: int = 0, num_samples: int = CLUSTER_SAMPLES) -> Tensor:
    """[count, w_dim]: centres of k-means over w of samples, the largest cluster first."""
    from sklearn.cluster import KMeans

    if not 1 <= count <= num_samples // 10:
        raise UsageError(f"clusters:{count}: 1 to {num_samples // 10} are allowed")
    with torch.no_grad():
        w = draw(generator, num_samples, seed=seed, space="w").value
    found = KMeans(count, n_init=1, random_state=seed).fit(w.double().cpu().numpy())
    sizes = torch.bincount(torch.from_numpy(found.labels_).long(), minlength=count)
    return torch.from_numpy(found.cluster_centers_)[sizes.argsort(descending=True, stable=True)].to(w)


def _centre_of(latent: Latent, centre: str | int | Inversion, generator: Generator, seed: int) -> tuple[Tensor, str]:
    """([N or 1, *shape], its name for the record)."""
    space = latent.space
    if isinstance(centre, Inversion):
        if len(centre) != 1:
            raise UsageError(f"the centre has {len(centre)} images; one is needed")
        return centre.latent.to(*(latent.value.device, latent.value.dtype)).lower(generator, to=space).value, "an inversion"
    if isinstance(centre, int) or centre.isdecimal():
        sample = Latent.sample(generator, [int(centre)], c=None if latent.c is None else latent.c[:1])
        return sample.lower(generator, to=space).value, f"seed {int(centre)}"
    if centre == "mean":
        return space.centre(generator), "mean"
    kind, _, number = centre.partition(":")
    if kind != "clusters" or not number.isdecimal():
        raise UsageError(f"centre {centre!r}: mean, clusters:K, a seed, or an inversion file is allowed")
    lowered = Latent(centroids(generator, int(number), seed=seed), LatentSpace.W).lower(generator, to=space).value
    distance = (latent.value.flatten(1)[:, None] - lowered.flatten(1)[None]).square().sum(dim=2)
    return lowered[distance.argmin(dim=1)], centre
