from __future__ import annotations

import cv2
import numpy as np
import pytest

from refinedet.inference.drawing import DrawnVideo
from refinedet.inference.video import read_frames, stated_rate


def grey(value, size=(64, 48)):
    return np.full((size[1], size[0], 3), value, np.uint8)


def test_a_video_of_a_given_rate(tmp_path):
    video = DrawnVideo(tmp_path / "a.mp4", 29.97)
    for i in range(12):
        video.add(grey(20 * i), i / 29.97)
    assert not (tmp_path / "a.mp4").exists()
    video.close()
    frames = list(read_frames(str(tmp_path / "a.mp4")))
    assert stated_rate(str(tmp_path / "a.mp4")) == pytest.approx(29.97, abs=0.01)
    np.testing.assert_allclose([frame.pixels.mean() for frame in frames], [20 * i for i in range(12)], atol=5)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("rate", [0.5, 23.976, 64.9999, 215.8774, 654.999, 999.94, 90000.0])
def test_odd_rates(tmp_path, rate):
    video = DrawnVideo(tmp_path / "a.mp4", rate)
    for i in range(3):
        video.add(grey(i), 0.0)
    video.close()
    assert stated_rate(str(tmp_path / "a.mp4")) == pytest.approx(min(rate, 1000), rel=1e-3)


@pytest.mark.parametrize(("frames", "rate"), [(3, 4.0), (25, 4.0), (1, 25.0)])
def test_the_rate_of_a_camera_is_measured(tmp_path, frames, rate):
    video = DrawnVideo(tmp_path / "a.mp4", None)
    for i in range(frames):
        video.add(grey(10 * i), 7 + i / 4)
    video.close()
    assert stated_rate(str(tmp_path / "a.mp4")) == pytest.approx(rate, abs=0.01)
    assert len(list(read_frames(str(tmp_path / "a.mp4")))) == frames


def test_odd_sides_lose_no_pixels(tmp_path):
    video = DrawnVideo(tmp_path / "a.mp4", 10.0)
    frame = grey(0, (65, 47))
    frame[:, -9:] = 255
    video.add(frame, 0.0)
    video.close()
    (found,) = read_frames(str(tmp_path / "a.mp4"))
    assert found.pixels.shape == (48, 66, 3) and found.pixels[:, -6:].min() > 200


def test_no_frames_no_video(tmp_path):
    DrawnVideo(tmp_path / "a.mp4", None).close()
    assert not list(tmp_path.iterdir())


def test_a_video_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoWriter", Closed)
    video = DrawnVideo(tmp_path / "a.mp4", 10.0)
    with pytest.raises(OSError, match="a.mp4: OpenCV cannot write MP4 videos of 64 x 48 pixels here"):
        video.add(grey(1), 0.0)


class Closed:
    fourcc = cv2.VideoWriter.fourcc

    def __init__(self, *args):
        pass

    def isOpened(self):
        return False
