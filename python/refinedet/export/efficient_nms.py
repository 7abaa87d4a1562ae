"""A whole detector as an ONNX graph that ends in TensorRT's plugin EfficientNMS_TRT."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import refinedet_ext.numpy as rxn

from ..detectors import Detector
from ..extras import import_optional
from ..model_info import KEY, ModelInfo
from ..nms_config import NMSConfig
from ..runtimes.session import DETECTIONS
from .checks import check_path, example_images
from .onnx_file import SUFFIX, export_onnx
from .verify import Check, compare, write_checked

PLUGIN, DOMAIN = "EfficientNMS_TRT", "TRT"
SUPPRESSION = "NonMaxSuppression"
BOXES, SCORES = "nms_boxes", "nms_scores"
OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")


@torch.no_grad()
def export_efficient_nms(
    model: Detector,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    input_size: int | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
    pixels: str = "float32",
) -> Check:
    """Write a network with TensorRT's plugin for the suppression as an ONNX file, which TensorRT alone runs.

    Options and input are those of `export_onnx`. In front of the plugin stand "nms_boxes" (B, A, 4), decoded corners as
    fractions of the input's width and height, and "nms_scores" (B, A, C) without background, -1 where an anchor or a
    score is no candidate. Its outputs: "num_detections" (B, 1) int32, "detection_boxes" (B, K, 4), "detection_scores"
    (B, K) and "detection_classes" (B, K) int32 from 0 on: a label less 1. Of its own accord the plugin looks at no more
    than the best 4,096 scores of an image.

    The file is opened again; what stands in front of the plugin is run in ONNX Runtime, its suppression is done by
    `refinedet_ext.numpy.multiclass_nms`, and the detections are compared with the model's. Errors are those of
    `export_onnx`; ImportError without onnxruntime, ValueError for a limit on the detections of a class, which the
    plugin does not have.
    """
    example_images(model, input_size, batch_size, dynamic_batch, pixels)  # called for its checks
    file = check_path(path, SUFFIX)
    if model.nms.keep_per_class is not None:
        raise ValueError(f"nms: expected no limit per class with efficient_nms, got {model.nms.keep_per_class}")
    import_optional("onnxruntime", "the check of the ONNX file")
    with tempfile.TemporaryDirectory() as folder:
        standard = Path(folder) / f"standard{SUFFIX}"
        export_onnx(
            model,
            standard,
            class_names=class_names,
            input_size=input_size,
            batch_size=batch_size,
            dynamic_batch=dynamic_batch,
            end_to_end=True,
            pixels=pixels,
        )
        graph, info = with_plugin(standard)

    def write(made: Path) -> None:
        import onnx

        onnx.save(graph, made)

    return write_checked(file, write, lambda made: compare(model, _BeforePlugin(made), info))


def with_plugin(standard: Path) -> tuple[Any, ModelInfo]:
    """An end-to-end file of `export_onnx` as an ONNX model with the plugin in place of all after the suppression's
    inputs, and its description."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(standard)
    graph = model.graph
    text = next(entry for entry in model.metadata_props if entry.key == KEY)
    info = dataclasses.replace(ModelInfo.from_json(text.value, source=str(standard)), outputs="efficient_nms")
    text.value = info.to_json()
    suppression = next(node for node in graph.node if node.op_type == SUPPRESSION)
    boxes, scores = suppression.input[:2]
    anchors, batch = _anchors(graph, boxes), info.batch or "batch"
    graph.node.append(helper.make_node("Identity", [boxes], [BOXES]))
    graph.node.append(helper.make_node("Transpose", [scores], [SCORES], perm=[0, 2, 1]))
    nms = info.nms
    graph.node.append(
        helper.make_node(
            PLUGIN,
            [BOXES, SCORES],
            list(OUTPUTS),
            domain=DOMAIN,
            plugin_version="1",
            background_class=-1,
            max_output_boxes=nms.keep_top_k,
            score_threshold=float(nms.score_threshold),
            iou_threshold=float(nms.iou_threshold),
            score_activation=0,
            class_agnostic=0,
            box_coding=0,
        )
    )
    rows = nms.keep_top_k
    kinds = (TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    shapes: tuple[list[int | str], ...] = ([batch, 1], [batch, rows, 4], [batch, rows], [batch, rows])
    del graph.output[:]
    graph.output.extend(map(helper.make_tensor_value_info, OUTPUTS, kinds, shapes))
    del graph.value_info[:]
    for name, width in ((BOXES, 4), (SCORES, len(info.classes))):
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, anchors, width]))
    drop_unused(graph)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model, info


def _anchors(graph: Any, boxes: str) -> int:
    """How many boxes of an image the suppression gets."""
    shapes = {value.name: [one.dim_value for one in value.type.tensor_type.shape.dim] for value in graph.value_info}
    return int(shapes[boxes][1])


def drop_unused(graph: Any) -> None:
    """Leave out nodes and constants on which no output depends."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    constants = [constant for constant in graph.initializer if constant.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(constants)


class _BeforePlugin:
    """A file with the plugin as a `Session`: the suppression is NumPy's."""

    precision = "float32"

    def __init__(self, path: Path) -> None:
        import onnx
        import onnxruntime

        model = onnx.load(path)
        onnx.checker.check_model(model)
        text = next(entry.value for entry in model.metadata_props if entry.key == KEY)
        self.info = ModelInfo.from_json(text, source=str(path))
        del model.graph.output[:]
        model.graph.output.extend(value for value in model.graph.value_info if value.name in (BOXES, SCORES))
        drop_unused(model.graph)
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self.runtime = f"ONNX Runtime {onnxruntime.__version__} up to the plugin"

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        boxes, scores = self._session.run([BOXES, SCORES], {"images": images})
        nms: NMSConfig = self.info.nms
        found = rxn.multiclass_nms(
            boxes,
            scores,
            score_threshold=nms.score_threshold,
            iou_threshold=nms.iou_threshold,
            top_k=None,
            keep_top_k=nms.keep_top_k,
        )
        return dict(zip(DETECTIONS, found, strict=True))
