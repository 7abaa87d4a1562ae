"""What `optimize_for_inference` did."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class OptimizationReport:
    """Counts of one network; `print` it.

    Attributes:
        model: its name or class.
        dtype, dtype_reason: what it computes in, and why.
        executor: "graph" or "torch.compile".
        folded_norms: batch norms that went into weights.
        kept_norms: those that could not.
        fused_activations, fused_sums: that became part of a convolution.
        packed_convolutions: whose weights are stored in oneDNN's order.
        winograd_convolutions: computed by Winograd's filtering.
        plain_convolutions: left as they were.
        constants: tensors computed once instead of in every call.
        operations: calls per run, before and after.
        input_shapes: those that a graph was made for.
        notes: what else there is to know.
    """

    model: str
    dtype: str
    dtype_reason: str
    executor: str = "graph"
    folded_norms: int = 0
    kept_norms: int = 0
    fused_activations: int = 0
    fused_sums: int = 0
    packed_convolutions: int = 0
    winograd_convolutions: int = 0
    plain_convolutions: int = 0
    constants: int = 0
    operations: tuple[int, int] = (0, 0)
    input_shapes: list[tuple[int, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take_counts(self, other: OptimizationReport) -> None:
        """The numbers of another report instead of this one's."""
        for name in COUNTS:
            setattr(self, name, getattr(other, name))

    def __str__(self) -> str:
        lines = [
            f"{self.model}, optimized for inference on the CPU",
            f"  dtype          {self.dtype} ({self.dtype_reason})",
            f"  executor       {self.executor}",
            "  layout         channels-last",
        ]
        if self.executor == "graph":
            kept = f", {self.kept_norms} kept" if self.kept_norms else ""
            quick = f", {self.winograd_convolutions} by Winograd's filtering" if self.winograd_convolutions else ""
            plain = f", {self.plain_convolutions} as they were" if self.plain_convolutions else ""
            lines += [
                f"  convolutions   {self.packed_convolutions} with packed weights{quick}{plain}",
                f"  batch norms    {self.folded_norms} folded into weights{kept}",
                f"  fused          {self.fused_activations} activations, {self.fused_sums} sums",
                f"  constants      {self.constants} computed once",
                f"  operations     {self.operations[0]} -> {self.operations[1]} a run",
                f"  input shapes   {', '.join(str(shape) for shape in self.input_shapes)}",
            ]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


COUNTS = tuple(f.name for f in fields(OptimizationReport) if f.type in ("int", "tuple[int, int]"))
