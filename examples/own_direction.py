"""A direction from a function of your own: "blue", found by regression from 500 samples, shown on one of them.

python examples/own_direction.py [RESULT]
"""

from __future__ import annotations

import sys

import torch

from invert import Inversion, load_generator, save_image
from invert.editing.labels import draw
from invert.editing.regression import Regression
from invert.editing.sweep import strip, sweep


def blueness(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """images [N, 3, H, W] in [-1, 1] → {attribute: [N]}: all that a finder asks of labels."""
    return {"blue": (images[:, 2] - images[:, 0]).mean(dim=(1, 2))}


def main(result: str = "blue.png") -> None:
    generator = load_generator("portraits64")
    (direction,) = Regression(labels=blueness, num_samples=500).find(generator)
    print(f"R² on held-out samples: {direction.provenance['figures']['r2']}")
    person = Inversion(draw(generator, 2, seed=1, space="w"))[0]
    versions = sweep(person, direction, [-3, -2, -1, 0, 1, 2, 3], generator)
    save_image(strip([version.render(generator) for version in versions]), result)


if __name__ == "__main__":
    main(*sys.argv[1:2])
