"""The compiled libraries for a machine with a GPU: built before, or there from source.

    python -m benchmarks.gpu.libraries --into FOLDER [--python python3.12]   builds them here, by nvcc, without a GPU
    python -m benchmarks.gpu.libraries --check                               whether those of this checkout load

The folder gets the torch ops for Hopper (sm_90) and, as PTX, for what comes after it; they serve every torch from 2.11
on and every Python. The NumPy module serves one Python, of which the headers must be here. `packages/` has what the
networks and the tests need besides torch and pytest.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .processes import ROOT

PACKAGE = ROOT / "refinedet_ext"
PACKAGES = "packages"
BESIDES_PYTEST = ("hypothesis", "safetensors")
TORCH_OPS = "_torch_ops.so"
SOURCES = "sources.sha256"


def tool_folders() -> list[Path]:
    """Where compilers and build tools are looked for before PATH."""
    cuda = [Path(os.environ[name]) / "bin" for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    given = [Path(os.environ["BIN"])] if os.environ.get("BIN") else []
    # not resolved: an environment's python is a link to the system's
    return [Path(sys.executable).parent, *given, *cuda, Path("/usr/local/cuda/bin")]


def find_tool(name: str) -> str | None:
    """Its path; None if it is nowhere. CMake and ninja may also be Python packages of these names."""
    try:
        if name == "cmake":
            import cmake

            return str(Path(cmake.CMAKE_BIN_DIR) / name)
        if name == "ninja":
            import ninja

            return str(Path(ninja.BIN_DIR) / name)
    except ImportError:
        pass
    path = os.pathsep.join([*map(str, tool_folders()), os.environ.get("PATH", os.defpath)])
    return shutil.which(name, path=path)


def missing_tools() -> list[str]:
    return [name for name in ("cmake", "ninja", "nvcc") if find_tool(name) is None]


def build_commands(build: Path, into: Path, *, architectures: str, options: Sequence[str] = ()) -> list[list[str]]:
    """Configures, builds and installs to `into`/refinedet_ext. The tools must be there (`missing_tools`)."""
    cmake, ninja, nvcc = (str(find_tool(name)) for name in ("cmake", "ninja", "nvcc"))
    configure = [
        *(cmake, "-S", str(ROOT), "-B", str(build), "-G", "Ninja"),
        *(f"-DCMAKE_MAKE_PROGRAM={ninja}", f"-DCMAKE_CUDA_COMPILER={nvcc}", "-DCMAKE_BUILD_TYPE=Release"),
        *("-DREFINEDET_CUDA=ON", f"-DREFINEDET_CUDA_ARCHITECTURES={architectures}"),
        *("-DREFINEDET_TORCH=ON", "-DREFINEDET_BUILD_TESTS=OFF", *options),
    ]
    install = [cmake, "--install", str(build), "--component", "python", "--strip", "--prefix", str(into)]
    return [configure, [cmake, "--build", str(build)], install]


def from_source(architecture: str) -> list[list[str]]:
    """For GPUs of one kind ("90" for Hopper), into the checkout."""
    options = [f"-DPython_EXECUTABLE={sys.executable}", "-DREFINEDET_NUMPY=AUTO"]
    return build_commands(ROOT / "build/gpu", ROOT, architectures=f"{architecture}-real", options=options)


def sources() -> str:
    """A digest of what the libraries are built from."""
    digest = hashlib.sha256()
    for path in sorted([ROOT / "CMakeLists.txt", *(ROOT / "csrc").rglob("*.*")]):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def take(folder: Path) -> list[str]:
    """Copies the libraries of a folder to where the package looks for them, and names them.

    ValueError where they were built from other sources than this checkout's, or are not there."""
    libraries = sorted(folder.glob("*.so"))
    if not (folder / TORCH_OPS).exists() or not (folder / SOURCES).exists():
        raise ValueError(f"expected {TORCH_OPS} and {SOURCES} in {folder}, which `make gpu-prepare` makes")
    if (folder / SOURCES).read_text() != sources():
        raise ValueError(f"those in {folder} were built from other sources than these")
    for library in libraries:
        # a new file: one that a process has mapped must not change
        (PACKAGE / library.name).unlink(missing_ok=True)
        shutil.copy2(library, PACKAGE / library.name)
    return [library.name for library in libraries]


def check() -> str:
    """What this Python and torch load; ImportError or RuntimeError if they do not, or nothing is there for a GPU."""
    import torch

    import refinedet_ext as rx
    from refinedet_ext import _library

    from ..references import OPS

    _library.require()
    build = rx.build_info()
    registered = torch._C._dispatch_has_kernel_for_dispatch_key
    without = [op for op in OPS if not registered(f"refinedet_ext::{op}", "CUDA")]
    if not build["cuda"] or without:
        raise RuntimeError(f"no CUDA kernels for {', '.join(without) or 'any op'}")
    if torch.cuda.is_available():
        box = torch.tensor([[0.25, 0.25, 0.5, 0.5]], device="cuda")
        if not torch.equal(rx.decode_boxes(torch.zeros_like(box), box), box):
            raise RuntimeError("decode_boxes: a box that is not moved came back as another")
    numpy = "with" if build["numpy_ops"] else "without"
    return f"torch {torch.__version__} takes the ops built with {build['torch_built_with']}, {numpy} the NumPy module"


def prebuild(into: Path, python: str) -> None:
    """CalledProcessError where a step fails."""
    import pybind11
    import torch

    interpreter = shutil.which(python)
    options = [f"-DREFINEDET_TORCH_DIR={Path(torch.__file__).parent}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    if interpreter is None:
        print(f"{python} is not here: without the NumPy module", file=sys.stderr)
        options.append("-DREFINEDET_NUMPY=OFF")
    else:
        options += [f"-DPython_EXECUTABLE={interpreter}", "-DREFINEDET_NUMPY=ON"]
    digest = sources()  # before, lest a file that changes meanwhile be taken for one that was built
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for command in build_commands(ROOT / "build/prebuilt", into, architectures="90", options=options):
        subprocess.run(command, check=True)
    for library in sorted((into / "refinedet_ext").iterdir()):
        library.rename(into / library.name)
    (into / "refinedet_ext").rmdir()
    (into / SOURCES).write_text(digest)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", str(into / PACKAGES)]
    if interpreter is not None:
        show = "import sys; print('%d.%d' % sys.version_info[:2])"
        version = subprocess.run([interpreter, "-c", show], check=True, capture_output=True, text=True).stdout.strip()
        pip += ["--python-version", version]
    subprocess.run([*pip, *BESIDES_PYTEST], check=True)
    size = sum(path.stat().st_size for path in into.rglob("*") if path.is_file())
    print(f"{into}: {', '.join(path.name for path in sorted(into.iterdir()))}; {size / 1e6:.0f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--into", type=Path, metavar="FOLDER", help="build the libraries into this folder, made anew")
    what.add_argument("--check", action="store_true", help="load those of this checkout")
    parser.add_argument("--python", default="python3.12", help="for which the NumPy module is built (%(default)s)")
    options = parser.parse_args()
    if options.check:
        print(check())
        return 0
    missing = missing_tools()
    if missing:
        parser.error(f"cannot build: {', '.join(missing)} not found in {tool_folders()} nor on PATH")
    prebuild(options.into, options.python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
