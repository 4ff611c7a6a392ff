"""What a command line names: files, folders, globs → a list of inputs, checked for clashes before any work."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylegan_core.errors import UsageError
from stylegan_core.files import display


@dataclass(frozen=True)
class Inputs:
    """paths: what to work on, in order. ignored: files of named folders that are something else."""

    paths: list[Path]
    ignored: list[Path]


def collect_inputs(arguments: Sequence[str | os.PathLike[str]], *, wanted: Callable[[Path], bool], recursive: bool = False) -> Inputs:
    """Files as named, the wanted files of folders (sorted), the matches of globs; each file once.

    recursive: look into sub-folders too.
    A file that is named but missing stays in the list, so that the others are done and the report says so.
    """
    paths: list[Path] = []
    ignored: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = _files_below(path, recursive)
            chosen = [file for file in inside if wanted(file)]
            ignored += [file for file in inside if file not in set(chosen)]
            if not chosen:
                raise UsageError(f"the folder {display(path)} holds nothing to work on{_depth_hint(path, recursive)}")
            paths += chosen
        elif os.path.lexists(path) or not glob.has_magic(str(argument)):
            paths.append(path)
        else:
            matches = [Path(match) for match in sorted(glob.glob(str(argument), recursive=recursive))]
            files = [match for match in matches if not match.is_dir()]
            if not files:
                raise UsageError(f"{display(argument)} matches no file")
            paths += files
    return Inputs(_each_once(paths), ignored)


def is_picture_file(path: Path) -> bool:
    """A file of a folder that is a picture by its suffix, or by its first bytes."""
    from stylegan_core.image_reader import SUFFIXES, is_picture

    return path.suffix.lower() in SUFFIXES or (not path.suffix and is_picture(path))


def is_inversion_file(path: Path) -> bool:
    """A file of a folder that is an inversion by its name."""
    return path.name.endswith(".inversion.safetensors")


def stem_of(path: Path) -> str:
    """What the names of the outputs start with: 'photo' for photo.png and for photo.inversion.safetensors.

    Bytes that are not UTF-8 become %FF, because not every library can open a name that has them.
    """
    stem = path.name[: -len(".inversion.safetensors")] if is_inversion_file(path) else path.stem
    return "".join(f"%{ord(char) - 0xDC00:02X}" if "\udc80" <= char <= "\udcff" else char for char in stem)


def check_outputs(outputs: Iterable[tuple[Path, Sequence[Path]]]) -> None:
    """outputs: (input, files that will be written for it). Raises UsageError when two inputs would write the same file,
    or when an input would be overwritten."""
    writers: dict[str, Path] = {}
    pairs = [(source, [os.path.abspath(file) for file in files]) for source, files in outputs]
    inputs = {os.path.realpath(source): source for source, _ in pairs}
    for source, files in pairs:
        for file in files:
            other = writers.setdefault(file, source)
            if other is not source:
                raise UsageError(
                    f"{display(other)} and {display(source)} would both write {display(Path(file).name)}; "
                    "rename one, or give them different folders in two commands"
                )
            if os.path.realpath(file) in inputs:
                raise UsageError(f"the result {display(file)} would overwrite an input; choose another folder with -o")


def _files_below(folder: Path, recursive: bool) -> list[Path]:
    if not recursive:
        return sorted(path for path in _listed(folder) if not path.is_dir() and not path.name.startswith("."))
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in sorted(names) if not name.startswith(".")]
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UsageError(f"the folder {display(folder)} cannot be read: {(error.strerror or '').lower()}") from None


def _depth_hint(folder: Path, recursive: bool) -> str:
    has_folders = not recursive and any(path.is_dir() for path in _listed(folder))
    return "; -r looks into its sub-folders" if has_folders else ""


def _each_once(paths: Sequence[Path]) -> list[Path]:
    seen: set[str] = set()
    unique = []
    for path in paths:
        place = os.path.realpath(path)
        if place not in seen:
            seen.add(place)
            unique.append(path)
    return unique
