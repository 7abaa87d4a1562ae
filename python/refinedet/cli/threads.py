"""How torch's threads wait for each other, which has to be said before torch is loaded."""

from __future__ import annotations

from collections.abc import MutableMapping

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def set_wait_policy(environment: MutableMapping[str, str]) -> None:
    """Let OpenMP's threads sleep while they wait, unless the user says how they are to wait.

    At the end of every parallel loop threads wait for the slowest one. By default they spin, and take the core away
    from the thread that they wait for where something else runs on the machine besides.
    """
    if not any(name in environment for name in SETTINGS):
        environment["OMP_WAIT_POLICY"] = "passive"
