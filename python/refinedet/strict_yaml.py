"""YAML read strictly: what would fill the memory is refused before anything is made of it, as is a key given twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class StrictLoader(yaml.SafeLoader):
    """No key of a mapping stands twice; PyYAML would take the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]  # which may be given again
        seen: set[Any] = set()
        for place in own:
            key = self.construct_object(place, deep=True)
            if not isinstance(key, Hashable):
                continue  # which the next line says
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", place.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


MAX_NODES = 100_000
MAX_DEPTH = 50
MAX_DIGITS = 100


def parse_yaml(text: str, kind: type[StrictLoader]) -> Any:
    """What a text says, None for one that says nothing. YAMLError for what is no YAML, or refused, see
    `check_expanded`."""
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        check_expanded(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def check_expanded(node: yaml.Node) -> None:
    """MarkedYAMLError for a tree with too many nodes when every alias stands for all of what it names, for one that is
    nested too deeply or contains itself, and for endless whole numbers."""
    _count(node, {}, [])


def _count(node: yaml.Node, counts: dict[int, int | None], above: list[yaml.Node]) -> int:
    """Nodes in all. counts: those of the nodes that are known, None for those that are being counted."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
            raise _refusal(f"a whole number of {len(node.value)} digits", node)
        return 1
    known = counts.get(id(node), 0)
    if known is None:
        raise _refusal("something that contains itself", node)
    if known:
        return known
    if len(above) >= MAX_DEPTH:
        raise _refusal(f"more than {MAX_DEPTH} levels, one in the other", node)
    counts[id(node)] = None
    pairs = node.value if isinstance(node, yaml.MappingNode) else [(child,) for child in node.value]
    total = 1 + sum(_count(child, counts, [*above, node]) for pair in pairs for child in pair)
    if total > MAX_NODES:
        raise _refusal(f"more than {MAX_NODES:,} values, aliases written out", node)
    counts[id(node)] = total
    return total


def _refusal(what: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"it has {what}", problem_mark=node.start_mark)
