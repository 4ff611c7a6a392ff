from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stylegan_core.checkpoints import catalog
from stylegan_core.checkpoints.catalog import Card, card, cards, find, perceptual_of, pull
from stylegan_core.checkpoints.download import fetch
from stylegan_core.errors import DownloadError, OutputError, WeightsNotFoundError

DATA = b"{" + os.urandom(699_999)  # weights may begin as a JSON text does
DIGEST = hashlib.sha256(DATA).hexdigest()
LIMIT = 10_000_000


class Handler(BaseHTTPRequestHandler):
    """/file (ranges, ETag), /cut (closes after half), /page, /lfs, /json, /missing, /redirect?to, /endless, /plain."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        path, _, query = self.path.partition("?")
        getattr(self, f"get_{path.strip('/')}")(query)

    def answer(self, data, status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def get_file(self, query):
        wanted = self.headers.get("Range")
        if wanted and self.headers.get("If-Range") == '"v1"':
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(DATA):
                return self.answer(b"", 416)
            return self.answer(DATA[start:], 206, ETag='"v1"', Content_Range=f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        self.answer(DATA, ETag='"v1"')

    def get_cut(self, query):
        if self.headers.get("Range"):
            return self.get_file(query)
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        self.wfile.write(DATA[: len(DATA) // 2])
        self.close_connection = True

    def get_page(self, query):
        self.answer(b"\n<!DOCTYPE html><html>Quota exceeded</html>", Content_Type="text/html")

    def get_lfs(self, query):
        self.answer(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")

    def get_json(self, query):
        self.answer(b'{"error": "quota"}')

    def get_empty(self, query):
        self.answer(b"")

    def get_missing(self, query):
        self.answer(b"no", 404)

    def get_redirect(self, query):
        self.answer(b"", 302, Location=query)

    def get_endless(self, query):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 100_000)
        except OSError:
            self.close_connection = True


@contextmanager
def server():
    instance = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    instance.requests = []
    instance.daemon_threads = True
    threading.Thread(target=instance.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{instance.server_port}", instance
    finally:
        instance.shutdown()
        instance.server_close()


def get(url, path, **options):
    fetch(url, path, **{"max_bytes": LIMIT, "is_local": True, **options})


def test_a_file_is_fetched_with_progress(tmp_path):
    calls = []
    with server() as (url, _):
        get(f"{url}/file", tmp_path / "a" / "x.pkl", sha256=DIGEST, progress=lambda *numbers: calls.append(numbers))
    assert (tmp_path / "a" / "x.pkl").read_bytes() == DATA
    assert calls[-1] == (len(DATA), len(DATA)) and calls == sorted(calls) and len(calls) >= 3
    assert not list((tmp_path / "a").glob("*.part*"))


def test_a_cut_download_resumes_where_it_stopped(tmp_path):
    path = tmp_path / "x.pkl"
    with server() as (url, instance):
        with pytest.raises(DownloadError, match=r"again.*resumes"):
            get(f"{url}/cut", path)
        assert not path.exists()
        held = (tmp_path / "x.pkl.part").stat().st_size
        assert held == len(DATA) // 2
        get(f"{url}/cut", path, sha256=DIGEST)
        assert instance.requests == [("/cut", None), ("/cut", f"bytes={held}-")]
    assert path.read_bytes() == DATA


def test_a_part_of_another_address_or_version_is_not_continued(tmp_path):
    path = tmp_path / "x.pkl"
    with server() as (url, instance):
        (tmp_path / "x.pkl.part").write_bytes(b"something else")
        (tmp_path / "x.pkl.part.json").write_text(json.dumps({"url": f"{url}/other", "tag": '"v1"'}))
        get(f"{url}/file", path, sha256=DIGEST)
        assert instance.requests[-1] == ("/file", None)
        path.unlink()
        (tmp_path / "x.pkl.part").write_bytes(b"an older version")
        (tmp_path / "x.pkl.part.json").write_text(json.dumps({"url": f"{url}/file", "tag": '"v0"'}))
        get(f"{url}/file", path, sha256=DIGEST)  # the server sends all of it, because the version differs
    assert path.read_bytes() == DATA


def test_a_part_that_is_already_whole(tmp_path):
    path = tmp_path / "x.pkl"
    with server() as (url, _):
        (tmp_path / "x.pkl.part").write_bytes(DATA)
        (tmp_path / "x.pkl.part.json").write_text(json.dumps({"url": f"{url}/file", "tag": '"v1"'}))
        get(f"{url}/file", path, sha256=DIGEST)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("page", "a web page instead of weights"),
        ("lfs", "a Git LFS pointer"),
        ("json", "a JSON text"),
        ("empty", "an empty file"),
        ("missing", "answers 404"),
        ("endless", "more than the"),
    ],
)
def test_what_is_not_weights_is_recognised(page, message, tmp_path):
    with server() as (url, _), pytest.raises(DownloadError, match=message) as caught:
        get(f"{url}/{page}", tmp_path / "x.pkl")
    assert "\n" not in str(caught.value) and f"/{page}" in str(caught.value)
    assert not (tmp_path / "x.pkl").exists()


def test_a_wrong_hash_removes_the_file(tmp_path):
    with server() as (url, _), pytest.raises(DownloadError, match=r"expected 0000.*removed"):
        get(f"{url}/file", tmp_path / "x.pkl", sha256="0" * 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pkl.lock"]


def test_too_large_a_file_is_refused_before_it_is_fetched(tmp_path):
    with server() as (url, _), pytest.raises(DownloadError, match="700000 bytes, more than the 1000"):
        get(f"{url}/file", tmp_path / "x.pkl", max_bytes=1000)
    assert not (tmp_path / "x.pkl.part").exists()


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://example.org/x", "gopher://x"])
def test_redirects_lead_nowhere_else(target, tmp_path):
    with server() as (url, _), pytest.raises(DownloadError, match=r"only https|redirect"):
        get(f"{url}/redirect?{target}", tmp_path / "x.pkl")


def test_redirects_on_the_same_terms_are_followed(tmp_path):
    with server() as (url, _):
        get(f"{url}/redirect?{url}/file", tmp_path / "x.pkl", sha256=DIGEST)
    assert (tmp_path / "x.pkl").read_bytes() == DATA


@pytest.mark.parametrize("url", ["http://example.org/x.pkl", "file:///etc/passwd", "ftp://x/y", "x.pkl", "https://", "http://127.0.0.1/x"])
def test_only_https_is_allowed(url, tmp_path):
    with pytest.raises(DownloadError, match="only https is allowed"):
        fetch(url, tmp_path / "x.pkl", max_bytes=LIMIT)


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(DownloadError, match="or download it yourself and give the file"):
        get("http://127.0.0.1:9/x.pkl", tmp_path / "x.pkl")


def test_two_at_once_fetch_once(tmp_path):
    with server() as (url, instance):
        threads = [threading.Thread(target=get, args=(f"{url}/file", tmp_path / "x.pkl")) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(instance.requests) == 1
    assert (tmp_path / "x.pkl").read_bytes() == DATA


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with server() as (url, _), pytest.raises(OutputError):
        get(f"{url}/file", tmp_path / "x.pkl")


@pytest.fixture
def with_card(monkeypatch, tmp_path):
    """with_card(url, …) adds a card 'test' to the catalogue, whose cache is a new folder."""
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path / "cache"))

    def add(url, **fields):
        entry = Card(name="test", package="stylegan_core", kind="generator", url=url, licence="none", **fields)
        monkeypatch.setattr(catalog, "cards", lambda: {"test": entry})
        return entry

    return add


def test_the_hash_of_the_first_download_is_kept_and_met_from_then_on(with_card):
    with server() as (url, instance):
        with_card(f"{url}/file")
        path = pull("test", is_local=True)
        assert path.read_bytes() == DATA and path.parent.name == "models"
        record = json.loads(path.with_name(path.name + ".json").read_text())
        assert record["sha256"] == DIGEST and record["size"] == len(DATA)
        assert pull("test", is_local=True) == path and len(instance.requests) == 1
        path.write_bytes(DATA[:-1] + b"\0" if DATA[-1] else DATA[:-1] + b"\1")
        with pytest.raises(DownloadError, match="is not the file it was"):
            pull("test", is_local=True)


def test_a_hash_on_the_card_wins(with_card):
    with server() as (url, _):
        entry = with_card(f"{url}/file", sha256=DIGEST, size=len(DATA))
        path = pull("test", is_local=True)
        path.write_bytes(b"tampered")
        path.with_name(path.name + ".json").write_text(json.dumps({"sha256": hashlib.sha256(b"tampered").hexdigest()}))
        with pytest.raises(DownloadError, match=DIGEST[:16]):
            pull("test", is_local=True)
        assert entry.is_present() and not entry.is_bundled


def test_the_card_allows_no_more_bytes_than_it_says(with_card):
    with server() as (url, _):
        with_card(f"{url}/file", size=1000)
        with pytest.raises(DownloadError, match="more than the 1000"):
            pull("test", is_local=True)


def test_paths_and_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ffhq").mkdir()
    Path("metfaces").write_bytes(b"x")
    assert find("metfaces") == Path("metfaces")  # a file of this name wins
    assert find("some/network.pkl") == Path("some/network.pkl")  # a path, whether it exists or not
    with pytest.raises(WeightsNotFoundError, match=r"did you mean .*ffhq"):
        find("fffhq")
    with pytest.raises(WeightsNotFoundError, match=r"nor a name|names are"):
        find("zzzzzz")


def test_an_address_instead_of_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path))
    one, two = (catalog.card_of_address(f"https://example.org/{folder}/net work.pkl?x=1") for folder in "ab")
    assert one.location() != two.location() and one.location().parent == tmp_path / "models"
    assert one.location().name.startswith("net-work-") and one.location().suffix == ".pkl"
    with pytest.raises(DownloadError, match="only https is allowed"):
        find("http://example.org/x.pkl")
    with pytest.raises(DownloadError, match="only https is allowed"):
        find("file:///etc/passwd")


def test_the_catalogue_is_complete():
    for name, entry in cards().items():
        assert entry.kind and entry.licence and entry.title and entry.name == name
        assert (entry.file is None) != (entry.url is None)
        assert entry.url is None or ((entry.url.startswith("https://") and entry.sha256 is None) or len(entry.sha256 or "") == 64)
    for name in ("ffhq", "metfaces", "afhqcat", "afhqdog", "afhqwild", "brecahad", "cifar10", "stylegan2-ffhq-256x256"):
        assert "nvidia.com" in (card(name).url or "")
        assert "non-commercial" in card(name).licence
    assert perceptual_of("portraits64") == "features" and perceptual_of("ffhq") == perceptual_of("a/file.pkl") == "vgg"


def test_bundled_models_need_their_kind(monkeypatch):
    entry = Card(name="b", package="stylegan_core", kind="generator", file="b.safetensors", parts={"discriminator": "d.safetensors"})
    monkeypatch.setattr(catalog, "cards", lambda: {"b": entry})
    with pytest.raises(WeightsNotFoundError, match=r"b\.safetensors is not in this installation"):
        find("b")
    with pytest.raises(WeightsNotFoundError, match=r"d\.safetensors is not in this installation"):
        find("b", kind="discriminator")
    with pytest.raises(WeightsNotFoundError, match="b has no features in the catalogue; it is a generator"):
        find("b", kind="features")
