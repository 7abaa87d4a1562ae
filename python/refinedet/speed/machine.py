"""What a speed was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import torch

from refinedet_ext import __version__

from ..data.report import counted


@dataclass(frozen=True)
class Machine:
    """device: the name of the processor or GPU. threads: of torch. cores: that this process may use.

    load: of the machine when the measurement began, processes that wanted to run over the last minute; None where the
    system does not tell. A load beyond what this process makes itself says that it was not alone.
    """

    device: str
    processor: str
    cores: int
    threads: int
    load: float | None
    torch: str
    refinedet_ext: str

    def line(self) -> str:
        """For the head of a table."""
        on = "" if self.device == self.processor else f"{self.device}, "
        load = "" if self.load is None else f", load {self.load:.1f} at the start"
        return (
            f"{on}{self.processor}, {counted(self.threads, 'thread')} of {counted(self.cores, 'core')}{load}, "
            f"torch {self.torch}, refinedet-ext {self.refinedet_ext}"
        )


def describe_machine(device: torch.device) -> Machine:
    """As things are now."""
    processor = _processor()
    return Machine(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
        processor=processor,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        torch=torch.__version__,
        refinedet_ext=__version__,
    )


def _processor() -> str:
    """Linux says it in a file; elsewhere what Python knows."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
