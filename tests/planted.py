"""Pictures with a planted cause for a poor projection, and the fit of the table by which `projectors.advice` names causes.

`python -m tests.planted` fits the table on planted cases beside samples of portraits64 and prints it with its confusions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.data.portraits import portrait_u8
from stylegan_core.data.scenes import scene_u8

SIDE = 64
CAUSES = ("none", "not aligned", "another model", "out of domain")


def as_image(picture_u8: np.ndarray) -> Tensor:
    """[H, W, 3] uint8 → [1, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture_u8)).permute(2, 0, 1)[None].float() / 127.5 - 1


def misplaced(seed: int, index: int, rng: np.random.Generator) -> Tensor:
    """A portrait shifted, too near, too far, turned, or all of it."""
    side = rng.choice([-1.0, 1.0])
    scale, right, down, degrees = [
        (1.0, side * rng.uniform(0.4, 0.6), rng.uniform(-0.2, 0.2), 0.0),
        (rng.uniform(0.5, 0.65), rng.uniform(-0.2, 0.2), rng.uniform(-0.3, 0.1), 0.0),
        (rng.uniform(1.6, 2.0), 0.0, 0.0, 0.0),
        (1.0, 0.0, 0.0, side * rng.uniform(28, 45)),
        (rng.uniform(1.2, 1.5), 0.3, 0.3, side * 25),
    ][index % 5]
    c, s = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
    matrix = torch.tensor([[[c, -s, right], [s, c, down]]], dtype=torch.float32)
    grid = F.affine_grid(matrix, [1, 3, SIDE, SIDE], align_corners=False)
    picture = as_image(portrait_u8(seed, index, 2 * SIDE)[0])
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


def photograph(index: int, rng: np.random.Generator) -> Tensor:
    """A square out of one of the two photographs that scikit-learn ships."""
    from sklearn.datasets import load_sample_images

    photo = load_sample_images().images[index % 2]
    height, width = photo.shape[:2]
    side = int(rng.integers(120, height + 1))
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    return F.interpolate(as_image(photo[top : top + side, left : left + side]), size=(SIDE, SIDE), mode="area")


def planted(seed: int, count: int) -> Iterator[tuple[str, Tensor]]:
    """(cause, picture) of portraits `seed`, by turns; every cause `count` times."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        yield "none", as_image(portrait_u8(seed, index, SIDE)[0])
        yield "not aligned", misplaced(seed, index, rng)
        yield "another model", as_image(portrait_u8(seed, index, SIDE, style="ink")[0])
        yield "out of domain", photograph(index, rng) if index % 3 == 2 else as_image(scene_u8(seed, index, SIDE))


def main(count: int = 120) -> None:
    """Fits on portraits of seed 1001, tells confusions on those of seed 1002."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import confusion_matrix
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from invert.projectors.advice import gallery_of
    from stylegan_core import load_generator

    gallery = gallery_of(load_generator("portraits64"))
    sets = []
    for seed in (1001, 1002):
        cases = list(planted(seed, count))
        sets.append((np.array([gallery.likeness(image).cues() for _, image in cases]), [cause for cause, _ in cases]))
    (x, y), (x_other, y_other) = sets
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000)).fit(x, y)
    scaler, linear = model[0], model[1]
    weights = linear.coef_ / scaler.scale_
    biases = linear.intercept_ - weights @ scaler.mean_
    for cause, bias, row in sorted(zip(linear.classes_, biases, weights), key=lambda entry: CAUSES.index(entry[0])):
        print(f'    "{cause}": ({", ".join(f"{value:.3g}" for value in (bias, *row))}),')
    print(CAUSES)
    print(confusion_matrix(y_other, model.predict(x_other), labels=list(CAUSES)))


if __name__ == "__main__":
    main()
