"""torchvision's detectors and deformable convolutions with these ops in place of its own: the same results, the times.

pip install torchvision
python examples/swap_in_torchvision.py                                       # random weights, a random image
python examples/swap_in_torchvision.py --weights DEFAULT --image photo.jpg   # COCO's weights, downloaded
"""

import argparse
import time
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torchvision.io import ImageReadMode, decode_image
from torchvision.models import get_model
from torchvision.ops import DeformConv2d, boxes, deform_conv

import refinedet_ext as rx

MODELS = {"ssd300_vgg16": 1, "retinanet_resnet50_fpn": 10, "fcos_resnet50_fpn": 10, "fasterrcnn_resnet50_fpn": 1}
THEIRS, OURS = (boxes.batched_nms, deform_conv.deform_conv2d), (rx.batched_nms, rx.deform_align)


class Timed:
    def __init__(self, function: Any) -> None:
        self.function, self.ms = function, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        result = self.function(*arguments, **named)
        self.ms += 1000 * (time.perf_counter() - start)
        return result


@torch.no_grad()
def spread_scores(model: torch.nn.Module, factor: float) -> None:
    """Random weights whose scores differ as trained ones do: torchvision's order of equal scores is not defined."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the mean of what it sees
    model.backbone.train()(torch.randn(2, 3, 300, 300))
    for name, weight in model.eval().named_parameters():
        if weight.dim() > 1 and ("classification_head.module_list" in name or "cls_" in name):
            weight *= factor


@torch.inference_mode()
def compare(name: str, model: Any, *given: Any, rounds: int, **tolerance: float) -> str:
    """Both take turns; raises AssertionError where they differ by more than the order of equal scores."""
    times, results = {THEIRS: [], OURS: []}, {}
    for ops in (THEIRS, OURS) * rounds:
        nms, deform, whole = map(Timed, (*ops, model))
        with patch.object(boxes, "batched_nms", nms), patch.object(deform_conv, "deform_conv2d", deform):
            results[ops] = whole(*given)
        times[ops].append((nms.ms + deform.ms, whole.ms))
    both = [[torch.column_stack([*one.values()]).unique(dim=0) for one in results[ops]] for ops in (OURS, THEIRS)]
    torch.testing.assert_close(*both, **tolerance)
    (op, whole), (our_op, our_whole) = (map(median, zip(*runs, strict=True)) for runs in times.values())
    ratio = f"{op:6.2f} ms, ours {our_op:6.2f}, {op / our_op:4.1f}x"
    return f"{name:23} same results; the op {ratio}; all of it {whole:4.0f} ms, ours {our_whole:4.0f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", help="such as DEFAULT, which torchvision downloads; random ones otherwise")
    parser.add_argument("--image", help="a photograph; noise otherwise")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    image = decode_image(options.image, ImageReadMode.RGB) / 255 if options.image else torch.rand(3, 300, 400)
    for name, factor in MODELS.items():
        low = {} if options.weights else {"box_score_thresh" if "rcnn" in name else "score_thresh": 0.0}
        model = get_model(name, weights=options.weights, weights_backbone=None, **low).eval()
        if options.weights is None:
            spread_scores(model, factor)
        print(compare(name, model, [image], rounds=options.rounds, rtol=0, atol=0), flush=True)
    conv, given = DeformConv2d(256, 256, 3, padding=1), (torch.rand(1, 256, 40, 40), torch.randn(1, 18, 40, 40))
    print(compare("DeformConv2d", lambda *x: [{"map": conv(*x).flatten(1)}], *given, rounds=options.rounds))
