"""What examples/serve.py does with a request: reads the body within limits, decodes, detects, answers in JSON."""

# No `from __future__ import annotations`: LitServe and FastAPI read the annotations themselves.
import asyncio
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
