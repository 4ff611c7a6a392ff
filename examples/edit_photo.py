"""A photo changed and pasted back: align → invert → edit → mix → paste, in Python; prints what every step did.

python examples/edit_photo.py [PHOTO] [RESULT]
"""

from __future__ import annotations

import sys
from pathlib import Path

from invert import save_image
from invert.pipeline import Align, Edit, Mix, PasteBack, Pipeline, Project

HERE = Path(__file__).parent


def main(photo: str = str(HERE / "photo.png"), result: str = "photo.edited.png") -> None:
    pipeline = Pipeline([Align(), Project(space="w+"), Edit("smile", 2), Mix("seed:3", rows="fine"), PasteBack()])
    print(pipeline)
    work = pipeline(photo)
    for note in work.report:
        print(note)
    save_image(work.picture, result)


if __name__ == "__main__":
    main(*sys.argv[1:3])
