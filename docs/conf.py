"""The documentation's build: `make docs` writes build/docs, with every warning an error and without the network."""

from __future__ import annotations

import sys
from pathlib import Path

import refinedet_ext

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "refinedet-ext"
author = "the refinedet-ext developers"
version = release = refinedet_ext.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "command_options",
    "mathml",
]
exclude_patterns = ["scripts", "extensions"]

# Pages: what GitHub shows the same. Headings get GitHub's anchors, so that page.md#heading works on both.
myst_enable_extensions = ["dollarmath", "tasklist"]
myst_heading_anchors = 4

# Reference: Google style, types in the signatures.
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style"), ("Source", "References"), "Shape"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
default_role = "py:obj"  # `name` in a docstring is a link where the reference has that name, else plain code
autodoc_inherit_docstrings = False  # torch's own would come along

smartquotes_action = "D"  # dashes; quotes stay as code has them

html_math_renderer = "mathml"
html_extra_path = ["extra"]  # pages that are no Sphinx pages, copied as they are: detect/
html_theme = "furo"
html_title = f"refinedet-ext {release}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "default"
pygments_dark_style = "github-dark"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5fa5", "color-brand-content": "#0b5fa5"},
    "dark_css_variables": {"color-brand-primary": "#6cb6ff", "color-brand-content": "#6cb6ff"},
}
copybutton_exclude = ".linenos, .gp, .go"
