"""Small faults that could stand in a module: each mutant is the module with one of them.

Not planted, because no test could or should tell: other words in messages, annotations, the arguments of
decorators (`frozen`, the size of a cache), `strict` of `zip`. The tables of a module and the bounds inside
of its patterns and networks are: they are limits, too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.AST], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED: dict[type[ast.AST], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}  # fmt: skip
_CALLED = {
    "fullmatch": "match", "match": "search", "lower": "upper", "upper": "lower", "strip": "lstrip", "lstrip": "strip",
    "rstrip": "strip", "startswith": "endswith", "endswith": "startswith", "removeprefix": "removesuffix",
    "removesuffix": "removeprefix", "partition": "rpartition", "rpartition": "partition", "find": "rfind", "rfind": "find",
    "min": "max", "max": "min", "any": "all", "all": "any", "bisect_right": "bisect_left", "bisect_left": "bisect_right",
    "sorted": "list", "ceil": "floor", "floor": "ceil",
}  # fmt: skip
_NETWORK = re.compile(r"[0-9a-f.:]+/(\d{1,3})")
_BOUND = re.compile(r"(?<=[{,])\d+(?=[,}])")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one fault. `name` says where and what in a way that outlives edits elsewhere."""

    module: str
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class _Site:
    parent: ast.AST
    field: str
    index: int | None
    old: ast.AST
    new: ast.AST
    statement: ast.stmt
    place: str
    function: str

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


class Mutants:
    """All mutants of a module, made one by one when asked for."""

    def __init__(self, module: str, source: str) -> None:
        self.module = module
        self.source = source
        self._tree = ast.parse(source)
        self._sites = list(_sites(self._tree))
        self.names = self._all_names()

    def __len__(self) -> int:
        return len(self._sites)

    def function(self, number: int) -> str:
        """The outermost function that a mutant's fault lies in; empty if it lies in none."""
        return self._sites[number].function

    def __getitem__(self, number: int) -> Mutant:
        site = self._sites[number]
        site.put(site.new)
        source = ast.unparse(ast.fix_missing_locations(self._tree))
        site.put(site.old)
        return Mutant(self.module, self.names[number], source)

    def _all_names(self) -> list[str]:
        seen: dict[str, int] = {}
        names = []
        for site in self._sites:
            before = _head(site.statement)
            if site.old is site.statement:
                after = _head(site.new)
            else:
                site.put(site.new)
                after = _head(site.statement)
                site.put(site.old)
            place = f"{self.module}: {site.place}: " if site.place else f"{self.module}: "
            name = f"{place}{_difference(before, after)}"
            seen[name] = seen.get(name, 0) + 1
            names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
        return names


def _head(node: ast.AST) -> str:
    """A statement in one line, without the block that it rules."""
    blocks = {
        name: getattr(node, name)
        for name in ("body", "orelse", "handlers", "finalbody")
        if hasattr(node, name)
    }
    if not isinstance(node, ast.stmt) or not blocks:
        return ast.unparse(ast.fix_missing_locations(node)).replace("\n", " ")
    try:
        for name in blocks:
            setattr(node, name, [])
        return ast.unparse(ast.fix_missing_locations(node)).replace("\n", " ")
    finally:
        for name, block in blocks.items():
            setattr(node, name, block)


def _difference(before: str, after: str, around: int = 40) -> str:
    """Both texts from a little in front of where they part to a little behind."""
    front = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    shorter = min(len(before), len(after)) - front
    back = next((i for i in range(shorter) if before[-1 - i] != after[-1 - i]), shorter)
    start = max(0, front - around)
    old, new = (text[start : min(len(text), len(text) - back + around)] for text in (before, after))
    return f"{'…' if start else ''}{old}  =>  {new}"


def _sites(tree: ast.Module) -> Iterator[_Site]:
    """Every place of a module with what could stand there instead."""
    seen: set[tuple[int, str]] = set()

    def walk(node: ast.AST, statement: ast.stmt | None, place: str, function: str) -> Iterator[_Site]:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_comment") or _is_exempt(
                node, field
            ):
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(child, ast.AST) or _is_left_out(child):
                    continue
                inner = child if isinstance(child, ast.stmt) else statement
                if inner is not None:
                    for new in _instead(child, node, field, top=not function):
                        key = (id(child), ast.dump(new))
                        if key not in seen and ast.dump(new) != ast.dump(child):
                            seen.add(key)
                            yield _Site(node, field, index, child, new, inner, place, function)
                named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
                below = f"{place}.{child.name}".lstrip(".") if named else place
                entered = below if isinstance(child, ast.FunctionDef) and not function else function
                yield from walk(child, inner, below, entered)

    yield from walk(tree, None, "", "")


def _is_left_out(node: ast.AST) -> bool:
    return (
        (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or isinstance(node, (ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.keyword) and node.arg == "strict")
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__slots__", "__all__"))
    )


def _is_exempt(node: ast.AST, field: str) -> bool:
    """A type in a subscript (`tuple[int, ...]`) is no code."""
    return (
        isinstance(node, ast.Subscript)
        and field == "slice"
        and ast.unparse(node.value) in ("Literal", "tuple", "Callable")
    )


def _instead(node: ast.AST, parent: ast.AST, field: str, *, top: bool) -> Iterator[ast.AST]:
    """What could stand in place of a node."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            other = _COMPARED[type(operator)]()
            yield ast.Compare(node.left, [*node.ops[:index], other, *node.ops[index + 1 :]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd):
        yield node.operand
    elif isinstance(node, ast.BinOp) and not _is_text(node.left) and not _is_text(node.right):
        yield ast.BinOp(node.left, _COMPUTED[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant):
        yield from _other_constant(node, parent, field)
    elif isinstance(node, (ast.Set, ast.List, ast.Tuple, ast.Dict)) and top:
        yield from _without_one(node)
    elif isinstance(node, ast.Call):
        yield from _other_call(node)
    elif isinstance(node, ast.stmt):
        yield from _other_statement(node, parent)
    elif isinstance(node, ast.Yield) and node.value is not None:
        yield ast.Yield(None)
    if field in ("test", "ifs") and not isinstance(
        node, (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant)
    ):
        yield ast.UnaryOp(ast.Not(), node)


def _other_constant(node: ast.Constant, parent: ast.AST, field: str) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, str) and isinstance(parent, (ast.arguments, ast.AnnAssign)):
        yield ast.Constant(value + "X")
    elif isinstance(value, str) and (found := _NETWORK.fullmatch(value)):
        for length in (int(found[1]) - 1, int(found[1]) + 1):
            yield ast.Constant(f"{value[: found.start(1)]}{length}")
    elif isinstance(value, str):
        for found in _BOUND.finditer(value):
            for bound in (int(found[0]) - 1, int(found[0]) + 1):
                yield ast.Constant(f"{value[: found.start()]}{bound}{value[found.end() :]}")


def _without_one(node: ast.Set | ast.List | ast.Tuple | ast.Dict) -> Iterator[ast.AST]:
    """A table without one of its entries."""
    if isinstance(node, ast.Dict):
        for index in range(len(node.keys)):
            yield ast.Dict(
                node.keys[:index] + node.keys[index + 1 :], node.values[:index] + node.values[index + 1 :]
            )
    elif len(node.elts) > 2:
        for index in range(len(node.elts)):
            left = node.elts[:index] + node.elts[index + 1 :]
            yield ast.Set(left) if isinstance(node, ast.Set) else type(node)(left, node.ctx)


def _other_call(node: ast.Call) -> Iterator[ast.AST]:
    called = node.func
    if isinstance(called, ast.Name) and called.id in _CALLED:
        yield ast.Call(ast.Name(_CALLED[called.id], ast.Load()), node.args, node.keywords)
    elif isinstance(called, ast.Attribute) and called.attr in _CALLED:
        yield ast.Call(
            ast.Attribute(called.value, _CALLED[called.attr], ast.Load()), node.args, node.keywords
        )
        if called.attr == "strip":
            yield ast.Call(ast.Attribute(called.value, "rstrip", ast.Load()), node.args, node.keywords)


def _other_statement(node: ast.stmt, parent: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Return) and node.value is not None:
        if not isinstance(node.value, (ast.Compare, ast.BoolOp, ast.UnaryOp)) and ast.unparse(
            node.value
        ) not in ("None", "False"):
            yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Raise, ast.Delete)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Yield, ast.YieldFrom))
    ):
        yield ast.Pass()
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.AugAssign):
        if not _is_text(node.value):
            yield ast.AugAssign(node.target, _COMPUTED[type(node.op)](), node.value)
        yield ast.Assign([node.target], node.value)
    elif (
        isinstance(node, ast.Assign)
        and not isinstance(node.targets[0], (ast.Name, ast.Tuple))
        and not _makes(parent)
    ):
        yield ast.Pass()


def _makes(parent: ast.AST) -> bool:
    """What a constructor leaves out is missed by everything: that says nothing about the tests."""
    return isinstance(parent, ast.FunctionDef) and parent.name == "__init__"


def _is_text(node: ast.AST) -> bool:
    """Texts and lists know one operator of arithmetic only; another would fail at once, which proves nothing."""
    return isinstance(node, (ast.JoinedStr, ast.List, ast.ListComp)) or (
        isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    )
