"""Everything that only a GPU can show, in one command: `make gpu-check`.

Builds with this machine's torch and nvcc, runs the tests marked `cuda`, compute-sanitizer over a small run of each
kernel, then the benchmarks. Writes logs, results.json and summary.md to one folder ($OUT, else runs/gpu_check), prints
the summary last, and keeps to eight minutes. Needs no network: torch, nvcc, CMake, ninja, pybind11 and pytest.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
BUDGET = 8 * 60.0
TESTS = ("tests/refinedet_ext/ops", "tests/refinedet_ext/cuda", "tests/refinedet/detectors/test_cuda_kernels.py")


class Check:
    """Runs steps one after the other, each with a log and a part of the time that is left."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.began = time.monotonic()
        self.steps: list[dict[str, object]] = []
        out.mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        return BUDGET - (time.monotonic() - self.began)

    def step(self, name: str, command: list[str], *, at_most: float, **environment: str) -> bool:
        began = time.monotonic()
        limit = min(at_most, self.left())
        log = self.out / f"{name}.log"
        paths = os.pathsep.join([str(ROOT), str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])
        result = "ok"
        if limit < 5:
            result = "not reached in the time given"
        else:
            with log.open("w") as file:
                print("$", " ".join(command), file=file, flush=True)
                result = _run(
                    command, os.environ | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"} | environment, file, limit
                )
        seconds = time.monotonic() - began
        last = (
            [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:] if log.exists() else []
        )
        self.steps.append(
            {"step": name, "result": result, "seconds": round(seconds, 1), "last line": "".join(last)[:300]}
        )
        print(f"{name}: {result}, {seconds:.0f} s. {''.join(last)[:200]}", flush=True)
        return result == "ok"

    def build(self) -> bool:
        """For this GPU alone, in a folder of its own; the libraries go where the package looks for them."""
        build = ROOT / "build/gpu"
        cmake = find_cmake()
        configure = [
            cmake,
            *("-S", str(ROOT), "-B", str(build), "-G", "Ninja"),
            *(f"-DPython_EXECUTABLE={sys.executable}", "-DREFINEDET_TORCH=ON", "-DREFINEDET_NUMPY=ON"),
            *("-DREFINEDET_CUDA=ON", f"-DREFINEDET_CUDA_ARCHITECTURES={architecture()}", "-DREFINEDET_BUILD_TESTS=OFF"),
        ]
        install = [cmake, "--install", str(build), "--component", "python", "--prefix", str(ROOT)]
        return (
            self.step("configure", configure, at_most=60)
            and self.step("build", [cmake, "--build", str(build)], at_most=240)
            and self.step("install", install, at_most=30)
        )

    def finish(self) -> int:
        results: dict[str, object] = {"steps": self.steps}
        lines = ["# GPU check", "", "| step | result | seconds | last line |", "|---|---|---|---|"]
        for step in self.steps:
            lines.append(f"| {step['step']} | {step['result']} | {step['seconds']} | {step['last line']} |")
        failed = _failed_tests(self.out / "tests.log")
        if failed:
            lines += ["", "Failed tests:", "", *(f"- `{name}`" for name in failed)]
        if (self.out / "gpu.json").exists():
            results["benchmarks"] = json.loads((self.out / "gpu.json").read_text())
            lines += ["", "## Times", "", (self.out / "gpu.md").read_text()]
        (self.out / "results.json").write_text(json.dumps(results, indent=1))
        text = "\n".join(lines) + "\n"
        (self.out / "summary.md").write_text(text)
        print("\n" + text)
        return 0 if all(step["result"] == "ok" for step in self.steps) else 1


def _run(command: list[str], environment: dict[str, str], log: IO[str], limit: float) -> str:
    """ "ok", or what went wrong. At the limit the whole family of processes is stopped."""
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    except FileNotFoundError as error:
        return f"missing: {error.filename}"
    try:
        code = process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"stopped after {limit:.0f} s"
    return "ok" if code == 0 else f"failed ({code})"


def _failed_tests(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [line[:250] for line in lines if line.startswith(("FAILED", "ERROR"))][:60]


def find_cmake() -> str:
    """The one of this Python's environment, if there is one: the system's may be older than CUDA asks for."""
    try:
        import cmake
    except ImportError:
        return "cmake"
    return str(Path(cmake.CMAKE_BIN_DIR) / "cmake")


def architecture() -> str:
    """ "90" for a Hopper GPU, machine code alone."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return f"{major}{minor}-real"


def main() -> int:
    import torch

    if not torch.cuda.is_available():
        print("gpu-check: no GPU that this torch can use", file=sys.stderr)
        return 2
    check = Check(Path(os.environ.get("OUT", ROOT / "runs/gpu_check")))
    if check.build():
        python, pytest = (
            sys.executable,
            [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-o", "filterwarnings=default"],
        )
        parallel = ["-n", "6"] if _has("xdist") else []
        check.step("tests", [*pytest, *parallel, *TESTS], at_most=200, OMP_NUM_THREADS="2")
        sanitizer = shutil.which("compute-sanitizer") or "compute-sanitizer"
        small = [python, "-m", "benchmarks.gpu.small_run"]
        for tool in ("memcheck", "racecheck"):
            command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *small]
            # the caching allocator would hide accesses between tensors
            check.step(tool, command, at_most=80, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
        seconds = max(20.0, check.left() - 30)
        bench = [python, "-m", "benchmarks.gpu", "--out", str(check.out), "--seconds", str(round(seconds))]
        check.step("benchmarks", bench, at_most=seconds + 25)
    return check.finish()


def _has(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
