"""What a name in our sources leads to, through everything it uses.

``Codebase`` knows where names lead from any statement, ``Reach`` collects all that counts for one
name. The rule in doubt is to include: a name that a local variable hides counts all the same.
"""

import functools
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from neural_classifiers.engine.code.statements import (
    IMPORTS,
    NAMESPACES,
    OWN_TEXT,
    PLACES,
    SUBCLASSES,
    Chain,
    Module,
    Statement,
    short_digest,
)

Key = tuple[str, str]
"""A module and a name in it; ``("m", "*")`` is all of m, ``("", "numpy")`` a library."""


_TELLING_PATHS = {("importlib", "resources"): PLACES, ("sys", "modules"): IMPORTS}


class Codebase:
    """The sources of some packages, read once.

    Parameters
    ----------
    packages : tuple of str
        Top-level packages, found on the import path.
    ignore : frozenset of str
        Modules in them that are not read: their names lead nowhere.
    """

    def __init__(self, packages: tuple[str, ...], ignore: frozenset[str]) -> None:
        self.packages, self.ignore = packages, ignore
        self.modules: dict[str, Module] = {}
        self.data_files: dict[str, Path] = {}
        for package in packages:
            folder = folder_of(package)
            for path in files_of(folder):
                inside = path.relative_to(folder)
                if path == folder:
                    self._add_module((package,), path)
                elif path.suffix == ".py":
                    self._add_module((package, *inside.with_suffix("").parts), path)
                else:
                    self.data_files[f"{package}/{inside.as_posix()}"] = path
        above = {name.rpartition(".")[0] for name in self.modules}
        self._known = {*self.modules, *above, *ignore} - {""}
        self._targets: dict[Statement, dict[Key, None]] = {}
        self._telling: dict[Statement, set[str]] = {}

    def _add_module(self, parts: Chain, path: Path) -> None:
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        if name not in self.ignore:
            self.modules[name] = _parsed(name, path.read_bytes(), str(path), is_package)

    def statements(self) -> Iterator[Statement]:
        """All statements of all modules."""
        for module in self.modules.values():
            yield from module.statements

    def find(self, module: str, chain: Chain, seen: frozenset[Key] = frozenset()) -> Iterator[Key]:
        """What a chain leads to in the namespace of a module, and the imports on the way."""
        key = (module, chain[0])
        if key in seen or not self.modules[module].binds(chain[0]):
            return
        yield key
        for _, path in self.modules[module].aliases.get(chain[0], ()):
            yield from self.follow(path + chain[1:], seen | {key})

    def follow(self, path: Chain, seen: frozenset[Key] = frozenset()) -> Iterator[Key]:
        """What an absolute dotted path leads to."""
        module, rest = path[0], path[1:]
        if module not in self.packages:
            if module not in sys.stdlib_module_names:
                yield ("", module)
            return
        while module not in self.ignore:
            is_bound = bool(rest) and module in self.modules and self.modules[module].binds(rest[0])
            below = f"{module}.{rest[0]}" if rest else ""
            if is_bound:
                yield from self.find(module, rest, seen)
            if below not in self._known:
                if not is_bound:  # the module itself, or a name that only running it gives
                    yield (module, "*")
                return
            module, rest = below, rest[1:]

    def resolve(self, statement: Statement, chain: Chain) -> Iterator[Key]:
        """What a chain in a statement leads to."""
        if not chain:
            return
        if not chain[0]:
            yield from self.follow(chain[1:])
            return
        for path in statement.reading.aliases.get(chain[0], ()):
            yield from self.follow(path + chain[1:])
        yield from self.find(statement.module, chain)

    def telling(self, statement: Statement) -> set[str]:
        """Names in a statement after which syntax does not tell what is reached."""
        if statement not in self._telling:
            reading, module = statement.reading, self.modules[statement.module]
            told = set(reading.telling)
            for chain in reading.uses:
                paths = [path for _, path in module.aliases.get(chain[0], ())]
                for path in [*paths, *reading.aliases.get(chain[0], ())]:
                    told |= _TELLING_PATHS.get((*path, *chain[1:])[:2], set())
                    told |= {path[-1]} - {chain[0]}  # import_module under another name
            self._telling[statement] = told
        return self._telling[statement]

    def targets(self, statement: Statement) -> dict[Key, None]:
        """All that a statement leads to at once."""
        if statement not in self._targets:
            self._targets[statement] = dict.fromkeys(self._resolve_all(statement))
        return self._targets[statement]

    def _resolve_all(self, statement: Statement) -> Iterator[Key]:
        reading = statement.reading
        for chain in reading.uses:
            yield from self.resolve(statement, chain)
        for star in reading.stars:
            yield from self.follow(tuple(star.split(".")))
        if self.telling(statement) & NAMESPACES:
            yield (statement.module, "*")
        if self.telling(statement) & IMPORTS:
            for package in self.packages:
                yield (package, "*")

    def bound(self, keys: Iterable[Key]) -> Iterator[Statement]:
        """The statements that bind names; all of a module for its ``*``."""
        for name, key in keys:
            if name in self.modules:
                module = self.modules[name]
                yield from module.statements if key == "*" else module.bindings.get(key, ())

    @functools.cached_property
    def writers(self) -> dict[Key, list[Statement]]:
        """For each name, the statements that may change its value in place."""
        writers: dict[Key, list[Statement]] = {}
        for statement in self.statements():
            for chain in statement.writes:
                for module, name in self.resolve(statement, chain):
                    if module in self.modules and (
                        name == "*" or name in self.modules[module].bindings
                    ):
                        writers.setdefault((module, name), []).append(statement)
        return writers

    @functools.cached_property
    def users(self) -> dict[Statement, list[Statement]]:
        """For each statement, those that use it."""
        users: dict[Statement, list[Statement]] = {}
        for statement in self.statements():
            for used in self.bound(self.targets(statement)):
                users.setdefault(used, []).append(statement)
        return users

    @functools.cached_property
    def run_on_import(self) -> dict[Statement, set[Statement]]:
        """For each statement that can call something on import, the statements that it names."""
        return {
            statement: set(
                self.bound(
                    key for chain in statement.on_import for key in self.resolve(statement, chain)
                )
            )
            for statement in self.statements()
            if statement.is_decorated or not statement.is_function
        }


@functools.lru_cache(maxsize=1024)
def _parsed(name: str, text: bytes, path: str, is_package: bool) -> Module:
    return Module(name, text, path, is_package)


@functools.cache
def folder_of(package: str) -> Path:
    """The folder of a top-level package, or the file of a top-level module.

    Raises
    ------
    ValueError
        If there is none on the import path.
    """
    spec = None if package == "__main__" else importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    file = spec.origin if spec else getattr(sys.modules.get(package), "__file__", None)
    place = folders[0] if folders else file
    if place is None or not Path(place).exists():
        raise ValueError(f"expected the sources of {package!r} on the import path, got {place}")
    return Path(place)


def files_of(folder: Path) -> list[Path]:
    """Sources and data files of a package, in one order on every machine."""
    if folder.is_file():
        return [folder]
    depth = len(folder.parts)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part[0] == "." or part == "__pycache__" for part in path.parts[depth:])
    )


class Reach:
    """Everything that counts for one name.

    Attributes
    ----------
    libraries : set of str
        Import names of the libraries that are used.
    """

    def __init__(self, code: Codebase, start: Key) -> None:
        self.code = code
        self._keys: dict[Key, None] = {}
        self._statements: dict[Statement, None] = {}
        self._loaded: set[str] = set()
        self._acting: dict[str, None] = {}  # modules that act on import, in their order
        self._roots: set[Statement] = set()  # what counts although nothing may use it
        self._pending: list[Statement] = []
        for key in code.find(start[0], start[1:]):
            self._take_root(key)
        while self._pending:
            while self._pending:
                for key in code.targets(self._pending.pop()):
                    self._take(key)
            for statement in [*self._writers(), *self._registrations()]:
                self._visit_root(statement)
        self.libraries = {name for module, name in self._keys if not module}

    def _take(self, key: Key) -> None:
        if key in self._keys:
            return
        self._keys[key] = None
        module, name = key
        self._load(module)
        if name == "*":
            self._take_whole(module)
        for statement in self.code.bound([key]):
            self._visit(statement)

    def _take_root(self, key: Key) -> None:
        self._roots.update(self.code.bound([key]))
        self._take(key)

    def _take_whole(self, module: str) -> None:
        """All names of a module, also those it imports; of a package all its modules."""
        for below in [m for m in self.code.modules if m.startswith(f"{module}.")]:
            self._take((below, "*"))
        for name in self.code.modules[module].names() if module in self.code.modules else ():
            for key in self.code.find(module, (name,)):
                self._take(key)

    def _visit(self, statement: Statement) -> None:
        if statement in self._statements:
            return
        self._statements[statement] = None
        self._pending.append(statement)
        self._load(statement.module)
        for module in statement.reading.loads:
            self._load(module)

    def _visit_root(self, statement: Statement) -> None:
        self._roots.add(statement)
        self._visit(statement)

    def _load(self, name: str) -> None:
        """What happens when a module is imported: its packages, its imports, what acts."""
        if not name or name in self._loaded:
            return
        self._loaded.add(name)
        self._load(name.rpartition(".")[0])
        if name not in self.code.modules:
            return
        module = self.code.modules[name]
        for other in module.loads:
            self._load(other)
        for star in module.stars:
            for key in self.code.follow(tuple(star.split("."))):
                self._take_root(key)
        for statement in module.statements:
            if statement.acts:
                self._acting[name] = None
                self._visit_root(statement)

    def _writers(self) -> list[Statement]:
        """What may have changed a value that counts."""
        return [s for key in self._keys for s in self.code.writers.get(key, ())]

    def _registrations(self) -> list[Statement]:
        """What runs on import, in any module, and leads to what changes a value that counts.

        ``@register("name")`` in a module that nothing here imports, and subclasses where
        their base class knows them.
        """
        causes = {s for s in self._writers() if s.is_function or s.is_class}
        for statement in self._statements:
            if self.code.telling(statement) & SUBCLASSES:
                used = self.code.bound(self.code.targets(statement))
                causes |= {s for s in (statement, *used) if s.is_class}
        if not causes:
            return []
        callers, pending = set(causes), list(causes)
        while pending:
            new = set(self.code.users.get(pending.pop(), ())) - callers
            callers |= new
            pending.extend(new)
        return [s for s, named in self.code.run_on_import.items() if named & callers]

    def definitions(self) -> dict[str, str]:
        """Digest of each definition and import that counts, by qualified name."""
        found: dict[str, list[tuple[int, str, str]]] = {}
        for statement in self._statements:
            for name in statement.names or ("<on import>",):
                place = (statement.index, name, statement.reading.digest)
                found.setdefault(statement.module, []).append(place)
        for module, name in self._keys:
            if module in self.code.modules:
                for index, path in self.code.modules[module].aliases.get(name, ()):
                    found.setdefault(module, []).append((index, name, ".".join(path)))
        parts = {"<order>": short_digest(" ".join(self._acting))} if len(self._acting) > 1 else {}
        reads_itself = any(self.code.telling(s) & OWN_TEXT for s in self._statements)
        for module, places in found.items():
            parts |= self._parts_of(module, sorted(places))
            if reads_itself:
                parts[f"{module}.<text>"] = short_digest(self.code.modules[module].text)
        return parts

    def _parts_of(self, module: str, places: list[tuple[int, str, str]]) -> dict[str, str]:
        texts: dict[str, list[str]] = {}
        for _, name, text in places:
            texts.setdefault(name, []).append(text)
        parts = {name: "\n".join(text) for name, text in texts.items()}
        # Order counts among constants, and for all where a name changes its meaning on the way.
        mine = [s for s in self._statements if s.module == module]
        turns = any(s.acts for s in mine) or any(len(text) > 1 for text in texts.values())
        fixed = {s.index for s in mine if s.is_function or s.is_class}
        order = [name for index, name, _ in places if turns or index not in fixed]
        if order[1:]:
            parts["<order>"] = " ".join(order)
        return {f"{module}.{name}": short_digest(text) for name, text in parts.items()}

    def data(self) -> dict[str, str]:
        """Digest of each data file that counts, by its path beginning with the package."""
        files = self.code.data_files
        pending = list(files) if self._place_is_open() else list(self._named(*self._statements))
        texts: dict[str, bytes] = {}
        while pending:
            name = pending.pop()
            texts[name] = files[name].read_bytes()
            for other in files:  # a template may name another one
                if other not in texts and Path(other).name.encode() in texts[name]:
                    pending.append(other)
        return {name: short_digest(text) for name, text in texts.items()}

    def _named(self, *statements: Statement) -> set[str]:
        """Data files that the strings of statements name, or may name in part."""
        return {
            file
            for file in self.code.data_files
            for statement in statements
            if any(may_name(literal, file) for literal in statement.reading.literals)
        }

    def _place_is_open(self) -> bool:
        """Whether something reads from a package's folder and nothing says which file.

        What asks for the folder without naming a file leaves that to those who use it; when
        it comes to the step itself, every file counts.
        """
        pending = [s for s in self._statements if self.code.telling(s) & PLACES]
        seen = set(pending)
        while pending:
            statement = pending.pop()
            if self._named(statement):
                continue
            if statement in self._roots:
                return True
            users = [s for s in self.code.users.get(statement, ()) if s in self._statements]
            pending += [s for s in users if s not in seen]
            seen.update(users)
        return False


def may_name(literal: str, file: str) -> bool:
    """Whether a string names a file, or is an end from which its name may be put together.

    >>> [may_name(x, "core/words/en.txt") for x in ("words/en.txt", "*.txt", "{}.txt", ".txt")]
    [True, True, True, True]
    >>> [may_name(x, "core/words/en.txt") for x in ("de.txt", "the end", "")]
    [False, False, False]
    """
    name = file.rpartition("/")[2]
    pieces = re.split(r"\{[^}]*\}|%\w|[*?/]", literal)
    return name in literal or any("." in piece and name.endswith(piece) for piece in pieces)
