"""What of a detector is exported, as a module of its own, and what its file says about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import refinedet_ext as rx

from ..detectors import Detector
from ..model_info import ModelInfo
from ..outputs import HeadOutputs
from ..weights import check_names


class RawOutputs(nn.Module):
    """Images to `HeadOutputs`, the anchors being constants.

    images: an example, as `ModelInfo.pixels` says.
    """

    anchors: Tensor

    def __init__(self, model: Detector, images: Tensor) -> None:
        super().__init__()
        self.model = model
        outputs = model.head_outputs(model._normalized(images[:1]))
        self.register_buffer("anchors", outputs.anchors.clone())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.outputs(images))

    def outputs(self, images: Tensor) -> HeadOutputs:
        return self.model.head_outputs(self.model._normalized(images))._replace(anchors=self.anchors)


class DetectionOutputs(RawOutputs):
    """Images to boxes, scores, labels and count."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.detect(self.outputs(images)))


class DetectInOneOp(RawOutputs):
    """As `DetectionOutputs` for hard suppression, all of it in one op, `refinedet_ext.detect`, without a limit per
    class."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.outputs(images)
        if not self.model.two_step:
            outputs = outputs._replace(arm_deltas=torch.zeros_like(outputs.arm_deltas))
        return tuple(rx.detect(*outputs, **self.model.detect_settings()))


def describe(
    model: Detector,
    images: Tensor,
    class_names: Sequence[str] | None,
    *,
    dynamic_batch: bool,
    outputs: str,
    precision: str = "float32",
) -> ModelInfo:
    """What the file of a model says about it.

    images: an example of what it reads. class_names: None names them "class 1" and so on. outputs, precision: as
    `ModelInfo` has them.

    ValueError for names that do not fit, and for a model that `create_model` did not build.
    """
    spec, config = model.spec, model.config
    if spec is None:
        raise ValueError("model: expected one that create_model built, so that its file can say what it is")
    if class_names is None:
        class_names = [f"class {label}" for label in range(1, model.num_classes)]
    height, width = images.shape[2:]
    return ModelInfo(
        model=spec.name,
        options=spec.options,
        classes=tuple(check_names(class_names, model.num_classes)),
        input_size=(height, width),
        batch=None if dynamic_batch else len(images),
        pixels="uint8" if images.dtype == torch.uint8 else "float32",
        pixel_mean=config.pixel_mean,
        pixel_std=config.pixel_std,
        channel_order=config.channel_order,
        outputs=outputs,
        theta=config.theta,
        variances=config.variances,
        two_step=model.two_step,
        nms=model.nms,
        precision=precision,
        package_version=rx.__version__,
    )
