"""Everything in our sources that a name leads to, by plain names.

What counts or does not count is a top-level statement: an import, a definition (a function, a
whole class), a constant; or anything else, an action, which counts for all that import its module.
Nothing is imported or run. What is in doubt counts: a name that a local variable hides, what a text
names in full (a library may import it), all of a module that is used other than by a dotted name,
every byte of ours behind words of `UNFOLLOWED`.
"""

import ast
import functools
import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Chain = tuple[str, ...]
"""A name and the attributes asked of it: ``("text", "clean_comment")``."""

UNFOLLOWED = (
    "PackageLoader __doc__ __file__ __globals__ __import__ __init_subclass__ __path__ __spec__ "
    "__subclasses__ eval exec find_spec getdoc getmembers getsource globals import_module locals "
    "metaclass pkgutil reload runpy singledispatch singledispatchmethod"
).split()
"""Words after which plain names do not tell what is used; so do ``sys.modules`` and ``*``."""

_UNFOLLOWED = re.compile(rf"'({'|'.join(UNFOLLOWED)})'|name='\*'|'sys'.{{,40}}'modules'")
EVERYTHING, RESOURCES = "<everything>", "importlib.resources"
"""What a statement leads to that has such a word or names no data file; that asks for one."""


def _digest(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


class Statement:
    """A top-level statement; an import of several names is several.

    Attributes
    ----------
    module, kind : str
        The module's name; ``import``, ``definition``, ``constant`` or ``action``.
    index : int
        Its number in the module.
    names : list of str
        What it binds there; ``<on import>`` if nothing.
    """

    def __init__(self, module: str, package: Chain, index: int, node: ast.stmt) -> None:
        self.module, self.index, self.node, self._package = module, index, node, package
        self.kind, names = _kind_and_names(node)
        self.names = list(dict.fromkeys(names)) or ["<on import>"]

    @functools.cached_property
    def text(self) -> str:
        """Its syntax without comments, docstrings and layout."""
        for part in self._parts:
            if isinstance(body := getattr(part, "body", None), list):
                body[:] = [inner for inner in body if not _is_text(inner)]
        return ast.dump(self.node)

    @functools.cached_property
    def digest(self) -> str:
        """Of its text."""
        return _digest(self.text)

    @property
    def unfollowed(self) -> str:
        """The first word of `UNFOLLOWED` in it, or nothing."""
        match = _UNFOLLOWED.search(self.text)
        return match[0].strip("'") if match else ""

    @functools.cached_property
    def _parts(self) -> list[ast.AST]:
        return list(ast.walk(self.node))

    @functools.cached_property
    def imports(self) -> list[tuple[str, Chain]]:
        """Names that imports in it bind, or "", each with the absolute path that it stands for."""
        imports: list[tuple[str, Chain]] = []
        for node in self._parts:
            if isinstance(node, ast.ImportFrom):
                above = self._package[: len(self._package) + 1 - node.level] if node.level else ()
                base = (*above, *(node.module.split(".") if node.module else ()))
                imports += [(a.asname or a.name, (*base, a.name)) for a in node.names]
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    path = tuple(alias.name.split("."))
                    bound = [] if alias.asname else [(path[0], path[:1])]
                    imports += [(alias.asname or "", path), *bound]
        return imports

    @functools.cached_property
    def uses(self) -> list[Chain]:
        """Dotted names in it, also those in quoted annotations, which pydantic evaluates."""
        uses, inner = dict[Chain, None](), set[ast.AST]()
        for node in self._parts:
            if annotation := getattr(node, "annotation", getattr(node, "returns", None)):
                quoted = re.findall(r"value='([^']*)'", ast.dump(annotation))
                names = re.findall(r"[^\W\d][\w.]*", " ".join(quoted))
                uses |= dict.fromkeys(tuple(name.split(".")) for name in names)
            attributes: list[str] = []
            while isinstance(node, ast.Attribute) and node not in inner:
                attributes.append(node.attr)
                inner.add(node)
                node = node.value
            if isinstance(node, ast.Name) and node not in inner:
                inner.add(node)
                uses[node.id, *reversed(attributes)] = None
        return list(uses)


Target = Statement | str
"""What a name leads to: a statement; a module or data file of ours, a library by import name."""


def _kind_and_names(node: ast.stmt) -> tuple[str, Iterable[str]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return "definition", [node.name]
        case ast.Import() | ast.ImportFrom():
            return "action" if node.names[0].name == "*" else "import", _bound(node)
        case ast.Assign() | ast.AnnAssign() if not any(map(_changes, ast.walk(node))):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return "constant", (name for target in targets for name in _bound(target))
    return "action", _bound(node)


def _changes(node: ast.AST) -> bool:
    is_inside = isinstance(node, ast.Attribute | ast.Subscript)
    is_read = isinstance(getattr(node, "ctx", None), ast.Load)
    return isinstance(node, ast.NamedExpr) or (is_inside and not is_read)


def _bound(node: ast.AST) -> Iterator[str]:
    """All names that are bound in a piece of syntax, or more."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            yield part.id
        elif isinstance(part, ast.alias):
            yield part.asname or part.name.partition(".")[0]
        elif isinstance(name := getattr(part, "name", getattr(part, "rest", None)), str):
            yield name  # of a definition or an except under if, of a pattern


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)


def _flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements: each import alone, those for type checkers as if they were for all."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (ast.copy_location(ast.Import([alias]), node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            alone = (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
            yield from (ast.copy_location(part, node) for part in alone)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _flat((*node.body, *node.orelse))
        elif not isinstance(node, ast.Pass) and not _is_text(node):
            yield node


@functools.lru_cache(maxsize=4096)
def _parsed(module: str, path: Path, text: bytes) -> dict[str, list[Statement]]:
    parts = tuple(module.split("."))
    package = parts if path.name == "__init__.py" else parts[:-1]
    names: dict[str, list[Statement]] = {}
    for index, node in enumerate(_flat(ast.parse(text, str(path)).body)):
        statement = Statement(module, package, index, node)
        for name in statement.names:
            names.setdefault(name, []).append(statement)
    return names


def files_of(package: str) -> dict[str, Path]:
    """Sources and data files of a top-level package or module, by path, in one order everywhere.

    Raises
    ------
    ValueError
        If there is none on the import path.
    """
    file = getattr(sys.modules.get(package), "__file__", None)
    file = file or getattr(importlib.util.find_spec(package), "origin", None)
    if file is None or not Path(file).exists():
        raise ValueError(f"expected the sources of {package!r} on the import path, got {file}")
    if Path(file).name != "__init__.py":
        return {f"{package}.py": Path(file)}
    folder = Path(file).parent
    inside = ((path.parts[len(folder.parts) :], path) for path in sorted(folder.rglob("*")))
    return {
        "/".join((package, *parts)): path
        for parts, path in inside
        if not any(part[0] == "." or part == "__pycache__" for part in parts) and path.is_file()
    }


class Codebase:
    """The sources and data files of some packages, as they are now.

    Parameters
    ----------
    packages : iterable of str
        Top-level packages, found on the import path.
    is_machinery : callable
        Of a module's name: whether what is in it leads nowhere.
    """

    def __init__(self, packages: Iterable[str], is_machinery: Callable[[str], bool]) -> None:
        self._packages, self._is_machinery = tuple(packages), is_machinery
        self._leads: dict[Target, dict[Target, None]] = {}
        self._data: dict[str, tuple[Path, bytes]] = {}
        self.sources: dict[str, tuple[Path, bytes]] = {}
        for package in self._packages:
            for name, path in files_of(package).items():
                module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                is_source = path.suffix == ".py"
                into, key = (self.sources, module) if is_source else (self._data, name)
                into[key] = (path, path.read_bytes())

    def counts(self, module: str) -> bool:
        """Whether a module is ours and decides results."""
        return module in self.sources and not self._is_machinery(module)

    def names(self, module: str) -> dict[str, list[Statement]]:
        """For each name in one of our modules, the statements that bind it."""
        return _parsed(module, *self.sources[module])

    def statements(self, module: str) -> list[Statement]:
        """The statements of one of our modules."""
        bound = self.names(module).values()
        return list(dict.fromkeys(statement for statements in bound for statement in statements))

    def _find(self, module: str, chain: Chain, seen: set[Chain]) -> Iterator[Target]:
        """What a dotted name leads to in the namespace of a module."""
        if (module, *chain) not in seen:
            seen.add((module, *chain))
            for statement in self.names(module).get(chain[0], ()):
                yield statement
                if statement.kind != "definition":
                    yield from self._imported(statement, chain, seen)

    def _imported(self, statement: Statement, chain: Chain, seen: set[Chain]) -> Iterator[Target]:
        """What a dotted name leads to by the imports in a statement."""
        for name, path in statement.imports:
            if name == chain[0]:
                yield from self._follow(path + chain[1:], seen)

    def _follow(self, path: Chain, seen: set[Chain]) -> Iterator[Target]:
        module, rest = path[0], path[1:]
        if path[:2] == ("importlib", "resources"):
            yield RESOURCES
        elif module not in self._packages and module not in sys.stdlib_module_names:
            yield module
        while self.counts(module):
            is_bound = bool(rest) and rest[0] in self.names(module)
            if is_bound:
                yield from self._find(module, rest, seen)
            below = f"{module}.{rest[0]}" if rest else ""
            if below not in self.sources:
                if not is_bound:  # the module itself, or a name that only running it gives
                    yield from self._all(module, seen)
                return
            module, rest = below, rest[1:]

    def _all(self, module: str, seen: set[Chain]) -> Iterator[Target]:
        """All names of a module, also those it imports; of a package all its modules."""
        for inside in self.sources:
            if f"{inside}.".startswith(f"{module}.") and self.counts(inside):
                for name in self.names(inside):
                    yield from self._find(inside, (name,), seen)

    def resolve(self, statement: Statement, chains: Iterable[Chain]) -> list[Target]:
        """What dotted names in a statement lead to."""
        targets: list[Target] = []
        seen: set[Chain] = set()
        for chain in chains:
            targets += self._find(statement.module, chain, seen)
            targets += self._imported(statement, chain, seen)
        return targets

    def leads(self, target: Target) -> Iterable[Target]:
        """All that a target leads to at once."""
        if target not in self._leads:
            if isinstance(target, Statement):
                leads = self._used(target)
            elif target in self._data:  # a template may name another one
                leads = self._named(self._data[target][1].decode(errors="replace"))
            else:
                leads = self._on_import(target)
            self._leads[target] = dict.fromkeys(leads)
        return self._leads[target]

    def _used(self, statement: Statement) -> list[Target]:
        targets = self.resolve(statement, statement.uses)
        for dotted in re.findall(
            r"'(\w+(?:\.\w+)+)'", statement.text
        ):  # as a library may import it
            module, _, name = dotted.rpartition(".")
            targets += self._find(module, (name,), set()) if self.counts(module) else ()
        files = self._named(statement.text)
        is_nameless = RESOURCES in targets and not files
        everything = [EVERYTHING] if is_nameless or statement.unfollowed else []
        return [*targets, *files, *everything, statement.module, *self._loaded(statement)]

    def _named(self, text: str) -> list[Target]:
        """Data files whose names stand in a text."""
        return [name for name, (path, _) in self._data.items() if path.name in text]

    def _on_import(self, module: str) -> list[Target]:
        """What happens when a module is imported: its packages, its imports, its actions."""
        is_ours = module.partition(".")[0] in self._packages
        leads: list[Target] = [module.rpartition(".")[0]] if is_ours else []
        for statement in self.statements(module) if self.counts(module) else ():
            leads += [statement] if statement.kind == "action" else []
            leads += self._loaded(statement) if statement.kind == "import" else []
        return leads

    def _loaded(self, statement: Statement) -> list[str]:
        paths = [path for _, path in statement.imports]
        return [".".join(path) for path in paths if path[0] in self._packages]

    def reach(self, module: str, name: str) -> tuple[dict[str, str], set[str]]:
        """What counts for a name: digests of statements and data files, and names of libraries.

        Raises
        ------
        ValueError
            If the module does not bind the name.
        """
        pending = list(self._find(module, (name,), set())) if self.counts(module) else []
        if not pending:
            raise ValueError(f"expected {name!r} to be defined in the source of {module!r}")
        reached: dict[Target, None] = {}
        while pending:
            target = pending.pop()
            if target not in reached:
                reached[target] = None
                pending += self.leads(target)
        statements = [target for target in reached if isinstance(target, Statement)]
        words = {target for target in reached if isinstance(target, str)}
        digests: dict[str, list[str]] = {}
        for statement in sorted(statements, key=lambda s: (s.module, s.index)):
            for bound in statement.names:
                digests.setdefault(f"{statement.module}.{bound}", []).append(statement.digest)
                if statement.kind in ("constant", "action"):
                    digests.setdefault(f"{statement.module}.<order>", []).append(bound)
        parts = {part: _digest(" ".join(texts)) for part, texts in digests.items()}
        parts |= {file: _digest(self._data[file][1]) for file in words & self._data.keys()}
        if EVERYTHING in words:
            files = (*self.sources.values(), *self._data.values())
            parts[EVERYTHING] = _digest("".join(_digest(content) for _, content in files))
        ours = {word for word in words if re.split("[./]", word)[0] in self._packages}
        return parts, words - ours - {EVERYTHING, RESOURCES, ""}
