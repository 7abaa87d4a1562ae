"""The page that detects (docs/extra/detect), as it stands there, in headless Chromium.

The runtime that it loads from a public server is answered from tests/docs/browser/node_modules; the page's hashes and
its policy hold all the same. `make test-page` installs what this needs.
"""

from __future__ import annotations

import base64
import functools
import http.server
import json
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from refinedet import Predictor
from refinedet.model_info import KEY, ModelInfo

DOCS = Path(__file__).parents[2] / "docs" / "extra"
PAGE = DOCS / "detect"
NPM = Path(__file__).parent / "browser"
RUNTIME = NPM / "node_modules" / "onnxruntime-web" / "dist"
CDN = "https://cdn.jsdelivr.net/npm/onnxruntime-web@{}/dist/"
SAMPLES = sorted((PAGE / "samples").glob("*.jpg"))
WAIT = 60_000  # ms: a machine that does other things besides
SHOWN, NEAR = 0.3, 0.05  # scores from which detections are compared, and how close to it one may be missing


def pinned():
    return json.loads((NPM / "package.json").read_text())["dependencies"]["onnxruntime-web"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    handler = functools.partial(Quiet, directory=DOCS)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("chromium is not installed")
    if not RUNTIME.is_dir():
        pytest.skip("the runtime is not there: npm ci --prefix tests/docs/browser --ignore-scripts")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(browser, server, *, damage=False, **options):
    """The page, and what it asked for; whatever but its server and the runtime's would be refused and recorded."""
    context = browser.new_context(**options)
    page, asked, faults = context.new_page(), [], []

    def answer(route):
        request = route.request
        asked.append((request.method, request.url))
        if request.url.startswith(server):
            route.continue_()
        elif request.url.startswith(CDN.format(pinned())):
            body = (RUNTIME / request.url.rsplit("/", 1)[1]).read_bytes()
            headers = {"access-control-allow-origin": "*"}
            kind = "text/javascript" if request.url.endswith("js") else "application/wasm"
            route.fulfill(body=body + b"\n" * damage, headers=headers, content_type=kind)
        else:
            route.abort()

    page.route("**/*", answer)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.set_default_timeout(WAIT)
    page.goto(f"{server}/detect/index.html")
    try:
        yield page, asked
    finally:
        context.close()
    assert faults == []


@pytest.fixture(scope="module")
def shared(browser, server):
    """One page for the tests that leave it able to look at a next image."""
    with opened(browser, server) as opened_page:
        yield opened_page


@pytest.fixture(scope="module")
def predictor():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return Predictor.from_file(PAGE / "model.onnx", runtime="onnxruntime")


def said(page, pattern):
    """The status line, once it is about this."""
    page.wait_for_function("p => new RegExp(p).test(document.getElementById('status').textContent)", arg=pattern)
    return page.text_content("#status")


def choose(page, file):
    """What the page says when it has looked at a file."""
    page.evaluate("document.getElementById('status').textContent = ''")
    page.set_input_files("#file", file)
    return said(page, r"\d ms\.$|is no image|up to")


def threshold(page, value):
    page.evaluate(
        "v => { const s = document.getElementById('threshold'); s.value = v; s.dispatchEvent(new Event('input')); }",
        str(value),
    )


def listed(page):
    """(class, score, corners) of each row of the page's table."""
    page.evaluate("document.querySelector('details').open = true")
    rows = page.eval_on_selector_all("#rows tr", "rows => rows.map(row => [...row.cells].map(c => c.textContent))")
    return [(name, float(score), [float(corner) for corner in box]) for name, score, *box in rows]


def assert_same(found, prediction, names):
    """Each detection has its partner of the same class, within a pixel; near the threshold it may have none."""
    want = [
        (names[label - 1], float(score), box.tolist())
        for label, score, box in zip(prediction.labels, prediction.scores, prediction.boxes, strict=True)
    ]
    assert len(want) > 3
    for ours, theirs in ((found, want), (want, found)):
        for name, score, box in ours:
            near = [
                other
                for other in theirs
                if other[0] == name and max(abs(a - b) for a, b in zip(box, other[2], strict=True)) <= 1
            ]
            assert score < SHOWN + NEAR or any(abs(other[1] - score) < NEAR for other in near), (name, score, box)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(640, 480), (17, 31), (1601, 1200), (320, 320), (1, 1)])
def test_the_same_pixels_as_in_python(width, height, shared, server):
    """What the network gets, to the bit."""
    page, _ = shared
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = base64.b64encode(cv2.imencode(".png", image)[1]).decode()
    planes = page.evaluate(
        """async ([data, side]) => {
            const { networkInput } = await import("./resize.js");
            const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
            return [...networkInput(await createImageBitmap(new Blob([bytes])), side)];
        }""",
        [data, 320],
    )
    want = cv2.resize(image, (320, 320), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    np.testing.assert_array_equal(np.reshape(planes, want.shape), want)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(640, 480), (320, 320), (200, 150), (1601, 1200)])
def test_the_same_boxes_as_in_python(width, height, shared, predictor, tmp_path):
    page, _ = shared
    image = cv2.resize(cv2.imread(str(SAMPLES[0])), (width, height), interpolation=cv2.INTER_AREA)
    file = tmp_path / "cells.png"
    assert cv2.imwrite(str(file), image)
    choose(page, file)
    threshold(page, SHOWN)
    assert_same(listed(page), predictor(file, score_threshold=SHOWN), predictor.class_names)


@pytest.mark.slow
def test_the_samples(shared, predictor):
    page, _ = shared
    buttons = page.locator("[data-image]")
    assert [button.get_attribute("data-image") for button in buttons.all()] == [f"samples/{f.name}" for f in SAMPLES]
    for button, file in zip(buttons.all(), SAMPLES, strict=True):
        page.evaluate("document.getElementById('status').textContent = ''")
        button.click()
        said(page, r"\d ms\.$")
        threshold(page, SHOWN)
        assert button.get_attribute("aria-pressed") == "true"
        assert_same(listed(page), predictor(file, score_threshold=SHOWN), predictor.class_names)


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_turned_photographs(orientation, shared, predictor, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    page, _ = shared
    file = tmp_path / "turned.jpg"
    tags = image.Exif()
    tags[0x0112] = orientation
    image.open(SAMPLES[0]).save(file, quality=95, exif=tags)
    choose(page, file)
    threshold(page, SHOWN)
    assert_same(listed(page), predictor(file, score_threshold=SHOWN), predictor.class_names)


@pytest.mark.slow
def test_a_file_that_is_no_image_gets_a_sentence(shared, tmp_path):
    page, _ = shared
    for name, content in (("notes.txt", b"cells"), ("empty.png", b""), ("cut.png", b"\x89PNG\r\n\x1a\n")):
        file = tmp_path / name
        file.write_bytes(content)
        assert choose(page, file) == f"{name} is no image that this browser can read."
        assert "error" in page.get_attribute("#status", "class")
    assert re.match(r"\d+ detections: .*; \d+ ms\.$", choose(page, SAMPLES[2]))
    assert page.get_attribute("#status", "class") == ""


@pytest.mark.slow
def test_without_a_mouse(shared):
    page, _ = shared
    page.evaluate("document.getElementById('status').textContent = ''")
    page.focus("[data-image]")
    page.keyboard.press("Enter")
    said(page, r"\d ms\.$")
    threshold(page, 0.05)
    many = len(listed(page))
    page.focus("#threshold")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.text_content("#threshold-value") == "0.55"
    rows = listed(page)
    assert 0 < len(rows) < many and min(score for _, score, _ in rows) >= 0.55
    assert page.text_content("#status").startswith(f"{len(rows)} detections")


@pytest.mark.slow
def test_nothing_leaves_the_machine(shared, server):
    page, asked = shared
    choose(page, SAMPLES[1])
    assert {method for method, _ in asked} == {"GET"}
    assert all(url.startswith((server, CDN.format(pinned()))) for _, url in asked)
    assert not any("?" in url for _, url in asked)
    count = len(asked)
    refused = page.evaluate("fetch('https://example.org/', { method: 'POST', body: 'x' }).then(() => '', e => e.name)")
    assert refused == "TypeError" and len(asked) == count, "the page's policy let a request out"


@pytest.mark.slow
def test_another_runtime_is_not_run(browser, server):
    with opened(browser, server, damage=True) as (page, _):
        page.click("[data-image]")
        said(page, "could not be loaded")
        assert page.is_hidden("#result")


@pytest.mark.slow
def test_on_a_phone(browser, server):
    with opened(browser, server, viewport={"width": 390, "height": 800}, color_scheme="dark") as (page, _):
        choose(page, SAMPLES[0])
        listed(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.getElementById('canvas').clientWidth") > 340


def test_the_files_of_the_page():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    assert (PAGE / "model.onnx").stat().st_size < 4e6
    assert len(SAMPLES) == 3 and sum(file.stat().st_size for file in SAMPLES) < 200e3
    assert "Copyright (c) 2017 shenggan" in (PAGE / "samples" / "LICENSE.txt").read_text()
    entries = {entry.key: entry.value for entry in onnx.load(PAGE / "model.onnx").metadata_props}
    info = ModelInfo.from_json(entries[KEY], source="model.onnx")
    assert (info.outputs, info.pixels, info.precision) == ("detections", "uint8", "int8")


def test_one_version_of_the_runtime():
    for name in ("index.html", "detector.js"):
        versions = set(re.findall(r"onnxruntime-web@([\d.]+)/", (PAGE / name).read_text(encoding="utf-8")))
        assert versions == {pinned()}, name
    lock = json.loads((NPM / "package-lock.json").read_text())
    assert lock["packages"]["node_modules/onnxruntime-web"]["version"] == pinned()
