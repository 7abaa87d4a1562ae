"""Thin modules on the ops, for people who build their own detector."""

from __future__ import annotations

from .deform_align import DeformAlign
from .depthwise_conv2d import DepthwiseConv2d
from .l2norm import L2Norm
from .transfer_connection_block import TransferConnectionBlock

__all__ = ["DeformAlign", "DepthwiseConv2d", "L2Norm", "TransferConnectionBlock"]
