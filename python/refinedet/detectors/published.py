"""The accuracy that the papers give for the registry's models, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """name: what a table cell calls it. title, authors, url: for people who want to read it."""

    name: str
    title: str
    authors: str
    url: str


@dataclass(frozen=True)
class Published:
    """One figure of a paper, for one image size without flips.

    dataset: as in "VOC07 test"; COCO's test-dev. metric: "mAP" (PASCAL VOC's, at IoU 0.5) or "AP" (COCO's, mean over
    IoU 0.50 to 0.95). value: in percent. paper, table: where it stands. remark: what else a reader has to know.
    """

    dataset: str
    metric: str
    value: float
    paper: Paper
    table: str
    remark: str = ""


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


def _voc07(value: float, paper: Paper) -> Published:
    return Published("VOC07 test", "mAP", value, paper, "results on PASCAL VOC, trained on 07+12")


def _voc12(value: float, paper: Paper) -> Published:
    return Published("VOC12 test", "mAP", value, paper, "results on PASCAL VOC, trained on 07++12")


def _coco(value: float, paper: Paper, remark: str = "") -> Published:
    return Published("COCO test-dev", "AP", value, paper, "results on COCO test-dev", remark)


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "refinedet320_vgg16": (_voc07(80.0, REFINEDET), _voc12(78.1, REFINEDET), _coco(29.4, REFINEDET)),
    "refinedet512_vgg16": (_voc07(81.8, REFINEDET), _voc12(80.1, REFINEDET), _coco(33.0, REFINEDET)),
    "refinedet320_resnet101": (_coco(32.0, REFINEDET),),
    "refinedet512_resnet101": (_coco(36.4, REFINEDET),),
    "refinedet320_mobilenet_v1": (_coco(24.3, REFINEDETLITE),),
    "refinedet320_mobilenet_v2": (_coco(24.8, REFINEDETLITE),),
    "refinedet320_mobilenet_v3": (_coco(22.1, REFINEDETLITE),),
    "refinedet320_shufflenet_v2": (_coco(21.1, REFINEDETLITE),),
    "efgrnet320_vgg16": (_voc07(81.4, EFGRNET), _coco(33.2, EFGRNET)),
    "efgrnet512_vgg16": (_voc07(82.7, EFGRNET), _coco(37.5, EFGRNET)),
    "efgrnet512_resnet101": (_coco(39.0, EFGRNET),),
    "refinedetlite320_res2netlite72": (_coco(26.8, REFINEDETLITE), _coco(29.6, REFINEDETLITE, '"++"')),
    "padet384_vgg16": (_voc07(82.0, PADET), _coco(35.2, PADET)),
    "padet512_vgg16": (_voc07(82.7, PADET), _coco(37.6, PADET)),
    "padet384_resnet101": (_coco(36.9, PADET),),
    "padet512_resnet101": (_coco(40.0, PADET),),
}
"""By registry name; what is not here has no published figure. None of them was reproduced by this package."""


def published_cell(name: str) -> str:
    """The figures of a model for a table, such as "VOC07 81.4, COCO 33.2 (EFGRNet)"; "–" where there are none."""
    rows = PUBLISHED.get(name, ())
    figures = [f"{row.dataset.split()[0]} {row.value:.1f}" + (f" {row.remark}" if row.remark else "") for row in rows]
    papers = dict.fromkeys(row.paper.name for row in rows)
    return f"{', '.join(figures)} ({', '.join(papers)})" if rows else "–"


def sources() -> str:
    """What the cells mean, and the papers, as Markdown."""
    papers = ", ".join(f"[{paper.name}]({paper.url})" for paper in PAPERS)
    return (
        "Published: mAP in percent on the test sets of VOC07 and VOC12, AP on COCO's test-dev, one image size; from "
        f"the papers\n{papers}. Not reproduced here."
    )
