"""A whole detector on the GPU: image to detections in one CUDA graph, and what comes after the last convolution."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from .timing import Timer


def network_rows(timer: Timer) -> list[dict[str, Any]]:
    """RefineDet320 VGG-16, bfloat16, batch 1. Its weights are random: the ARM's bias is raised until about 390 anchors
    pass it, as with a trained one. The peer is the network alone, so that the ratio is the tail's share."""
    import refinedet

    torch.manual_seed(0)
    model = refinedet.create_model("refinedet320_vgg16", 21).cuda().eval()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = (torch.randn(1, 3, 320, 320, device="cuda") * 50).to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
        logits = model.head_outputs(images).arm_logits
        edge = (logits[..., 1] - logits[..., 0]).float().flatten().topk(390).values[-1]
        model.config = type(model.config)(**{**vars(model.config), "theta": float(1 / (1 + edge.exp()))})
        whole = timer.graph(lambda: model(images))
        network = timer.graph(lambda: model.head_outputs(images))
        outputs = model.head_outputs(images)
        tail = timer.graph(lambda: model.detect(outputs))
        passed = int((model.detect(outputs).count).sum())
    return [
        {
            "op": "RefineDet320 VGG-16",
            "case": f"bfloat16, B=1, image to {passed} detections, {1e6 / whole.median:.0f} images/s",
            "ours": {"call": asdict(whole), "graph": asdict(whole)},
            "peers": {
                "the network alone": {"call": asdict(network), "graph": asdict(network)},
                "the tail alone": {"call": asdict(tail), "graph": asdict(tail)},
            },
            "ratio_call": None,
            "ratio_graph": None,
            "floor_us": network.median,
            "over_floor": whole.median / network.median,
        }
    ]
