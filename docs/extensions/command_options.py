"""The directive `command-options NAME`: what a command of `refinedet` does, and its options with their defaults.

As `refinedet NAME --help` has them. Of sections (`--data.root`) there is the name alone: the page on the configuration
has their options.
"""

from __future__ import annotations

import argparse
import json
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from refinedet.cli.parser import about, build_parser

EVERYWHERE = {"help", "import", "print_config"}


def inline(text: str) -> list[nodes.Node]:
    """Plain text with `code` in backticks, or --like.this."""
    parts = re.split(r"`([^`]+)`", re.sub(r"(?<![\w`-])--\w[\w.]*\w", r"`\g<0>`", text))
    return [nodes.literal(part, part) if place % 2 else nodes.Text(part) for place, part in enumerate(parts) if part]


def described(action: argparse.Action) -> list[nodes.Node]:
    """The action's help, and its default where there is one."""
    found = inline(str(action.help))
    if action.required:
        found.append(nodes.Text(" (required)"))
    elif action.option_strings and action.default is not None:
        value = action.default if isinstance(action.default, str) else json.dumps(action.default)
        found += [nodes.Text(" (default: "), nodes.literal(value, value), nodes.Text(")")]
    return found


class CommandOptions(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        entries, sections = [], []
        for action in build_parser(name)._actions:
            if action.dest in EVERYWHERE or "." in action.dest:
                continue
            if action.metavar == "CONFIG":
                sections.append(action.dest)
                continue
            word = action.option_strings[0] if action.option_strings else action.dest
            paragraph = nodes.paragraph("", "", *described(action))
            term = nodes.term("", "", nodes.literal(word, word))
            entries.append(nodes.definition_list_item("", term, nodes.definition("", paragraph)))
        found: list[nodes.Node] = [nodes.paragraph("", "", *inline(about(name, whole=True).replace("\n", " ")))]
        if entries:
            found.append(nodes.definition_list("", *entries))
        if sections:
            words = [node for section in sections for node in (nodes.literal(section, section), nodes.Text(", "))][:-1]
            found.append(nodes.paragraph("", "", nodes.Text("Sections with options of their own: "), *words))
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-options", CommandOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
