"""Formulas as MathML, which browsers draw themselves: no script is loaded, no network is needed."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def mathml(node: nodes.math | nodes.math_block, *, as_block: bool) -> str:
    r"""The formula; a warning where docutils cannot read it. \cr ends a line, as GitHub takes \\ for an escape."""
    try:
        return tex2mathml(node.astext().replace(r"\cr", r"\\"), as_block=as_block)
    except MathError as error:
        logger.warning("formula: %s", error, location=node, type="mathml")
        return ""


def visit_math(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_math_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    # a formula that is wider than a phone is scrolled by itself, not with its page
    formula = mathml(node, as_block=True)
    translator.body.append(f'<div class="formula" style="overflow-x: auto; padding-bottom: 0.3em">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
