"""What ends a process costs the row that it is at: by stand-ins on a fake clock, and with real processes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu.catalog import Task
from benchmarks.gpu.events import SHARD
from benchmarks.gpu.fake_machine import HANG, KILL, TRAP, TRAP_MESSAGE, FakeMachine
from benchmarks.gpu.processes import RealMachine, environment
from benchmarks.gpu.supervise import Lane, Limits, run_lanes

LIMITS = Limits(row=30, start=60)
WORKER = ["python", "-m", "benchmarks.gpu.worker", "first"]


def five_tasks(name, device, state):
    return [Task(key, lambda: {"value": 1}) for key in "abcde"]


def run(machine, folder, command=WORKER, *, minutes=10.0, limits=LIMITS, lanes=1, settings=None):
    """The result, the rows by key and how often there was news."""
    news = []
    made = [Lane(machine, command, folder, f"lane{i}", limits, (settings or [{}])[i]) for i in range(lanes)]
    result = run_lanes(made, machine.clock() + 60 * minutes, lambda: news.append(1))
    return result, {row["key"]: row for lane in made for row in lane.rows}, len(news)


def test_all_rows_come_one_by_one(tmp_path):
    machine = FakeMachine(five_tasks)
    result, rows, news = run(machine, tmp_path)
    assert result == "ok" and list(rows) == list("abcde") and news == 5 and len(machine.started) == 1
    assert all(row["value"] == 1 for row in rows.values())


FAULTS = {HANG: "stopped after 30 s", KILL: "killed by signal 9", TRAP: f"RuntimeError: {TRAP_MESSAGE}"}


@pytest.mark.parametrize(("fault", "error"), FAULTS.items(), ids=FAULTS)
@pytest.mark.parametrize("key", ["a", "c", "e"])
def test_a_fault_costs_one_row(tmp_path, fault, error, key):
    machine = FakeMachine(five_tasks, {("first", key): fault})
    result, rows, _ = run(machine, tmp_path)
    assert result == "ok" and sorted(rows) == list("abcde")
    assert {key for key, row in rows.items() if "error" in row} == {key} and rows[key]["error"] == error
    assert len(machine.started) == (1 if key == "e" else 2)


def test_an_exception_costs_one_row_and_no_process(tmp_path):
    def find(name, device, state):
        return [Task(key, lambda key=key: {"a": {}}[key]) for key in "ab"]

    machine = FakeMachine(find)
    result, rows, _ = run(machine, tmp_path)
    assert result == "ok" and rows["b"]["error"] == "KeyError: 'b'" and len(machine.started) == 1


def test_every_row_may_fail(tmp_path):
    machine = FakeMachine(five_tasks, {("first", key): TRAP for key in "abcde"})
    result, rows, _ = run(machine, tmp_path)
    assert result == "ok" and all("error" in row for row in rows.values()) and len(machine.started) == 5


def test_a_process_that_never_begins_is_not_tried_again(tmp_path):
    machine = FakeMachine(five_tasks)
    machine._program = lambda *_: endless()
    before = machine.now
    result, rows, _ = run(machine, tmp_path)
    assert result == "stopped after 60 s" and not rows and len(machine.started) == 1
    assert machine.now - before == pytest.approx(60, abs=1)


def endless():
    yield float("inf")
    return 0


def test_when_the_time_is_up_rows_say_so(tmp_path):
    machine = FakeMachine(five_tasks, {("first", "b"): HANG})
    result, rows, _ = run(machine, tmp_path, minutes=0.2)
    assert result == "time was up"
    assert rows["b"]["error"] == "not finished in the time given"
    assert rows["a"]["value"] == 1 and rows["c"] == {"key": "c", "not reached": True}
    assert all(process.code() is not None for process in machine.running)


def test_a_program_that_is_not_there(tmp_path):
    machine = FakeMachine(five_tasks, missing=("python",))
    assert run(machine, tmp_path)[0] == "missing: python"


# ---------------------------------------------------------------- real processes

ROWS = """
import json, os, subprocess, sys, time
def say(**event):
    with open(os.environ["REFINEDET_GPU_EVENTS"], "a") as file:
        file.write(json.dumps(event) + "\\n")
done = json.load(open(os.environ["REFINEDET_GPU_DONE"]))
say(plan=list("abcd"))
for key in "abcd":
    if key in done:
        continue
    say(began=key)
    if key == "b":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open("child.pid" if len(sys.argv) == 1 else sys.argv[1], "w").write(str(child.pid))
        time.sleep(60)
    if key == "c":
        os.abort()
    say(row={"key": key})
sys.exit(3)
"""


def gone(pid):
    """Within seconds; a zombie, for which nobody has waited, is gone."""
    for _ in range(500):
        try:
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_real_processes(tmp_path):
    pid = tmp_path / "child.pid"
    command = [sys.executable, "-c", ROWS, str(pid)]
    result, rows, _ = run(RealMachine(), tmp_path, command, limits=Limits(row=3.0, start=60))
    assert result == "ended with 3"  # what it says besides its rows
    assert rows == {
        "a": {"key": "a"},
        "b": {"key": "b", "error": "stopped after 3 s"},
        "c": {"key": "c", "error": "killed by signal 6"},
        "d": {"key": "d"},
    }
    assert gone(pid.read_text())  # what it has started is gone as well
    assert (tmp_path / "lane0.log").read_text().count("$ ") == 3


def test_real_processes_end_with_the_check(tmp_path):
    pid = tmp_path / "child.pid"

    def stop():
        if pid.exists() and pid.read_text():
            raise SystemExit

    machine = RealMachine()
    machine.wait = lambda seconds: stop()
    lane = Lane(machine, [sys.executable, "-c", ROWS, str(pid)], tmp_path, "lane", LIMITS, {})
    with pytest.raises(SystemExit):
        run_lanes([lane], machine.clock() + 60, lambda: None)
    assert gone(pid.read_text())
    assert [row["key"] for row in lane.rows] == list("abcd") and lane.rows[1]["error"].startswith("not finished")


TESTS = """
import os, time, pytest
@pytest.mark.parametrize("i", range(2))
def test_passes(i): pass
def test_fails(): assert [1] == [2]
def test_dies(): os._exit(5)
def test_hangs(): time.sleep(60)
def test_skips(): pytest.skip("not here")
@pytest.fixture
def broken(): raise ValueError("no fixture")
def test_errs(broken): pass
def test_after(): pass
"""


def test_tests_tell_of_themselves(tmp_path):
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name")
    command = [sys.executable, "-m", "pytest", "-p", "benchmarks.gpu.pytest_events", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", "--continue-on-collection-errors", "--rootdir", str(tmp_path), "-c", os.devnull]
    command += [str(tmp_path)]
    settings = [environment(**{SHARD: f"{i}/2"}) for i in range(2)]
    limits = Limits(row=5.0, start=120)
    result, rows, _ = run(RealMachine(), tmp_path, command, limits=limits, lanes=2, settings=settings)
    assert result == "ended with 1"
    found = {key.partition("::")[2]: row for key, row in rows.items()}
    errors = {name: row["error"] for name, row in found.items() if "error" in row}
    assert errors.pop("").startswith("not collected: ModuleNotFoundError: No module named 'nothing_of_this_name'")
    assert errors == {
        "test_fails": "assert [1] == [2]",
        "test_dies": "ended with 5",
        "test_hangs": "stopped after 5 s",
        "test_errs": "ValueError: no fixture",
    }
    assert found["test_skips"]["skipped"] and {"test_passes[0]", "test_passes[1]", "test_after"} < set(found)
