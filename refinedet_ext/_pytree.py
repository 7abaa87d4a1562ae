"""Named tuples as inputs and outputs of exported programs."""

from __future__ import annotations

from torch.serialization import add_safe_globals
from torch.utils._pytree import _register_namedtuple


def register(*kinds: type) -> None:
    """torch takes any named tuple apart, but torch.export.save asks for its name, and load for leave to make one."""
    for kind in kinds:
        _register_namedtuple(kind, serialized_type_name=f"{kind.__module__}.{kind.__qualname__}")
    add_safe_globals([*kinds])
