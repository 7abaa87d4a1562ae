from __future__ import annotations

from refinedet.optimize import OptimizationReport


def test_the_report_can_be_read(fast):
    text = str(fast.report)
    for part in ("refinedet320_small", "float32 (as asked for)", "channels-last", "folded into weights", "(1, 3, 128"):
        assert part in text


def test_only_the_counts_are_taken_from_another():
    mine = OptimizationReport("a", "float32", "why", notes=["note"], input_shapes=[(1, 3, 64, 64)])
    mine.take_counts(OptimizationReport("b", "bfloat16", "x", folded_norms=3, fused_sums=2, operations=(9, 5)))
    assert (mine.folded_norms, mine.fused_sums, mine.operations) == (3, 2, (9, 5))
    assert (mine.model, mine.dtype, mine.notes, mine.input_shapes) == ("a", "float32", ["note"], [(1, 3, 64, 64)])


def test_what_did_not_happen_is_not_listed():
    text = str(OptimizationReport("a", "float32", "why", packed_convolutions=5))
    assert "5 with packed weights\n" in text and "Winograd" not in text and "as they were" not in text
    assert "kept" not in text
    text = str(OptimizationReport("a", "float32", "why", kept_norms=1, winograd_convolutions=2, plain_convolutions=3))
    assert "1 kept" in text and "2 by Winograd's filtering" in text and "3 as they were" in text


def test_a_compiled_network_has_no_counts():
    text = str(OptimizationReport("a", "float32", "why", executor="torch.compile", notes=["a note"]))
    assert "torch.compile" in text and "convolutions" not in text and text.endswith("a note")
