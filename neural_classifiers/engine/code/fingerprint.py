"""The code that a step can reach, as one digest: equal digests mean equal behaviour.

Plain names are followed from the step's function through our own packages (`reach`). Comments,
docstrings and layout do not count. A step that runs once too often costs time, a result taken
from other code costs trust: what is in doubt counts. That names can be followed is a rule of our
sources, which ``tests/test_dialect.py`` keeps.

Beyond it, so that nobody relies on it: functions that come in as arguments; settings of the
interpreter or of a library made by code that the step does not reach; a value of our modules
changed there through another name for it (``table = module.TABLE; table["x"] = 1``).
"""

import functools
import hashlib
import importlib.metadata
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from neural_classifiers.engine.code.reach import Codebase, files_of

OWN = ("neural_classifiers", "tasks")
"""The packages whose code counts."""

# Who decides the results of whom, by import name: one with an empty tuple starts or watches work
# only. numpy and scipy count where they do the arithmetic, pyarrow where it holds pandas' strings.
_KERAS = ("keras", "tensorflow", "numpy")
_ALONE = "cleanlab ftfy nltk numpy pyarrow pydantic safetensors tokenizers".split()
_DECIDED_BY: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in _ALONE},
    **dict.fromkeys(("distributed", "prefect", "psutil", "threadpoolctl"), ()),
    **dict.fromkeys(("keras", "tensorflow"), _KERAS),
    "PIL": ("pillow",),
    "Stemmer": ("pystemmer",),
    "great_expectations": ("great-expectations", "pandas", "numpy"),
    "jinja2": ("jinja2", "markupsafe"),
    "matplotlib": ("matplotlib", "numpy", "pillow"),
    "pandas": ("pandas", "numpy", "pyarrow"),
    "scikeras": ("scikeras", "scikit-learn", "scipy", *_KERAS),
    "scipy": ("scipy", "numpy"),
    "sklearn": ("scikit-learn", "scipy", "numpy"),
    "skops": ("skops", "scikit-learn"),
    "yaml": ("pyyaml",),
}

_STARTED_S = time.time()
_lock = threading.Lock()  # steps run side by side, and each source is read once


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
        the order of what is made then, ``<everything>`` all sources where names do not tell.
    libraries : dict of str to str
        Installed version of each distribution that decides the function's results, and of
        ``python`` (3.11, say).
    """

    digest: str
    parts: dict[str, str]
    libraries: dict[str, str]


def is_machinery(module: str) -> bool:
    """Whether a module starts, records and shows work, and decides no result."""
    around = ("neural_classifiers.engine.", "neural_classifiers.operation.")
    within = ("neural_classifiers.engine.rows", "neural_classifiers.engine.folder_store")
    return module.startswith(around) and not module.startswith(within)


def fingerprint(
    function: Callable[..., Any] | str,
    packages: Iterable[str] = OWN,
    is_machinery: Callable[[str], bool] = is_machinery,
) -> Fingerprint:
    """The fingerprint of the code that a function can reach.

    Sources are read once a process, since what runs is what was imported. See `edited`.

    Parameters
    ----------
    function : callable or str
        Wrapped functions and Prefect tasks are unwrapped. Or the dotted name of a top-level
        one (``"tasks.clean.clean_comments"``), which need not be imported.
    packages : iterable of str
        Top-level packages whose code counts. That of the function always does.
    is_machinery : callable
        Of a module's name: whether what it defines leads nowhere.

    Raises
    ------
    TypeError
        If `function` does not say where it is defined (a ``functools.partial``).
    ValueError
        If our sources do not define it.
    SyntaxError
        If a source file that it leads to is not Python.
    """
    module, name = _home(function)
    own = tuple(dict.fromkeys((*packages, module.partition(".")[0])))
    with _lock:
        return _fingerprint(module, name, own, is_machinery)


def forget() -> None:
    """Drop what was read, so that the next fingerprint reads the sources again."""
    _fingerprint.cache_clear()
    _codebase.cache_clear()


def edited(packages: Iterable[str] = OWN) -> list[str]:
    """Our source and data files that changed since this process began.

    Nobody knows which text of such a file is running: a result that comes out while there are
    any belongs to no fingerprint.
    """
    paths = [path for package in packages for path in files_of(package).values()]
    # of the inode, not of the content: nothing sets that time back
    return [str(path) for path in paths if path.stat().st_ctime >= _STARTED_S]


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


_codebase = functools.cache(Codebase)


@functools.cache
def _fingerprint(
    module: str, name: str, packages: tuple[str, ...], is_machinery: Callable[[str], bool]
) -> Fingerprint:
    parts, used = _codebase(packages, is_machinery).reach(module, name)
    parts = dict(sorted(parts.items()))
    libraries = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for distribution in sorted({name for library in used for name in _distributions(library)}):
        libraries[distribution] = _version(distribution)
    shown = json.dumps([parts, libraries], sort_keys=True, separators=(",", ":"))
    return Fingerprint(hashlib.sha256(shown.encode()).hexdigest(), parts, libraries)


@functools.cache
def _distributions(library: str) -> Iterable[str]:
    if library in _DECIDED_BY:
        return _DECIDED_BY[library]
    return importlib.metadata.packages_distributions().get(library, [library])  # takes 0.25 s


@functools.cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
