"""Fails if a CUDA kernel's machine code is not what its design counts on; skipped where nothing can read such code.

Of every kernel in the object file of SOURCE whose mangled name matches --kernel, for every GPU that it is compiled for:
nothing lies in local memory (spilled registers do); with --loads-together N there are N global loads of 16 bytes before
anything uses what one of them loads; with --has OPCODE ... each of these instructions occurs.

Usage: check_sass.py SOURCE OBJECT... --kernel REGEX [--loads-together N] [--has OPCODE ...] [--tools FOLDER]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SKIPPED = 77  # the exit status that ctest takes for that


class Instruction(NamedTuple):
    opcode: str  # with its suffixes: LDG.E.128
    operands: str


def find_tool(folder: str | None) -> Path | None:
    """cuobjdump: beside nvcc, on PATH, or from NVIDIA's wheels."""
    spec = importlib.util.find_spec("nvidia")
    wheels = [
        str(path)
        for root in (spec.submodule_search_locations if spec else None) or []
        for path in Path(root).glob("*/bin")
    ]
    places = [folder or "", os.environ.get("PATH", ""), *wheels]
    found = shutil.which("cuobjdump", path=os.pathsep.join(filter(None, places)))
    return Path(found) if found else None


def kernels_of(listing: str) -> dict[str, list[Instruction]]:
    """The instructions by "sm_90 mangled_name", from what `cuobjdump -sass` prints."""
    kernels: dict[str, list[Instruction]] = {}
    gpu, code = "", []
    for line in listing.splitlines():
        if match := re.match(r"\s*code for (\w+)", line):
            gpu = match[1]
        elif match := re.match(r"\s*Function : (\S+)", line):
            code = kernels.setdefault(f"{gpu} {match[1]}", [])
        elif match := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);", line):
            code.append(Instruction(match[1], match[2].strip()))
    return kernels


def registers(operands: str) -> set[int]:
    return {int(number) for number in re.findall(r"\bR(\d+)", operands)}


def reads(instruction: Instruction) -> set[int]:
    """The registers that it names as sources, as far as they are told from the one that it writes."""
    first, _, others = instruction.operands.partition(",")
    stores = instruction.opcode.startswith(("ST", "RED", "ATOM"))
    return registers(instruction.operands if stores else others) if others else registers(first)


def most_loads_together(code: list[Instruction]) -> int:
    """The largest number of 16-byte global loads of which none is used before the last of them."""
    most, pending, count = 0, set[int](), 0
    for instruction in code:
        if pending & reads(instruction):
            pending, count = set(), 0
        if re.match(r"LDG\.(\w+\.)*128", instruction.opcode):
            first = min(registers(instruction.operands.split(",")[0]))
            pending |= set(range(first, first + 4))
            count += 1
            most = max(most, count)
    return most


def problems_of(code: list[Instruction], loads: int, wanted: list[str]) -> list[str]:
    opcodes = [instruction.opcode for instruction in code]
    problems = []
    if any(re.match(r"(LDL|STL)\b", opcode) for opcode in opcodes):
        problems.append("registers are spilled to local memory")
    together = most_loads_together(code)
    if together < loads:
        problems.append(f"expected {loads} loads of 16 bytes before the first use of one, got {together}")
    lacking = [name for name in wanted if not any(opcode.split(".")[0] == name for opcode in opcodes)]
    if lacking:
        problems.append(f"expected the instructions {', '.join(wanted)}, got none of {', '.join(lacking)}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="name of the source file, which the object's name begins with")
    parser.add_argument("objects", nargs="+")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--loads-together", type=int, default=0)
    parser.add_argument("--has", nargs="+", default=[])
    parser.add_argument("--tools")
    options = parser.parse_args()
    tool = find_tool(options.tools)
    if tool is None:
        print("skipped: cuobjdump was not found (beside nvcc, on PATH, or from nvidia-cuda-cuobjdump)")
        sys.exit(SKIPPED)
    objects = [path for path in options.objects if Path(path).name.startswith(f"{options.source}.")]
    if len(objects) != 1:
        sys.exit(f"{options.source}: expected one object file, got {objects}")
    path = os.pathsep.join([str(tool.parent), os.environ.get("PATH", "")])  # it calls nvdisasm
    listing = subprocess.run(
        [tool, "-sass", objects[0]], check=True, capture_output=True, text=True, env={**os.environ, "PATH": path}
    ).stdout
    kernels = {name: code for name, code in kernels_of(listing).items() if re.search(options.kernel, name)}
    if not kernels:
        sys.exit(f"{options.source}: no kernel's name matches {options.kernel}")
    wrong = {name: problems_of(code, options.loads_together, options.has) for name, code in kernels.items()}
    if any(wrong.values()):
        sys.exit("\n".join(f"{name}: {'; '.join(problems)}" for name, problems in wrong.items() if problems))
    print(f"{options.source}: {len(kernels)} kernels are as wanted")


if __name__ == "__main__":
    main()
