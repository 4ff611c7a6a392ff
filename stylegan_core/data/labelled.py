"""Portraits with all that is known about them, for networks that learn attributes and who is who.

A person may sit several times: each further sitting keeps face, skin, hair, age and beard, and changes pose,
expression, light, background, clothes and stochastic detail; half of the people also put glasses and hat on or off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stylegan_core.data.portrait_person import IDENTITY_TRAITS
from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES, LAWS, Portrait, render_portrait, sample_portrait
from stylegan_core.errors import UsageError

SITTING_ATTRIBUTES = ("yaw", "tilt", "smile", "mouth_open", "eyes_open", "light", "background")
WORN_ATTRIBUTES = ("glasses", "hat")
SITTING_TRAITS = (
    "size", "offset_x", "offset_y", "gaze_x", "gaze_y", "clothes_hue", "clothes_value", "collar", "shoulders",
    "pattern", "hat_kind", "hat_hue", "hat_value", "glasses_shape", "glasses_colour",
    "gradient_angle", "gradient_strength", "glow_x",
)  # fmt: skip
MIRRORED_ATTRIBUTES = ("yaw", "tilt", "light")  # change sign when a picture is mirrored
MIRRORED_TRAITS = ("offset_x", "gaze_x", "hair_part", "gradient_angle", "glow_x")
WORN_TRAITS = {"hat_": "hat", "glasses_": "glasses", "beard_": "beard"}  # prefix of a trait → what shows it


@dataclass(frozen=True)
class LabelledImages:
    """name: says how to draw it again. images_u8: [N, 3, R, R]. attributes: [N, A] in the order of ATTRIBUTES.

    traits: [N, T] in the order of IDENTITY_TRAITS, NaN where a picture cannot show it. people: [N], who it is.
    """

    name: str
    images_u8: np.ndarray
    attributes: np.ndarray
    traits: np.ndarray
    people: np.ndarray

    def __len__(self) -> int:
        return len(self.images_u8)

    @property
    def resolution(self) -> int:
        return int(self.images_u8.shape[2])


def draw_labelled(
    people: int,
    resolution: int,
    *,
    seed: int,
    first: int = 0,
    sittings: int = 1,
    law: str = "mixed",
    callback: Callable[[int, int], bool | None] | None = None,
) -> LabelledImages:
    """Portraits first … first + people - 1 of a seed, every sitting of a person beside the other ones.

    law: of portraits.LAWS, or 'mixed' = by turns. callback: called as callback(done, count), False stops; None: silent.
    """
    if people < 1 or sittings < 1 or first < 0:
        raise UsageError(f"people={people}, sittings={sittings}, first={first}: at least 1, 1, 0 are needed")
    if law != "mixed" and law not in LAWS:
        raise UsageError(f"law={law!r} is not one of mixed, {', '.join(LAWS)}")
    count = people * sittings
    images = np.empty([count, 3, resolution, resolution], np.uint8)
    attributes = np.empty([count, len(ATTRIBUTES)], np.float32)
    traits = np.empty([count, len(IDENTITY_TRAITS)], np.float32)
    done = 0
    for index in range(first, first + people):
        chosen = LAWS[index % len(LAWS)] if law == "mixed" else law
        person = sample_portrait(seed, index, law=chosen)
        for sitting in range(sittings):
            portrait = person
            if sitting > 0:
                other = sample_portrait(seed, index + sitting * (first + people), law=chosen)
                portrait = sit_again(person, other, may_dress=index % 4 < 2)
            images[done] = render_portrait(portrait, resolution).transpose(2, 0, 1)
            attributes[done] = [portrait.attributes[name] for name in ATTRIBUTES]
            traits[done] = visible_traits(portrait)
            done += 1
        if callback is not None and callback(done, count) is False:
            break
    options = f"seed={seed}, first={first}, people={people}, sittings={sittings}, law={law}, resolution={resolution}"
    who = np.arange(count) // sittings + first
    return LabelledImages(f"portraits({options})", images[:done], attributes[:done], traits[:done], who[:done])


def sit_again(person: Portrait, other: Portrait, *, may_dress: bool) -> Portrait:
    """The person in pose, expression, light, clothes and detail of another portrait; may_dress: glasses and hat too."""
    names = SITTING_ATTRIBUTES + (WORN_ATTRIBUTES if may_dress else ())
    changed = person.with_attributes(**{name: other.attributes[name] for name in names}).with_detail(other.detail_seed)
    return replace(changed, identity={**person.identity, **{name: other.identity[name] for name in SITTING_TRAITS}})


def visible_traits(portrait: Portrait) -> list[float]:
    """Values of IDENTITY_TRAITS, NaN for those of a hat, glasses or a beard that is not there."""
    values = []
    for name, value in portrait.identity.items():
        worn = next((thing for prefix, thing in WORN_TRAITS.items() if name.startswith(prefix)), None)
        values.append(value if worn is None or portrait.attributes[worn] else float("nan"))
    return values


def shown_values(portrait: Portrait) -> list[float]:
    """[54] numbers of unit size for all that the picture shows: attributes, then traits, 0 where a trait cannot be seen."""
    spread = 3**-0.5  # of a uniform number in [-1, 1]
    attributes = [2 * value - 1 if name in BINARY_ATTRIBUTES else value / spread for name, value in portrait.attributes.items()]
    return attributes + [0.0 if value != value else value / spread for value in visible_traits(portrait)]


def mirrored_signs() -> tuple[np.ndarray, np.ndarray]:
    """([A], [T]) of +1 and -1: what mirroring a picture does to attributes and traits."""
    attributes = [-1.0 if name in MIRRORED_ATTRIBUTES else 1.0 for name in ATTRIBUTES]
    traits = [-1.0 if name in MIRRORED_TRAITS else 1.0 for name in IDENTITY_TRAITS]
    return np.array(attributes, np.float32), np.array(traits, np.float32)
