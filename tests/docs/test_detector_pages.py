"""docs/detectors: a page for each paper, with its figure, every ablation's configuration and every published number."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import refinedet
from refinedet.config_files import load_config
from refinedet.detectors.published import PUBLISHED

from .test_ops_pages import parts

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/detectors"
CONFIGS = ROOT / "python/refinedet/configs"
DETECTORS = ("refinedet", "efgrnet", "refinedetlite", "padet")
NAMED = r"((?:ablations/)?(?:refinedet|refinedetlite|efgrnet|padet)\d+_\w+)"


def text(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def rows(name: str) -> list[list[str]]:
    """The cells of all tables, line by line."""
    return [line.strip("| ").split("|") for line in text(name).splitlines() if line.startswith("|")]


def own_page(model: str) -> str:
    """Rows of the RefineDetLite paper stand on its page, whatever the model."""
    papers = {row.paper.name.lower() for row in PUBLISHED[model] if row.metric != "speed"}
    (paper,) = papers
    return paper


@pytest.mark.parametrize("name", DETECTORS)
def test_page_has_the_parts_of_the_others(name):
    headings = re.findall(r"^## (.+)$", text(name), re.M)
    wanted = ["Formulas and their lines", "Variants", "Ablations", "Published numbers", "What was reproduced"]
    assert headings[:5] == wanted and f"]({name}.svg)" in text(name) and "$$" in text(name)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("ablations/*.yaml")), ids=lambda path: path.stem)
def test_every_ablation_has_a_row_with_its_number(path):
    comment = " ".join(re.findall(r"^# (.+)$", path.read_text(encoding="utf-8"), re.M))
    published = re.findall(r"\d\d\.\d", comment)[0]
    detector = re.match("[a-z]+", path.stem).group()
    (row,) = [row for row in rows(detector) if f"`ablations/{path.stem}`" in row[0]]
    assert published in [cell.strip() for cell in row[1:]]


@pytest.mark.parametrize("name", DETECTORS)
def test_named_configurations_and_models_exist(name):
    named = set(re.findall(f"`{NAMED}`", text(name)))
    assert named
    for one in named - set(refinedet.list_models()):
        load_config(one)


@pytest.mark.parametrize("model", PUBLISHED)
def test_every_published_number_is_there(model):
    """In the model's row and those under it, that have no model of their own: several scales, other training."""
    table = rows(own_page(model))
    (start,) = [i for i, row in enumerate(table) if row[0].strip() == f"`{model}`" and len(row) > 3]
    rest = table[start + 1 :]
    end = next((i for i, row in enumerate(rest) if row[0].strip().startswith("`")), len(rest))
    shown = {cell.strip() for row in [table[start], *rest[:end]] for cell in row[1:]}
    figures = [row for row in PUBLISHED[model] if row.metric != "speed"]
    wanted = {f"{row.value:.1f}" for row in figures}
    wanted |= {f"{part:.1f}" for row in figures if row.metric == "AP" for part in row.parts}
    assert wanted <= shown


def test_options_of_the_variants_exist():
    for name in DETECTORS:
        variants = text(name).partition("## Variants")[2].partition("\n## ")[0]
        options = {option for model in refinedet.list_models(f"{name}[0-9]*") for option in options_of(model)}
        for line in variants.splitlines():
            if line.startswith("| `"):
                named = set(re.findall(r"`(\w+)`", line.split("|")[1]))
                assert named <= options, line


def options_of(model: str) -> set[str]:
    return set(refinedet.model_entry(model).options)


def test_names_of_the_figures_are_modules():
    """What the script writes into its boxes, such as arm.cls[0], is found on a small model of each detector."""
    script = (ROOT / "docs/scripts/draw_detectors.py").read_text(encoding="utf-8")
    for name in DETECTORS:
        body = script.partition(f"\ndef {name}()")[2].partition("\ndef ")[0]
        model = refinedet.create_model(f"{name}320_efficientnet_lite0", 4)
        places = dict(model.named_modules())
        places.update({place.removeprefix("enrichment."): module for place, module in places.items()})
        words = {word.replace("\\n", "") for word in re.findall(r'f"([^"]+)\[\{i\}\]', body)}
        words |= {word for both in re.findall(r'f"(\w+\.cls)\[\{i\}\]\\n(\w+\.loc)', body) for word in both}
        for word in words:
            assert re.split(r"\[\{i\}\]", word)[0] in places, f"{name}: {word}"


def test_drawings_are_those_of_the_script(tmp_path):
    command = [sys.executable, str(ROOT / "docs/scripts/draw_detectors.py"), str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=200)
    assert {path.stem for path in tmp_path.iterdir()} == {path.stem for path in PAGES.glob("*.svg")} == set(DETECTORS)
    for path in tmp_path.iterdir():
        committed = (PAGES / path.name).read_text(encoding="utf-8")
        words, numbers = parts(path.read_text(encoding="utf-8"))
        expected_words, expected_numbers = parts(committed)
        if words[:1] == expected_words[:1]:  # of one version of Matplotlib
            assert words == expected_words, f"{path.name}: python docs/scripts/draw_detectors.py draws it"
            assert numbers == pytest.approx(expected_numbers, abs=0.01)
