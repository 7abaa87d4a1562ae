"""EFGRNet's raw outputs from the key names of the released code, with plain functions: what its weights mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx


class Released:
    """The forward pass on a state dict of the released code, VGG-16 or ResNet-101, in eval mode."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, name, x, *, stride=1, dilation=1):
        weight = self.state[f"{name}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, padding, dilation)

    def norm(self, name, x):
        mean, var, weight, bias = (self.state[f"{name}.{f}"] for f in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-5)

    def basic(self, name, x, *, relu=True, **options):
        x = self.norm(f"{name}.bn", self.conv(f"{name}.conv", x, **options))
        return x.relu() if relu else x

    def mscf(self, name, x):
        for _ in range(3):
            x = F.max_pool2d(x, 2, 2)
        name = f"{name}.single_branch"
        x = self.basic(f"{name}.1", self.basic(f"{name}.0", x))
        branches = [
            self.basic(f"{name}.2.branch_{n}.1", self.basic(f"{name}.2.branch_{n}.0", x), dilation=d)
            for n, d in ((1, 1), (2, 2), (3, 4))
        ]
        return self.basic(f"{name}.2.branch_4", torch.cat(branches, 1), relu=False)

    def down(self, index, x):
        return self.basic(f"extractor.dsc{index}.single_branch.0", x, stride=2, relu=False)

    def extra(self, first, x):
        return self.basic(f"extractor.extras.{first + 1}", self.basic(f"extractor.extras.{first}", x), stride=2)

    def vgg_sources(self, images):
        x = images
        for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
            if index in (5, 10, 17):
                x = F.max_pool2d(x, 2)
            if index == 24:
                conv4_3, x = x, F.max_pool2d(x, 2)
            x = self.conv(f"extractor.vgg.{index}", x).relu()
        x = self.conv("extractor.vgg.31", F.max_pool2d(x, 3, 1, 1), dilation=6).relu()
        fc7 = self.conv("extractor.vgg.33", x).relu()
        third = self.extra(0, fc7)
        fourth = self.extra(2, third)
        guided = (self.norm("extractor.ibn1.bn", conv4_3) * self.mscf("extractor.icn1", images)).relu()
        f1 = self.basic("extractor.Norm1.single_branch.0", guided)
        guided = (self.norm("extractor.ibn2.bn", fc7) * self.down(1, f1)).relu()
        f2 = self.basic("extractor.Norm2.single_branch.0", guided)
        f3 = self.basic("extractor.Norm3", third * self.down(2, f2))
        return [f1, f2, f3, self.basic("extractor.Norm4", fourth * self.down(3, f3))]

    def bottleneck(self, name, x, stride):
        out = self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x)).relu()
        out = self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", out, stride=stride)).relu()
        out = self.norm(f"{name}.bn3", self.conv(f"{name}.conv3", out))
        if f"{name}.downsample.0.weight" in self.state:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride=stride))
        return (out + x).relu()

    def resnet_sources(self, images):
        x = self.norm("extractor.bn1", self.conv("extractor.conv1", images, stride=2)).relu()
        x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for stage, depth in enumerate((3, 4, 23, 3), start=1):
            for block in range(depth):
                stride = 2 if stage > 1 and block == 0 else 1
                x = self.bottleneck(f"extractor.layer{stage}.{block}", x, stride)
            maps.append(x)
        _, c3, c4, c5 = maps
        d3 = self.basic("extractor.Norm1", c3 * self.mscf("extractor.MSCF", images))
        d4 = self.basic("extractor.Norm2", c4 * self.down(1, d3))
        d5 = self.basic("extractor.Norm3", self.conv("extractor.smooth1", c5) * self.down(2, d4))
        d6 = self.basic("extractor.Norm4", self.extra(0, c5) * self.down(3, d5))
        a3 = d3
        for block in (0, 1):
            out = a3
            for index in range(3):
                out = self.basic(f"extractor.trans.0.{block}.single_branch.{index}", out)
            a3 = (out + a3).relu()
        a3 = self.basic("extractor.trans.0.2", a3)
        return [a3, self.basic("extractor.trans.1", d4), self.basic("extractor.trans.2", d5), d6]

    def head(self, name, x):
        if f"{name}.weight" in self.state:
            return self.conv(name, x)
        return self.conv(f"{name}.1", self.basic(f"{name}.0.branch2", self.basic(f"{name}.0.branch1", x)))

    def outputs(self, images, classes):
        """arm_logits, arm_deltas, odm_logits, odm_deltas, as `HeadOutputs` has them."""
        vgg = "extractor.vgg.0.weight" in self.state
        columns: list[list[Tensor]] = [[], [], [], []]
        for level, x in enumerate(self.vgg_sources(images) if vgg else self.resnet_sources(images)):
            loc, conf = self.conv(f"arm_loc.{level}", x), self.conv(f"arm_conf.{level}", x)
            guided = x * conf[:, 1::2].max(1, keepdim=True).values.sigmoid() + x
            offset = self.basic(f"loc_offset_conv.{level}", torch.cat([loc[:, 0::4], loc[:, 1::4]], 1))
            at = 5 - level
            weight = self.state[f"dcn_convs.{level}.weight"]
            x = rx.deform_align(guided, offset, weight, padding=at, dilation=at)
            x = self.norm(f"bn_layers.{level}", x).relu()
            heads = (conf, loc, self.head(f"odm_conf.{level}", x), self.head(f"odm_loc.{level}", x))
            for column, m, width in zip(columns, heads, (2, 4, classes, 4), strict=True):
                column.append(m.permute(0, 2, 3, 1).reshape(len(images), -1, width))
        return [torch.cat(column, 1) for column in columns]
