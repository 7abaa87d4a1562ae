"""The accuracy and the speed that the papers give for the registry's models, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Paper:
    """name: what a table cell calls it. title, authors, url: for people who want to read it."""

    name: str
    title: str
    authors: str
    url: str


@dataclass(frozen=True)
class Published:
    """One figure of a paper.

    dataset: as in "VOC07 test"; COCO's test-dev. Of a speed: whose classes the network predicts.
    metric: "mAP" (PASCAL VOC's, at IoU 0.5), "AP" (COCO's, mean over IoU 0.50 to 0.95) or "speed".
    value, unit: in "%"; of a speed "images/s", or "ms" for an image, whichever the paper gives, one image at a time.
    paper, table: where it stands. remark: what else a reader has to know.
    device: that a speed was measured on, with the software where the paper tells.
    multi_scale: on several sizes of the image with flips and box voting, the "+" of the tables; else one size.
    pretrained: the detection data that the model was trained on before the data set's own; "" for none.
    parts: what the value is made of or stands beside: on VOC the AP of the 20 classes in the order of VOC_CLASSES,
        whose mean it is; on COCO AP50, AP75 and the AP of small, medium and large objects. Empty where not known.
    """

    dataset: str
    metric: str
    value: float
    paper: Paper
    table: str
    remark: str = ""
    unit: str = "%"
    device: str = ""
    multi_scale: bool = False
    pretrained: str = ""
    parts: tuple[float, ...] = ()

    @property
    def images_per_second(self) -> float:
        """Of a speed, in whichever unit the paper has it."""
        if self.metric != "speed":
            raise ValueError(f"metric: expected a speed, got {self.metric!r}")
        return 1000 / self.value if self.unit == "ms" else self.value

    @property
    def conditions(self) -> str:
        """What sets it apart from the plain figure, such as "multi-scale, COCO-pretrained"; "" for nothing."""
        pretrained = f"{self.pretrained}-pretrained" if self.pretrained else ""
        return ", ".join(filter(None, (self.remark, "multi-scale" if self.multi_scale else "", pretrained)))


REFINEDET = Paper(
    "RefineDet",
    "Single-Shot Refinement Neural Network for Object Detection",
    "Zhang, Wen, Bian, Lei, Li, CVPR 2018",
    "https://arxiv.org/abs/1711.06897",
)
EFGRNET = Paper(
    "EFGRNet",
    "Enriched Feature Guided Refinement Network for Object Detection",
    "Nie, Anwer, Cholakkal, Khan, Pang, Shao, ICCV 2019",
    "https://doi.org/10.1109/ICCV.2019.00963",
)
REFINEDETLITE = Paper(
    "RefineDetLite",
    "RefineDetLite: A Lightweight One-stage Object Detection Framework for CPU-only Devices",
    "Chen et al. 2020",
    "https://arxiv.org/abs/1911.08855",
)
PADET = Paper(
    "PADet",
    "PosNeg-Balanced Anchors with Aligned Features for Single-Shot Object Detection",
    "Tang, Liu, Li, Hu 2019",
    "https://arxiv.org/abs/1908.03295",
)
PAPERS = (REFINEDET, EFGRNET, REFINEDETLITE, PADET)


COCO_PARTS = ("AP50", "AP75", "small", "medium", "large")
"""What `Published.parts` are on COCO."""

# what the papers' times were measured on
_TITAN_MAXWELL = "Titan X (Maxwell), CUDA 8.0, cuDNN 6"
_TITAN_PASCAL = "Titan X (Pascal), PyTorch 0.4.1"
_GTX_1080_TI = "GTX 1080 Ti, PyTorch 0.4.1, CUDA 9.0, cuDNN 7"
_I7_6700 = "i7-6700 (3.4 GHz), one thread"


def _voc07(figures: str, paper: Paper, **more: Any) -> Published:
    return _row("VOC07 test", "mAP", figures, paper, "results on PASCAL VOC, trained on 07+12", **more)


def _voc12(figures: str, paper: Paper, **more: Any) -> Published:
    return _row("VOC12 test", "mAP", figures, paper, "results on PASCAL VOC, trained on 07++12", **more)


def _coco(figures: str, paper: Paper, **more: Any) -> Published:
    return _row("COCO test-dev", "AP", figures, paper, "results on COCO test-dev", **more)


def _speed(
    value: float, unit: str, device: str, paper: Paper, table: str, dataset: str = "COCO test-dev", remark: str = ""
) -> Published:
    return Published(dataset, "speed", value, paper, table, remark, unit=unit, device=device)


def _row(dataset: str, metric: str, figures: str, paper: Paper, table: str, **more: Any) -> Published:
    """figures: the value, then its parts."""
    value, *parts = map(float, figures.split())
    return Published(dataset, metric, value, paper, table, parts=tuple(parts), **more)


def _maxwell(value: float) -> Published:
    return _speed(value, "images/s", _TITAN_MAXWELL, REFINEDET, "table 1", "VOC07 test")


def _pascal(value: float) -> Published:
    return _speed(value, "ms", _TITAN_PASCAL, EFGRNET, "table 2")


def _gtx(value: float) -> Published:
    return _speed(value, "images/s", _GTX_1080_TI, PADET, "table 6")


def _i7(value: float, remark: str = "") -> Published:
    return _speed(value, "ms", _I7_6700, REFINEDETLITE, "table 2", remark=remark)


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "refinedet320_vgg16": (
        _voc07(
            "80.0 83.9 85.4 81.4 75.5 60.2 86.4 88.1 89.1 62.7 83.9 77.0 85.4 87.1 86.7 82.6 55.3 82.7 78.5 88.1 79.4",
            REFINEDET,
        ),
        _voc12(
            "78.1 90.4 84.1 79.8 66.8 56.1 83.1 82.7 90.7 61.7 82.4 63.8 89.4 86.9 85.9 85.7 53.3 84.3 73.1 87.4 73.9",
            REFINEDET,
        ),
        _coco("29.4 49.2 31.3 10.0 32.0 44.4", REFINEDET),
        _voc07(
            "83.1 89.5 87.9 84.9 79.7 70.0 87.5 89.1 89.8 69.8 87.1 76.4 86.6 88.6 88.4 85.3 62.4 83.7 82.3 89.0 83.1",
            REFINEDET,
            multi_scale=True,
        ),
        _voc12(
            "82.7 92.0 88.4 84.9 74.0 69.5 86.0 88.0 93.3 67.0 86.2 68.3 92.1 89.7 88.9 89.4 62.0 88.5 75.9 90.0 80.0",
            REFINEDET,
            multi_scale=True,
        ),
        _coco("35.2 56.1 37.7 19.5 37.2 47.0", REFINEDET, multi_scale=True),
        _voc07(
            "84.0 88.9 88.4 86.2 81.5 71.7 88.4 89.4 89.0 71.0 87.0 80.1 88.5 90.2 88.4 86.7 61.2 85.2 83.8 89.1 85.5",
            REFINEDET,
            pretrained="COCO",
        ),
        _voc12(
            "82.7 93.1 88.2 83.6 74.4 65.1 87.1 87.1 93.7 67.4 86.1 69.4 91.5 90.6 91.4 89.4 59.6 87.9 78.1 91.1 80.0",
            REFINEDET,
            pretrained="COCO",
        ),
        _voc07(
            "85.6 90.2 89.0 87.6 84.6 78.0 89.4 89.7 89.9 74.7 89.8 80.5 89.0 89.7 89.6 87.8 65.5 87.9 84.2 88.6 86.3",
            REFINEDET,
            pretrained="COCO",
            multi_scale=True,
        ),
        _voc12(
            "86.0 94.2 90.2 87.7 80.4 74.9 90.0 91.7 94.9 71.9 89.8 71.7 93.5 91.9 92.4 91.9 66.5 91.5 79.1 92.8 83.9",
            REFINEDET,
            pretrained="COCO",
            multi_scale=True,
        ),
        _maxwell(40.3),
        _pascal(20),
    ),
    "refinedet512_vgg16": (
        _voc07(
            "81.8 88.7 87.0 83.2 76.5 68.0 88.5 88.7 89.2 66.5 87.9 75.0 86.8 89.2 87.8 84.7 56.2 83.2 78.7 88.1 82.3",
            REFINEDET,
        ),
        _voc12(
            "80.1 90.2 86.8 81.8 68.0 65.6 84.9 85.0 92.2 62.0 84.4 64.9 90.6 88.3 87.2 87.8 58.0 86.3 72.5 88.7 76.6",
            REFINEDET,
        ),
        _coco("33.0 54.5 35.5 16.3 36.3 44.3", REFINEDET),
        _voc07(
            "83.8 88.5 89.1 85.5 79.8 72.4 89.5 89.5 89.9 69.9 88.9 75.9 87.4 89.6 89.0 86.2 63.9 86.2 81.0 88.6 84.4",
            REFINEDET,
            multi_scale=True,
        ),
        _voc12(
            "83.5 92.2 89.4 85.0 74.1 70.8 87.0 88.7 94.0 68.6 87.1 68.2 92.5 90.8 89.4 90.2 64.1 89.8 75.2 90.7 81.1",
            REFINEDET,
            multi_scale=True,
        ),
        _coco("37.6 58.7 40.8 22.7 40.3 48.3", REFINEDET, multi_scale=True),
        _voc07(
            "85.2 90.0 89.2 87.9 83.1 78.5 90.0 89.9 89.7 74.7 89.8 79.5 88.7 89.9 89.2 87.8 63.1 86.4 82.3 89.5 84.7",
            REFINEDET,
            pretrained="COCO",
        ),
        _voc12(
            "85.0 94.0 90.0 86.9 76.9 74.1 89.7 89.8 94.2 69.7 90.0 68.5 92.6 92.8 91.5 91.4 66.0 91.2 75.4 91.8 83.0",
            REFINEDET,
            pretrained="COCO",
        ),
        _voc07(
            "85.8 90.4 89.6 88.2 84.9 78.3 89.8 89.9 90.0 75.9 90.0 80.0 89.8 90.3 89.6 88.3 66.2 87.8 83.5 89.3 85.2",
            REFINEDET,
            pretrained="COCO",
            multi_scale=True,
        ),
        _voc12(
            "86.8 94.7 91.5 88.8 80.4 77.6 90.4 92.3 95.6 72.5 91.6 69.9 93.9 93.5 92.4 92.6 68.8 92.4 78.5 93.6 85.2",
            REFINEDET,
            pretrained="COCO",
            multi_scale=True,
        ),
        _maxwell(24.1),
        _pascal(39),
    ),
    "refinedet320_resnet101": (
        _coco("32.0 51.4 34.2 10.5 34.7 50.4", REFINEDET),
        _coco("38.6 59.9 41.7 21.1 41.7 52.3", REFINEDET, multi_scale=True),
    ),
    "refinedet512_resnet101": (
        _coco("36.4 57.5 39.5 16.6 39.9 51.4", REFINEDET),
        _coco("41.8 62.9 45.7 25.6 45.1 54.1", REFINEDET, multi_scale=True),
    ),
    "refinedet320_mobilenet_v1": (_coco("24.3 43.0 24.4 7.6 26.5 38.7", REFINEDETLITE), _i7(168)),
    "refinedet320_mobilenet_v2": (_coco("24.8 42.9 25.4 7.6 26.5 40.4", REFINEDETLITE), _i7(163)),
    "refinedet320_mobilenet_v3": (_coco("22.1 40.1 23.3 6.5 23.6 35.7", REFINEDETLITE), _i7(150)),
    "refinedet320_shufflenet_v2": (_coco("21.1 38.3 21.5 5.8 22.8 34.3", REFINEDETLITE), _i7(129)),
    "efgrnet320_vgg16": (
        _voc07("81.4", EFGRNET),
        _coco("33.2 53.4 35.4 13.4 37.1 47.9", EFGRNET),
        _pascal(21),
    ),
    "efgrnet512_vgg16": (
        _voc07("82.7", EFGRNET),
        _coco("37.5 58.8 40.4 19.7 41.6 49.4", EFGRNET),
        _pascal(39),
    ),
    "efgrnet512_resnet101": (
        _coco("39.0 58.8 42.3 17.8 43.6 54.5", EFGRNET),
        _coco("43.4 63.8 48.2 26.8 47.2 55.9", EFGRNET, multi_scale=True),
        _pascal(46),
    ),
    "refinedetlite320_res2netlite72": (
        _coco("26.8 46.6 27.4 7.4 27.7 42.4", REFINEDETLITE),
        _coco("29.6 47.4 31.0 9.1 30.8 45.5", REFINEDETLITE, remark='"++"'),
        _i7(130),
        _i7(131, '"++"'),
    ),
    "padet384_vgg16": (_voc07("82.0", PADET), _coco("35.2 55.9 38.1 17.7 38.2 48.3", PADET), _gtx(62.5)),
    "padet512_vgg16": (_voc07("82.7", PADET), _coco("37.6 58.7 41.0 21.0 40.4 49.5", PADET), _gtx(38.5)),
    "padet384_resnet101": (_coco("36.9 57.0 40.2 16.4 40.4 53.3", PADET), _gtx(40.0)),
    "padet512_resnet101": (_coco("40.0 60.8 43.8 21.3 43.9 53.9", PADET), _gtx(28.6)),
}
"""By registry name; what is not here has no published figure. None of them was reproduced by this package."""


def published_speeds(name: str) -> list[Published]:
    """The speeds of a model, that of its own paper first; empty where there are none."""
    return [row for row in PUBLISHED.get(name, ()) if row.metric == "speed"]
