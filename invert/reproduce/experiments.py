"""Every claim that can be tried here, as a table of data: one row per claim. A row that trains keeps its runs in the setting's folder."""

from __future__ import annotations

from collections.abc import Mapping

from invert.reproduce import noise_effects, projections, shape_or_texture, spaces, throughput, truncation
from invert.reproduce.setting import Experiment
from stylegan_core.errors import UsageError

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "truncation", "truncation trades variety for quality: precision rises and recall falls", "SG App. B; SG2-ADA's PR figures",
            "pictures only", "precision at ψ 0.5 above, recall below that at ψ 1", truncation.trade, 500, 8,
        ),
        Experiment(
            "truncation-distance", "truncation improves the Fréchet distance", "common advice; SG gives FID without truncation",
            "none", "lower by 2 % at some ψ between 0 and 1 than at ψ 1", truncation.distance, 500, 8,
        ),
        Experiment(
            "opposites", "ψ and -ψ show opposites of one another", "SG App. B, Fig. 8", "pictures only",
            "mean correlation of the judge's attributes below -0.5", truncation.opposites, 500, 8,
        ),
        Experiment(
            "noise", "noise inputs draw stochastic detail and leave identity and pose alone", "SG Sec. 3.2, Fig. 4 and 5",
            "figure only", "attributes move by less than 10 % of their spread (median); what noise draws is finer than pictures are, and "
            "lies where the renderer's stochastic detail does (rank correlation above 0.5)", noise_effects.noise_effects, 64, 3,
        ),
        Experiment(
            "shape-or-texture", "distances in features of classifiers mind texture more than shape", "SG2 Sec. 1; Geirhos et al. 2019",
            "none", "Fréchet and kernel distance larger for scrambled texture than for warped shapes of equal squared error",
            shape_or_texture.shape_or_texture, 500, 8,
        ),
        Experiment(
            "separability", "W is linearly more separable than Z", "SG Sec. 4.2, Table 4", "FFHQ: Z 165.0, W 3.7",
            "the score of W, held out, below that of Z", spaces.separability, 4000, 24,
        ),
        Experiment(
            "path-length", "paths in W are perceptually shorter than in Z", "SG Sec. 4.1, Table 3", "FFHQ, full: Z 664.9, W 233.3",
            "W below Z, full paths", spaces.path_length, 1000, 8,
        ),
        Experiment(
            "resolution-contribution", "with skip connections the highest resolution ends up drawing most", "SG2 Sec. 4.2, Fig. 8",
            "figure only", "the highest resolution has the largest share of the deviation", spaces.contribution, 512, 8,
        ),
        Experiment(
            "projection-gap", "own samples project closer than real pictures, far enough to tell them apart", "SG2 Sec. 5, Fig. 9",
            "figure only", "area under the curve of the judge's distance at least 0.9", projections.projection_gap, 16, 2,
        ),
        Experiment(
            "throughput", "images/s of configurations A, E and F", "SG2 Table 1 and Sec. 4", "37, 61, 31 images/s",
            "ratios within a factor of 1.5 of the paper's", throughput.throughput, 5, 1,
        ),
    )
}  # fmt: skip


def experiment(name: str) -> Experiment:
    """The experiment of a name. Raises UsageError that lists the names."""
    if name not in EXPERIMENTS:
        raise UsageError(f"experiment {name!r}: one of {', '.join(EXPERIMENTS)} is allowed")
    return EXPERIMENTS[name]
