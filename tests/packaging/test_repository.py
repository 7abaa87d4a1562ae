"""What is committed: small images, workflows that call what exists, one list of Pythons and one oldest torch."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import refinedet_ext as rx

ROOT = Path(rx.__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
LARGEST = 200_000  # bytes


def committed(*patterns: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not a clone")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def toml() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def pythons() -> list[str]:
    return re.findall(r"Python :: (3\.\d+)", toml())


def test_images_are_small_and_results_are_text():
    images = committed("*.png", "*.jpg", "*.svg", "*.gif", "*.webp")
    assert images and [path.name for path in images if path.stat().st_size > LARGEST] == []
    assert committed("benchmarks/results/*.json") == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_exists(path):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = "\n".join(step.get("run", "") for step in steps(path))
    for target in re.findall(r"\bmake ([\w-]+)", commands):
        assert target in targets, f"make {target}"
    for name in re.findall(r"(?<![\w/])\.ci/[\w.]+", commands):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path):
    for used in (step["uses"] for step in steps(path) if "uses" in step):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}|docker://[\w./-]+:[\d.]+", used), used


def test_every_python_is_tested_and_has_wheels():
    rows = load(ROOT / ".github/workflows/ci.yml")["jobs"]["python"]["strategy"]["matrix"]["include"]
    assert sorted(row["python"] for row in rows) == sorted(pythons())
    built = re.search(r'^build = "(.+)"$', toml(), re.MULTILINE)
    assert built and built[1].split() == [f"cp{python.replace('.', '')}-*" for python in pythons()]
    assert f'requires-python = ">={pythons()[0]}"' in toml()


def test_the_oldest_torch_is_tested():
    oldest = f"torch=={rx.build_info()['torch_target']}.0"
    rows = load(ROOT / ".github/workflows/ci.yml")["jobs"]["python"]["strategy"]["matrix"]["include"]
    assert oldest in [row.get("torch") for row in rows]
    assert f"{{wheel}} {oldest} torch" in toml()


def test_pre_commit_runs_make_lint_alone():
    (repo,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    (hook,) = repo["hooks"]
    assert repo["repo"] == "local" and hook["entry"].split()[0] == "make" and hook["entry"].split()[-1] == "lint"


def test_papers_are_cited_as_the_models_have_them():
    from refinedet.detectors.published import PAPERS

    references = {entry["notes"]: entry for entry in load(ROOT / "CITATION.cff")["references"]}
    assert list(references) == [paper.name for paper in PAPERS]
    for paper in PAPERS:
        entry = references[paper.name]
        assert entry["title"] == paper.title
        assert paper.url in (entry.get("url"), f"https://doi.org/{entry.get('doi')}")
        assert entry["authors"][0]["family-names"] == re.split(r"[ ,]", paper.authors)[0]
