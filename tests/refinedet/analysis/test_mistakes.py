from __future__ import annotations

from pathlib import Path

from refinedet.analysis.matching import Scene
from refinedet.analysis.mistakes import as_json, draw_mistakes, find_mistakes
from refinedet.data import VOCDetection, to_coco_dict
from refinedet.evaluation import GroundTruth

from ..data.makers import make_voc, voc_object, voc_xml
from ..evaluation.scenes import make_record
from .test_matching import scene_of

SCENE = scene_of(
    [
        (1, 1, [0, 0, 10, 10]),
        (1, 2, [50, 0, 60, 10]),
        (1, 2, [100, 0, 110, 10]),
        (1, 1, [200, 0, 210, 10], {"difficult": 1}),
        (2, 1, [0, 0, 10, 10]),
        (3, 2, [0, 0, 10, 10]),
    ],
    make_record(
        1,
        (1, 0.8, [0, 0, 10, 9]),
        (1, 0.7, [50, 0, 60, 10]),  # a on an object of b
        (1, 0.6, [200, 0, 210, 10]),  # on what is difficult
        (2, 0.3, [100, 0, 110, 10]),
    ),
    make_record(2, (1, 0.9, [0, 0, 10, 10])),
    make_record(3, (2, 0.9, [4, 0, 14, 10])),  # an overlap of 0.43
    images=[1, 2, 3, 4],
)


def counts(threshold: float) -> list[tuple[int, int, int, int]]:
    found = find_mistakes(SCENE, threshold)
    return [(SCENE.truth.image_ids[one.image], len(one.correct), len(one.wrong), len(one.missed)) for one in found]


def test_by_hand() -> None:
    assert counts(0.5) == [(1, 1, 1, 2), (3, 0, 1, 1)]
    assert counts(0.3) == [(1, 2, 1, 1), (3, 0, 1, 1)]  # as many each: in their order
    assert counts(0.95) == [(1, 0, 0, 3), (2, 0, 0, 1), (3, 0, 0, 1)]


def test_which_they_are() -> None:
    first = find_mistakes(SCENE, 0.5)[0]
    assert SCENE.boxes[first.wrong].tolist() == [[50, 0, 60, 10]]
    assert SCENE.truth.boxes[first.missed].tolist() == [[50, 0, 60, 10], [100, 0, 110, 10]]
    assert SCENE.scores[first.correct].tolist() == [0.8]


def test_without_the_images_their_numbers_are_named() -> None:
    assert as_json(find_mistakes(SCENE, 0.5), SCENE, 0.5, None) == {
        "threshold": 0.5,
        "images": [{"image_id": 1, "missed": 2, "wrong": 1}, {"image_id": 3, "missed": 1, "wrong": 1}],
    }


def test_nothing_at_all() -> None:
    assert find_mistakes(scene_of([], images=[1, 2]), 0.5) == []


def test_an_image_that_cannot_be_read_any_more_is_passed_over(tmp_path: Path) -> None:
    thing = voc_object("thing", (5, 5, 40, 40))
    make_voc(tmp_path, {"one": voc_xml([thing]), "two": voc_xml([thing, thing])})
    dataset = VOCDetection(tmp_path, "train", classes=["thing"])
    truth = GroundTruth.load(to_coco_dict(dataset), ["thing"])
    scene = Scene.of(truth, [])
    mistakes = find_mistakes(scene, 0.5)
    assert [Path(one["file"]).stem for one in as_json(mistakes, scene, 0.5, dataset)["images"]] == ["two", "one"]
    both = draw_mistakes(mistakes, scene, dataset)
    (tmp_path / "JPEGImages/two.jpg").unlink()
    rest = draw_mistakes(mistakes, scene, dataset)
    assert both is not None and rest is not None and both.size > 1.9 * rest.size
    (tmp_path / "JPEGImages/one.jpg").unlink()
    assert draw_mistakes(mistakes, scene, dataset) is None
