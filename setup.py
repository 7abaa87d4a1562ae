"""Drives CMake (the one build description) and packs what it installs.

Environment:
  REFINEDET_EXT_TORCH   ON: fail without torch; OFF: leave the torch ops out; AUTO (default): build them where torch is
  REFINEDET_EXT_CMAKE   further arguments for CMake, separated by spaces
  REFINEDET_EXT_BUILD   CMake's folder, to be kept for the next build by the same Python (build/editable for an editable
                        install, else one of setuptools')
  CMAKE_BUILD_PARALLEL_LEVEL   compilers at a time
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


def torch_dir() -> Path | None:
    """The folder of the installed torch, found without importing it.

    In pip's isolated build sys.path hides the environment that the package goes to, but sysconfig still names it.
    """
    names = {sysconfig.get_path("platlib"), sysconfig.get_path("purelib"), *sys.path}
    for name in names:
        folder = Path(name or ".") / "torch"
        libraries = [folder / "lib" / f"libtorch_cpu{suffix}" for suffix in (".so", ".dylib")]
        if (folder / "include/torch/csrc/stable/library.h").exists() and any(path.exists() for path in libraries):
            return folder
    return None


class CMakeBuild(build_ext):
    def build_extension(self, ext: Extension) -> None:
        torch = torch_dir()
        # an editable install keeps its build folder, so that the next one compiles only what changed
        usual = ROOT / "build/editable" if self.editable_mode else self.build_temp
        build = ROOT / (os.environ.get("REFINEDET_EXT_BUILD") or usual)
        targets = [Path(self.get_ext_fullpath(ext.name)).parent.parent.resolve()]
        if self.editable_mode:
            targets.append(ROOT)
        build.mkdir(parents=True, exist_ok=True)
        try:  # those of the build environment: the system's may be too old
            import cmake
            import ninja

            cmake_path, ninja_path = str(Path(cmake.CMAKE_BIN_DIR) / "cmake"), str(Path(ninja.BIN_DIR) / "ninja")
        except ImportError:
            cmake_path, ninja_path = "cmake", "ninja"
        arguments = [
            f"-DCMAKE_MAKE_PROGRAM={ninja_path}",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DREFINEDET_BUILD_TESTS=OFF",
            "-DREFINEDET_NUMPY=ON",
            f"-DREFINEDET_TORCH={os.environ.get('REFINEDET_EXT_TORCH', 'AUTO')}",
            f"-DREFINEDET_TORCH_DIR={torch or ''}",
            *shlex.split(os.environ.get("REFINEDET_EXT_CMAKE", "")),
        ]
        subprocess.run([cmake_path, "-S", str(ROOT), "-B", str(build), "-G", "Ninja", *arguments], check=True)
        subprocess.run([cmake_path, "--build", str(build)], check=True)
        symbols = [] if self.editable_mode else ["--strip"]  # a profiler wants them, a wheel does not
        for target in targets:
            install = [cmake_path, "--install", str(build), "--component", "python", "--prefix", str(target), *symbols]
            subprocess.run(install, check=True)
        if torch is None:
            print(
                "refinedet-ext: torch is not installed here, so the torch ops were left out; the NumPy face works. "
                "Install torch 2.11 or newer and build again to get them.",
                file=sys.stderr,
            )


setup(
    packages=find_packages(".", include=["refinedet_ext", "refinedet_ext.*"])
    + find_packages("python", include=["refinedet", "refinedet.*"]),
    package_dir={"refinedet": "python/refinedet"},
    # Not the libraries: build_ext puts those of this build in place, while the folder may hold an editable install's.
    include_package_data=False,  # only what is listed here
    package_data={"refinedet_ext": ["py.typed"], "refinedet": ["configs/**/*.yaml", "py.typed"]},
    ext_modules=[Extension("refinedet_ext._numpy_ops", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
