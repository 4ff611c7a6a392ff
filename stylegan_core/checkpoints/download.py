"""One file from an address into a folder: resumed, verified, locked, and whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from stylegan_core.errors import DownloadError, OutputError
from stylegan_core.files import display, write_json
from stylegan_core.provenance import version

Progress = Callable[[int, "int | None"], None]  # bytes so far, bytes in all or None

CHUNK_BYTES = 1 << 18
TIMEOUT_SEC = 30
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_NOT_WEIGHTS = (
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "a web page or an error in XML"),
    (b"{", "a JSON text, an error message of the server"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


def fetch(url: str, path: Path, *, sha256: str | None = None, max_bytes: int, progress: Progress | None = None,
          is_local: bool = False) -> None:
    """Downloads `url` to `path`; a partial download of the same address and version is continued.

    sha256: what the file must have; None = not known. max_bytes: more are refused. progress: called about every 256 kB.
    is_local: allow plain http, and only to this machine (for tests); otherwise https only, redirects included. Raises
    DownloadError with the address and what to do; the part that was fetched stays for the next try unless it is wrong.
    """
    job = _Job(url, max_bytes, progress, is_local)
    _check_address(url, is_local)
    part, note = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f"{path.name}.lock")):
            if path.is_file():  # another process was faster
                return
            _fetch_part(job, part, note)
            _check_part(url, part, note, sha256)
            os.replace(part, path)
            note.unlink(missing_ok=True)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        reason = display(getattr(error, "reason", error) or error, max_length=120)
        raise DownloadError(
            f"cannot fetch {url}: {reason}; try again (it resumes), or download it yourself and give the file"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write {display(part)}: {error.strerror or error}") from None


@dataclass(frozen=True)
class _Job:
    url: str
    max_bytes: int
    progress: Progress | None
    is_local: bool


def _fetch_part(job: _Job, part: Path, note: Path) -> None:
    done, tag = _resumable(job.url, part, note)
    headers = {"User-Agent": f"invert-gan/{version()}", "Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": tag}
    opener = urllib.request.build_opener(_Redirects(job.is_local))
    try:
        response = opener.open(urllib.request.Request(job.url, headers=headers), timeout=TIMEOUT_SEC)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and done:  # the part is all there is, or not of this file: start again
            part.unlink(missing_ok=True)
            return _fetch_part(job, part, note)
        answer = f"{error.code} {display(error.reason)}"
        raise DownloadError(f"cannot fetch {job.url}: the server answers {answer}") from None
    with response:
        if response.status != 206:
            done = 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        if total is not None and total > job.max_bytes:
            raise DownloadError(f"{job.url} has {total} bytes, more than the {job.max_bytes} expected; stopped")
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        write_json(note, {"url": job.url, "tag": tag, "total": total})
        with open(part, "ab" if done else "wb") as file:
            done = _copy(job, response, file, done, total)
    if total is not None and done != total:
        raise DownloadError(f"{job.url} ended after {done} of {total} bytes; try again, it resumes")


def _copy(job: _Job, response: Any, file: IO[bytes], done: int, total: int | None) -> int:
    while chunk := response.read(CHUNK_BYTES):
        if not done:
            _refuse_page(job.url, chunk, response.headers.get("Content-Type", ""))
        done += len(chunk)
        if done > job.max_bytes:
            raise DownloadError(f"{job.url} sends more than the {job.max_bytes} bytes expected; stopped")
        file.write(chunk)
        if job.progress is not None:
            job.progress(done, total)
    return done


def _refuse_page(url: str, head: bytes, content_type: str) -> None:
    text = head[:512].lstrip().lower()
    if b"\0" in text or (not text.isascii() and text.startswith(b"{")):  # weights may begin with any byte, texts hold no zeros
        return
    for magic, what in _NOT_WEIGHTS:
        if text.startswith(magic) or (magic == b"<html" and content_type.startswith("text/html")):
            raise DownloadError(f"{url} gave {what} instead of weights; open it in a browser and give the file you get")


def _check_part(url: str, part: Path, note: Path, sha256: str | None) -> None:
    if part.stat().st_size == 0:
        part.unlink()
        raise DownloadError(f"{url} gave an empty file")
    if sha256 is None:
        return
    digest = hashlib.sha256()
    with open(part, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        part.unlink()
        note.unlink(missing_ok=True)
        held = digest.hexdigest()[:16]
        raise DownloadError(f"{url} has the SHA-256 {held}…, expected {sha256[:16]}…: it was changed; removed")


def _resumable(url: str, part: Path, note: Path) -> tuple[int, str]:
    # (bytes that are there, the version they are of); 0 when the rest could not be told to belong to them.
    try:
        facts = json.loads(note.read_text("utf-8"))
        size = part.stat().st_size
    except (OSError, ValueError):
        return 0, ""
    tag = facts.get("tag") if isinstance(facts, dict) and facts.get("url") == url else None
    return (size, tag) if isinstance(tag, str) and tag and not tag.startswith("W/") else (0, "")


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def __init__(self, is_local: bool) -> None:
        self.is_local = is_local

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_address(newurl, self.is_local)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str, is_local: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if is_local and parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS:
        return
    raise DownloadError(f"refused the address {display(url)}: only https is allowed, for redirects too")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # One process at a time per file; the system drops the lock when a process dies.
    with open(path, "a+b") as file:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
