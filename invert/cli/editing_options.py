"""Options that the editing commands share: how photos are aligned and projected, which models may meet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PHOTO = "How a photo is inverted"

Space = Annotated[str, typer.Option("--space", metavar="z|w|w+|s", help="Where to look for a photo.", rich_help_panel=PHOTO)]
Preset = Annotated[str, typer.Option("--preset", metavar="NAME", help="Of `invert project`.", rich_help_panel=PHOTO)]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="How many (default: the preset's).", rich_help_panel=PHOTO)]
Perceptual = Annotated[
    str, typer.Option("--perceptual", metavar="NAME", help="auto, vgg, alex, squeeze, features, none.", rich_help_panel=PHOTO)
]
Landmarks = Annotated[
    str | None,
    typer.Option(
        "--landmarks",
        metavar="FILE|detect",
        help="Eye and mouth points, or find them (default: NAME.landmarks.json beside the photo, else it is aligned).",
        rich_help_panel=PHOTO,
    ),
]
Face = Annotated[
    str | None, typer.Option("--face", metavar="largest|N", help="Which of several faces, from the left.", rich_help_panel=PHOTO)
]
Fit = Annotated[str, typer.Option("--fit", metavar="MODE", help="Of an aligned picture: crop, pad, stretch.", rich_help_panel=PHOTO)]
Related = Annotated[bool, typer.Option("--related", help="Take directions and inversions of related models too.")]
Rows = Annotated[str | None, typer.Option("--rows", metavar="ROWS", help="coarse, middle, fine, or rows such as 0-3,7. (default: all)")]
Video = Annotated[Path | None, typer.Option("--video", metavar="FILE", help="Also as a moving picture: .gif, .webp, .mp4.")]
