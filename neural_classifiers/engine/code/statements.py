"""What a top-level statement of a source file says: its text and the names it deals with.

A statement is the unit that counts or does not count for a step: a function, a whole class, a
constant, or something done when the module is imported. Only syntax is looked at; nothing is
imported or run, and what is not certain from syntax is told as such.
"""

import ast
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Chain = tuple[str, ...]
"""A name and the attributes asked of it: ``("text", "clean_comment")``."""

# Names after which syntax alone does not tell what is reached.
IMPORTS = {"__import__", "import_module", "iter_modules", "resolve_name", "walk_packages"}
NAMESPACES = {"eval", "exec", "globals", "locals", "vars"}
SUBCLASSES = {"__init_subclass__", "__subclasses__", "metaclass"}
OWN_TEXT = {"__doc__", "getdoc", "getsource", "getsourcelines"}
PLACES = {"PackageLoader", "__file__", "__path__", "__spec__", "get_data", "getfile"}
_TELLING = IMPORTS | SUBCLASSES | OWN_TEXT | PLACES

# Functions that change their first argument, and methods that change their object.
_SETTERS = {"delattr", "delitem", "setattr", "setitem"}
_CHANGING = {
    *("__delitem__", "__setattr__", "__setitem__", "add", "append", "appendleft", "clear"),
    *("discard", "extend", "extendleft", "insert", "pop", "popitem", "popleft", "push", "put"),
    *("remove", "reverse", "setdefault", "sort", "update"),
}


def short_digest(text: str | bytes) -> str:
    """The first 16 hex digits of the sha256."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


class Module:
    """A source file as statements, what they bind, and what is imported.

    Attributes
    ----------
    text : bytes
    statements : list of Statement
        In their order, without imports.
    bindings : dict of str to list of Statement
        All statements that bind a name.
    aliases : dict of str to list of (int, Chain)
        All imports that bind a name: place in the file and dotted path of the target.
    loads, stars : dict of str to None
        Modules imported when this one is; those of them by ``*``.
    """

    def __init__(self, name: str, text: bytes, path: str, is_package: bool) -> None:
        self.text = text
        self.statements: list[Statement] = []
        self.bindings: dict[str, list[Statement]] = {}
        self.aliases: dict[str, list[tuple[int, Chain]]] = {}
        self.loads: dict[str, None] = {}
        self.stars: dict[str, None] = {}
        parts = tuple(name.split("."))
        package = parts if is_package else parts[:-1]
        has_globals = re.search(rb"\bglobal\b", text) is not None
        for index, node in enumerate(_flat(ast.parse(text, path).body)):
            self._add(Statement(name, package, index, node, has_globals))

    def _add(self, statement: "Statement") -> None:
        if statement.imports:
            reading = statement.reading
            self.loads |= reading.loads
            self.stars |= reading.stars
            for bound, paths in reading.aliases.items():
                places = [(statement.index, path) for path in paths]
                self.aliases.setdefault(bound, []).extend(places)
        if not statement.only_imports:
            self.statements.append(statement)
            for bound in statement.names:
                self.bindings.setdefault(bound, []).append(statement)

    def names(self) -> list[str]:
        """Every name that a statement or an import binds."""
        return list(dict.fromkeys((*self.bindings, *self.aliases)))

    def binds(self, name: str) -> bool:
        """Whether a statement or an import binds a name."""
        return name in self.bindings or name in self.aliases


def _flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements but docstrings; those under ``if TYPE_CHECKING`` as if they were."""
    for node in body:
        if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING":
            yield from _flat((*node.body, *node.orelse))
        elif not (isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and _is_text(node))):
            yield node


class Statement:
    """A top-level statement.

    Attributes
    ----------
    module : str
    index : int
        Its place among the statements of the module.
    names : tuple of str
        What it binds, but for imports: of a function also what it declares ``global``.
    acts : bool
        On import it does more than bind names: a call, a loop, ``REGISTRY["x"] = f``.
    imports, only_imports : bool
        It imports for the whole module; and nothing else.
    """

    def __init__(
        self, module: str, package: Chain, index: int, node: ast.stmt, has_globals: bool
    ) -> None:
        self.module, self.index = module, index
        self.is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        self.is_class = isinstance(node, ast.ClassDef)
        self.is_decorated = bool(getattr(node, "decorator_list", ()))
        inside = ast.walk(node) if has_globals else ()
        declared = [name for n in inside if isinstance(n, ast.Global) for name in n.names]
        self.names = tuple(dict.fromkeys((*_bound(node), *declared)))
        self.acts = _acts(node)
        self.only_imports = isinstance(node, ast.Import | ast.ImportFrom)
        self.imports = self.only_imports or (
            self.acts and not self.is_function and not self.is_class
        )
        self._package, self._node = package, node

    @functools.cached_property
    def reading(self) -> "Reading":
        """What it says; read when first asked for."""
        return Reading(self._package, self._node)

    @property
    def writes(self) -> Iterable[Chain]:
        """Names whose value it may change; where it acts, all that it uses."""
        reading = self.reading
        return {**reading.writes, **reading.uses} if self.acts else reading.writes

    @property
    def on_import(self) -> Iterable[Chain]:
        """Names that it uses when the module is imported, not when something is called."""
        return self.reading.header if self.is_function else self.reading.uses


def _acts(node: ast.stmt) -> bool:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return any(_last_name(d).startswith("register") for d in node.decorator_list)
        case ast.Assign():
            parts = [part for target in node.targets for part in ast.walk(target)]
            return any(isinstance(part, ast.Attribute | ast.Subscript) for part in parts)
        case ast.AnnAssign():
            return not isinstance(node.target, ast.Name)
        case ast.Import() | ast.ImportFrom():
            return False
        case _:
            return type(node).__name__ != "TypeAlias"  # a statement since Python 3.12


def _bound(node: ast.AST) -> Iterator[str]:
    """Names that a statement binds in its module."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
            return
        case ast.Lambda():
            return
        case ast.comprehension():  # its variable is its own
            yield from _bound(node.iter)
            return
        case ast.Name(ctx=ast.Store() | ast.Del()):
            yield node.id
        case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
            yield node.name
        case ast.MatchMapping() if node.rest:
            yield node.rest
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


class Reading:
    """One pass over a statement.

    Attributes
    ----------
    digest : str
        Of its text without comments, docstrings and layout.
    uses, writes : dict of Chain to None
        Names read, and names whose value is changed in place. A chain that begins with ``""``
        is an absolute path.
    header : tuple of Chain
        Of a function: what is used when it is defined (decorators, defaults, annotations).
    aliases : dict of str to list of Chain
        What imports inside the statement bind.
    loads, stars : dict of str to None
        Modules that they import; those of them by ``*``.
    literals, telling : set of str
        Strings, and names after which syntax does not tell what is reached.
    """

    def __init__(self, package: Chain, node: ast.stmt) -> None:
        self.uses: dict[Chain, None] = {}
        self.writes: dict[Chain, None] = {}
        self.header: tuple[Chain, ...] = ()
        self.aliases: dict[str, list[Chain]] = {}
        self.loads: dict[str, None] = {}
        self.stars: dict[str, None] = {}
        self.literals: set[str] = set()
        self.telling: set[str] = set()
        self._package = package
        self._text: list[str] = []
        self._calls_run = True  # outside of function bodies, where the import runs them
        self._read(node)
        self.digest = short_digest("\x1f".join(self._text))
        del self._text

    def _read(self, node: ast.AST) -> None:
        note = _NOTES.get(type(node))
        if note is None or not note(self, node):
            self._spell(node)

    def _spell(self, node: ast.AST, *leave_out: str) -> None:
        """Its type and fields, in an order that leaves no doubt."""
        self._text.append(type(node).__name__)
        for field in node._fields:
            if field not in _LAYOUT and field not in leave_out:
                self._spell_value(getattr(node, field, None))

    def _spell_value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self._read(value)
        elif isinstance(value, list):
            self._text.append("[")
            for item in value:
                self._spell_value(item)
            self._text.append("]")
        else:
            self._text.append(repr(value))

    def _tell(self, *names: str) -> None:
        self.telling |= _TELLING.intersection(names)

    def _use(self, chain: Chain) -> None:
        self.uses[chain] = None
        self._tell(*chain)
        if chain[0] in NAMESPACES or chain[0] == "builtins":
            self.telling |= NAMESPACES  # but not `network.eval()`

    # The notes below each take one kind of node; True means that it is spelled already.

    def _name(self, node: ast.Name) -> bool:
        if not isinstance(node.ctx, ast.Store):
            self._use((node.id,))
        return False

    def _attribute(self, node: ast.Attribute) -> bool:
        chain = _chain(node)
        if not isinstance(node.ctx, ast.Load):
            self.writes[chain or _root(node)] = None
        if not chain:
            self._tell(node.attr)
            return False
        self._use(chain)
        self._text.append(repr(chain))
        return True

    def _subscript(self, node: ast.Subscript) -> bool:
        if not isinstance(node.ctx, ast.Load):
            self.writes[_root(node)] = None
        return False

    def _call(self, node: ast.Call) -> bool:
        called = _last_name(node.func)
        if isinstance(node.func, ast.Attribute) and (
            self._calls_run or called in _CHANGING or called.startswith("register")
        ):
            self.writes[_root(node.func.value)] = None
        if called in _SETTERS and node.args:
            self.writes[_root(node.args[0])] = None
        if called in IMPORTS and node.args and _is_text(node.args[0]):
            self._named_import(node)
            return True
        return False

    def _named_import(self, node: ast.Call) -> None:
        """``import_module("package.module")``: the name is known, so nothing else counts."""
        named = str(getattr(node.args[0], "value", ""))
        path = re.split("[.:]", named.lstrip("."))
        self.uses["", *self._above(len(named) - len(named.lstrip("."))), *path] = None
        self.uses[_root(node.func)] = None
        self._text.append(repr(_root(node.func)))
        self._spell(node, "func")

    def _above(self, level: int) -> Chain:
        """The package that a relative import with so many dots begins at."""
        return self._package[: len(self._package) + 1 - level] if level else ()

    def _global(self, node: ast.Global) -> bool:
        for name in node.names:
            self.uses[name,] = self.writes[name,] = None
        return False

    def _import(self, node: ast.Import) -> bool:
        for alias in node.names:
            path = tuple(alias.name.split("."))
            self.loads[alias.name] = None
            self.aliases.setdefault(alias.asname or path[0], []).append(
                path if alias.asname else path[:1]
            )
        return False

    def _import_from(self, node: ast.ImportFrom) -> bool:
        base = (*self._above(node.level), *(node.module or "").split("."))
        base = tuple(part for part in base if part)
        self.loads[".".join(base)] = None
        for alias in node.names:
            if alias.name == "*":
                self.stars[".".join(base)] = None
            else:
                self.loads[".".join((*base, alias.name))] = None
                paths = self.aliases.setdefault(alias.asname or alias.name, [])
                paths.append((*base, alias.name))
        return False

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        self._tell(node.name)
        for decorator in node.decorator_list:  # @REGISTRY.add changes REGISTRY
            if isinstance(decorator, ast.Attribute):
                self.writes[_root(decorator.value)] = None
        self._annotation(node.returns)
        self._spell(node, "body")
        self.header = self.header or tuple(self.uses)
        outside, self._calls_run = self._calls_run, False
        self._spell_value(node.body)
        self._calls_run = outside
        return True

    def _class(self, node: ast.ClassDef) -> bool:
        self._tell(*(keyword.arg or "" for keyword in node.keywords))
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Attribute):
                self.writes[_root(decorator.value)] = None
        return False

    def _annotated(self, node: ast.arg | ast.AnnAssign) -> bool:
        self._annotation(node.annotation)
        return False

    def _annotation(self, node: ast.expr | None) -> None:
        """Names inside quoted annotations, which pydantic evaluates."""
        for part in ast.walk(node) if node else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                try:
                    self._spell(ast.parse(part.value, mode="eval"))
                except SyntaxError:  # a word of a Literal, not a type
                    continue

    def _expression(self, node: ast.Expr) -> bool:
        return _is_text(node)  # a docstring, which is not spelled at all

    def _constant(self, node: ast.Constant) -> bool:
        if isinstance(node.value, str):
            self.literals.add(node.value)
        return False


_NOTES: dict[type[ast.AST], Callable[[Reading, Any], bool]] = {
    ast.AnnAssign: Reading._annotated,
    ast.AsyncFunctionDef: Reading._function,
    ast.Attribute: Reading._attribute,
    ast.Call: Reading._call,
    ast.ClassDef: Reading._class,
    ast.Constant: Reading._constant,
    ast.Expr: Reading._expression,
    ast.FunctionDef: Reading._function,
    ast.Global: Reading._global,
    ast.Import: Reading._import,
    ast.ImportFrom: Reading._import_from,
    ast.Name: Reading._name,
    ast.Subscript: Reading._subscript,
    ast.arg: Reading._annotated,
}

_LAYOUT = {"ctx", "kind", "type_comment"}  # u"a" is "a"; whether a name is stored, its place says


def _chain(node: ast.AST) -> Chain:
    """``("a", "b", "c")`` for ``a.b.c``; empty for anything else."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else ()


def _root(node: ast.AST) -> Chain:
    """The chain that an expression begins with: ``("a", "b")`` for ``a.b[0].c(1)``."""
    while not (chain := _chain(node)):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return ()
    return chain


def _last_name(node: ast.AST) -> str:
    """The last name of ``a.b.c``, of ``f().c`` or of a call of either; empty if there is none."""
    match node:
        case ast.Call():
            return _last_name(node.func)
        case ast.Attribute():
            return node.attr
        case ast.Name():
            return node.id
        case _:
            return ""


def _is_text(node: ast.AST) -> bool:
    """Whether an expression, or a statement of just one, is a string."""
    value = node.value if isinstance(node, ast.Expr) else node
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
