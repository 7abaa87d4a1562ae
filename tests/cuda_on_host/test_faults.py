"""Every fault applies to the kernels as they are; what is tried, remembered and told of them. Nothing is compiled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .faults import faults
from .faults.by_hand import BY_HAND, HARMLESS, Damage, Harmless
from .faults.faults import Fault, StaleFaultError, all_faults, plant
from .faults.patterns import damages
from .faults.record import Record
from .faults.sources import KERNELS, ROOT, compiled_from, kernel_sources, kernel_tests
from .faults.table import page, summary
from .faults.trials import Trials, Verdict
from .faults.workshop import BUILDS, DOES_NOT_COMPILE, Build, Workshop, classify, damage_copy

KERNEL = """\
#include "device.h"
__global__ void sum_kernel(const float* from, float* to, int count) {
  GPU_SHARED(float, sums, [kThreads]);
  for (int i = threadIdx.x; i < count; i += kThreads) {
    if (i < count) {
      atomicAdd(to, from[i]);
    }
  }
  __syncthreads();  // not __syncwarp();
  close_copy_group();
  wait_for_copies<kStages - 2>();
  GPU_CHECK(count >= 0, "count: expected 0 or more");
  x = __shfl_sync(kAllLanes, x, 0);
}
void sum(Stream stream) { launch("sum", sum_kernel, dim3(1), dim3(kThreads), size_t{4} * count, stream, a, b); }
"""


@pytest.fixture
def fault() -> Fault:
    return Fault("boxes/map_rows.h", 3, "a guard dropped", "the damaged text")


# ---------------------------------------------------------------- the list


def test_every_fault_applies_to_the_kernels_as_they_are() -> None:
    found = all_faults()
    assert len({(fault.file, fault.text) for fault in found}) == len(found) > 400
    for fault in found:
        text = (KERNELS / fault.file).read_text(encoding="utf-8")
        assert fault.text != text and 1 <= fault.line <= text.count("\n"), fault
    assert len(BY_HAND) > 40
    assert sum(bool(fault.harmless) for fault in found) >= len(HARMLESS)


def test_patterns_find_a_fault_of_each_kind() -> None:
    found = {what: KERNEL[:begin] + instead + KERNEL[end:] for begin, end, instead, what in damages(KERNEL)}
    assert list(found) == [
        "__syncthreads removed",
        "close_copy_group removed",
        "wait_for_copies<kStages - 2> removed",
        "atomicAdd made plain",
        "guard (i < count) dropped",
        "one step too many: for (int i = threadIdx.x; i < count;",
        'check removed: count >= 0, "count: expected 0 or more"',
        "shared array too small: sums",
        "dynamic shared memory halved: size_t{4} * count",
        "mask of __shfl_sync halved",
    ]
    assert "if ((true)) {" in found["guard (i < count) dropped"].replace("if (true)", "if ((true))")
    assert "i <= count; i +=" in found["one step too many: for (int i = threadIdx.x; i < count;"]
    assert "[(kThreads) - 1]" in found["shared array too small: sums"]
    assert "(size_t{4} * count) / 2, stream" in found["dynamic shared memory halved: size_t{4} * count"]
    assert "__shfl_sync((kAllLanes >> 16), x, 0)" in found["mask of __shfl_sync halved"]


def test_a_plain_atomic_brings_what_it_needs_and_keeps_the_lines() -> None:
    (atomic,) = [fault for fault in plant("x/sum.cu", KERNEL, (), ()) if "atomic" in fault.what]
    head, _, body = atomic.text.partition("#line 1\n")
    assert "namespace not_atomic" in head
    assert body == KERNEL.replace("atomicAdd(", "not_atomic::Add(")
    assert atomic.line == 6


@pytest.mark.parametrize(
    ("old", "times"), [("__syncthreads(); // gone", 0), ("count", KERNEL.count("count"))], ids=["gone", "several"]
)
def test_a_listed_fault_whose_text_does_not_stand_once_in_the_file_is_an_error(old: str, times: int) -> None:
    with pytest.raises(StaleFaultError, match=rf"x/sum.cu: '.*' stands there {times} times, expected once \(why\)"):
        plant("x/sum.cu", KERNEL, [Damage("x/sum.cu", old, "", "why")], ())


def test_what_is_listed_as_harmless_and_not_found_is_an_error() -> None:
    harmless = Harmless("x/sum.cu", "if (i < count)", "guard", "the loop ends there")
    by_what = {fault.what: fault.harmless for fault in plant("x/sum.cu", KERNEL, (), [harmless])}
    assert by_what.pop("guard (i < count) dropped") == "the loop ends there"
    assert set(by_what.values()) == {""}
    with pytest.raises(StaleFaultError, match=r"no fault 'mask' in a line with 'if \(i < count\)'"):
        plant("x/sum.cu", KERNEL, (), [harmless._replace(what="mask")])


def test_a_harmless_one_of_several_lines_that_are_alike_is_told_by_the_next_line() -> None:
    twice = "  __syncthreads();\n  a();\n  __syncthreads();\n  b();\n"
    harmless = Harmless("x/sum.cu", "__syncthreads();\n  b();", "__syncthreads", "nobody waits")
    assert [fault.harmless for fault in plant("x/sum.cu", twice, (), [harmless])] == ["", "nobody waits"]


def test_a_fault_listed_for_no_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "BY_HAND", [Damage("boxes/gone.h", "a", "b", "c")])
    with pytest.raises(StaleFaultError, match=r"boxes/gone\.h: no such file"):
        all_faults()


# ---------------------------------------------------------------- what is compiled


def test_headers_are_found_through_headers() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in compiled_from(KERNELS / "nms/large_classes.cu")}
    assert found >= {
        "csrc/cuda/nms/settle_large.h",
        "csrc/cuda/primitives/block.h",
        "csrc/core/dtype.h",
        "tests/cuda_on_host/emulator/warp.h",
    }
    assert "csrc/cuda/features/deform_tile.h" not in found
    assert KERNELS / "primitives/sort.cu" not in kernel_sources()
    assert {path.parent.name for path in kernel_tests()} >= {"boxes", "nms"}


def test_the_key_of_an_object_follows_the_fault_and_the_build(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, tmp_path / "library.a", 1, 1)
    touched, other = KERNELS / "boxes/decode_boxes.cu", KERNELS / "nms/detect.cu"
    one, two = Fault("boxes/map_rows.h", 1, "a", "one"), Fault("boxes/map_rows.h", 1, "a", "two")
    plain, address, _ = BUILDS
    assert workshop.object_key(touched, plain) != workshop.object_key(touched, address)
    assert len({workshop.object_key(touched, plain, fault) for fault in (None, one, two)}) == 3
    assert workshop.object_key(other, plain) == workshop.object_key(other, plain, one)


def test_the_damaged_copy_differs_by_the_fault_alone(tmp_path: Path, fault: Fault) -> None:
    damage_copy(tmp_path / "csrc", fault)
    ours = {path.relative_to(tmp_path / "csrc") for path in (tmp_path / "csrc/cuda").rglob("*.*")}
    assert ours == {path.relative_to(ROOT / "csrc") for path in KERNELS.rglob("*.*")}
    changed = [p for p in ours if (tmp_path / "csrc" / p).read_bytes() != (ROOT / "csrc" / p).read_bytes()]
    assert changed == [Path("cuda/boxes/map_rows.h")]
    assert (tmp_path / "csrc/core/dtype.h").exists()


# ---------------------------------------------------------------- what is noticed


@pytest.mark.parametrize(
    ("output", "code", "noticed"),
    [
        ("12 runs of cases, 0 failures", 0, ""),
        ("FAIL decode: at 3 of 8", 1, "wrong result"),
        ("FAIL threads wait at different barriers", 1, "barrier"),
        ("WARNING: ThreadSanitizer: data race (pid=1)\nFAIL decode", 66, "race"),
        ("ERROR: AddressSanitizer: heap-buffer-overflow", 1, "address"),
        ("map_rows.h:3:4: runtime error: index 4 out of bounds", 1, "undefined"),
        ("", -11, "crash"),
        ("", -24, "hang"),
        ("", 3, "exit 3"),
    ],
)
def test_what_a_program_says_has_one_word(output: str, code: int, noticed: str) -> None:
    assert classify(output, code) == noticed


@pytest.mark.parametrize(
    ("program", "noticed"), [("print('FAIL')", ""), ("print('FAIL'); exit(1)", "wrong result"), ("while 1: 1", "hang")]
)
def test_a_program_that_does_not_end_hangs(tmp_path: Path, program: str, noticed: str) -> None:
    workshop = Workshop(tmp_path, tmp_path / "library.a", 1, 1)
    assert workshop.outcome_of([sys.executable, "-S", "-c", program], Build("plain", ())) == noticed


# ---------------------------------------------------------------- trials


class FakeWorkshop(Workshop):
    """Two tests, the near one first; `notices` says what is noticed by test and build."""

    def __init__(self, notices: dict[tuple[str, str], str]) -> None:
        self.notices = notices
        self.ran: list[tuple[str, str, bool]] = []

    def nearest_first(self, fault: Fault) -> list[Path]:
        return [Path("test_near.cpp"), Path("test_far.cpp")]

    def sources_of(self, test: Path) -> list[Path]:
        return [test]

    def build(self, sources: object, build: Build) -> None:
        pass

    def key(self, test: Path, build: Build, fault: Fault | None = None) -> str:
        return f"{test.stem}:{build.name}:{fault.what.replace(' ', '_') if fault else ''}"

    def run(self, test: Path, build: Build, folder: Path, fault: Fault | None = None) -> str:
        self.ran.append((test.stem, build.name, fault is not None))
        return self.notices.get((test.stem, build.name), "") if fault else self.notices.get((test.stem, ""), "")


def tried(workshop: FakeWorkshop) -> list[str]:
    return [f"{test[5:]} {build}" for test, build, damaged in workshop.ran if damaged]


def test_trials_end_with_the_first_build_that_notices(tmp_path: Path, fault: Fault) -> None:
    workshop = FakeWorkshop({("test_near", "address"): "address", ("test_near", "thread"): "race"})
    verdict = Trials(workshop, Record(tmp_path / "known"), everything=False).judge(fault, run=True)
    assert (verdict.kind, str(verdict)) == ("noticed", "address: address (test_near)")
    assert tried(workshop) == ["near plain", "near address"]


def test_all_builds_of_a_test_are_tried_on_request(tmp_path: Path, fault: Fault) -> None:
    workshop = FakeWorkshop({("test_near", "address"): "address", ("test_near", "thread"): "race"})
    verdict = Trials(workshop, Record(tmp_path / "known"), everything=True).judge(fault, run=True)
    assert str(verdict) == "address: address (test_near), thread: race (test_near)"
    assert tried(workshop) == ["near plain", "near address", "near thread"]


def test_a_fault_that_nothing_notices_has_been_before_all_tests(tmp_path: Path, fault: Fault) -> None:
    workshop = FakeWorkshop({})
    verdict = Trials(workshop, Record(tmp_path / "known"), everything=False).judge(fault, run=True)
    assert verdict.kind == str(verdict) == "unnoticed"
    assert tried(workshop) == [
        *(f"{test} {build}" for test in ("near", "far") for build in ("plain", "address")),
        "near thread",
        "far thread",
    ]
    assert len([damaged for *_, damaged in workshop.ran if not damaged]) == 6  # each undamaged, too


@pytest.mark.parametrize("what", ["__syncthreads removed", "atomicAdd made plain"])
def test_a_lost_order_of_threads_comes_before_the_address_build_last(tmp_path: Path, what: str) -> None:
    workshop = FakeWorkshop({("test_far", "thread"): "race"})
    fault = Fault("boxes/map_rows.h", 3, what, "the damaged text")
    verdict = Trials(workshop, Record(tmp_path / "known"), everything=False).judge(fault, run=True)
    assert str(verdict) == "thread: race (test_far)"
    assert tried(workshop) == ["near plain", "near thread", "far plain", "far thread"]


def test_what_is_known_is_not_run_again(tmp_path: Path, fault: Fault) -> None:
    file = tmp_path / "build/known"
    Trials(FakeWorkshop({("test_far", "plain"): "wrong result"}), Record(file), everything=False).judge(fault, run=True)
    workshop = FakeWorkshop({})
    verdict = Trials(workshop, Record(file), everything=False).judge(fault, run=True)
    assert str(verdict) == "plain: wrong result (test_far)"
    assert workshop.ran == []
    other = Fault(fault.file, 4, "another", "another text")
    assert Trials(workshop, Record(file), everything=False).judge(other, run=False).kind == "not run"
    assert workshop.ran == []


def test_a_test_that_fails_undamaged_ends_the_run(tmp_path: Path, fault: Fault) -> None:
    workshop = FakeWorkshop({("test_near", ""): "wrong result"})
    with pytest.raises(SystemExit, match=r"test_near\.cpp fails undamaged in the plain build: wrong result"):
        Trials(workshop, Record(tmp_path / "known"), everything=False).judge(fault, run=True)


def test_a_harmless_fault_is_not_tried(tmp_path: Path) -> None:
    workshop = FakeWorkshop({})
    harmless = Fault("boxes/map_rows.h", 3, "another guard dropped", "text", "the loop ends there")
    verdict = Trials(workshop, Record(tmp_path / "known"), everything=False).judge(harmless, run=True)
    assert (verdict.kind, str(verdict), workshop.ran) == ("harmless", "harmless: the loop ends there", [])


# ---------------------------------------------------------------- the table


def test_the_table_says_how_many_were_tried(fault: Fault) -> None:
    near = ("test_near", "plain")
    verdicts = [
        Verdict(fault, {near: "", ("test_near", "thread"): "race"}, complete=True),
        Verdict(fault, {near: ""}, complete=True),
        Verdict(fault, {near: ""}, complete=False),
        Verdict(fault, {near: DOES_NOT_COMPILE}, complete=True),
        Verdict(Fault("nms/a.h", 7, "a || b", "", "the same"), {}, complete=True),
    ]
    assert summary(verdicts) == (
        "3 of 4 faults were tried; 1 noticed (1 by the thread build); 1 unnoticed; 1 does not compile; "
        "1 more are harmless."
    )
    text = page(verdicts, "2026-01-02")
    assert "on 2026-01-02" in text and summary(verdicts) in text
    rows = [line for line in text.splitlines() if line.startswith("| 3") or line.startswith("| 7")]
    assert [row.split(" | ")[-1] for row in rows] == [
        "thread: race (test_near) |",
        "**unnoticed** |",
        "does not compile |",
        "harmless: the same |",
    ]
    assert r"`a \|\| b`" in rows[-1]
    assert text.count("Not run: 1.") == 1  # a file's, behind its rows
    assert text.index("## boxes/map_rows.h") < text.index("Not run: 1.") < text.index("## nms/a.h")


# ---------------------------------------------------------------- the command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "tests.cuda_on_host.faults", *arguments]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_lists_the_chosen_faults() -> None:
    done = command("--list", "--only", "boxes/", "row_tile.h")
    files = {line.split(":")[0] for line in done.stdout.splitlines()}
    assert (done.returncode, files) == (0, {"boxes/decode_cascade.cu", "boxes/map_rows.h", "losses/row_tile.h"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nothing like it"], "--only: expected a part of one of the"),
        (["--cpu-library", "gone.a"], "--cpu-library: gone.a is not built (make test-cpp)"),
    ],
)
def test_the_command_refuses(arguments: list[str], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
