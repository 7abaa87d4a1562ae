from pathlib import Path

from benchmarks.study import ablations, lengths, lengths_page

MINUS = "\N{MINUS SIGN}"


def cells_of(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_the_pairs_are_trained_longer(tmp_path: Path) -> None:
    runs = lengths.planned(tmp_path, [0, 1], 20)
    assert len(runs) == 16 and {run.row for run in runs} <= set(ablations.RUNS)
    assert len({run.place for run in runs}) == 16
    for run in runs:
        short = ablations.config_of(run.row, "scenes", tmp_path, run.seed)
        del short["train"]["iterations"]
        assert run.config["train"].pop("iterations") == {"scenes-4x": 80, "scenes-8x": 160}[run.data]
        assert run.config == short


def test_the_table_has_the_ablations_beside() -> None:
    def run(data: str, row: str, ap: float) -> dict[str, object]:
        return {"data": data, "row": row, "metrics": {"": {"AP": ap, "AP75": ap + 10}}}

    short = [run("scenes", "efgrnet", 16.0), run("scenes", "efgrnet-ssd", 35.0), run("bccd", "efgrnet", 99.0)]
    long = [run("scenes-4x", "efgrnet", 47.0), run("scenes-4x", "efgrnet-ssd", 46.0), run("scenes-8x", "efgrnet", 99.0)]
    rows = cells_of(lengths_page.table(short, long))
    less = f"{MINUS}19.0"
    assert rows[3] == ["EFGRNet: two stages", "250", "16.0", "35.0", less, "26.0", "45.0", less, "1"]
    assert rows[4][1:5] == ["1000", "47.0", "46.0", "+1.0"]
    assert [row[1] for row in rows[:3]] == ["250", "1000", "2000"]
    assert rows[0][2:] == ["not run", "not run", ""] * 2 + ["0"]
