"""The steps: their order, their time, what happens where something is missing; and the whole rehearsal."""

from __future__ import annotations

import json

import pytest

from benchmarks.gpu import course as module
from benchmarks.gpu.catalog import MACHINE, Task, tasks
from benchmarks.gpu.check import conclude
from benchmarks.gpu.course import KERNELS, STEPS, Course, Options
from benchmarks.gpu.fake_machine import HANG, FakeMachine
from benchmarks.gpu.rehearsal import rehearse
from benchmarks.gpu.results import LENGTH, Results

STARTED_AT = 1000.0
PREBUILT = {"take": lambda folder: None, "options": Options(prebuilt=module.Path("prebuilt"))}


def few_tasks(name, device, state):
    """One row, behind that of the machine where it is asked for."""
    row = {
        "op": "op",
        "case": name,
        "direction": "forward",
        "ours": {"call": {"median": 2.0}},
        "peers": {},
        "ratios": {},
    }
    row |= {"over_floor": None, "megabytes": 1.0, "unchecked": "", "targets": []}
    machine = [task for task in tasks(name, device, state) if task.key == MACHINE]
    return [*machine, Task("row", lambda: {} if name == "smoke" else row)]


def run(tmp_path, machine, **rest):
    made = Course(machine, Results(tmp_path / "out"), tmp_path, **{"missing_tools": lambda: [], **rest})
    code = conclude(made)
    return code, {step.name: step for step in made.results.steps}


def programs(machine):
    """What was started, in short."""
    words = ["--check", "-S", "--build", "--install", "smoke", "first", "rest", "pytest"]
    return [next(word for word in words if word in command) for command in machine.started]


@pytest.mark.parametrize("prebuilt", [True, False])
def test_the_order(tmp_path, prebuilt):
    machine = FakeMachine(few_tasks)
    code, steps = run(tmp_path, machine, **(PREBUILT if prebuilt else {}))
    assert code == 0 and {step.result for step in steps.values()} == {"ok"}
    built = ["--check"] if prebuilt else ["-S", "--build", "--install", "--check"]
    assert programs(machine) == [*built, "smoke", "first", *["pytest"] * 8, "rest", "smoke", "smoke"]
    tools = [command for command in machine.started if "--tool" in command]
    assert [command[command.index("--tool") + 1] for command in tools] == ["memcheck", "racecheck"]
    assert all(command[command.index("--kernel-regex") + 1] == KERNELS for command in tools)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["logs.tar.gz", "results.json", "summary.md"]
    # the ceilings are measured once
    rows = {name: [row["key"] for row in step.rows] for name, step in steps.items()}
    assert rows["benchmarks"] == [MACHINE, "row"] and rows["more benchmarks"] == ["row"]


def test_libraries_that_do_not_load_are_built(tmp_path):
    machine = FakeMachine(few_tasks, loads=[False, True])
    code, steps = run(tmp_path, machine, **PREBUILT)
    assert code == 0 and programs(machine)[:5] == ["--check", "-S", "--build", "--install", "--check"]
    assert "undefined symbol: made_up; from source:" in steps["libraries"].note


def test_libraries_of_other_sources_are_built(tmp_path):
    def refuse(folder):
        raise ValueError("built from other sources")

    machine = FakeMachine(few_tasks)
    code, steps = run(tmp_path, machine, **{**PREBUILT, "take": refuse})
    assert code == 0 and programs(machine)[0] == "-S" and "built from other sources" in steps["libraries"].note


def test_without_libraries_nothing_else_is_run(tmp_path):
    machine = FakeMachine(few_tasks, loads=[False])
    code, steps = run(tmp_path, machine, missing_tools=lambda: ["nvcc"], **PREBUILT)
    assert code == 1 and steps["libraries"].result == "cannot build: no nvcc"
    assert "undefined symbol" in steps["libraries"].note
    rest = [step.result for name, step in steps.items() if name != "libraries"]
    assert rest == ["not run: there are no libraries"] * 6


def test_a_build_that_fails_says_where(tmp_path):
    code, steps = run(tmp_path, FakeMachine(few_tasks, loads=[False]))
    assert code == 1 and steps["libraries"].result == "built: ended with 1"
    code, steps = run(tmp_path, FakeMachine(few_tasks, seconds={"--build": 1e6}))
    assert steps["libraries"].result == "build: stopped at its limit"


def test_a_missing_sanitizer_costs_its_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(module.libraries, "find_tool", lambda name: None)
    code, steps = run(tmp_path, FakeMachine(few_tasks, missing=("compute-sanitizer",)), **PREBUILT)
    results = {name: step.result for name, step in steps.items() if step.result != "ok"}
    assert code == 1 and results == dict.fromkeys(["memcheck", "racecheck"], "missing: compute-sanitizer")


@pytest.mark.parametrize("minutes", [2.0, 8.0])
def test_the_time_is_kept(tmp_path, minutes):
    """Every row hangs, every test too."""
    everywhere = {(step, "row"): HANG for step in ("smoke", "first", "rest", "memcheck", "racecheck")}
    hanging = {("tests", f"tests/test_made_up.py::test_{i}"): HANG for i in range(40)}
    machine = FakeMachine(few_tasks, {**everywhere, **hanging}, seconds={"--build": 40.0})
    options = Options(minutes=minutes)
    _, steps = run(tmp_path, machine, options=options)
    assert machine.now - STARTED_AT <= 60 * minutes
    if minutes == 8:
        assert all(step.rows for name, step in steps.items() if name != "libraries")


def test_a_step_gets_what_others_did_not_use(tmp_path, monkeypatch):
    """Shares 1, 1 and 2 of 4 minutes, less the reserve; the first uses none, the second all it gets."""
    limits = []

    def step(takes):
        def run_step(course, current, deadline):
            limits.append(deadline - course.machine.clock())
            course.machine.wait(takes * limits[-1])
            return "ok"

        return run_step

    monkeypatch.setattr(
        module, "STEPS", (("a", 1, step(0)), ("b", 1, step(1)), ("c", 2, step(0.5)), ("d", 0.01, step(0)))
    )
    machine = FakeMachine(few_tasks)
    run(tmp_path, machine, options=Options(minutes=4))
    total = 240 - module.RESERVE
    assert limits == pytest.approx(
        [total / 4.01, total / 3.01, 2 / 2.01 * total * 2.01 / 3.01, total / 3.01 * 1.01], rel=1e-6
    )


def test_what_is_too_late_is_not_begun(tmp_path):
    machine = FakeMachine(few_tasks, seconds={"--build": 10.0})
    _, steps = run(tmp_path, machine, options=Options(minutes=1))
    late = [name for name, step in steps.items() if step.result == "not reached in the time given"]
    assert late and late == [name for name, _, _ in STEPS][-len(late) :]


def test_results_are_there_when_the_check_is_stopped(tmp_path, capsys):
    machine = FakeMachine(few_tasks)

    def wait(seconds):
        FakeMachine.wait(machine, seconds)
        if any("pytest" in command for command in machine.started) and machine.now > STARTED_AT + 60:
            raise SystemExit("stopped from outside")

    machine.wait = wait
    machine.faults["tests", "tests/test_made_up.py::test_3"] = HANG
    with pytest.raises(SystemExit):
        run(tmp_path, machine, **PREBUILT)
    steps = {step["name"]: step for step in json.loads((tmp_path / "out/results.json").read_text())["steps"]}
    assert steps["tests"]["result"] == "stopped" and len(steps["tests"]["rows"]) == 40
    assert any("not reached" in row for row in steps["tests"]["rows"])
    assert steps["benchmarks"]["rows"] and (tmp_path / "out/logs.tar.gz").exists()
    assert "not finished in the time given" in capsys.readouterr().out
    assert all(process.code() is not None for process in machine.running)


def test_the_rehearsal(tmp_path, capsys):
    assert rehearse(tmp_path) == 0
    captured = capsys.readouterr()
    assert len(captured.out) < LENGTH + 2000 and captured.err == ""
    assert "6 faults planted, 0 surprises" in captured.out.splitlines()[-1]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["ceilings"] and [step["name"] for step in results["steps"]] == [name for name, _, _ in STEPS]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_rehearsal_with_a_surprise_fails(tmp_path, capsys):
    def find(name, device, state):
        return [Task(f"row {i}", lambda i=i: {}["made up"] if i == 5 else {}) for i in range(7)]

    assert rehearse(tmp_path, find) == 1
    assert "smoke: row 5: KeyError: 'made up'" in capsys.readouterr().err
