"""Our sources say by plain names what they use, so that fingerprints can follow them.

What cannot be followed is refused, with what to write instead. Ruff refuses the rest: star imports
(F403), ``global`` (PLW0603), ``eval`` and ``exec`` (S307, S102).
"""

import ast
from collections.abc import Iterator
from textwrap import dedent

import pytest

from neural_classifiers.engine.code.fingerprint import is_machinery
from neural_classifiers.engine.code.reach import EVERYTHING, Chain, Codebase, Statement

ALLOWED = {
    "flows acts on import": "Prefect reads its settings when a flow imports it",
    "neural_classifiers.__main__ acts on import": "it is started, and imported by nothing",
    "neural_classifiers.serving.registry acts on import": "only where a clean process starts it",
}
"""What stands in our sources all the same, and why it may."""

CHANGING = set(
    "add append appendleft clear discard extend extendleft insert pop popitem popleft put remove "
    "reverse setdefault sort update __delitem__ __setattr__ __setitem__".split()
)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def refused(code: Codebase, module: str) -> Iterator[tuple[int, str, str]]:
    """Line of what cannot be followed in a module, what it is, and what to write instead.

    Machinery may change its own values: no step's result comes from there.
    """
    for statement in code.statements(module):
        line = statement.node.lineno
        for at, value in changes(code, statement):
            if value.module != module or not is_machinery(module):
                yield at, f"changes {value.module}.{value.names[0]}", "a new value, handed over"
        if is_machinery(module):
            continue
        if statement.kind == "action":
            yield line, "acts on import", "constants, and functions that someone calls"
        if statement.unfollowed:
            yield line, f"uses {statement.unfollowed}", "the names that are meant"
        elif EVERYTHING in code.leads(statement):
            yield line, "computes a file's name", 'files("its.package").joinpath("its.name")'
        for name in statement.names:
            bound = [s for s in code.names(module)[name] if s.kind not in ("import", "action")]
            if statement in bound[1:]:
                yield line, f"binds {name} again", "another name"
        for whole in passed_on(code, statement):
            yield line, f"passes on module {whole}", "those names of it that are meant"


def changes(code: Codebase, statement: Statement) -> Iterator[tuple[int, Statement]]:
    """Line of each change of a value of our modules, and the statement that makes the value."""
    for node, local in scoped(ast.Module([statement.node], [])):
        method = ""
        match node:
            case (
                ast.Attribute(ctx=ast.Store() | ast.Del())
                | ast.Subscript(ctx=ast.Store() | ast.Del())
            ):
                chain = root(node)
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[first, *_]):
                chain = root(first)
            case ast.Call(func=ast.Attribute(attr=method)) if local is None or method in CHANGING:
                chain = root(node.func)
            case _:
                continue
        if chain and chain[0] not in (local or ()):
            for value in code.resolve(statement, [chain]):
                if isinstance(value, Statement) and (
                    value.kind in ("constant", "action")
                    or (value.kind == "definition" and method in {"", *CHANGING} - {*value.names})
                ):
                    yield node.lineno, value


def scoped(node: ast.AST) -> Iterator[tuple[ast.AST, set[str] | None]]:
    """All syntax below a node; in a function with the names that are its own."""
    for child in ast.iter_child_nodes(node):
        for decorator in getattr(child, "decorator_list", ()):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            yield ast.copy_location(ast.Call(called, [], []), called), None
        if isinstance(child, FUNCTION):
            parts = list(ast.walk(child))
            local = {part.arg for part in parts if isinstance(part, ast.arg)}
            stored = [part for part in parts if isinstance(getattr(part, "ctx", None), ast.Store)]
            local |= {part.id for part in stored if isinstance(part, ast.Name)}
            yield from ((part, local) for part in parts)
        else:
            yield child, None
            yield from scoped(child)


def root(node: ast.AST) -> Chain:
    """The dotted name that an expression begins with: ``("a", "b")`` for ``a.b[0].c``."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        attributes = [*attributes, node.attr] if isinstance(node, ast.Attribute) else []
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else ()


def passed_on(code: Codebase, statement: Statement) -> list[str]:
    """Our modules that a statement uses otherwise than by a name in them."""
    whole = []
    for chain in statement.uses:
        bound = code.names(statement.module).get(chain[0], [])
        imports = [
            entry
            for s in (statement, *bound)
            if s.kind == "import" or s is statement
            for entry in s.imports
        ]
        paths = {".".join(path + chain[1:]) for name, path in imports if name == chain[0]}
        whole += sorted(paths & code.sources.keys())
    return whole


def test_our_sources_can_be_followed():
    code = Codebase(("neural_classifiers", "tasks", "flows"), lambda module: False)
    faults = {
        f"{module} {what}": f"{code.sources[module][0]}:{line}: {what}; write {instead}"
        for module in code.sources
        for line, what, instead in refused(code, module)
    }

    assert not [fault for what, fault in faults.items() if what not in ALLOWED]
    assert not ALLOWED.keys() - faults.keys(), "no longer needed"


TABLE = "TABLE = {}\nclass Base:\n    known = []\ndef clean(): return 1\n"
REFUSED = {
    "a module by its name": "from importlib import import_module as i\ndef f(n): return i(n)",
    "a module out of those that are loaded": "import sys\ndef f(n): return sys.modules[n]",
    "code in a text": "def f(text): return eval(text)",
    "the namespace": "def f(name): return globals()[name]",
    "a docstring that is read": "def f(g): return g.__doc__",
    "the place of the source": "from pathlib import Path\nHERE = Path(__file__).parent",
    "a class that counts its subclasses": "class A:\n    def __init_subclass__(cls): pass",
    "functions registered for a type": "import functools as t\n@t.singledispatch\ndef f(x): pass",
    "everything of a module": "from core.table import *",
    "getattr on a module": "from core import table\ndef f(name): return getattr(table, name)",
    "a module in a table": "from core import table\nMODULES = (table,)",
    "a value of another module": "from core import table\ndef f(): table.TABLE['x'] = 1",
    "a value of another module, on import": "from core import table\ntable.LIMIT = 1",
    "a list of a class": "from core.table import Base\ndef f(): Base.known.append(1)",
    "setattr on a module": "from core import table\ndef f(): setattr(table, 'x', 1)",
    "a registry by decorator": "R = {}\ndef by(name): return lambda f: R.setdefault(name, f)",
    "a registry object": "from core.table import TABLE\n@TABLE.keep\ndef f(): pass",
    "a registry with names": "from core.table import TABLE\n@TABLE.keep('f')\ndef f(): pass",
    "a registry that is called": "from core.table import TABLE\nX = TABLE.keep(1)",
    "a memory of what was asked": "M = {}\ndef f(x):\n    M[x] = M.get(x, 0) + 1\n    return M[x]",
    "a call on import": "import os\nos.environ.setdefault('X', '1')",
    "a name that changes its meaning": "A = 1\nB = A\nA = 2",
    "a computed name of a data file": (
        "from importlib.resources import files\n"
        "def f(x): return files('core').joinpath(f'{x}.txt').read_text()"
    ),
}


@pytest.fixture
def refused_in(tmp_path, monkeypatch):
    def refused_in(text: str) -> list[str]:
        (tmp_path / "core").mkdir()
        for name, source in {"__init__": "", "table": TABLE, "steps": text}.items():
            (tmp_path / "core" / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return [
            what for _, what, _ in refused(Codebase(("core",), lambda module: False), "core.steps")
        ]

    return refused_in


@pytest.mark.parametrize("text", REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_followed_is_refused(refused_in, text):
    assert refused_in(text)


PLAIN = """
    import functools, os, typing
    import numpy as np
    from core import table
    from core.table import Base, clean
    if typing.TYPE_CHECKING:
        from core.table import TABLE
    NAMES = {"clean": clean, "table": table.clean}
    A, *B = "a b".split()
    class More(Base):
        size: int = 1
        def fit(self, rows):
            self.fitted = rows
            rows["x"] = np.sort(rows["x"])
    @functools.cache
    def f(name: "TABLE"):
        NAMES = {}
        NAMES[name] = getattr(More(), name)
        os.environ["X"] = "1"
        return NAMES
"""


def test_plain_code_is_not_refused(refused_in):
    assert not refused_in(dedent(PLAIN))
