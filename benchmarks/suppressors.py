"""Other libraries' NMS, from tensors to the rows kept, best first: each made from what is installed.

What a library asks for (arrays, another layout of the boxes, a score matrix) is made by `prepare`; a benchmark of NMS
alone leaves that out of the time, one of a detector's whole post-processing cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .peers import optional

ABSENT = -1.0  # below every score
COMPARE_ALL_PAIRS = ("powerboxes", "OpenCV")  # too slow for hundreds of thousands of boxes


@dataclass(frozen=True)
class Suppressor:
    """Of at least one box.

    prepare: (boxes (N, 4), scores (N,), classes (N,), or no classes) -> what `run` takes.
    run: -> the rows kept, by score.
    """

    prepare: Callable[..., Sequence[Any]]
    run: Callable[..., Tensor]

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self.run(*self.prepare(*inputs))


def suppressors(iou: float) -> dict[str, Suppressor | None]:
    """By the library's name; None stands for one that is not installed."""
    makers: dict[str, tuple[Callable[..., Suppressor], tuple[str, ...]]] = {
        "onnxruntime": (_onnxruntime, ("onnxruntime", "onnx")),
        "lsnms": (_lsnms, ("lsnms",)),
        "powerboxes": (partial(_powerboxes, "nms"), ("powerboxes",)),
        "powerboxes, R-tree": (partial(_powerboxes, "rtree_nms"), ("powerboxes",)),
        "OpenCV": (_opencv, ("cv2",)),
    }
    made: dict[str, Suppressor | None] = {}
    for name, (make, modules) in makers.items():
        libraries = [optional(module) for module in modules]
        made[name] = None if None in libraries else make(*libraries, iou)
    return made


def _onnxruntime(onnxruntime: Any, onnx: Any, iou: float) -> Suppressor:
    """The operator NonMaxSuppression, which wants a score of every box for every class and gives one class after the
    other."""

    @cache
    def session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        return onnxruntime.InferenceSession(_network(onnx, iou), options, providers=["CPUExecutionProvider"])

    def prepare(boxes: Tensor, scores: Tensor, classes: Tensor | None = None) -> Sequence[Any]:
        if classes is None:
            matrix = scores[None]
        else:
            matrix = scores.new_full((int(classes.max()) + 1, len(scores)), ABSENT)
            matrix[classes, torch.arange(len(scores))] = scores
        feeds = {"boxes": boxes[None].numpy(), "scores": matrix[None].numpy()}
        return session(torch.get_num_threads()), feeds, scores

    def run(session: Any, feeds: dict[str, np.ndarray], scores: Tensor) -> Tensor:
        (rows,) = session.run(None, feeds)  # (K, 3): image, class, box
        kept = torch.from_numpy(rows[:, 2])
        return kept if feeds["scores"].shape[1] == 1 else kept[scores[kept].argsort(descending=True)]

    return Suppressor(prepare, run)


def _network(onnx: Any, iou: float) -> bytes:
    kinds, make = onnx.TensorProto, onnx.helper
    constants = [
        make.make_tensor("most", kinds.INT64, [1], [np.iinfo(np.int64).max]),
        make.make_tensor("iou", kinds.FLOAT, [1], [iou]),
        make.make_tensor("least", kinds.FLOAT, [1], [ABSENT]),
    ]
    graph = make.make_graph(
        [make.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["kept"])],
        "suppression",
        [
            make.make_tensor_value_info("boxes", kinds.FLOAT, [1, None, 4]),
            make.make_tensor_value_info("scores", kinds.FLOAT, [1, None, None]),
        ],
        [make.make_tensor_value_info("kept", kinds.INT64, [None, 3])],
        constants,
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def _lsnms(lsnms: Any, iou: float) -> Suppressor:
    def prepare(boxes: Tensor, scores: Tensor, classes: Tensor | None = None) -> Sequence[Any]:
        return boxes.numpy(), scores.numpy(), None if classes is None else classes.numpy()

    def run(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray | None) -> Tensor:
        return torch.from_numpy(lsnms.nms(boxes, scores, iou, class_ids=classes).astype(np.int64))

    return Suppressor(prepare, run)


def _powerboxes(function: str, powerboxes: Any, iou: float) -> Suppressor:
    """It knows no classes: they are moved apart, as torchvision and lsnms do."""

    def prepare(boxes: Tensor, scores: Tensor, classes: Tensor | None = None) -> Sequence[Any]:
        if classes is not None:
            boxes = boxes + (classes * (boxes.max() - boxes.min() + 1))[:, None]
        return boxes.numpy(), scores.double().numpy()

    def run(boxes: np.ndarray, scores: np.ndarray) -> Tensor:
        return torch.from_numpy(getattr(powerboxes, function)(boxes, scores, iou, ABSENT).astype(np.int64))

    return Suppressor(prepare, run)


def _opencv(cv2: Any, iou: float) -> Suppressor:
    """It takes no score threshold below 0, so that a score of 0 is lost."""

    def prepare(boxes: Tensor, scores: Tensor, classes: Tensor | None = None) -> Sequence[Any]:
        corner, end = boxes.double().split(2, dim=1)
        rectangles = torch.cat([corner, end - corner], dim=1)
        return rectangles.numpy(), scores.numpy(), None if classes is None else classes.int().numpy()

    def run(rectangles: np.ndarray, scores: np.ndarray, classes: np.ndarray | None) -> Tensor:
        if classes is None:
            kept = cv2.dnn.NMSBoxes(rectangles, scores, 0.0, iou)
        else:
            kept = cv2.dnn.NMSBoxesBatched(rectangles, scores, classes, 0.0, iou)
        return torch.from_numpy(kept).long()

    return Suppressor(prepare, run)
