#!/usr/bin/env bash
# Installs a wheel in empty environments from which no compiler can be found: beside NumPy alone, then beside every torch
# that is named, and runs the ops of both faces there.
#
#   .ci/check_wheel.sh dist/refinedet_ext-*.whl [TORCH ...]
#
# TORCH is what pip installs (torch==2.11.0), or a folder of packages that holds torch, such as an environment's
# site-packages, which costs no download. PYTHON names the interpreter (python3).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
wheel=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" "$here/check_wheel_contents.py" "$wheel"
for torch in "" "$@"; do
  environment=$work/environment
  rm -rf "$environment"
  "$python" -m venv "$environment"
  bin=$environment/bin
  PATH=$bin "$bin/python" -m pip install --quiet "$wheel"
  PATH=$bin "$bin/python" -m pip check
  case $torch in
    "") ;;
    */*) (cd "$torch" && pwd) >"$("$bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth" ;;
    *) PATH=$bin "$bin/python" -m pip install --quiet "$torch" ;;
  esac
  check=check_numpy_only.py
  if [ -n "$torch" ]; then check=check_torch_ops.py; fi
  (cd "$work" && PATH=$bin "$bin/python" "$here/$check")
done
