"""How threads wait is settled before torch is loaded, and a user's own setting stays."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from refinedet.cli.threads import SETTINGS, set_wait_policy

CODE = """
import os, sys
from refinedet.cli import main, set_wait_policy
import refinedet.cli
def seen(environment):
    assert "torch" not in sys.modules
    set_wait_policy(environment)
refinedet.cli.set_wait_policy = seen
assert main(["info", "refinedet192_small"]) == 0 and "torch" in sys.modules
print(os.environ.get("OMP_WAIT_POLICY"))
"""


def test_threads_sleep_while_they_wait():
    environment: dict[str, str] = {"PATH": "/bin"}
    set_wait_policy(environment)
    assert environment == {"PATH": "/bin", "OMP_WAIT_POLICY": "passive"}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_users_stays(name):
    environment = {name: "7"}
    set_wait_policy(environment)
    assert environment == {name: "7"}


def test_it_is_settled_before_torch_is_loaded():
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().split("\n")[-1] == "passive"
