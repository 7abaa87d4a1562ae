"""Drawn images and videos on disk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from ..data.image_io import write_image
from ..prediction import Prediction
from .read_ahead import helper_threads
from .video import stated_rate

RATE = 25.0  # frames per second where neither file nor clock tells
MEASURED_FRAMES = 10


class DrawnFiles:
    """Every image drawn in a file of its own, the frames of every video and camera in an MP4 file.

    Images are drawn in threads while the network runs on; an error in one is raised by a later `add`, or by `close`.
    """

    def __init__(self, folder: Path, outputs: Mapping[str, str]) -> None:
        self._folder, self._outputs = folder, outputs
        threads = helper_threads()
        self._pool, self._most = ThreadPoolExecutor(threads, thread_name_prefix="refinedet-draw"), 2 * threads
        self._drawing: deque[Future[None]] = deque()
        self._video: DrawnVideo | None = None
        self._video_of: str | None = None

    def add(self, prediction: Prediction) -> None:
        path = str(prediction.path)
        if self._video is not None and self._video_of != path:
            self._end_video()
        if prediction.frame is None:
            self._drawing.append(self._pool.submit(_draw, prediction, self._folder / self._outputs[path]))
            if len(self._drawing) > self._most:
                self._drawing.popleft().result()
            return
        if self._video is None:
            rate = stated_rate(path) if os.path.isfile(path) else None
            self._video, self._video_of = DrawnVideo(self._folder / self._outputs[path], rate), path
        self._video.add(prediction.plot(), prediction.time or 0.0)

    def close(self, complete: bool) -> None:
        try:
            self._end_video()
            while self._drawing:
                self._drawing.popleft().result()
        finally:
            self._pool.shutdown()

    def _end_video(self) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.close()


def _draw(prediction: Prediction, path: Path) -> None:
    write_image(path, prediction.plot())


class DrawnVideo:
    """An MP4 file that gets its name when it is closed.

    rate: frames per second; None takes it from the times of the first frames, which are held until then.
    """

    def __init__(self, path: Path, rate: float | None) -> None:
        self.path, self._rate = path, rate
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._held: list[tuple[np.ndarray, float]] = []
        self._writer: cv2.VideoWriter | None = None

    def add(self, frame: np.ndarray, time: float) -> None:
        """frame: (H, W, 3) uint8 BGR, of one size throughout. time: in seconds."""
        if self._writer is None:
            self._held.append((frame, time))
            if self._rate is not None or len(self._held) == MEASURED_FRAMES:
                self._begin()
            return
        self._writer.write(_even(frame))

    def close(self) -> None:
        if self._writer is None and self._held:
            self._begin()
        if self._writer is None:
            return
        self._writer.release()
        if not self._partial.exists() or self._partial.stat().st_size == 0:
            raise OSError(f"{self.path}: OpenCV could not write the video")
        os.replace(self._partial, self.path)

    def _begin(self) -> None:
        frames = [_even(frame) for frame, _ in self._held]
        height, width = frames[0].shape[:2]
        code = cv2.VideoWriter.fourcc(*"mp4v")
        rate = _writable_rate(self._rate or self._measured())
        self._writer = cv2.VideoWriter(str(self._partial), code, rate, (width, height))
        if not self._writer.isOpened():
            raise OSError(f"{self.path}: OpenCV cannot write MP4 videos of {width} x {height} pixels here")
        for frame in frames:
            self._writer.write(frame)
        self._held.clear()

    def _measured(self) -> float:
        span = self._held[-1][1] - self._held[0][1]
        return (len(self._held) - 1) / span if span > 0 else RATE


def _writable_rate(rate: float) -> float:
    """The closest rate that MPEG-4 can say, as a fraction whose numbers have 16 bits."""
    rate = min(max(rate, 0.01), 1000.0)
    return round(rate, 3 if rate < 65 else 2 if rate < 655 else 1)


def _even(frame: np.ndarray) -> np.ndarray:
    """The frame with sides of even numbers, as the format wants them: the last row and column twice where needed."""
    height, width = frame.shape[:2]
    if height % 2 == width % 2 == 0:
        return frame
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
