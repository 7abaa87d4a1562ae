"""`optimize_for_inference`, and the detector that it returns."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, fx

import refinedet_ext as rx

from ..checks import check_choice, check_integer
from ..detectors import Detector
from ..nms_config import NMSConfig
from ..outputs import HeadOutputs
from . import machine
from .capture import capture
from .fold import fold_batch_norms, fold_constants
from .fuse import fuse_convolutions, relu_in_place, store_constants
from .report import OptimizationReport

MAX_GRAPHS = 32  # shapes of the input; the oldest graph makes room


def optimize_for_inference(
    model: Detector,
    *,
    dtype: str = "auto",
    compile: bool = False,
    prepack: bool = True,
    winograd: bool = True,
    input_size: int | None = None,
    batch_size: int = 1,
) -> OptimizedDetector:
    """A copy of a detector that computes the same faster, on a CPU, without gradients. ::

        fast = refinedet.optimize_for_inference(model)
        print(fast.report)
        detections = fast(images)                # as model(images) in eval mode, images in float32 or uint8
        refinedet.Predictor(fast, class_names)("photo.jpg")

    The network is recorded once for each shape of the input (some seconds; up to 32 shapes are kept) as a flat list of
    operations, which are then rewritten: channels-last throughout; batch norms folded into the convolutions and
    deformable convolutions before them; whatever depends on weights alone computed once; activations, and sums with a
    shortcut, within the call of the convolution before them; weights stored in the order that oneDNN reads. A batch
    norm that has no convolution before it stays as it is. The number of threads is left to `torch.set_num_threads`.

    Args:
        model: any `Detector` on the CPU in float32 and eval mode. It is not changed, and later changes to it do not
            reach the copy.
        dtype: "float32": raw outputs differ from the model's by rounding only, 1e-6 to 1e-4 of their largest.
            "bfloat16": weights and maps have 8 bits of precision, raw outputs differ by about 1e-2 of their largest; on
            CPUs that multiply bfloat16 it takes half the time. "auto": bfloat16 on those CPUs, float32 on the others.
            Boxes are decoded and suppressed in float32 in any case.
        compile: let `torch.compile` with freezing rewrite the network instead. Needs a C++ compiler, and a minute for
            each shape.
        prepack: False leaves weights in torch's order, and activations calls of their own. Packed weights take memory
            beside the copy of the model.
        winograd: in float32, 3x3 convolutions of 128 channels or more on maps of 400 pixels or more are computed by
            Winograd's filtering, F(4x4, 3x3), with a quarter of the multiplications: up to twice as fast, with an error
            some five times that of the usual sum. Needs prepack; their weights take four times the memory.
        input_size, batch_size: of the first shape, which is recorded at once; None is the model's own size.

    Returns:
        A `Detector` whose `head_outputs`, `detect` and call take and return what the model's do, the raw outputs in
        float32. It cannot be trained, moved to another device or saved; keep the model for that.

    Raises:
        TypeError: if model is no `Detector`.
        ValueError: if it is in training mode, elsewhere than on the CPU or in another dtype, and for options that do
            not fit.
    """
    _check_model(model)
    for name, value in (("compile", compile), ("prepack", prepack), ("winograd", winograd)):
        check_choice(value, name, (True, False))
    chosen, reason = machine.resolve_dtype(dtype)
    size = model.input_side(input_size)
    check_integer(batch_size, "batch_size", 1)
    fast = OptimizedDetector(model, chosen, reason, compile=compile, prepack=prepack, winograd=winograd)
    fast.prepare((batch_size, 3, size, size))
    return fast


def _check_model(model: Any) -> None:
    if not isinstance(model, Detector):
        raise TypeError(f"model: expected a refinedet.Detector, got {type(model).__name__}")
    if isinstance(model, OptimizedDetector):
        raise TypeError("model: expected a detector as it was built or loaded, got one that is optimized already")
    if any(module.training for module in model.modules()):
        raise ValueError("model: expected one in eval mode, got one in training mode; call model.eval() first")
    for name, parameter in model.named_parameters():
        if parameter.device.type != "cpu":
            raise ValueError(f"model: expected its parameters on the CPU, got {name} on {parameter.device}")
        if parameter.dtype != torch.float32:
            raise ValueError(f"model: expected float32 parameters, got {name} in {parameter.dtype}")


class OptimizedDetector(Detector):
    """What `optimize_for_inference` returns; `report` tells what was done."""

    def __init__(
        self,
        model: Detector,
        dtype: torch.dtype,
        reason: str,
        *,
        compile: bool = False,
        prepack: bool = True,
        winograd: bool = True,
    ) -> None:
        torch.nn.Module.__init__(self)  # not Detector's: its attributes are taken from the copy
        self.detector = copy.deepcopy(model).eval().requires_grad_(False)
        for name in ("config", "num_classes", "size_multiple", "two_step", "normalization", "spec"):
            setattr(self, name, getattr(self.detector, name))
        self.anchor_generator, self._anchors = self.detector.anchor_generator, {}
        self.dtype = dtype
        self.compiled = compile
        obstacle = machine.why_not_packed(dtype)
        self.prepack = prepack and obstacle is None
        self.winograd = winograd
        label = model.spec.name if model.spec is not None else type(model).__name__
        self.report = OptimizationReport(
            label, str(dtype).removeprefix("torch."), reason, "torch.compile" if compile else "graph"
        )
        if prepack and not compile and obstacle is not None:
            self.report.notes.append(f"{obstacle}: weights are not packed, activations not fused")
        self._graphs: dict[tuple[int, ...], Graph] = {}
        self._packed: dict[str, Tensor] = {}
        self._run: Any = None
        super().train(False)

    @property
    def nms(self) -> NMSConfig:
        return self.detector.nms

    @nms.setter
    def nms(self, value: NMSConfig) -> None:
        self.detector.nms = value

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Gets ready for images of this shape (B, 3, H, W); a call with a new shape does so by itself."""
        self._check_images(torch.empty(shape, device="meta"))
        if self.compiled:
            self.head_outputs(torch.zeros(shape))
        else:
            self._graph(shape)

    @torch.no_grad()
    def head_outputs(self, images: Tensor) -> HeadOutputs:
        """Raw outputs in float32, as the model's."""
        self._check_images(images)
        images = self._normalized(images)
        if self.compiled:
            outputs = self._compiled()(_channels_last(images, self.dtype))
            return HeadOutputs(*[t.float() for t in outputs])
        graph = self._graph(tuple(images.shape))
        arm_logits, arm_deltas, odm_logits, odm_deltas = (t.float() for t in graph(images))
        return HeadOutputs(arm_logits, arm_deltas, odm_logits, odm_deltas, graph.anchors)

    def detect(self, outputs: HeadOutputs) -> rx.Detections:
        return self.detector.detect(outputs)

    def train(self, mode: bool = True) -> OptimizedDetector:
        if mode:
            raise RuntimeError("an optimized detector cannot be trained; train the model that it was made from")
        return super().train(False)

    def loss(self, outputs: HeadOutputs, batch: Any) -> NoReturn:
        raise RuntimeError("an optimized detector has no loss; use the model that it was made from")

    def to(self, *args: Any, **kwargs: Any) -> OptimizedDetector:
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
        if (device is not None and device.type != "cpu") or dtype is not None:
            raise RuntimeError(
                "an optimized detector stays on the CPU and in its dtype; move the model that it was made from"
            )
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> NoReturn:
        raise RuntimeError(
            "an optimized detector stays on the CPU and in its dtype; move the model that it was made from"
        )

    def __getstate__(self) -> NoReturn:
        raise TypeError("an optimized detector cannot be copied or saved; save the model that it was made from")

    def _compiled(self) -> Any:
        if self._run is None:
            network: Any = self.detector.to(self.dtype)
            network = network.to(memory_format=torch.channels_last)
            self._run = torch.compile(network.head_outputs, options={"freezing": True})
        return self._run

    def _graph(self, shape: tuple[int, ...]) -> Graph:
        if shape not in self._graphs:
            if len(self._graphs) >= MAX_GRAPHS:
                self._graphs.pop(next(iter(self._graphs)))
            # tensors made in inference mode could not be used outside it
            with torch.inference_mode(False), torch.no_grad():
                graph = self._graphs[shape] = self._build(shape)
            self._packed |= graph.packed
            if not self.report.input_shapes:  # the counts are those of the first shape
                self.report.take_counts(graph.report)
            self.report.input_shapes.append(shape)
        return self._graphs[shape]

    def _build(self, shape: tuple[int, ...]) -> Graph:
        captured = capture(self.detector, shape, self.dtype)
        report = OptimizationReport("", "", "")
        before = captured.count()
        fold_constants(captured, report)
        fold_batch_norms(captured, report)
        if self.prepack:
            fuse_convolutions(captured, report, winograd=self.winograd)
        relu_in_place(captured.graph)
        packed = dict(self._packed)
        store_constants(captured, packed)
        captured.graph.lint()
        captured.module.recompile()
        report.operations = (before, captured.count())
        anchors = self.anchor_generator(captured.sizes, (shape[2], shape[3]), torch.device("cpu"))
        return Graph(captured.module, anchors, packed, report, self.dtype)


@dataclass(frozen=True)
class Graph:
    """A network for one shape of its input. packed: weights that it reads in other forms. Call it with images."""

    module: fx.GraphModule
    anchors: Tensor
    packed: dict[str, Tensor]
    report: OptimizationReport
    dtype: torch.dtype

    def __call__(self, images: Tensor) -> Any:
        return self.module(_channels_last(images, self.dtype))


def _channels_last(images: Tensor, dtype: torch.dtype) -> Tensor:
    return images.to(dtype).contiguous(memory_format=torch.channels_last)
