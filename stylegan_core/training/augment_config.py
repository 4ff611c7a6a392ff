"""Which augmentations are used and how strong they are, as data (SG2-ADA App. B; presets of its Table 3 and code)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Augmentation:
    """Each transform happens to an image with the probability p times its own factor; 0 = never."""

    xflip: float = 0.0            # mirror
    rotate90: float = 0.0         # by a multiple of 90°
    xint: float = 0.0             # shift by whole pixels
    scale: float = 0.0            # isotropic scaling
    rotate: float = 0.0           # by any angle
    aniso: float = 0.0            # stretch one way, shrink the other
    xfrac: float = 0.0            # shift by fractions of a pixel
    brightness: float = 0.0
    contrast: float = 0.0
    lumaflip: float = 0.0         # mirror brightness, keep hue and saturation
    hue: float = 0.0
    saturation: float = 0.0
    imgfilter: float = 0.0        # amplify or dampen bands of frequency
    noise: float = 0.0            # white noise over the picture
    cutout: float = 0.0           # a grey rectangle
    xint_max: float = 0.125       # of the picture's size
    scale_std: float = 0.2        # log2
    rotate_max: float = 1.0       # 1 = all angles
    aniso_std: float = 0.2        # log2
    xfrac_std: float = 0.125      # of the picture's size
    brightness_std: float = 0.2   # pictures are in [-1, 1]
    contrast_std: float = 0.5     # log2
    hue_max: float = 1.0          # 1 = all hues
    saturation_std: float = 1.0   # log2
    imgfilter_bands: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)  # factors of the four bands, lowest first
    imgfilter_std: float = 1.0    # log2
    noise_std: float = 0.1
    cutout_size: float = 0.5      # of the picture's size


BLIT: Mapping[str, Any] = {"xflip": 1.0, "rotate90": 1.0, "xint": 1.0}
GEOM: Mapping[str, Any] = {"scale": 1.0, "rotate": 1.0, "aniso": 1.0, "xfrac": 1.0}
COLOR: Mapping[str, Any] = {"brightness": 1.0, "contrast": 1.0, "lumaflip": 1.0, "hue": 1.0, "saturation": 1.0}
FILTER: Mapping[str, Any] = {"imgfilter": 1.0}
NOISE: Mapping[str, Any] = {"noise": 1.0}
CUTOUT: Mapping[str, Any] = {"cutout": 1.0}

AUGMENTATIONS: Mapping[str, Augmentation] = {
    "blit": Augmentation(**BLIT),
    "geom": Augmentation(**GEOM),
    "color": Augmentation(**COLOR),
    "filter": Augmentation(**FILTER),
    "noise": Augmentation(**NOISE),
    "cutout": Augmentation(**CUTOUT),
    "bg": Augmentation(**BLIT, **GEOM),
    "bgc": Augmentation(**BLIT, **GEOM, **COLOR),  # the default of SG2-ADA
    "bgcf": Augmentation(**BLIT, **GEOM, **COLOR, **FILTER),
    "bgcfn": Augmentation(**BLIT, **GEOM, **COLOR, **FILTER, **NOISE),
    "bgcfnc": Augmentation(**BLIT, **GEOM, **COLOR, **FILTER, **NOISE, **CUTOUT),
}
