"""How fast whole detectors are, beside what their papers say: `refinedet speed`."""

from __future__ import annotations

from .measure import Contestant, SpeedReport, SpeedRow, measure_speed, plan_speed
from .report import format_table, to_dict

__all__ = ["Contestant", "SpeedReport", "SpeedRow", "format_table", "measure_speed", "plan_speed", "to_dict"]
