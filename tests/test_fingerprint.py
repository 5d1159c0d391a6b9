"""An edit changes the fingerprint of a step exactly where it can change what the step does.

Each case is a small package ``core`` whose ``core.steps.step()`` gives a value. Where an edit must
count, the case is run before and after as well: that the value differs is the second opinion.
"""

import ast
import functools
import importlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from neural_classifiers.engine.code import fingerprint as subject
from neural_classifiers.engine.code.fingerprint import Fingerprint, edited, fingerprint, forget
from neural_classifiers.engine.code.reach import may_name

Edit = tuple[str, str, str]  # file, old, new


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    forget()
    yield tmp_path
    drop_modules()
    forget()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in {"core/__init__.py": "", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")


def change(folder: Path, edit: Edit) -> None:
    name, old, new = edit
    text = (folder / name).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} should stand once in {name}"
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")


def taken(name: str = "core.steps.step") -> Fingerprint:
    forget()
    return fingerprint(name, packages=("core",), ignore=())


def drop_modules() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "core"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def value() -> object:
    drop_modules()
    return importlib.import_module("core.steps").step()


COUNTS: dict[str, tuple[dict[str, str], Edit]] = {
    "a function that is called": (
        {"core/steps.py": "def helper(): return 1\ndef step(): return helper()"},
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a function of another module": (
        {
            "core/steps.py": "from core.text import clean\ndef step(): return clean()",
            "core/text.py": "def clean(): return deeper()\ndef deeper(): return 1",
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a module constant": (
        {"core/steps.py": "LIMIT = 1\ndef step(): return LIMIT"},
        ("core/steps.py", "LIMIT = 1", "LIMIT = 2"),
    ),
    "a constant of constants": (
        {"core/steps.py": "A = 1\nB = [A]\ndef step(): return B"},
        ("core/steps.py", "A = 1", "A = 2"),
    ),
    "what a constant is made with": (
        {"core/steps.py": "def make(): return 1\nTABLE = make()\ndef step(): return TABLE"},
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a lambda that is a constant": (
        {"core/steps.py": "twice = lambda x: x * 2\ndef step(): return twice(1)"},
        ("core/steps.py", "x * 2", "x * 3"),
    ),
    "a re-export through the package": (
        {
            "core/__init__.py": "from .text import clean",
            "core/text.py": "def clean(): return 1",
            "core/steps.py": "import core\ndef step(): return core.clean()",
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "what a re-export points to": (
        {
            "core/__init__.py": "from .text import one as clean, two",
            "core/text.py": "def one(): return 1\ndef two(): return 2",
            "core/steps.py": "from . import clean, two\ndef step(): return clean(), two()",
        },
        ("core/__init__.py", "one as clean, two", "one as two, two as clean"),
    ),
    "an import under another name": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": "import core.text as t\ndef step(): return t.clean()",
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "which library function a name stands for": (
        {"core/steps.py": "from math import floor as cut\ndef step(): return cut(1.5)"},
        ("core/steps.py", "floor as cut", "ceil as cut"),
    ),
    "an import inside a function": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": "def step():\n    from .text import clean as c\n    return c()",
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a package path in full": (
        {
            "core/deep/__init__.py": "",
            "core/deep/text.py": "def clean(): return 1",
            "core/steps.py": "import core.deep.text\ndef step(): return core.deep.text.clean()",
        },
        ("core/deep/text.py", "return 1", "return 2"),
    ),
    "a function in a default argument": (
        {"core/steps.py": "def f(): return 1\ndef step(using=f): return using()"},
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a function that is only passed on": (
        {"core/steps.py": "def f(x): return x\ndef step(): return list(map(f, [1]))"},
        ("core/steps.py", "return x", "return -x"),
    ),
    "a class attribute made by a helper": (
        {
            "core/steps.py": """
                def make(): return 1
                class Limits:
                    top = make()
                def step(): return Limits.top
            """
        },
        ("core/steps.py", "return 1", "return 2"),
    ),
    "any method of a class": (
        {
            "core/steps.py": """
                class Model:
                    def __len__(self): return 1
                def step(): return len(Model())
            """
        },
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a method that is inherited from another module": (
        {
            "core/base.py": "class Base:\n    def fit(self): return 1",
            "core/steps.py": """
                from core import base
                class Model(base.Base): pass
                def step(): return Model().fit()
            """,
        },
        ("core/base.py", "return 1", "return 2"),
    ),
    "a decorator": (
        {
            "core/steps.py": """
                def twice(f): return lambda: f() * 2
                @twice
                def step(): return 1
            """
        },
        ("core/steps.py", "* 2", "* 3"),
    ),
    "an argument of a decorator": (
        {
            "core/steps.py": """
                def times(n): return lambda f: lambda: f() * n
                @times(2)
                def step(): return 1
            """
        },
        ("core/steps.py", "@times(2)", "@times(3)"),
    ),
    "modules that import each other": (
        {
            "core/steps.py": "from core import other\nA = 1\ndef step(): return other.f()",
            "core/other.py": "import core.steps\ndef f(): return core.steps.A",
        },
        ("core/steps.py", "A = 1", "A = 2"),
    ),
    "a registry that others fill": (
        {
            "core/registry.py": """
                BUILDERS = {}
                def builder(name):
                    def decorate(f):
                        BUILDERS[name] = f
                        return f
                    return decorate
            """,
            "core/networks.py": """
                from core.registry import builder
                @builder("small")
                def small(): return 1
            """,
            "core/steps.py": """
                from core.registry import BUILDERS
                def step(): return importer().BUILDERS["small"]()
                def importer():
                    import core.networks
                    return core.registry
            """,
        },
        ("core/networks.py", "return 1", "return 2"),
    ),
    "a registry filled by a plain assignment": (
        {
            "core/steps.py": """
                BUILDERS = {}
                def small(): return 1
                BUILDERS["small"] = small
                def step(): return BUILDERS["small"]()
            """
        },
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a registry object and its method": (
        {
            "core/registry.py": """
                class Registry(dict):
                    def keep(self, f):
                        self[f.__name__] = f
                        return f
                networks = Registry()
            """,
            "core/networks.py": """
                from core.registry import networks
                @networks.keep
                def small(): return 1
            """,
            "core/steps.py": """
                from core import networks, registry
                def step(): return registry.networks["small"]()
            """,
        },
        ("core/networks.py", "return 1", "return 2"),
    ),
    "subclasses that their base class collects": (
        {
            "core/base.py": """
                class Base:
                    known = []
                    def __init_subclass__(cls): Base.known.append(cls)
            """,
            "core/more.py": "from core.base import Base\nclass More(Base):\n    size = 1",
            "core/steps.py": """
                import core.more
                from core.base import Base
                def step(): return [c.size for c in Base.known]
            """,
        },
        ("core/more.py", "size = 1", "size = 2"),
    ),
    "functions registered for a type": (
        {
            "core/steps.py": """
                from functools import singledispatch
                @singledispatch
                def area(x): return 0
                @area.register
                def _(x: int): return 1
                def step(): return area(5)
            """
        },
        ("core/steps.py", "return 1", "return 2"),
    ),
    "getattr on a module": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": """
                from core import text
                def step(name="clean"): return getattr(text, name)()
            """,
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "getattr on a module that a loop holds": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": """
                from core import text
                MODULES = (text,)
                def step(): return [getattr(m, "cle" + "an")() for m in MODULES]
            """,
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "globals": (
        {"core/steps.py": "def clean(): return 1\ndef step(n='clean'): return globals()[n]()"},
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a module by its name": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": """
                from importlib import import_module
                def step(): return import_module("core.text").clean()
            """,
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a module by a computed name": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": """
                from importlib import import_module as bring
                def step(n="text"): return bring(f"core.{n}").clean()
            """,
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a module out of sys.modules": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": """
                import sys
                import core.text
                def step(): return sys.modules["core." + "text"].clean()
            """,
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a relative import from above": (
        {
            "core/text.py": "def clean(): return 1",
            "core/deep/__init__.py": "",
            "core/deep/er.py": "from .. import text\nfrom ..text import clean as c",
            "core/steps.py": """
                from core.deep import er
                def step(): return er.text.clean(), er.c()
            """,
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a function that the steps' module only imports": (
        {
            "core/text.py": "def step(): return 1",
            "core/steps.py": "from core.text import step",
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a module named by the package in use": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": """
                import core
                import core.text
                def step(n="text"): return getattr(core, n).clean()
            """,
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "modules found by listing the package": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": """
                import pkgutil, importlib, core
                def step():
                    found = [m.name for m in pkgutil.iter_modules(core.__path__)]
                    bring = importlib.import_module
                    return [bring(f"core.{n}").clean() for n in found if n == "text"]
            """,
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a constant read by a with block": (
        {
            "core/words.txt": "the a",
            "core/steps.py": """
                with open(__file__.replace("steps.py", "words.txt")) as file:
                    WORDS = file.read()
                def step(): return WORDS
            """,
        },
        ("core/words.txt", "the a", "the an"),
    ),
    "a constant set by a loop": (
        {
            "core/steps.py": """
                def f(): return 1
                for NAME in [f()]: pass
                def step(): return NAME
            """
        },
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a star import": (
        {
            "core/text.py": "def clean(): return 1",
            "core/steps.py": "from core.text import *\ndef step(): return clean()",
        },
        ("core/text.py", "return 1", "return 2"),
    ),
    "a name that only the module itself can give": (
        {
            "core/text.py": "def __getattr__(name): return lambda: 1",
            "core/steps.py": "from core import text\ndef step(): return text.anything()",
        },
        ("core/text.py", "lambda: 1", "lambda: 2"),
    ),
    "a definition under if": (
        {
            "core/steps.py": """
                import sys
                if sys.version_info > (3,):
                    def f(): return 1
                else:
                    def f(): return 0
                def step(): return f()
            """
        },
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a definition under try": (
        {
            "core/fast.py": "def f(): return 1",
            "core/steps.py": """
                try:
                    from core.missing import f
                except ImportError:
                    from core.fast import f
                def step(): return f()
            """,
        },
        ("core/fast.py", "return 1", "return 2"),
    ),
    "both definitions of a name": (
        {
            "core/steps.py": """
                def f(): return 1
                kept = f
                def f(): return 0
                def step(): return kept()
            """
        },
        ("core/steps.py", "return 1", "return 2"),
    ),
    "the order of definitions of a name": (
        {"core/steps.py": "A = 1\nB = A\nA = 2\ndef step(): return B"},
        ("core/steps.py", "B = A\nA = 2", "A = 2\nB = A"),
    ),
    "the order of constants that calls make": (
        {
            "core/steps.py": """
                from itertools import count
                numbers = count()
                A = next(numbers)
                B = next(numbers)
                def step(): return A, B
            """
        },
        (
            "core/steps.py",
            "A = next(numbers)\nB = next(numbers)",
            "B = next(numbers)\nA = next(numbers)",
        ),
    ),
    "a global that another function sets": (
        {
            "core/steps.py": """
                A = 0
                def begin():
                    global A
                    A = 1
                def step(): return A
                begin()
            """
        },
        ("core/steps.py", "A = 1", "A = 2"),
    ),
    "a global that stands nowhere else": (
        {
            "core/state.py": "def begin():\n    global A\n    A = 1",
            "core/steps.py": """
                from core import state
                def step(): return state.begin() or state.A
            """,
        },
        ("core/state.py", "A = 1", "A = 2"),
    ),
    "a constant that another module replaces": (
        {
            "core/limits.py": "TOP = 0",
            "core/patch.py": "from core import limits\nlimits.TOP = 1",
            "core/steps.py": """
                from core import limits, patch
                def step(): return limits.TOP
            """,
        },
        ("core/patch.py", "TOP = 1", "TOP = 2"),
    ),
    "what a module does when it is imported": (
        {
            "core/settings.py": "import os\nos.environ['CORE_TOP'] = '1'",
            "core/steps.py": """
                import os
                import core.settings
                def step(): return os.environ["CORE_TOP"]
            """,
        },
        ("core/settings.py", "'1'", "'2'"),
    ),
    "what the package does when it is imported": (
        {
            "core/__init__.py": "import os\nfor n in range(1): os.environ['CORE_TOP'] = '1'",
            "core/steps.py": "import os\ndef step(): return os.environ['CORE_TOP']",
        },
        ("core/__init__.py", "'1'", "'2'"),
    ),
    "the order in which modules act": (
        {
            "core/table.py": "TABLE = {}",
            "core/one.py": "from core.table import TABLE\nTABLE['x'] = 1",
            "core/two.py": "from core.table import TABLE\nTABLE['x'] = 2",
            "core/steps.py": """
                import core.one
                import core.two
                from core.table import TABLE
                def step(): return TABLE['x']
            """,
        },
        ("core/steps.py", "import core.one\nimport core.two", "import core.two\nimport core.one"),
    ),
    "the factory of a field": (
        {
            "core/steps.py": """
                from dataclasses import dataclass, field
                def values(): return [1]
                @dataclass
                class Grid:
                    alpha: list = field(default_factory=values)
                def step(): return Grid().alpha
            """
        },
        ("core/steps.py", "return [1]", "return [2]"),
    ),
    "a quoted type of a pydantic field": (
        {
            "core/steps.py": """
                from typing import Annotated
                from pydantic import BaseModel, BeforeValidator
                Whole = Annotated[int, BeforeValidator(lambda x: x + 1)]
                class Grid(BaseModel):
                    size: "Whole"
                def step(): return Grid(size=1).size
            """
        },
        ("core/steps.py", "x + 1", "x + 2"),
    ),
    "a call inside an f-string": (
        {"core/steps.py": "def f(): return 1\ndef step(): return f'{f():>{f()}}'"},
        ("core/steps.py", "return 1", "return 2"),
    ),
    "a partial": (
        {
            "core/steps.py": """
                from functools import partial
                def power(x, n): return x ** n
                square = partial(power, n=2)
                def step(): return square(3)
            """
        },
        ("core/steps.py", "n=2", "n=3"),
    ),
    "a class that match names": (
        {
            "core/shapes.py": """
                class Square:
                    __match_args__ = ("side",)
                    side, other = 1, 2
            """,
            "core/steps.py": """
                from core import shapes
                def step():
                    match shapes.Square():
                        case shapes.Square(side): return side
            """,
        },
        ("core/shapes.py", '("side",)', '("other",)'),
    ),
    "a name in a comprehension, a nested function and a walrus": (
        {
            "core/steps.py": """
                A = 1
                def step():
                    def inner(): return [y for x in range(2) if (y := x + A)]
                    return inner()
            """
        },
        ("core/steps.py", "A = 1", "A = 2"),
    ),
    "a data file": (
        {
            "core/words.txt": "the a",
            "core/steps.py": """
                from importlib.resources import files
                def step(): return (files("core") / "words.txt").read_text()
            """,
        },
        ("core/words.txt", "the a", "the an"),
    ),
    "a data file whose folder is a constant": (
        {
            "core/words/en.txt": "the a",
            "core/steps.py": """
                from pathlib import Path
                HERE = Path(__file__).parent
                def step(language="en"): return (HERE / "words" / f"{language}.txt").read_text()
            """,
        },
        ("core/words/en.txt", "the a", "the an"),
    ),
    "a data file that nothing names": (
        {
            "core/words.txt": "the a",
            "core/steps.py": """
                from pathlib import Path
                def rest(): return [p for p in Path(__file__).parent.iterdir() if p.is_file()]
                def step(): return sorted(p.read_text() for p in rest())
            """,
        },
        ("core/words.txt", "the a", "the an"),
    ),
    "a data file out of a folder of them": (
        {
            "core/words/en.txt": "the a",
            "core/words.txt": "no",
            "core/steps.py": """
                from importlib.resources import files as inside
                def words(folder): return [p.read_text() for p in folder.iterdir()]
                def step(): return words(inside("core") / "words")
            """,
        },
        ("core/words/en.txt", "the a", "the an"),
    ),
    "a data file that another one names": (
        {
            "core/report.html": "base.html",
            "core/base.html": "<html>",
            "core/steps.py": """
                from pathlib import Path
                def step():
                    report = Path(__file__).with_name("report.html")
                    return report.with_name(report.read_text()).read_text()
            """,
        },
        ("core/base.html", "<html>", "<HTML>"),
    ),
    "a docstring that the code reads": (
        {"core/steps.py": "def f():\n    'one'\ndef step(): return f.__doc__"},
        ("core/steps.py", "'one'", "'two'"),
    ),
}


@pytest.mark.parametrize(("files", "edit"), COUNTS.values(), ids=list(COUNTS))
def test_an_edit_of_what_the_step_reaches_counts(folder, files, edit):
    write(folder, files)
    before, gave = taken(), value()

    change(folder, edit)

    assert value() != gave, "the case should matter"
    assert taken().digest != before.digest


def variants(text: str) -> Iterator[str]:
    """The text with one number or string changed, each in turn."""
    tree = ast.parse(text)
    # pieces of an f-string stand in the text without quotes
    pieces = {id(n) for f in ast.walk(tree) if isinstance(f, ast.JoinedStr) for n in f.values}
    for node in ast.walk(tree):
        is_whole = isinstance(node, ast.Constant) and id(node) not in pieces
        if is_whole and isinstance(node.value, int | float | str):
            lines = text.splitlines(keepends=True)
            line = lines[node.lineno - 1]
            other = repr(node.value + ("x" if isinstance(node.value, str) else 1))
            lines[node.lineno - 1] = line[: node.col_offset] + other + line[node.end_col_offset :]
            yield "".join(lines)


def value_or_error() -> str:
    try:
        return repr(value())
    except Exception as error:
        return repr(error)


@pytest.mark.parametrize("files", [files for files, _ in COUNTS.values()], ids=list(COUNTS))
def test_no_changed_number_or_word_that_matters_goes_unseen(folder, files):
    write(folder, files)
    before, gave = taken().digest, value_or_error()

    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for variant in variants(text):
            path.write_text(variant, encoding="utf-8")
            assert value_or_error() == gave or taken().digest != before, variant
        path.write_text(text, encoding="utf-8")


TWO_FUNCTIONS = """
    \"\"\"What the module holds.\"\"\"

    LIMIT = 1  # the limit
    OTHER = 2


    def step(x: int = 0) -> int:
        \"\"\"The step.\"\"\"
        return x + LIMIT


    def unused() -> int:
        return OTHER


    class Unused:
        size = 3
"""

DOES_NOT_COUNT: dict[str, tuple[dict[str, str], Edit]] = {
    "a comment": ({}, ("core/steps.py", "# the limit", "# a limit")),
    "a docstring": ({}, ("core/steps.py", "The step.", "The one step.")),
    "the docstring of the module": ({}, ("core/steps.py", "What the module", "What this module")),
    "blank lines": ({}, ("core/steps.py", "\n\n\ndef step", "\n\n\n\n\n\ndef step")),
    "line breaks": (
        {},
        ("core/steps.py", "return x + LIMIT", "return (\n        x + LIMIT\n    )"),
    ),
    "a function that is not reached": ({}, ("core/steps.py", "return OTHER", "return -OTHER")),
    "a constant that is not reached": ({}, ("core/steps.py", "OTHER = 2", "OTHER = 3")),
    "a class that is not reached": ({}, ("core/steps.py", "size = 3", "size = 4")),
    "an import that is not used": (
        {},
        ("core/steps.py", "LIMIT = 1", "from math import floor\n\nLIMIT = 1"),
    ),
    "the place of a function": (
        {"core/steps.py": "def f(): return 1\ndef step(): return f()\n"},
        (
            "core/steps.py",
            "def f(): return 1\ndef step(): return f()",
            "def step(): return f()\ndef f(): return 1",
        ),
    ),
    "a function beside the one that is imported": (
        {
            "core/text.py": "def clean(): return 1\ndef count(): return 2",
            "core/steps.py": "from core import text\ndef step(): return text.clean()",
        },
        ("core/text.py", "return 2", "return 3"),
    ),
    "an import for type checkers": (
        {
            "core/text.py": "def clean(): return 1\nclass Text: size = 1",
            "core/steps.py": """
                from typing import TYPE_CHECKING
                from core.text import clean
                if TYPE_CHECKING:
                    from core.text import Text
                def step(): return clean()
            """,
        },
        ("core/text.py", "size = 1", "size = 2"),
    ),
    "another entry of the package": (
        {
            "core/__init__.py": "from .text import clean, count",
            "core/text.py": "def clean(): return 1\ndef count(): return 2",
            "core/steps.py": "from core import clean\ndef step(): return clean()",
        },
        ("core/text.py", "return 2", "return 3"),
    ),
    "what fills another registry": (
        {
            "core/steps.py": "MINE = {}\nOTHERS = {}\ndef step(): return MINE",
            "core/networks.py": "from core.steps import OTHERS\nOTHERS['x'] = 1",
        },
        ("core/networks.py", "= 1", "= 2"),
    ),
    "a caller of a function that remembers": (
        {
            "core/steps.py": """
                MEMO = {}
                def stem(word): return MEMO.setdefault(word, word)
                def step(): return stem("x")
                def other(): return stem("y")
            """
        },
        ("core/steps.py", 'stem("y")', 'stem("z")'),
    ),
    "a data file that is not named": (
        {
            "core/words.txt": "the",
            "core/README.md": "Words.",
            "core/steps.py": """
                from importlib.resources import files
                def step(): return (files("core") / "words.txt").read_text()
            """,
        },
        ("core/README.md", "Words.", "The words."),
    ),
}


@pytest.mark.parametrize(("files", "edit"), DOES_NOT_COUNT.values(), ids=list(DOES_NOT_COUNT))
def test_an_edit_that_cannot_matter_does_not_count(folder, files, edit):
    write(folder, {"core/steps.py": TWO_FUNCTIONS, **files})
    before = taken()

    change(folder, edit)

    assert taken() == before


def test_a_registry_counts_even_if_the_module_that_fills_it_is_imported_by_others(folder):
    write(
        folder,
        {
            "core/steps.py": """
                BUILDERS = {}
                def builder(f): return BUILDERS.setdefault(f.__name__, f)
                def step(): return {name: build() for name, build in BUILDERS.items()}
            """,
            "core/networks.py": """
                from core.steps import builder
                def all_of_them(): return [builder(small)]
                def small(): return 1
                NETWORKS = all_of_them()
            """,
        },
    )
    before = taken()

    change(folder, ("core/networks.py", "return 1", "return 2"))

    assert taken().digest != before.digest
    assert "core.networks.small" in before.parts


def test_the_parts_name_what_changed(folder):
    write(
        folder,
        {
            "core/words.txt": "the",
            "core/text.py": """
                from importlib.resources import files
                def stop_words(): return (files(__package__) / "words.txt").read_text()
                def clean(): return stop_words()
            """,
            "core/steps.py": "from core.text import clean\ndef step(): return clean()",
        },
    )
    before = taken().parts
    change(folder, ("core/text.py", "def clean(): return", "def clean(): return 'x',"))
    change(folder, ("core/words.txt", "the", "a"))
    after = taken().parts

    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {
        "core.text.clean",
        "core/words.txt",
    }


def test_machinery_is_not_followed(folder):
    write(
        folder,
        {
            "core/records.py": "def keep(f): return f",
            "core/steps.py": "from core.records import keep\n@keep\ndef step(): return 1",
        },
    )

    def ignoring() -> str:
        forget()
        return fingerprint("core.steps.step", ("core",), ignore=("core.records",)).digest

    before = ignoring()
    change(folder, ("core/records.py", "return f", "return lambda: f()"))

    assert ignoring() == before


def test_only_libraries_that_reached_code_uses_count(folder):
    write(
        folder,
        {
            "core/steps.py": """
                import numpy as np
                import prefect
                from nltk import PorterStemmer
                from core import fits
                def step(): return PorterStemmer, prefect
                def other(): return np.pi
                def train(): return fits.fit()
            """,
            "core/fits.py": """
                def fit():
                    from sklearn.svm import LinearSVC
                    return LinearSVC
            """,
        },
    )
    version = importlib.metadata.version

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert taken().libraries == {"python": python, "nltk": version("nltk")}
    assert taken("core.steps.other").libraries == {"python": python, "numpy": version("numpy")}
    assert taken("core.steps.train").libraries.keys() == {
        *("python", "scikit-learn", "scipy", "numpy"),
    }


def test_another_version_of_a_deciding_library_is_another_fingerprint(folder, monkeypatch):
    write(
        folder,
        {
            "core/steps.py": """
                import sklearn.svm, nltk
                def step(): return sklearn.svm.LinearSVC
                def clean(): return nltk.PorterStemmer
            """
        },
    )
    searched, cleaned = taken(), taken("core.steps.clean")
    real = subject._version
    monkeypatch.setattr(subject, "_version", lambda d: "9" if d == "scikit-learn" else real(d))

    assert taken().digest != searched.digest
    assert taken().parts == searched.parts
    assert taken("core.steps.clean") == cleaned


def test_a_wrapped_function_has_the_fingerprint_of_the_innermost(folder):
    write(folder, {"core/steps.py": "def helper(): return 1\ndef step(): return helper()"})
    plain = importlib.import_module("core.steps").step

    @functools.wraps(plain)
    def wrapper():
        return plain()

    class Task:  # as Prefect's: the function is its attribute fn
        fn = wrapper

    expected = taken()
    for given in (plain, wrapper, Task()):
        assert fingerprint(given, ("core",), ()) == expected


def test_a_function_outside_of_the_packages_counts_with_its_module(folder):
    write(folder, {"core/text.py": "def clean(): return 1"})
    (folder / "outside.py").write_text("from core.text import clean\ndef step(): return clean()\n")

    found = fingerprint("outside.step", ("core",), ())

    assert {"outside.step", "core.text.clean"} <= found.parts.keys()


def test_what_is_not_defined_in_a_module_is_refused(folder):
    write(folder, {"core/steps.py": "def step(): return 1"})

    with pytest.raises(TypeError, match="expected a function that is defined in a module"):
        fingerprint(functools.partial(print))
    with pytest.raises(ValueError, match="expected 'stride' to be defined in the source"):
        taken("core.steps.stride")


def test_a_source_that_is_not_python_is_named(folder):
    write(folder, {"core/steps.py": "def step(): return 1", "core/half.py": "def half("})

    with pytest.raises(SyntaxError) as error:
        taken()
    assert error.value.filename == str(folder / "core/half.py")


def test_the_fingerprint_is_the_same_in_every_process(folder):
    write(folder, {"core/steps.py": "WORDS = {'a', 'b', 'c'}\ndef step(): return WORDS"})
    code = """
from neural_classifiers.engine.code.fingerprint import fingerprint
print(fingerprint("core.steps.step", ("core",), ()).digest)
"""
    root = Path(subject.__file__).parents[1]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": f"{folder}:{root}", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert digests == {taken().digest}


def test_taking_a_fingerprint_imports_no_library():
    code = """
import sys
from neural_classifiers.engine.code.fingerprint import fingerprint
fingerprint("tasks.clean.clean_comments")
print({"prefect", "pandas", "sklearn", "nltk", "tensorflow"} & set(sys.modules))
"""
    root = Path(subject.__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() == "set()"


def test_files_that_change_while_the_process_runs_are_told(folder, monkeypatch):
    write(folder, {"core/steps.py": "def step(): return 1", "core/words.txt": "the"})
    future = max(p.stat().st_ctime for p in folder.rglob("*")) + 1
    monkeypatch.setattr(subject, "_STARTED_S", future)
    forget()
    assert edited(("core",)) == []

    monkeypatch.setattr(subject, "_STARTED_S", future - 60)
    os.utime(folder / "core/words.txt", (0, 0))  # setting the time back hides nothing
    assert str(folder / "core/words.txt") in edited(("core",))


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("en.txt", True),
        ("words/en.txt", True),
        ("*.txt", True),
        ("{}.txt", True),
        ("%s.txt", True),
        (".txt", True),
        ("en", False),  # too little: the code that asks for the folder decides
        ("de.txt", False),
        ("summary.json", False),
        ("the end", False),
        ("", False),
    ],
)
def test_a_string_names_a_file_also_in_part(literal, expected):
    assert may_name(literal, "core/words/en.txt") is expected
