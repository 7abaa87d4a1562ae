#!/usr/bin/env bash
# Compiles the torch part, with and without CUDA's side, against the headers of the oldest torch that pyproject.toml
# names: what came to torch's stable ABI later would not compile there. Needs .venv (make venv).
# Nothing is linked or run, and the headers are the same for every platform: they come from the wheel for macOS, which is
# a tenth of the one for Linux. They are kept in XDG_CACHE_HOME (~/.cache).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
oldest=$("$bin/python" - <<'PYTHON'
import re
names = set(re.findall(r'"torch>=([\d.]+)"', open("pyproject.toml").read()))
assert len(names) == 1, f'pyproject.toml: expected one "torch>=...", got {sorted(names)}'
print(names.pop())
PYTHON
)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

headers=${XDG_CACHE_HOME:-$HOME/.cache}/refinedet-ext/torch-$oldest-headers
if [ ! -d "$headers" ]; then
  echo "fetching the headers of torch $oldest"
  "$bin/python" -m pip download --quiet --no-deps --only-binary :all: --platform macosx_15_0_arm64 --python-version 3.12 \
      --dest "$work" "torch==$oldest"
  "$bin/python" - "$work" <<'PYTHON'
import glob, sys, zipfile
(wheel,) = glob.glob(f"{sys.argv[1]}/torch-*.whl")
with zipfile.ZipFile(wheel) as archive:
    wanted = [n for n in archive.namelist() if n.startswith("torch/include/") or n == "torch/version.py"]
    archive.extractall(sys.argv[1], wanted)
PYTHON
  mkdir -p "$(dirname "$headers")"
  mv "$work/torch" "$headers"  # whole or not at all
fi

# The CUDA side of the bindings is compiled as for the tests that run the kernels on the CPU.
"$bin/cmake" -S . -B "$work/build" -G Ninja -DCMAKE_MAKE_PROGRAM="$bin/ninja" -DPython_EXECUTABLE="$bin/python" \
    -DREFINEDET_TORCH=ON -DREFINEDET_TORCH_DIR="$headers" -DREFINEDET_NUMPY=OFF -DREFINEDET_CUDA=OFF \
    -DREFINEDET_WERROR=ON -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 >"$work/log" || { cat "$work/log" >&2; exit 1; }
objects=$("$bin/ninja" -C "$work/build" -t targets all | sed -nE 's#^(.*refinedet_ext_(torch|on_host)\.dir/.*\.o): .*#\1#p')
[ -n "$objects" ] || { echo "oldest_torch.sh: no object of the torch part found in the build" >&2; exit 1; }
# shellcheck disable=SC2086
"$bin/ninja" -C "$work/build" --quiet $objects
echo "the torch part compiles against torch $(sed -nE "s/^__version__ = '(.*)'/\1/p" "$headers/version.py"): $(wc -w <<<"$objects") objects"
