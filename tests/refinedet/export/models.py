"""Small models that find something, and images for them."""

from __future__ import annotations

import cv2
import numpy as np
import torch

import refinedet
from refinedet.data.synthetic import render_scene

MODELS = {
    "refinedet192_small": {"input_size": 64, "tcb_channels": 16},
    "efgrnet192_small": {"input_size": 128, "fgrm_channels": 16},
    "padet192_small": {"input_size": 128, "decoder_channels": 16},
    "refinedetlite320_res2netlite72": {
        "input_size": 64,
        "width": 8,
        "mid_div": 2,
        "head_channels": 16,
        "head_inner": 8,
    },
}


def build(name, **nms):
    torch.manual_seed(0)
    settings = {"keep_top_k": 20, "score_threshold": 0.1, **nms}
    model = refinedet.create_model(name, 4, **MODELS[name], nms=settings).train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model.head_outputs(images(model, 4))
        for align in getattr(model, "fam", ()):  # offsets that move something: they start at zero
            torch.nn.init.normal_(align.shift.weight, std=0.1)
            torch.nn.init.normal_(align.offset.weight, std=0.1)
    return model.eval()


def images(model, count=2):
    size = model.config.input_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 50


def pixels_of(images):
    """(B, 3, 64, 64) uint8 in BGR order of images (H, W, 3)."""
    small = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA) for image in images]
    return np.ascontiguousarray(np.stack(small).transpose(0, 3, 1, 2))


def rendered(count=5):
    """Scenes (count, 3, 64, 64) uint8 in BGR order."""
    return pixels_of([render_scene(np.random.default_rng(seed), [1, 2, 3, 1])[0] for seed in range(count)])
