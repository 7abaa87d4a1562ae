"""Non-maximum suppression of boxes, of one class or of several, with the arguments and results of torchvision's."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _library, _vmap
from ..checks import check_dtype, check_floating, check_range, check_same_device, check_shape
from ..results import KeptBoxes

_nms = _library.op("nms")
_batched_nms = _library.op("batched_nms")
_batched_nms_padded = _library.op("batched_nms_padded")

_DEPENDS = (
    "how many boxes are kept depends on the data, so that vmap cannot put the results of several calls into one "
    "tensor; batched_nms_padded and multiclass_nms have results of fixed size"
)

INTEGERS = ("int64", "int32", "int16", "int8", "uint8")


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes that greedy suppression keeps, by falling score.

    A box is dropped if its IoU with a kept box of a better score is above iou_threshold. Equal scores: the lower index
    counts as better. A NaN score counts as better than all others, as in torch.sort.

    The IoU is computed and rounded in float32 (float64 boxes in float64) and then compared in double precision. A
    negative side counts as zero; a box without area or with a NaN overlaps nothing. Takes memory linear in N.

    Args:
        boxes: (N, 4) float, (x1, y1, x2, y2) in any unit.
        scores: (N,) float, of any floating dtype.
        iou_threshold: any number; from 1 on nothing is dropped, below 0 all but the best box are.

    Returns:
        (K,) int64.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes, devices and thresholds that do not fit.

    Note:
        torchvision raises RuntimeError where this raises TypeError or ValueError. On the CPU its order of equal scores
        is not defined: its sort is not stable, which shows from some 1,000 boxes on. Nothing else differs from
        torchvision.

        Since K depends on the data, `torch.compile(fullgraph=True)` needs
        `torch._dynamo.config.capture_dynamic_output_shape_ops = True`, and on a GPU the call ends by waiting for K,
        which `batched_nms_padded` does not. A GPU takes no float64 boxes or scores.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
        >>> nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5)
        tensor([1, 2])
    """
    iou_threshold = check_range(iou_threshold, "iou_threshold")
    try:
        return _nms(boxes, scores, iou_threshold)
    except (RuntimeError, TypeError) as error:
        _check(boxes, scores)
        _library.drop_location(error)
        raise


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """As `nms`, but only boxes with equal `idxs` suppress one another.

    Args:
        boxes, scores: as in `nms`.
        idxs: (N,) of an integer dtype, any values: the boxes' classes, or images and classes in one number.
        iou_threshold: as in `nms`.

    Returns:
        (K,) int64 over all groups, by falling score, equal scores by index. Boxes without an element, whatever their
        dtype, give an empty result, also where scores and idxs are None.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes, devices and thresholds that do not fit.

    Note:
        What differs from torchvision is what differs in `nms`; and no offsets are added to the coordinates here to keep
        the groups apart, so that large coordinates lose no digits to them.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
        >>> batched_nms(boxes, torch.tensor([0.5, 0.9, 0.7]), torch.tensor([1, 2, 2]), 0.5)
        tensor([1, 2, 0])
    """
    iou_threshold = check_range(iou_threshold, "iou_threshold")
    if isinstance(boxes, Tensor) and (scores is None or not boxes.is_floating_point()) and boxes.numel() == 0:
        return boxes.new_empty(0, dtype=torch.int64)
    idxs = _whole(idxs)
    try:
        return _batched_nms(boxes, scores, idxs, iou_threshold)
    except (RuntimeError, TypeError) as error:
        _check(boxes, scores, idxs)
        _library.drop_location(error)
        raise


def batched_nms_padded(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> KeptBoxes:
    """As `batched_nms`, with results whose shapes do not depend on the data.

    On a GPU it never waits for the device and can be captured in a CUDA graph.

    Args:
        boxes, scores: as in `nms`.
        idxs: as in `batched_nms`.
        iou_threshold: as in `nms`.

    Returns:
        KeptBoxes: index (N,) int64, what `batched_nms` returns, then -1; count () int64, how many are kept.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes, devices and thresholds that do not fit.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
        >>> batched_nms_padded(boxes, torch.tensor([0.5, 0.9, 0.7]), torch.tensor([2, 2, 2]), 0.5)
        KeptBoxes(index=tensor([ 1,  2, -1]), count=tensor(2))
    """
    iou_threshold = check_range(iou_threshold, "iou_threshold")
    idxs = _whole(idxs)
    try:
        return KeptBoxes._make(_batched_nms_padded(boxes, scores, idxs, iou_threshold))
    except (RuntimeError, TypeError) as error:
        _check(boxes, scores, idxs)
        _library.drop_location(error)
        raise


def _whole(idxs: Tensor) -> Tensor:
    """The groups as the ops take them."""
    if isinstance(idxs, Tensor) and idxs.dtype is torch.int64:
        return idxs
    check_dtype(idxs, "idxs", *INTEGERS)
    check_same_device(idxs=idxs)  # which a NumPy array does not pass
    return idxs.to(torch.int64)


def _check(boxes: Tensor, scores: Tensor, idxs: Tensor | None = None) -> None:
    sizes: dict[str, int] = {}
    check_floating(boxes, "boxes")
    check_shape(boxes, "boxes", ("N", 4), sizes)
    check_floating(scores, "scores")
    check_shape(scores, "scores", ("N",), sizes)
    if idxs is not None:
        check_shape(idxs, "idxs", ("N",), sizes)
        check_dtype(idxs, "idxs", *INTEGERS)
    check_same_device(boxes=boxes, scores=scores, idxs=idxs)


@_library.register_fake("nms")
def _fake_nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    _check(boxes, scores)
    check_range(iou_threshold, "iou_threshold")
    return _some_indices(boxes)


@_library.register_fake("batched_nms")
def _fake_batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    _check(boxes, scores, idxs)
    check_range(iou_threshold, "iou_threshold")
    return _some_indices(boxes)


@_library.register_fake("batched_nms_padded")
def _fake_padded(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor]:
    _check(boxes, scores, idxs)
    check_range(iou_threshold, "iou_threshold")
    return boxes.new_empty(boxes.shape[0], dtype=torch.int64), boxes.new_empty((), dtype=torch.int64)


def _some_indices(boxes: Tensor) -> Tensor:
    count = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty(count, dtype=torch.int64)


_library.register_not_differentiable("nms")
_library.register_not_differentiable("batched_nms")
_library.register_not_differentiable("batched_nms_padded")

_library.register_vmap("nms", _vmap.make_refusing_rule(f"nms: {_DEPENDS}"))
_library.register_vmap("batched_nms", _vmap.make_refusing_rule(f"batched_nms: {_DEPENDS}"))
_library.register_vmap("batched_nms_padded")
