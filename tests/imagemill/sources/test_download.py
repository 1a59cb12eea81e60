"""Downloads against a real HTTP server that cuts connections, changes files and refuses."""

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from imagemill.errors import CallerError, TemporaryFault
from imagemill.progress import Silent
from imagemill.sources.archive import fetch_archive
from imagemill.sources.download import ATTEMPTS, download

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FileServer(ThreadingHTTPServer):
    """Serves one file. A fault decides by the number of the request; it returns True when it has answered."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.fault: Callable[[Handler, int], bool] = lambda handler, number: False
        self.ranges = []
        self.url = f"http://127.0.0.1:{self.server_port}/some%20dir/cifar.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.server.fault(self, len(self.server.ranges)):
            return
        self.serve()

    def serve(self, *, cut=None, honour_range=True):
        content, wanted = self.server.content, self.headers.get("Range")
        fresh = self.headers.get("If-Range") == self.server.etag
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and fresh and honour_range else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:] if cut is None else content[start : start + cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(server, tmp_path):
    def fetch(sha256=SHA256):
        target = tmp_path / "files/cifar.tar.gz"
        download(server.url, target, sha256=sha256, progress=Silent(), pause=0)
        return target

    return fetch


def files(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_the_file_arrives_and_nothing_else_stays(fetch):
    target = fetch()
    assert target.read_bytes() == CONTENT
    assert files(target) == ["cifar.tar.gz"]


def test_what_is_there_is_not_fetched_again(fetch, server):
    fetch()
    fetch()
    assert server.ranges == [None]


def test_a_cut_connection_is_resumed_where_it_broke(fetch, server):
    def cut_twice(handler, number):
        if number <= 2:
            handler.serve(cut=300_000)
        return number <= 2

    server.fault = cut_twice
    assert fetch().read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=600000-"]


def test_many_cuts_are_fine_as_long_as_bytes_arrive(fetch, server):
    def cut(handler, number):
        handler.serve(cut=60_000)
        return True

    server.fault = cut
    assert fetch().read_bytes() == CONTENT
    assert len(server.ranges) > ATTEMPTS


def test_a_file_that_changed_on_the_server_starts_anew(fetch, server):
    def change(handler, number):
        if number == 1:
            handler.server.content = b"old" * 100_000
            handler.serve(cut=200_000)
            handler.server.content, handler.server.etag = CONTENT, '"two"'
        return number == 1

    server.fault = change
    assert fetch().read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=200000-"]


def test_without_a_validator_nothing_is_resumed(fetch, server):
    def cut(handler, number):
        if number == 1:
            handler.serve(cut=200_000)
        return number == 1

    server.etag, server.fault = "", cut
    assert fetch().read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_a_server_that_ignores_ranges_starts_anew(fetch, server):
    def cut(handler, number):
        handler.serve(cut=200_000 if number == 1 else None, honour_range=False)
        return True

    server.fault = cut
    assert fetch().read_bytes() == CONTENT


def test_a_killed_download_is_resumed_by_the_next_process(fetch, server, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/cifar.tar.gz.part").write_bytes(CONTENT[:500_000])
    (tmp_path / "files/cifar.tar.gz.part.validator").write_text('"one"')
    assert fetch().read_bytes() == CONTENT
    assert server.ranges == ["bytes=500000-"]


def test_a_part_that_lies_is_found_by_the_checksum(fetch, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/cifar.tar.gz.part").write_bytes(b"x" * 500_000)
    (tmp_path / "files/cifar.tar.gz.part.validator").write_text('"one"')
    with pytest.raises(CallerError, match="nothing was kept"):
        fetch()
    assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_temporary_answers_are_retried(fetch, server, status):
    def refuse(handler, number):
        if number <= 2:
            handler.send_error(status)
        return number <= 2

    server.fault = refuse
    assert fetch().read_bytes() == CONTENT


def test_a_server_that_stays_down_is_a_temporary_fault(fetch, server):
    def refuse(handler, number):
        handler.send_error(503)
        return True

    server.fault = refuse
    with pytest.raises(TemporaryFault, match="answers 503, 6 times in a row"):
        fetch()
    assert len(server.ranges) == ATTEMPTS


def test_nobody_listening_is_a_temporary_fault(fetch, server):
    server.url = "http://127.0.0.1:9/x.tar.gz"
    with pytest.raises(TemporaryFault, match=r"127\.0\.0\.1:9"):
        fetch()


@pytest.mark.parametrize(("status", "reason"), [(404, "knows no such file"), (403, "forbids"), (418, "refuses")])
def test_a_refusal_is_the_callers(fetch, server, status, reason):
    def refuse(handler, number):
        handler.send_error(status)
        return True

    server.fault = refuse
    with pytest.raises(CallerError, match=reason):
        fetch()
    assert len(server.ranges) == 1


def test_the_wrong_file_is_refused_and_not_kept(fetch, tmp_path):
    with pytest.raises(CallerError, match=f"serves a file with sha256 {SHA256}, the spec wants {'0' * 64}"):
        fetch("0" * 64)
    assert files(tmp_path / "files/x") == ["cifar.tar.gz.part.validator"]


def test_redirects_are_followed(fetch, server):
    def redirect(handler, number):
        if number == 1:
            handler.send_response(302)
            handler.send_header("Location", "/elsewhere")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        return number == 1

    server.fault = redirect
    assert fetch().read_bytes() == CONTENT


def test_two_downloads_at_once_are_one(server, tmp_path):
    target = tmp_path / "files/x"
    threads = [
        threading.Thread(target=download, args=(server.url, target), kwargs={"sha256": SHA256, "progress": Silent()})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(server.ranges) == 1
    assert files(target) == ["x"]


def test_a_cached_archive_that_went_bad_is_fetched_again(server, tmp_path):
    hints = {}

    def fetch():
        return fetch_archive(
            server.url, sha256=SHA256, downloads=tmp_path / "downloads", hints=hints, progress=Silent()
        )

    archive = fetch()
    assert (archive.path, archive.sha256) == (tmp_path / "downloads" / SHA256 / "cifar.tar.gz", SHA256)
    archive.path.write_bytes(b"rot")
    assert fetch().path.read_bytes() == CONTENT
    assert len(server.ranges) == 2
