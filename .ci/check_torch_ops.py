"""The installed wheel beside a torch: every op gives what its reference gives, gradients too. Run outside the tree."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

torch.manual_seed(0)
TREE = Path(__file__).resolve().parents[1]
assert TREE not in Path(rx.__file__).resolve().parents, f"the package of the source tree was imported: {rx.__file__}"
info = rx.build_info()
assert info["torch_ops"] and info["numpy_ops"], info
if len(sys.argv) > 1:  # what was installed
    assert torch.__version__.split("+")[0] == sys.argv[1], f"expected torch {sys.argv[1]}, got {torch.__version__}"


def boxes(*shape: int) -> Tensor:
    corner = torch.rand(*shape, 2)
    return torch.cat([corner, corner + 0.1 + torch.rand(*shape, 2)], dim=-1)


randn, anchors, ground_truth = torch.randn, boxes(40), boxes(3)
labels = torch.randint(-1, 3, (2, 40))
gt_index = torch.where(labels > 0, labels, -1)
classes = torch.randint(0, 4, (40,))
calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "batched_nms": ((anchors, randn(40), classes, 0.4), {}),
    "batched_nms_padded": ((anchors, randn(40), classes, 0.4), {}),
    "deconv_sum": ((randn(2, 4, 3, 3), randn(4, 8, 2, 2), randn(8), randn(2, 8, 5, 6)), {"activation": "relu"}),
    "decode_boxes": ((randn(2, 40, 4), anchors), {"clip_to": (1.0, 1.0)}),
    "decode_cascade": ((randn(2, 40, 4), randn(2, 40, 4), anchors), {}),
    "deform_align": ((randn(1, 4, 7, 7), randn(1, 18, 7, 7), randn(6, 4, 3, 3), randn(6)), {"padding": 1}),
    "detect": ((randn(2, 40, 2), randn(2, 40, 4), randn(2, 40, 4), randn(2, 40, 4), anchors), {"theta": 0.8}),
    "encode_boxes": ((boxes(2, 40), anchors), {}),
    "filter_anchors": ((randn(2, 40, 2), 0.6), {}),
    "filter_anchors_mask": ((randn(2, 40, 2), 0.6), {}),
    "match_anchors": ((anchors, ground_truth, torch.tensor([1, 2, 1]), torch.tensor([0, 2, 3])), {}),
    "mine_hard_negatives": ((randn(2, 40).abs(), labels), {}),
    "mined_cross_entropy": ((randn(2, 40, 3), labels), {}),
    "multiclass_nms": ((boxes(2, 40), torch.rand(2, 40, 3)), {"method": "linear"}),
    "nms": ((anchors, randn(40), 0.4), {}),
    "smooth_l1_box_loss": ((randn(2, 40, 4), anchors, ground_truth, gt_index), {}),
}
ops = {name for name in rx.__all__ if inspect.isfunction(getattr(rx, name))} - {"build_info"}
assert calls.keys() == ops, f"this check calls other ops than there are: {sorted(calls.keys() ^ ops)}"

differentiable = ("deconv_sum", "decode_boxes", "deform_align", "mined_cross_entropy", "smooth_l1_box_loss")
devices = ["cpu"] + (["cuda"] if info["cuda"] and torch.cuda.is_available() else [])


def run(face: Any, name: str, device: str) -> list[Tensor]:
    """What an op gives, and where it has one the gradient to its first argument; on the CPU."""
    values, options = calls[name]
    moved = [value.to(device) if isinstance(value, Tensor) else value for value in values]
    if name in differentiable:
        moved[0].requires_grad_()
    result = getattr(face, name)(*moved, **options)
    found = [result] if isinstance(result, Tensor) else list(result)
    if name in differentiable:
        found += torch.autograd.grad(found[0].sum(), moved[0])
        moved[0].requires_grad_(False)
    return [part.detach().cpu() for part in found]


for name in sorted(calls):
    for device in devices:
        torch.testing.assert_close(run(rx, name, device), run(rx.reference, name, "cpu"), rtol=1e-4, atol=1e-5)
where = " and ".join(devices)
print(f"{len(calls)} ops of refinedet_ext {rx.__version__} work with torch {torch.__version__} on {where}")
