from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from refinedet.inference.download import download, is_url
from refinedet.inference.images import load_image

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PNG = cv2.imencode(".png", IMAGE)[1].tobytes()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        kind = self.path.partition("?")[0].strip("/")
        if kind == "image.png":
            self.answer(PNG)
        elif kind == "moved":
            self.answer(b"", 302, Location="/image.png")
        elif kind == "to_file":
            self.answer(b"", 302, Location="file:///etc/hostname")
        elif kind == "to_ftp":
            self.answer(b"", 302, Location="ftp://127.0.0.1/x.png")
        elif kind == "announced":
            self.answer(PNG, length=10**9)
        elif kind == "cut":
            self.answer(PNG[:50], length=len(PNG))
        elif kind == "unannounced":
            self.send_response(200)
            self.end_headers()
            for _ in range(64):
                self.wfile.write(bytes(1000))
        elif kind == "silent":
            self.server.go_on.wait(30)
        elif kind == "slow":
            self.send_response(200)
            self.end_headers()
            while not self.server.go_on.wait(0.01):
                self.wfile.write(b"x")
        else:
            self.send_error(404)

    def answer(self, data, status=200, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # of clients that have heard enough


@pytest.fixture(scope="module")
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.go_on = threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def test_an_image_from_an_address(server):
    np.testing.assert_array_equal(load_image(f"{server}/image.png?size=big"), IMAGE)
    np.testing.assert_array_equal(load_image(f"{server}/moved"), IMAGE)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nothing", "nothing: 404 Not Found"),
        ("announced", "announced: expected at most 5000 bytes, it announces 1000000000"),
        ("unannounced", "unannounced: expected at most 5000 bytes, it gives more"),
        ("cut", "cut: it ended after 50 of"),
        ("to_file", "to_file: "),
        ("to_ftp", "to_ftp: unknown url type: ftp"),
    ],
)
def test_what_cannot_be_had_is_named(server, kind, message):
    with pytest.raises(OSError, match=f"cannot read {server}/{message}"):
        download(f"{server}/{kind}", max_bytes=5000)


def test_no_answer_is_not_waited_for(server):
    with pytest.raises(OSError, match="silent: no answer for 0.2 seconds"):
        download(f"{server}/silent", silence_seconds=0.2)


def test_an_answer_that_never_ends_is_given_up(server):
    started = time.monotonic()
    with pytest.raises(OSError, match="slow: not complete after 0.3 seconds"):
        download(f"{server}/slow", total_seconds=0.3)
    assert time.monotonic() - started < 20


def test_nobody_there():
    with pytest.raises(OSError, match="cannot read http://127.0.0.1:1/x.png: .*refused"):
        download("http://127.0.0.1:1/x.png")
    with pytest.raises(OSError, match="cannot read http://127.0.0.1:port/x.png: "):
        download("http://127.0.0.1:port/x.png")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/x.png", "data:image/png;base64,AA", "http://"])
def test_other_kinds_of_address_are_refused(url):
    assert is_url(url)
    with pytest.raises(ValueError, match="images: expected a path, or an address of http or https, got "):
        load_image(url)


@pytest.mark.parametrize("path", ["a.png", "/x/a.png", "C:\\a.png", "c:/a.png", "a:b.png"])
def test_paths_are_no_addresses(path):
    assert not is_url(path)


def test_what_is_no_image_names_the_address(server):
    with pytest.raises(ValueError, match=f"cannot decode {server}/unannounced"):
        load_image(f"{server}/unannounced")
