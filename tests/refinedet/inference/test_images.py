from __future__ import annotations

import numpy as np
import pytest
import torch

from refinedet.inference.images import load_image


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8)


def tensor(image):
    return torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1)  # RGB, as torchvision reads


def test_tensors_are_rgb_and_arrays_bgr_unless_said_otherwise(image):
    np.testing.assert_array_equal(load_image(image), image)
    np.testing.assert_array_equal(load_image(image, color="rgb"), image[:, :, ::-1])
    np.testing.assert_array_equal(load_image(tensor(image)), image)
    np.testing.assert_array_equal(load_image(tensor(image), color="bgr"), image[:, :, ::-1])


def test_alpha_comes_last_in_either_order(image):
    alpha = np.dstack([image, np.full((9, 16), 7, np.uint8)])
    np.testing.assert_array_equal(load_image(alpha), image)
    np.testing.assert_array_equal(load_image(alpha, color="rgb"), image[:, :, ::-1])
    rgba = torch.cat([tensor(image), torch.zeros(1, 9, 16, dtype=torch.uint8)])
    np.testing.assert_array_equal(load_image(rgba), image)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_floats_are_the_same_pixels(image, dtype):
    np.testing.assert_array_equal(load_image(tensor(image).to(dtype) / 255), image)
    np.testing.assert_array_equal(load_image((tensor(image).to(dtype) / 255).requires_grad_()), image)


def test_grey_tensors_are_tripled(image):
    grey = load_image(torch.from_numpy(image[None, :, :, 0]))
    np.testing.assert_array_equal(grey, np.repeat(image[:, :, :1], 3, axis=2))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.zeros(4, 5), ValueError, r"image: expected a tensor of shape \(1, H, W\), .*, got \(4, 5\)"),
        (torch.zeros(9, 16, 3), ValueError, r"image: expected a tensor of shape .*, got \(9, 16, 3\)"),
        (torch.zeros(3, 0, 5), ValueError, r"image: expected a tensor of shape .*, got \(3, 0, 5\)"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), TypeError, "image: expected a tensor of uint8 or floats, got int64"),
        (
            torch.full((3, 4, 5), 200.0),
            ValueError,
            "image: expected values from 0 to 1 .* of float32, got 200",
        ),
        (torch.full((3, 4, 5), -0.1), ValueError, "image: expected values from 0 to 1 .* got -0.1"),
        (torch.full((3, 4, 5), torch.nan), ValueError, "image: expected values from 0 to 1 .* got nan"),
    ],
)
def test_other_tensors_are_refused(image, error, message):
    with pytest.raises(error, match=message):
        load_image(image)


def test_a_jpeg_that_was_cut_off_is_refused(image, tmp_path):
    import cv2

    data = cv2.imencode(".jpg", np.tile(image, (30, 30, 1)))[1].tobytes()
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert load_image(path).shape == (270, 480, 3)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="a.jpg: JPEG file is cut off"):
        load_image(path)
