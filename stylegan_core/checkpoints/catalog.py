"""Short names of models: bundled files of the packages, and public weights that are fetched once into a cache.

Each package has a `pretrained/cards.json`: name → card. A card has `kind` and `licence` and either `file` (bundled
beside the cards) or `url`; `parts` names files or names of other kinds that belong to it ({"discriminator": …}).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stylegan_core.checkpoints.download import Progress, fetch
from stylegan_core.errors import DownloadError, InvertError, WeightsNotFoundError
from stylegan_core.files import display, write_json
from stylegan_core.provenance import file_sha256

PACKAGES = ("stylegan_core", "encoders", "invert")
CARDS = "cards.json"
CACHE_VARIABLE = "INVERT_CACHE"
DEFAULT_PERCEPTUAL = "vgg"
MAX_DOWNLOAD_BYTES = 4 << 30


@dataclass(frozen=True)
class Card:
    """What is known of a named model. sha256 None: nobody could check it; the hash of the first download is kept."""

    name: str
    package: str
    kind: str
    title: str = ""
    licence: str = ""
    file: str | None = None
    url: str | None = None
    sha256: str | None = None
    size: int | None = None        # bytes; None = not known
    perceptual: str = DEFAULT_PERCEPTUAL
    parts: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bundled(self) -> bool:
        """Whether the weights come with the package."""
        return self.file is not None

    def location(self) -> Path:
        """Where the file is or will be; it need not exist."""
        if self.file is not None:
            return Path(str(resources.files(self.package) / "pretrained" / self.file))
        return cache_folder() / "models" / f"{self.name}{Path(urlsplit(self.url or '').path).suffix or '.pkl'}"

    def is_present(self) -> bool:
        """Whether the file is on this machine."""
        return self.location().is_file()


def cache_folder() -> Path:
    """INVERT_CACHE, else the user's cache folder of this system; nothing is created."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).expanduser()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "invert" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "invert"


@lru_cache(maxsize=1)
def cards() -> Mapping[str, Card]:
    """Every named model, in the order of the packages and their files."""
    found: dict[str, Card] = {}
    for package in PACKAGES:
        for name, values in _read_cards(package).items():
            known = {key: value for key, value in values.items() if key in Card.__dataclass_fields__}
            others = {key: value for key, value in values.items() if key not in known}
            found[name] = Card(name=name, package=package, facts=others, **known)
    return found


def card(name: str) -> Card:
    """The card of a name. Raises WeightsNotFoundError with the names that are close to it."""
    if name in cards():
        return cards()[name]
    close = difflib.get_close_matches(name, list(cards()), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"names are {', '.join(cards())}"
    raise WeightsNotFoundError(f"{display(name)!r} is neither a file nor a name of the catalogue; {hint}")


def perceptual_of(name_or_path: str | os.PathLike[str]) -> str:
    """The perceptual distance that `auto` means for a model: 'features' for bundled ones, else 'vgg'."""
    name = os.fspath(name_or_path)
    return cards()[name].perceptual if name in cards() else DEFAULT_PERCEPTUAL


def card_of_address(url: str) -> Card:
    """A card for weights that are given by their address; the hash of the first download is kept for it too."""
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(urlsplit(url).path).stem)[:60]
    name = f"{stem}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    return Card(name=name, package="stylegan_core", kind="generator", url=url, licence="ask its author")


def find(name_or_path: str | os.PathLike[str], *, kind: str = "generator", progress: Progress | None = None) -> Path:
    """The file of a path, a name or an https address; public weights are downloaded and verified.

    kind: 'generator', or a part of the model, such as 'discriminator'. Raises WeightsNotFoundError for an unknown name,
    DownloadError for weights that cannot be fetched or are not what they were.
    """
    name = os.fspath(name_or_path)
    if "://" in name:
        return _pulled(card_of_address(name), progress)
    path = Path(name_or_path).expanduser()
    if path.is_file() or (name not in cards() and _is_like_a_path(name, path)):
        return path
    chosen = card(name)
    if chosen.kind != kind:
        part = chosen.parts.get(kind)
        if part is None and chosen.is_bundled:
            raise WeightsNotFoundError(f"{name} has no {kind} in the catalogue; it is a {chosen.kind}")
        if part is not None:
            return find(part, kind=kind, progress=progress) if part in cards() else _bundled(chosen, part)
    if chosen.file is not None:
        return _bundled(chosen, chosen.file)
    return _pulled(chosen, progress)


def pull(name: str, *, progress: Progress | None = None, is_local: bool = False) -> Path:
    """Downloads a named model unless the cache has it, verifies it, and returns its path.

    A hash on the card must be met; without one, the hash of the first download is kept beside the file and must be met
    from then on. is_local: allow http to this machine (for tests).
    """
    return _pulled(card(name), progress, is_local=is_local)


def _pulled(chosen: Card, progress: Progress | None, *, is_local: bool = False) -> Path:
    if chosen.url is None:
        return _bundled(chosen, chosen.file or "")
    path = chosen.location()
    if not path.is_file():
        limit = chosen.size if chosen.size is not None else MAX_DOWNLOAD_BYTES
        fetch(chosen.url, path, sha256=chosen.sha256, max_bytes=limit, progress=progress, is_local=is_local)
    verify(path, chosen)
    return path


def verify(path: Path, chosen: Card) -> None:
    """Compares a cached file with the hash on its card or with that of its first download, which is recorded here."""
    record = path.with_name(f"{path.name}.json")
    recorded = _read_record(record).get("sha256")
    digest = file_sha256(path)
    expected = chosen.sha256 or recorded or digest
    if digest != expected:
        raise DownloadError(
            f"{display(path)} is not the file it was: SHA-256 {digest[:16]}…, expected {display(expected)[:16]}…; "
            f"delete it and its .json, and fetch {chosen.url} again"
        )
    if recorded is None:
        size = path.stat().st_size
        write_json(record, {"sha256": digest, "url": chosen.url, "licence": chosen.licence, "size": size})


def _bundled(chosen: Card, file: str) -> Path:
    path = Path(str(resources.files(chosen.package) / "pretrained" / file))
    if not path.is_file():
        raise WeightsNotFoundError(f"{chosen.name}: {file} is not in this installation; install the package again")
    return path


def _is_like_a_path(name: str, path: Path) -> bool:
    return path.suffix != "" or os.sep in name or "/" in name or path.is_dir()


def _read_cards(package: str) -> dict[str, dict[str, Any]]:
    try:
        text = (resources.files(package) / "pretrained" / CARDS).read_text("utf-8")
    except (FileNotFoundError, ModuleNotFoundError, NotADirectoryError):
        return {}  # a package without weights
    try:
        return dict(json.loads(text)["models"])
    except (ValueError, KeyError, TypeError):
        raise InvertError(f"{package}/pretrained/{CARDS} is damaged; install the package again") from None


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
