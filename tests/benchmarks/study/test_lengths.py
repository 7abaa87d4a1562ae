from pathlib import Path

from benchmarks.study import ablations, lengths, lengths_page


def test_the_pairs_are_trained_longer(tmp_path: Path) -> None:
    runs = lengths.planned(tmp_path, [0, 1], lengths.ITERATIONS)
    assert len(runs) == 16 and {run.row for run in runs} <= set(ablations.RUNS)
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
    assert cells[2] == [
        "EFGRNet: two stages",
        "250",
        "16.0",
        "35.0",
        "\N{MINUS SIGN}19.0",
        "26.0",
        "45.0",
        "\N{MINUS SIGN}19.0",
    ]
    assert cells[3][2:5] == ["47.0", "46.0", "+1.0"] and cells[0][2:] == ["not run", "not run", ""] * 2


def test_giou_is_compared_under_one_suppression() -> None:
    with_giou = {"data": "scenes", "row": "refinedetlite-giou", "metrics": {"": {"AP": 30.0, "AP75": 20.0}}}
    metrics = {"": {"AP": 10.0, "AP75": 10.0}, "coco": {"AP": 28.0, "AP75": 21.0}}
    lines = lengths_page.table([], [with_giou, {"data": "scenes", "row": "refinedetlite", "metrics": metrics}])
    cells = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert cells[1:] == ["1000", "30.0", "28.0", "+2.0", "20.0", "21.0", "\N{MINUS SIGN}1.0"]
