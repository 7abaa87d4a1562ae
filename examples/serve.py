"""A detector behind HTTP: an image in, JSON out, several requests in one pass of the network.

    pip install litserve
    python examples/serve.py best.safetensors --port 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/detect
    curl http://127.0.0.1:8000/health

The body of a POST to /detect is the image's file. The answer has width, height and detections, each with box (x1, y1,
x2, y2, in pixels), score, label and name; or, with status 408, 413, 422 or 504, "detail": what was wrong. Whoever is
not trusted belongs behind a proxy that knows who may ask, and how often.
"""

# No `from __future__ import annotations`: LitServe and FastAPI read the annotations themselves.
import argparse
import asyncio
import os
import signal
from typing import Annotated, Any

import litserve
import torch
from fastapi import Depends, HTTPException, Request
from fastapi.responses import JSONResponse


async def read_body(request: Request) -> bytes:
    """The whole body, unless it is too large or takes too long."""
    limits = request.app.state.limits

    async def read() -> bytes:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > limits.max_bytes:
                raise HTTPException(413, f"expected at most {limits.max_bytes} bytes, got more")
        return bytes(body)

    if int(request.headers.get("content-length", 0)) > limits.max_bytes:  # a server has seen that it is a number
        raise HTTPException(413, f"expected at most {limits.max_bytes} bytes, got {request.headers['content-length']}")
    try:
        return await asyncio.wait_for(read(), limits.timeout)
    except asyncio.TimeoutError:
        raise HTTPException(408, f"the image did not arrive within {limits.timeout:g} seconds") from None


class DetectAPI(litserve.LitAPI):
    def __init__(self, weights: str, score_threshold: float, threads: int, **options: Any) -> None:
        super().__init__(api_path="/detect", **options)
        self.weights, self.score_threshold, self.threads = weights, score_threshold, threads

    def setup(self, device: str) -> None:
        from refinedet import Predictor

        torch.set_num_threads(self.threads)
        self.predictor = Predictor.from_file(self.weights, device=device, batch_size=self.max_batch_size)

    def decode_request(self, request: Annotated[bytes, Depends(read_body)]) -> Any:
        """The pixels, or what is wrong with them: an error here would end the other requests of its batch, too."""
        from refinedet.data.image_io import ImageReadError, decode_image

        try:
            return decode_image(request, "the image", apply_orientation=True)
        except ImageReadError as error:
            return error

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs  # not stacked, as LitServe would: images have their own sizes

    def predict(self, x: list[Any]) -> list[Any]:
        images = [image for image in x if not isinstance(image, Exception)]
        found = iter(self.predictor(images, score_threshold=self.score_threshold))
        return [image if isinstance(image, Exception) else next(found) for image in x]

    def encode_response(self, output: Any) -> JSONResponse:
        if isinstance(output, Exception):
            return JSONResponse({"detail": str(output)}, 422)
        return JSONResponse({key: value for key, value in output.to_dict().items() if key != "path"})


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
    api = DetectAPI(
        options.weights,
        options.score_threshold,
        options.threads,
        max_batch_size=options.batch_size,
        batch_timeout=options.batch_timeout,
    )
    server = litserve.LitServer(
        api,
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
