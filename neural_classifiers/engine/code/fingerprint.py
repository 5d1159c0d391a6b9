"""The code that a step can reach, as one digest: equal digests mean equal behaviour.

Sources are read as syntax trees and never imported, so this costs milliseconds and no heavy
library. From the step's function names are followed through our own packages: functions,
whole classes, constants with what they are made of, imports inside functions, re-exports, data
files by name. Where a name is not certain before the code runs (``getattr`` on a module,
``globals()``, a computed import, a star import) the whole module counts, and where a value is
written to (a registry, a ``global``) everything counts that may write to it. Comments,
docstrings and layout do not count.

A step that runs once too often costs time; a result taken from other code costs trust. So what
is in doubt counts.

Notes
-----
What is beyond it, so that nobody relies on it: functions that come in as arguments; settings of
the interpreter or of a library made on import by a module that the step does not import; a
value of our modules changed through another name for it (``table = module.TABLE;
table["x"] = 1``) by a function that the step does not reach; a data file with a computed name
in a function that names another file.
"""

import functools
import hashlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neural_classifiers.engine.code.reach import Codebase, Reach, files_of, folder_of

OWN = ("neural_classifiers", "tasks")
"""The packages whose code counts."""

MACHINERY = (
    "neural_classifiers.engine",
    "neural_classifiers.engine.alerts",
    "neural_classifiers.engine.code",
    "neural_classifiers.engine.code.fingerprint",
    "neural_classifiers.engine.code.reach",
    "neural_classifiers.engine.code.statements",
    "neural_classifiers.engine.decline",
    "neural_classifiers.engine.form",
    "neural_classifiers.engine.history",
    "neural_classifiers.engine.housekeeping",
    "neural_classifiers.engine.locks",
    "neural_classifiers.engine.paths",
    "neural_classifiers.engine.progress",
    "neural_classifiers.engine.records",
    "neural_classifiers.engine.runs",
    "neural_classifiers.engine.settings",
    "neural_classifiers.engine.step",
    "neural_classifiers.engine.workers",
    "tasks.sources",
)
"""Modules around the steps: they start, record and show work and decide no result."""

# Who decides the results of whom, by import name: a library that is not here decides its own,
# one with an empty tuple starts or watches work only. numpy and scipy count where they do the
# arithmetic, pyarrow where it holds the strings of pandas.
_KERAS = ("keras", "tensorflow", "numpy")
_DECIDED_BY: dict[str, tuple[str, ...]] = {
    "PIL": ("pillow",),
    "distributed": (),
    "great_expectations": ("great-expectations", "pandas", "numpy"),
    "jinja2": ("jinja2", "markupsafe"),
    "keras": _KERAS,
    "matplotlib": ("matplotlib", "numpy", "pillow"),
    "nltk": ("nltk",),
    "numpy": ("numpy",),
    "pandas": ("pandas", "numpy", "pyarrow"),
    "prefect": (),
    "psutil": (),
    "pyarrow": ("pyarrow",),
    "pydantic": ("pydantic",),
    "scikeras": ("scikeras", "scikit-learn", "scipy", *_KERAS),
    "scipy": ("scipy", "numpy"),
    "sklearn": ("scikit-learn", "scipy", "numpy"),
    "skops": ("skops", "scikit-learn"),
    "tensorflow": _KERAS,
    "threadpoolctl": (),
    "yaml": ("pyyaml",),
}

_ABSENT = "not installed"
_STARTED_S = time.time()


@dataclass(frozen=True)
class Fingerprint:
    """What decides a step's result besides its arguments.

    Attributes
    ----------
    digest : str
        sha256 of `parts` and `libraries`, 64 hex digits.
    parts : dict of str to str
        Short digest of each definition, import and data file that the function can reach, by
        its qualified name. ``<on import>`` is what a module does when it is imported, ``<order>``
        the order of definitions where it matters.
    libraries : dict of str to str
        Installed version of each distribution that decides the function's results, and of
        ``python`` (3.11, say).
    """

    digest: str
    parts: dict[str, str]
    libraries: dict[str, str]


def fingerprint(
    function: Callable[..., Any] | str,
    packages: Iterable[str] = OWN,
    ignore: Iterable[str] = MACHINERY,
) -> Fingerprint:
    """The fingerprint of the code that a function can reach.

    Parameters
    ----------
    function : callable or str
        Wrapped functions and Prefect tasks are unwrapped. Or the dotted name of a top-level
        one (``"tasks.clean.clean_comments"``), which need not be imported.
    packages : iterable of str
        Top-level packages whose code counts. That of the function always does.
    ignore : iterable of str
        Modules whose names are not followed, unless the function is defined there.

    Raises
    ------
    TypeError
        If `function` does not say where it is defined (a ``functools.partial``).
    ValueError
        If our sources do not define it.
    SyntaxError
        If a source file of the packages is not Python.

    Notes
    -----
    Sources are read once a process, since what runs is what was imported. See `edited`.
    """
    module, name = _home(function)
    own = tuple(dict.fromkeys((*packages, module.partition(".")[0])))
    return _fingerprint(module, name, own, frozenset(ignore) - {module})


def forget() -> None:
    """Drop what was read, so that the next fingerprint reads the sources again."""
    _fingerprint.cache_clear()
    _codebase.cache_clear()
    folder_of.cache_clear()


def edited(packages: Iterable[str] = OWN) -> list[str]:
    """Our source and data files that changed since this process began.

    Nobody knows which text of such a file is running: a result that comes out while there are
    any belongs to no fingerprint.
    """
    # Of the inode, not of the content: nothing sets that time back.
    return [
        str(path)
        for package in packages
        for path in files_of(folder_of(package))
        if path.stat().st_ctime >= _STARTED_S
    ]


def _home(function: Callable[..., Any] | str) -> tuple[str, str]:
    """Module and top-level name of the innermost function."""
    if isinstance(function, str):
        module, _, name = function.rpartition(".")
        return module, name
    inner: Any = function
    while deeper := getattr(inner, "fn", None) or getattr(inner, "__wrapped__", None):
        inner = deeper
    home, qualified = getattr(inner, "__module__", None), getattr(inner, "__qualname__", None)
    if not isinstance(home, str) or not isinstance(qualified, str):
        raise TypeError(f"expected a function that is defined in a module, got {function!r}")
    return home, qualified.partition(".")[0]


@functools.cache
def _fingerprint(
    module: str, name: str, packages: tuple[str, ...], ignore: frozenset[str]
) -> Fingerprint:
    code = _codebase(packages, ignore)
    if module not in code.modules or not code.modules[module].binds(name):
        raise ValueError(f"expected {name!r} to be defined in the source of {module!r}")
    reach = Reach(code, (module, name))
    parts = dict(sorted({**reach.definitions(), **reach.data()}.items()))
    libraries = _versions(reach.libraries)
    shown = json.dumps([parts, libraries], sort_keys=True, separators=(",", ":"))
    return Fingerprint(hashlib.sha256(shown.encode()).hexdigest(), parts, libraries)


@functools.cache
def _codebase(packages: tuple[str, ...], ignore: frozenset[str]) -> Codebase:
    return Codebase(packages, ignore)


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    deciding = {name for top in libraries for name in _distributions(top)}
    versions = {name: _version(name) for name in sorted(deciding)}
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}", **versions}


def _distributions(top: str) -> Iterable[str]:
    if top in _DECIDED_BY:
        return _DECIDED_BY[top]
    # Most are called as they are imported; to ask the others takes 0.25 s.
    return [top] if _version(top) != _ABSENT else _all_distributions().get(top, [top])


@functools.cache
def _all_distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@functools.cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return _ABSENT
