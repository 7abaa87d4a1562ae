from pathlib import Path

from benchmarks.study import ablations, lengths, lengths_page


def test_the_pairs_are_trained_longer(tmp_path: Path) -> None:
    runs = lengths.planned(tmp_path, [0, 1], lengths.ITERATIONS)
    assert len(runs) == 12 and {run.row for run in runs} <= set(ablations.RUNS)
    for run in runs:
        short = ablations.config_of(run.row, "scenes", tmp_path, run.seed)
        assert run.config["train"].pop("iterations") == 4 * short["train"].pop("iterations")
        assert run.config == short


def test_the_table_has_the_ablations_beside() -> None:
    def run(row: str, ap: float) -> dict[str, object]:
        return {"data": "scenes", "row": row, "metrics": {"": {"AP": ap, "AP75": ap + 10}}}

    short = [run("efgrnet", 16.0), run("efgrnet-ssd", 35.0)]
    lines = lengths_page.table(short, [run("efgrnet", 47.0), run("efgrnet-ssd", 46.0)])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert cells[2] == ["EFGRNet", "250", "16.0", "35.0", "\N{MINUS SIGN}19.0", "26.0", "45.0", "\N{MINUS SIGN}19.0"]
    assert cells[3][2:5] == ["47.0", "46.0", "+1.0"] and cells[0][2:] == ["not run", "not run", ""] * 2
