"""examples/serve.py as a real server: what it answers, and that it lives on."""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

import refinedet

from .conftest import EXAMPLES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("litserve") is None, reason="litserve is not installed"),
]


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory) -> Iterator[int]:
    """The port of a server that takes 100,000 bytes, 10,000 pixels and 2 seconds."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, EXAMPLES / "serve.py", weights, f"--port={port}", "--score_threshold=0"]
    command += ["--batch_timeout=0.1", "--max_bytes=100000", "--max_pixels=10000", "--timeout=2"]
    log = folder / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, cwd=folder)
    while not healthy(port):
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    yield port
    assert healthy(port), log.read_text()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    end = time.monotonic() + 30
    while left := [child for child in children if Path(f"/proc/{child}").exists() and state(child) != "Z"]:
        assert time.monotonic() < end, f"processes {left} are left"
        time.sleep(0.1)
    assert "Traceback" not in log.read_text()


def state(process: str) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def healthy(port: int) -> bool:
    try:
        return ask(port, "GET", "/health")[0] == 200
    except ConnectionError:
        return False


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()


def detect(port: int, body: bytes) -> tuple[int, dict]:
    status, text = ask(port, "POST", "/detect", body)
    return status, json.loads(text)


def test_answers_what_the_predictor_finds(server, weights, photo):
    status, answer = detect(server, photo.read_bytes())
    expected = refinedet.Predictor.from_file(weights)(photo, score_threshold=0.0).to_dict()
    assert status == 200 and (answer["width"], answer["height"]) == (64, 48)
    assert len(answer["detections"]) == 5
    assert [found["name"] for found in answer["detections"]] == [found["name"] for found in expected["detections"]]
    for found, other in zip(answer["detections"], expected["detections"], strict=True):
        assert found["box"] == pytest.approx(other["box"], abs=0.01)
        assert found["score"] == pytest.approx(other["score"], abs=1e-5)


def test_what_is_no_image_or_too_large_gets_a_reason(server, photo):
    large = cv2.imencode(".png", np.zeros((200, 200, 3), np.uint8))[1].tobytes()
    for body, status, reason in (
        (b"no image at all", 422, "not an image"),
        (photo.read_bytes()[:2000], 422, "damaged"),
        (b"", 422, "empty"),
        (large, 422, "200 x 200 pixels are more than the limit of 10,000"),
        (bytes(100_001), 413, "expected at most 100000 bytes, got 100001"),
    ):
        got, answer = detect(server, body)
        assert (got, reason in answer["detail"]) == (status, True), answer
    assert detect(server, photo.read_bytes())[0] == 200


def test_an_upload_of_unknown_length_is_cut_off(server):
    with closing(http.client.HTTPConnection("127.0.0.1", server, timeout=60)) as connection:
        connection.request("POST", "/detect", iter([bytes(60_000)] * 2), encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, b"got more" in response.read()) == (413, True)


def test_a_slow_upload_is_given_up(server):
    with socket.create_connection(("127.0.0.1", server), timeout=60) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\nsome")
        assert b" 408 " in connection.recv(1000).splitlines()[0]


def test_images_of_other_sizes_and_bad_ones_do_not_harm_those_of_their_batch(server, photo):
    small = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    bodies = [photo.read_bytes(), b"no image", small] * 4
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: detect(server, body)[0], bodies))
    assert answers == [200, 422, 200] * 4


def test_load_test_shows_rate_and_percentile(server, photo):
    command = [sys.executable, EXAMPLES / "load_test.py", f"http://127.0.0.1:{server}/detect", photo]
    done = subprocess.run(
        list(map(str, [*command, "--clients=2", "--seconds=1"])), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^[\d.]+ images/s, \d+ ms in the median, \d+ ms at the 99th percentile$", done.stdout, re.M)
    assert re.search(r"^answers: \d+ with status 200$", done.stdout, re.M)
