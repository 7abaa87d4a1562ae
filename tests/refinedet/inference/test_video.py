from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinedet.inference.video import read_frames, stated_frames, stated_rate

from ..mutations import EDITS, edited
from .makers import Camera, write_video


def test_frames_with_their_numbers_and_times(tmp_path):
    path = str(write_video(tmp_path / "clip.avi"))
    frames = list(read_frames(path))
    assert [frame.number for frame in frames] == list(range(6)) and {frame.path for frame in frames} == {path}
    assert [frame.time for frame in frames] == pytest.approx([0.1 * i for i in range(6)])
    assert all(frame.pixels.shape == (48, 64, 3) for frame in frames)
    np.testing.assert_allclose([frame.pixels.mean() for frame in frames], [20 * i for i in range(6)], atol=3)
    assert stated_frames(path) == 6 and stated_rate(path) == pytest.approx(10)


def test_what_is_no_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such video: .*none.mp4"):
        next(read_frames(str(tmp_path / "none.mp4")))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(OSError, match="cannot decode .*text.mp4: not a video"):
        next(read_frames(str(tmp_path / "text.mp4")))
    assert stated_frames(str(tmp_path / "text.mp4")) is None and stated_rate(str(tmp_path / "none.mp4")) is None


def test_frames_that_are_missing_at_the_end_are_said(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match=r"clip.avi: \d+ frames can be read, it states 40"):
        assert 0 < len(list(read_frames(str(path)))) < 40


def test_a_video_is_closed_when_nobody_wants_more(tmp_path, monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    Camera.released = 0
    frames = read_frames(0)
    next(frames)
    frames.close()
    assert Camera.released == 1


def test_a_camera(monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    frames = []
    with pytest.raises(OSError, match="camera 0: gives no more frames after 4"):
        frames.extend(frame for frame in read_frames(0) if frames.append(frame) is not None)
    assert [frame.number for frame in frames] == [0, 1, 2, 3] and frames[0].path == "camera 0"
    times = [frame.time for frame in frames]
    assert times == sorted(times) and times[0] >= 0
    with pytest.raises(OSError, match="camera 3: cannot be opened"):
        next(read_frames(3))


def test_a_frame_of_another_size_is_named(monkeypatch):
    class Growing(Camera):
        def read(self):
            good, pixels = super().read()
            return good, pixels.repeat(self.given, axis=0)

    monkeypatch.setattr("cv2.VideoCapture", Growing)
    with pytest.raises(OSError, match="camera 0: frame 1 is of 64 x 96, the first of 64 x 48 pixels"):
        list(read_frames(0))


@pytest.mark.filterwarnings("ignore:.*frames can be read, it states:UserWarning")
def test_mutated_videos_are_frames_or_a_named_error(tmp_path, capfd):
    path = write_video(tmp_path / "clip.avi")
    good = path.read_bytes()

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(EDITS, st.booleans(), st.floats(0, 5))
    def check(edits, in_head, kept):
        data = edited(good[:400], edits) + good[400:] if in_head else edited(good, edits)
        path.write_bytes(data[: round(kept * len(data))])
        try:
            frames = [frame.pixels.shape for frame in read_frames(str(path))]
        except OSError as error:
            assert str(path) in str(error)
        else:
            assert 0 < len(frames) <= 6 and len(set(frames)) == 1

    check()
    capfd.readouterr()  # what FFmpeg writes of each
