"""What the two-stage single-shot detectors share around their networks: anchors, loss, detection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import refinedet_ext as rx

from ..backbones.base import Backbone
from ..checks import MAX_SIDE, check_integer, check_shape
from ..losses import MultiBoxLoss
from ..losses.multibox import Branches
from ..nms_config import ROWS_BEFORE_LIMIT, NMSConfig, resolve_nms
from ..outputs import HeadOutputs
from .config import DetectorConfig
from .per_class import limit_per_class
from .registration import ModelSpec
from .soft_after_hard import soft_after_hard

MAX_CACHED_ANCHORS = 32


class GroundTruth(Protocol):
    """What `Detector.loss` reads of a batch; `refinedet.structures.Batch` has it."""

    @property
    def gt_boxes(self) -> Tensor: ...
    @property
    def gt_labels(self) -> Tensor: ...
    @property
    def gt_offsets(self) -> Tensor: ...
    @property
    def gt_ignore(self) -> Tensor | None: ...


class Detector(nn.Module, ABC):
    """A detector with an anchor refinement stage (ARM) and an object detection stage (ODM). ::

        model.train(); outputs = model(images); losses = model.loss(outputs, batch); losses["total"].backward()
        model.eval(); detections = model(images)

    In train mode a call returns `HeadOutputs`, in eval mode `refinedet_ext.Detections` with boxes as fractions of the
    input's width and height. ``head_outputs(images)`` gives the raw outputs of float images in either mode.

    A subclass builds its network and defines `head_outputs`. two_step=False lets the ODM start from the tiled anchors;
    arm=False trains a single stage, whose outputs are `outputs.single_stage_outputs`; "cls" and "loc" train one branch
    of the first stage alone.

    Shape:
        - images: (B, 3, H, W), H and W multiples of `size_multiple`: uint8 in BGR order, which the call normalizes, or
          float, pixels as `normalization` says
    """

    backbone: Backbone
    spec: ModelSpec | None = None
    """How `create_model` built this model; None if it was built by hand."""

    def __init__(
        self,
        config: DetectorConfig,
        num_classes: int,
        steps: Sequence[float | None],
        size_multiple: int,
        *,
        two_step: bool = True,
        arm: Branches = True,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_classes = check_integer(num_classes, "num_classes", 2)
        self.size_multiple = size_multiple
        self.input_side()
        config.loss.check_classes(num_classes)
        self.two_step = two_step
        self.normalization = config.normalization()
        self.nms: NMSConfig = resolve_nms(config.nms)
        self.anchor_generator = config.anchor_generator(steps)
        self.criterion = MultiBoxLoss(
            config.loss, variances=config.variances, theta=config.theta, two_step=two_step, arm=arm
        )
        self._anchors: dict[Any, Tensor] = {}

    @abstractmethod
    def head_outputs(self, images: Tensor) -> HeadOutputs:
        """Raw outputs of both stages, for the loss and for export."""

    def forward(self, images: Tensor) -> HeadOutputs | rx.Detections:
        self._check_images(images)
        outputs = self.head_outputs(self._normalized(images))
        return outputs if self.training else self.detect(outputs)

    def loss(self, outputs: HeadOutputs, batch: GroundTruth) -> dict[str, Tensor]:
        """The training loss: "total", its four terms and the counts, see `MultiBoxLoss.forward`."""
        return self.criterion(outputs, batch.gt_boxes, batch.gt_labels, batch.gt_offsets, batch.gt_ignore)

    @torch.no_grad()
    def detect(self, outputs: HeadOutputs) -> rx.Detections:
        """Filter, two-step decode, score and suppress, as `nms` and `config.theta` say; in float32."""
        arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = outputs
        if not self.two_step:
            arm_deltas = torch.zeros_like(arm_deltas)
        nms, settings = self.nms, self.detect_settings()
        if nms.keep_per_class is not None:
            settings["keep_top_k"] = max(nms.keep_top_k, ROWS_BEFORE_LIMIT)
        found = rx.detect(
            arm_logits.float(), arm_deltas.float(), odm_logits.float(), odm_deltas.float(), anchors, **settings
        )
        if nms.hard_iou is not None:
            found = soft_after_hard(found, nms, self.num_classes)
        return found if nms.keep_per_class is None else limit_per_class(found, nms.keep_per_class, nms.keep_top_k)

    def detect_settings(self) -> dict[str, Any]:
        """The arguments of `refinedet_ext.detect` that `nms` and the config say; a limit per class comes after it."""
        nms = self.nms
        return {
            "theta": self.config.theta,
            "variances": self.config.variances,
            "score_threshold": nms.score_threshold,
            "iou_threshold": nms.iou_threshold if nms.hard_iou is None else nms.hard_iou,
            "top_k_per_class": nms.top_k_per_class,
            "top_k": nms.top_k,
            "keep_top_k": nms.keep_top_k,
            "method": nms.method if nms.hard_iou is None else "hard",
            "sigma": nms.sigma,
            "min_score": nms.min_score,
        }

    def input_side(self, input_size: int | None = None) -> int:
        """Side of a square input in pixels: the one asked for, or the model's own.

        Raises:
            ValueError: if it does not fit.
        """
        side = check_integer(self.config.input_size if input_size is None else input_size, "input_size", 1, MAX_SIDE)
        if side % self.size_multiple:
            raise ValueError(f"input_size: expected a multiple of {self.size_multiple}, got {side}")
        return side

    def anchors_for(self, maps: Sequence[Tensor], images: Tensor) -> Tensor:
        """The anchors (A, 4) of these feature maps, made once per input size and device."""
        sizes = tuple((int(m.shape[2]), int(m.shape[3])) for m in maps)
        image_size = (int(images.shape[2]), int(images.shape[3]))
        if torch.compiler.is_compiling():  # a constant of the graph; the cache would be a side effect
            return self.anchor_generator(sizes, image_size, images.device)
        key = (sizes, image_size, images.device)
        if key not in self._anchors:
            if len(self._anchors) >= MAX_CACHED_ANCHORS:
                self._anchors.clear()
            # anchors first asked for in inference mode must serve in training too
            with torch.inference_mode(False):
                self._anchors[key] = self.anchor_generator(sizes, image_size, images.device)
        return self._anchors[key]

    def _normalized(self, images: Tensor) -> Tensor:
        """uint8 pixels as the network reads them, in the dtype of its weights; floats are those already."""
        if images.is_floating_point():
            return images
        return self.normalization.apply(images).to(next(self.parameters()).dtype)

    def _check_images(self, images: Tensor) -> None:
        check_shape(images, "images", ("B", 3, "H", "W"))
        if not images.is_floating_point() and images.dtype != torch.uint8:
            raise TypeError(f"images: expected uint8 or a floating-point tensor, got {images.dtype}")
        for side, size in zip(("height", "width"), images.shape[2:], strict=True):
            if size < 1 or size % self.size_multiple:
                raise ValueError(f"images: expected a {side} that is a multiple of {self.size_multiple}, got {size}")
