from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import refinedet
from refinedet import Predictor
from refinedet.inference.images import load_image

from .inference.makers import Camera, write_video

NAMES = ["red", "white", "platelet"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    options = {"tcb_channels": 16, "nms": {"keep_top_k": 20, "iou_threshold": 0.3}}
    model = refinedet.create_model("refinedet192_small", 4, **options)
    with torch.no_grad():  # statistics for the batch norms, so that the scores are not all 0 or 1
        for _ in range(20):
            model(torch.randn(4, 3, 192, 192) * 50)
    return model


class Everything(Predictor):
    """Gives all detections unless a threshold is asked for, as the scores of untrained weights are low."""

    def __call__(self, images, *, score_threshold=0.0, **options):
        return super().__call__(images, score_threshold=score_threshold, **options)


@pytest.fixture
def predictor(model):
    return Everything(model, NAMES)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def same(a, b):
    return (
        np.array_equal(a.boxes, b.boxes)
        and np.array_equal(a.scores, b.scores)
        and np.array_equal(a.labels, b.labels)
        and (a.names, a.size) == (b.names, b.size)
    )


def test_boxes_are_in_the_pixels_of_the_image(predictor, image):
    found = predictor(image)
    assert len(found) == len(found.boxes) == len(found.names) > 0 and found.size == (160, 90)
    assert found.boxes.dtype == np.float32 and found.boxes.shape[1] == 4
    assert (found.boxes >= 0).all() and (found.boxes[:, 2:] <= (160, 90)).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.names == [NAMES[label - 1] for label in found.labels]


def test_boxes_are_those_of_the_network_scaled(predictor, model, image):
    resized = cv2.resize(image, (192, 192), interpolation=cv2.INTER_LINEAR)
    pixels = torch.from_numpy(resized.astype(np.float32) - np.float32([104, 117, 123])).permute(2, 0, 1)
    with torch.no_grad():
        raw = model.eval()(pixels[None])
    count = int(raw.count[0])
    expected = (raw.boxes[0, :count].clamp(0, 1) * torch.tensor([160.0, 90, 160, 90])).numpy()
    found = predictor(image)
    np.testing.assert_allclose(found.boxes, expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, raw.scores[0, :count].numpy(), rtol=1e-5)


def test_all_kinds_of_image_agree(predictor, image, tmp_path):
    expected = predictor(image)
    path = tmp_path / "a b\u00e9.png"  # a name that needs more than ASCII
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    rgb = Image.fromarray(image[:, :, ::-1])
    alpha = np.concatenate([image, np.full((90, 160, 1), 7, np.uint8)], axis=2)
    for kind in (path, str(path), rgb, alpha, image[:, ::-1][:, ::-1], rgb.convert("RGBA")):
        assert same(predictor(kind), expected)
    assert predictor(path).path == str(path) and predictor(image).path is None


def test_grey_images(predictor, image):
    grey = image[:, :, 0]
    expected = predictor(np.repeat(grey[:, :, None], 3, axis=2))
    for kind in (grey, grey[:, :, None], Image.fromarray(grey)):
        assert same(predictor(kind), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_every_mode_of_pil(mode):
    assert load_image(Image.new(mode, (5, 4))).shape == (4, 5, 3)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 500, 3), (192, 192, 3)])
def test_any_size(predictor, shape):
    found = predictor(np.zeros(shape, np.uint8))
    assert found.size == (shape[1], shape[0])
    assert (found.boxes[:, 2:] <= (shape[1], shape[0])).all()


def test_a_list_gives_a_list_in_its_order_whatever_the_batch(model, image):
    images = [image[: 90 - 10 * i] for i in range(5)]
    one_by_one = Everything(model, NAMES, batch_size=1)(images)
    assert [p.size for p in one_by_one] == [(160, 90 - 10 * i) for i in range(5)]
    for batch_size in (2, 8):
        together = Everything(model, NAMES, batch_size=batch_size)(iter(images))
        assert len(together) == 5
        for a, b in zip(one_by_one, together, strict=True):
            np.testing.assert_allclose(a.scores, b.scores, rtol=1e-4)
    assert Everything(model, NAMES)([]) == []


def test_score_threshold(predictor, image):
    everything = predictor(image)
    bar = float(everything.scores[3])
    assert len(predictor(image, score_threshold=bar)) == (everything.scores >= bar).sum()
    assert len(predictor(image, score_threshold=1.0)) == 0


def test_other_input_sizes(model, image):
    small = Everything(model, NAMES, input_size=128)(image)
    assert small.size == (160, 90) and not same(small, Everything(model, NAMES)(image))
    with pytest.raises(ValueError, match="input_size: expected a multiple of 64, got 100"):
        Everything(model, NAMES, input_size=100)


def test_prediction_as_json(predictor, image):
    found = predictor(image)
    data = json.loads(json.dumps(found.to_dict()))
    assert (data["width"], data["height"], data["path"]) == (160, 90, None)
    first = data["detections"][0]
    assert first["name"] == found.names[0] and first["box"] == pytest.approx(found.boxes[0].tolist())


def test_from_file(model, predictor, image, tmp_path):
    path = refinedet.save_model(model, tmp_path / "m.safetensors", class_names=NAMES)
    assert same(Everything.from_file(path)(image), predictor(image))
    assert Everything.from_file(path, nms={"keep_top_k": 3})(image).boxes.shape == (3, 4)


def test_unnamed_classes(model, image):
    assert set(Everything(model)(image).names) <= {"class 1", "class 2", "class 3"}


def test_wrong_class_names(model):
    with pytest.raises(ValueError, match="class_names: expected 3 names, one per foreground class, got 2"):
        Predictor(model, ["a", "b"])


def test_the_model_is_put_into_eval_mode(model, image):
    predictor = Predictor(model.train(), NAMES)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predictor(image)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (Path("nowhere.jpg"), FileNotFoundError, "nowhere.jpg"),
        (np.zeros((4, 4, 3), np.float32), TypeError, "image: expected a uint8 array, got float32"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"image: expected shape .*, got \(4, 4, 2\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), ValueError, r"image: expected shape .*, got \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"image: expected shape .*, got \(0, 4, 3\)"),
        (7.5, TypeError, "images: expected an image or several, got float"),
        (True, TypeError, "images: expected an image or several, got bool"),
        ([0], TypeError, "image: expected a path, .* got int"),
        ([None], TypeError, "image: expected a path, an address, a NumPy array, a tensor or a PIL image, got NoneType"),
    ],
)
def test_wrong_images_are_named(predictor, image, error, message):
    with pytest.raises(error, match=message):
        predictor(image)


def test_unreadable_file_is_named(predictor, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    with pytest.raises(ValueError, match="broken.jpg"):
        predictor(tmp_path / "broken.jpg")


@pytest.mark.parametrize("threshold", [-0.1, 1.5, "high"])
def test_wrong_score_threshold_is_named(predictor, image, threshold):
    with pytest.raises(ValueError, match="score_threshold: expected a number from 0 to 1"):
        predictor(image, score_threshold=threshold)


def test_only_what_scores_high_is_given_unless_asked(model, image):
    predictor = Predictor(model, NAMES)
    everything = predictor(image, score_threshold=0.0)
    assert len(predictor(image)) == (everything.scores >= 0.5).sum()
    assert len(list(predictor.stream([image]))[0]) == len(predictor(image))


def test_classes_and_thresholds_by_name(predictor, image):
    everything = predictor(image)
    name = everything.names[-1]
    assert len(predictor(image, classes=name)) == everything.names.count(name)
    bar = float(everything.scores[everything.names.index(name)])
    found = predictor(image, score_threshold={name: bar, **{other: 0.0 for other in NAMES if other != name}})
    assert len(found) == sum(
        n != name or score >= bar for n, score in zip(everything.names, everything.scores, strict=True)
    )
    with pytest.raises(ValueError, match="classes: the model has no class 'car', but red, white, platelet"):
        predictor(image, classes=["red", "car"])


def test_tensors_and_batches_of_them(predictor, image):
    expected = predictor(image)
    tensor = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1)
    for kind in (tensor, tensor / 255):
        assert same(predictor(kind), expected)
    both = predictor(torch.stack([tensor, tensor.flip(2)]))
    assert len(both) == 2 and same(both[0], predictor([image, image[:, ::-1]])[0])
    assert [p.size for p in predictor([tensor, tensor[None]])] == [(160, 90), (160, 90)]


def test_order_of_the_channels(model, predictor, image):
    rgb = Everything(model, NAMES, color="rgb")
    assert same(rgb(np.ascontiguousarray(image[:, :, ::-1])), predictor(image)) and not same(
        rgb(image), predictor(image)
    )
    with pytest.raises(ValueError, match="color: expected one of .*, got 'grb'"):
        Predictor(model, NAMES, color="grb")


def test_folders_patterns_and_videos_give_lists(predictor, image, tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), image)
    write_video(tmp_path / "clip.avi", frames=3)
    found = predictor(tmp_path)
    assert [Path(p.path).name for p in found] == ["a.png", "b.png", *["clip.avi"] * 3]
    assert [p.frame for p in found] == [None, None, 0, 1, 2] and all(p.image is None for p in found)
    assert len(predictor(f"{tmp_path}/*.png")) == 2 and len(predictor(tmp_path / "clip.avi")) == 3
    assert isinstance(predictor(tmp_path / "a.png"), refinedet.Prediction)


def test_images_in_memory_are_held_and_files_by_a_stream(predictor, image, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), image)
    assert predictor(path).image is None and predictor(path).plot().shape == image.shape
    np.testing.assert_array_equal(predictor(image).image, image)
    (streamed,) = predictor.stream(path)
    np.testing.assert_array_equal(streamed.image, image)


def test_a_stream_gives_what_a_call_gives_as_soon_as_it_can(model, image):
    predictor = Predictor(model, NAMES, batch_size=2)
    taken = []

    def images():
        for i in range(5):
            taken.append(i)
            yield image[: 90 - 10 * i]

    stream = predictor.stream(images(), score_threshold=0.0)
    assert not taken
    first = next(stream)
    assert taken == [0, 1] and first.size == (160, 90)
    rest = [first, *stream]
    assert all(map(same, rest, predictor([image[: 90 - 10 * i] for i in range(5)], score_threshold=0.0)))


def test_images_that_cannot_be_read_are_told(predictor, image, tmp_path):
    good, bad, missing = (str(tmp_path / name) for name in ("good.png", "bad.png", "missing.png"))
    cv2.imwrite(good, image)
    Path(bad).write_bytes(b"no image")
    told = []
    images = [bad, good, missing, np.zeros((4, 4, 2), np.uint8), good]
    found = list(predictor.stream(images, on_error=lambda image, error: told.append((image, error))))
    assert [p.path for p in found] == [good, good]
    assert [image for image, _ in told[:2]] == [bad, missing] and told[2][0].shape == (4, 4, 2)
    assert all(isinstance(error, (OSError, ValueError)) for _, error in told)
    stream = predictor.stream([good, bad, good])  # what comes before is given, though it is of the same batch
    assert next(stream).path == good
    with pytest.raises(ValueError, match="bad.png"):
        next(stream)
    with pytest.raises(TypeError):  # no bad image, but a mistake
        list(predictor.stream([None], on_error=lambda image, error: None))
    with pytest.raises(ValueError, match="on_error: expected 'raise' or a function, got 'skip'"):
        predictor.stream(images, on_error="skip")


def test_cameras_are_for_streams(predictor, monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    told = []
    found = list(predictor.stream(0, on_error=lambda source, error: told.append((source, str(error)))))
    assert [p.frame for p in found] == [0, 1, 2, 3] and {p.path for p in found} == {"camera 0"}
    assert found[0].plot().shape == (48, 64, 3) and told == [(0, "camera 0: gives no more frames after 4")]


def test_options_are_checked_when_a_stream_is_made(predictor, image):
    with pytest.raises(ValueError, match="score_threshold"):
        predictor.stream(image, score_threshold=2)
    with pytest.raises(TypeError, match="images: expected an image or several, got float"):
        predictor.stream(7.5)


def test_a_path_cv2_and_pillow_agree_on_a_turned_photograph(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)).save(path, exif=exif)
    want = cv2.imread(str(path))
    assert want.shape == (40, 24, 3)
    for image in (path, str(path), Image.open(path)):
        np.testing.assert_array_equal(load_image(image), want)
        assert load_image(image, "stored").shape == (24, 40, 3)


def test_deep_pillow_images_are_scaled():
    deep = Image.fromarray(np.array([[0, 2048, 4095]], np.uint16))
    assert load_image(deep)[0, :, 0].tolist() == [0, 128, 255]
