"""What lies in a wheel, and how large it is: `check_wheel_contents.py WHEEL`."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

LIMIT = 25e6  # bytes
LIBRARIES = ("_numpy_ops", "_torch_ops")

path = Path(sys.argv[1])
names = zipfile.ZipFile(path).namelist()
tops = {name.split("/")[0] for name in names}
information = next(top for top in tops if top.endswith(".dist-info"))
assert tops == {"refinedet", "refinedet_ext", information}, f"{path.name}: unexpected folders in {sorted(tops)}"
libraries = sorted(name for name in names if ".so" in name or ".dylib" in name)
found = [name.removeprefix("refinedet_ext/").split(".")[0] for name in libraries]
assert found == list(LIBRARIES), f"{path.name}: expected {' and '.join(LIBRARIES)} once each, got {libraries}"
assert f"{information}/licenses/LICENSE" in names, f"{path.name}: LICENSE is missing"
assert not path.stem.endswith(("-linux_x86_64", "-linux_aarch64")), f"{path.name}: auditwheel did not see it"
size = path.stat().st_size
assert size < LIMIT, f"{path.name}: expected less than {LIMIT / 1e6:g} MB, got {size / 1e6:.1f} MB"
print(f"{path.name}: {size / 1e6:.1f} MB")
