"""A Python file as tools/rules.py sees it: a syntax tree whose names are traced back to what was imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Found = Iterator[tuple[ast.AST, str]]
"""Nodes, each with a word for what stands there."""


class File:
    """A syntax tree in which names are known by what they were imported as."""

    def __init__(self, text: str) -> None:
        self.nodes = list(ast.walk(ast.parse(text)))
        self._known: dict[str, str] = {}
        self.imports: list[tuple[ast.AST, str]] = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports.append((node, alias.name))
                    self._known[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module:
                self.imports += [
                    (node, node.module),
                    *((node, f"{node.module}.{one.name}") for one in node.names),
                ]
                self._known |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}

    def name(self, node: ast.AST) -> str:
        """`os.rename` for whatever means it here; `.rename` for a method of something unknown."""
        if isinstance(node, ast.Name):
            return self._known.get(node.id, node.id)
        if not isinstance(node, ast.Attribute):
            return ""
        base = node.value
        while isinstance(base, ast.Attribute):
            base = base.value
        if isinstance(base, ast.Name) and base.id in self._known:
            return f"{self.name(node.value)}.{node.attr}"
        return f".{node.attr}"

    def names(self) -> Found:
        """Every name that is imported or read, called or not."""
        yield from self.imports
        for node in self.nodes:
            if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
                yield node, self.name(node)

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call with the name of what is called."""
        return ((node, self.name(node.func)) for node in self.nodes if isinstance(node, ast.Call))

    def imported(self, modules: str) -> Found:
        """Imports of these modules, which are separated by spaces, and of what is in them; also by name."""
        wanted = tuple(modules.split())
        for node, name in self.imports:
            if hit := next((one for one in wanted if name == one or name.startswith(f"{one}.")), None):
                yield node, hit
        for call, name in self.calls():
            text = text_of(call.args[0]) if call.args else None
            if name in ("importlib.import_module", "__import__") and text in wanted:
                yield call, str(text)


def text_of(node: ast.AST | None) -> str | None:
    """The text that a literal is."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def argument(call: ast.Call, name: str, place: int = 99) -> ast.expr | None:
    """An argument by its keyword or its place."""
    given = next((one.value for one in call.keywords if one.arg == name), None)
    return given or (call.args[place] if len(call.args) > place else None)


def is_constant(node: ast.AST | None, value: object) -> bool:
    """Whether this is None, True or False, written out."""
    return isinstance(node, ast.Constant) and node.value is value
