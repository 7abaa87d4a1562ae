"""Where torchvision is installed: a converted backbone computes what torchvision's network does, from the pixels on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import refinedet
from refinedet.convert import BACKBONES, convert_checkpoint
from refinedet.registry import list_models
from refinedet.structures import to_tensor

models = pytest.importorskip("torchvision.models")
SOURCES = [name for name in BACKBONES if name.startswith("torchvision-")]
QUICK = ("torchvision-mobilenet_v2", "torchvision-resnet50", "torchvision-shufflenet_v2_x0_5")


def stride32(net, source, x):
    """torchvision's map that our backbone has at stride 32, of VGG-16 that at stride 8."""
    if "vgg" in source:
        return net.features[:23](x)
    if "mobilenet" in source:
        return net.features(x)
    if "shufflenet" in source:
        return net.conv5(net.stage4(net.stage3(net.stage2(net.maxpool(net.conv1(x))))))
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))


@pytest.mark.parametrize("source", [s if s in QUICK else pytest.param(s, marks=pytest.mark.slow) for s in SOURCES])
def test_the_map_is_torchvisions(source, tmp_path):
    torch.manual_seed(0)
    net = getattr(models, source.removeprefix("torchvision-"))(weights=None).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(net.state_dict(), tmp_path / "in.pth")
    file = convert_checkpoint(source, tmp_path / "in.pth", tmp_path / "out.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    rgb = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        want = stride32(net, source, ((rgb - mean) / std)[None])
        for name in list_models(BACKBONES[source].models)[-1:]:
            model = refinedet.create_model(name, 4, backbone_weights=file).eval()
            got = model.backbone(to_tensor(image, model.normalization)[None])[0 if "vgg" in source else 2]
            inner = slice(6, -6) if "vgg" in source else slice(None)  # its padding stands for another grey
            a, b = got[..., inner, inner], want[..., inner, inner]
            assert float((a - b).abs().max()) <= 1e-5 * float(b.abs().max()), name
