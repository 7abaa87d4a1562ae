"""A detector behind HTTP: an image in, JSON out, several requests in one pass of the network.

    pip install litserve
    python examples/serve.py best.safetensors --port 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/detect
    curl http://127.0.0.1:8000/health

The body of a POST to /detect is the image's file. The answer has width, height and detections, each with box (x1, y1,
x2, y2, in pixels), score, label and name; or, with status 408, 413, 422 or 504, "detail": what was wrong. Whoever is
not trusted belongs behind a proxy that knows who may ask, and how often. What happens to a request: serve_api.py.
"""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

import litserve
from serve_api import DetectAPI

MAIN = os.getpid()


def end(*_: Any) -> None:
    """SIGTERM as Ctrl-C, after which alone LitServe ends its processes; of those, which are forked, quietly."""
    raise KeyboardInterrupt if os.getpid() == MAIN else SystemExit


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Serve a detector by HTTP.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("weights", help="a model file that `refinedet train` wrote")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=1, help="processes with a model each, of every device")
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--batch_size", type=int, default=8, help="most images in one pass")
    parser.add_argument("--batch_timeout", type=float, default=0.01, help="seconds that a request waits for others")
    parser.add_argument("--score_threshold", type=float, default=0.5)
    parser.add_argument("--max_bytes", type=int, default=20_000_000, help="of an upload")
    parser.add_argument("--max_pixels", type=int, default=50_000_000, help="of an image")
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds for an upload, and for waiting in the queue"
    )
    options = parser.parse_args()
    if options.batch_size < 2:  # LitServe then has other calls
        parser.error(f"--batch_size: expected 2 or more, got {options.batch_size}")
    os.environ["REFINEDET_MAX_PIXELS"] = str(options.max_pixels)  # what the workers decode
    batching = {"max_batch_size": options.batch_size, "batch_timeout": options.batch_timeout}
    server = litserve.LitServer(
        DetectAPI(options.weights, options.score_threshold, options.threads, **batching),
        accelerator=options.device,
        workers_per_device=options.workers,
        timeout=options.timeout,
        restart_workers=True,
    )
    server.app.state.limits = options
    signal.signal(signal.SIGTERM, end)
    server.run(host=options.host, port=options.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
