"""An edit changes the fingerprint of a step where it can change what the step does.

Each case is a small package ``core``: first the text of its module ``steps``, then other files,
each after a line with its name. ``<1|2>`` stands for an edit of 1 to 2. Where an edit must count,
``step()`` is run before and after as well: that its value differs is the second opinion.
"""

import ast
import functools
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neural_classifiers.engine.code import fingerprint as subject
from neural_classifiers.engine.code.fingerprint import (
    Fingerprint,
    edited,
    fingerprint,
    forget,
    is_machinery,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / "core"
    drop_modules()
    forget()


def write(folder: Path, case: str | tuple[str, ...], side: int = 1) -> None:
    """A case before its edit (side 1) or after (2)."""
    steps, *others = [case] if isinstance(case, str) else case
    for text in ("__init__.py\n", f"steps.py\n{steps}", *others):
        name, _, content = re.sub(r"<([^<|]*)\|([^|]*?)>", rf"\{side}", text).partition("\n")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def taken(name: str = "core.steps.step", machinery: str = "none") -> Fingerprint:
    forget()
    return fingerprint(name, packages=("core",), is_machinery=lambda module: module == machinery)


def drop_modules() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "core"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def value() -> object:
    drop_modules()
    return importlib.import_module("core.steps").step()


CLEAN = "text.py\ndef clean(): return <1|2>"
READ = "from importlib.resources import files\ndef step(): return "
COUNTS: dict[str, str | tuple[str, ...]] = {
    "a function that is called": "def f(): return <1|2>\ndef step(): return f()",
    "a function of a function of another module": (
        "from core.text import clean\ndef step(): return clean()",
        "text.py\ndef clean(): return deeper()\ndef deeper(): return <1|2>",
    ),
    "a constant": "LIMIT = <1|2>\ndef step(): return LIMIT",
    "a constant of constants": "A, B = <1|3>, 2\nC = [A]\ndef step(): return C",
    "what a constant is made with": "def f(): return <1|2>\nA = f()\ndef step(): return A",
    "a lambda": "f = lambda x: x * <2|3>\ndef step(): return f(1)",
    "a re-export": (
        "import core\ndef step(): return core.clean()",
        "__init__.py\nfrom .text import clean",
        CLEAN,
    ),
    "what a re-export points to": (
        "from . import clean, two\ndef step(): return clean(), two()",
        "__init__.py\nfrom .text import one as <clean, two|two, two as clean>",
        "text.py\ndef one(): return 1\ndef two(): return 2",
    ),
    "an import under another name": ("import core.text as t\ndef step(): return t.clean()", CLEAN),
    "which library function a name stands for": (
        "from math import <floor|ceil> as cut\ndef step(): return cut(1.5)"
    ),
    "an import inside a function": (
        "def step():\n    from .text import clean as c\n    return c()",
        CLEAN,
    ),
    "a dotted path": (
        "import core.deep.text\ndef step(): return core.deep.text.clean()",
        "deep/__init__.py\n",
        "deep/text.py\ndef clean(): return <1|2>",
    ),
    "a dotted path through a folder": (
        "import core.deep.text\ndef step(): return core.deep.text.clean()",
        "deep/text.py\ndef clean(): return <1|2>",
    ),
    "a relative import from above": (
        "from core.deep import er\ndef step(): return er.text.clean(), er.c()",
        "deep/__init__.py\n",
        "deep/er.py\nfrom .. import text\nfrom ..text import clean as c",
        CLEAN,
    ),
    "a step that the module only imports": (
        "from core.text import step",
        "text.py\ndef step(): return <1|2>",
    ),
    "a default argument": "def f(): return <1|2>\ndef step(using=f): return using()",
    "a function that is passed on": "def f(x): return <|->x\ndef step(): return list(map(f, [1]))",
    "what a class attribute is made with": (
        "def f(): return <1|2>\nclass A:\n    top = f()\ndef step(): return A.top"
    ),
    "any method of a class": (
        "class A:\n    def __len__(self): return <1|2>\ndef step(): return len(A())"
    ),
    "an inherited method": (
        "from core import base\nclass A(base.Base): pass\ndef step(): return A().fit()",
        "base.py\nclass Base:\n    def fit(self): return <1|2>",
    ),
    "a decorator": "def twice(f): return lambda: f() * <2|3>\n@twice\ndef step(): return 1",
    "an argument of a decorator": (
        "def times(n): return lambda f: lambda: f() * n\n@times(<2|3>)\ndef step(): return 1"
    ),
    "modules that import each other": (
        "from core import other\nA = <1|2>\ndef step(): return other.f()",
        "other.py\nimport core.steps\ndef f(): return core.steps.A",
    ),
    "a table of functions": (
        "def small(): return <1|2>\nTABLE = {'small': small}\ndef step(): return TABLE['small']()"
    ),
    "a table filled by assignment": (
        "TABLE = {}\ndef small(): return <1|2>\nTABLE['x'] = small\ndef step(): return TABLE['x']()"
    ),
    "a module that is passed on": (
        (
            "from core import text\nALL = (text,)\n"
            "def step(): return [getattr(m, 'cle' + 'an')() for m in ALL]"
        ),
        CLEAN,
    ),
    "a package that is passed on": (
        "import core, core.text\ndef step(n='text'): return getattr(core, n).clean()",
        CLEAN,
    ),
    "a name that only the module can give": (
        "from core import text\ndef step(): return text.anything()",
        "text.py\ndef __getattr__(name): return lambda: <1|2>",
    ),
    "a constant set by a loop": (
        "def f(): return <1|2>\nfor NAME in [f()]: pass\ndef step(): return NAME"
    ),
    "a definition under if": (
        "import sys\nif sys.path:\n    def f(): return <1|2>\nelse:\n    def f(): return 0\n"
        "def step(): return f()"
    ),
    "a definition under try": (
        (
            "try:\n    from core.missing import clean\nexcept ImportError:\n"
            "    from core.text import clean\ndef step(): return clean()"
        ),
        CLEAN,
    ),
    "both definitions of a name": (
        "def f(): return <1|2>\nkept = f\ndef f(): return 0\ndef step(): return kept()"
    ),
    "the order of constants": (
        "from itertools import count\nnext_of = count()\n<A|B> = next(next_of)\n"
        "<B|A> = next(next_of)\ndef step(): return A, B"
    ),
    "a value made on the way": "def f(): return <1|2>\nA = [(B := f())]\ndef step(): return B",
    "what a module does on import": (
        "import os\nimport core.settings\ndef step(): return os.environ['CORE_TOP']",
        "settings.py\nimport os\nos.environ['CORE_TOP'] = '<1|2>'",
    ),
    "what the package does on import": (
        "import os\ndef step(): return os.environ['CORE_TOP']",
        "__init__.py\nimport os\nfor n in range(1): os.environ['CORE_TOP'] = '<1|2>'",
    ),
    "the factory of a field": (
        "from dataclasses import dataclass, field\ndef values(): return [<1|2>]\n@dataclass\n"
        "class Grid:\n    a: list = field(default_factory=values)\ndef step(): return Grid().a"
    ),
    "a quoted type of a pydantic field": (
        "from typing import Annotated\nfrom pydantic import BaseModel, BeforeValidator\n"
        "Whole = Annotated[int, BeforeValidator(lambda x: x + <1|2>)]\n"
        "class Grid(BaseModel):\n    size: list['Whole']\n"
        "def step(): return Grid(size=[1]).size"
    ),
    "a call inside an f-string": "def f(): return <1|2>\ndef step(): return f'{f():>{f()}}'",
    "a partial": (
        "from functools import partial\nsquare = partial(pow, exp=<2|3>)\n"
        "def step(): return square(3)"
    ),
    "a class that match names": (
        (
            "from core import shapes\ndef step():\n    match shapes.Square():\n"
            "        case shapes.Square(side): return side"
        ),
        'shapes.py\nclass Square:\n    __match_args__ = ("<side|other>",)\n    side, other = 1, 2',
    ),
    "a class that a library imports by its name": (
        "import pickle\nTRUSTED = 'core.text.Clean'\n"
        "def step(): return pickle.loads(f'c{TRUSTED[:9]}\\nClean\\n.'.encode()).size",
        "text.py\nclass Clean:\n    size = <1|2>",
    ),
    "a name in a nested function": (
        "A = <1|2>\ndef step():\n"
        "    def inner(): return [y for x in range(2) if (y := x + A)]\n    return inner()"
    ),
    "a data file": (
        READ + "(files('core') / 'words.txt').read_text()",
        "words.txt\nthe a<|n>",
    ),
    "a data file that another one names": (
        READ + "(files('core') / files('core').joinpath('list.txt').read_text()).read_text()",
        "list.txt\nwords.md",
        "words.md\nthe a<|n>",
    ),
    "a data file with a computed name": (
        READ + "(files('core') / ('wor' + 'ds.txt')).read_text()",
        "words.txt\nthe a<|n>",
    ),
    "a data file beside the source": (
        (
            "from pathlib import Path\nHERE = Path(__file__).parent\n"
            "def step(n='words'): return (HERE / f'{n}.txt').read_text()"
        ),
        "words.txt\nthe a<|n>",
    ),
    "globals": "def clean(): return <1|2>\ndef step(n='clean'): return globals()[n]()",
    "a star import": ("from core.text import *\ndef step(): return clean()", CLEAN),
    "a module by its name": (
        (
            "from importlib import import_module as bring\ndef step(n='text'):\n"
            "    return bring(f'core.{n}').clean()"
        ),
        CLEAN,
    ),
    "a module out of sys.modules": (
        "import sys, core.text\ndef step(): return sys.modules['core.' + 'text'].clean()",
        CLEAN,
    ),
    "subclasses that are counted": (
        (
            "import core.more\nfrom core.base import Base\n"
            "def step(): return [c.size for c in Base.__subclasses__()]"
        ),
        "base.py\nclass Base: pass",
        "more.py\nfrom core.base import Base\nclass More(Base):\n    size = <1|2>",
    ),
    "functions registered for a type": (
        "from functools import singledispatch\n@singledispatch\ndef area(x): return 0\n"
        "@area.register\ndef _(x: int): return <1|2>\ndef step(): return area(5)"
    ),
    "a docstring that the code reads": "def f():\n    '<one|two>'\ndef step(): return f.__doc__",
}


@pytest.mark.parametrize("case", COUNTS.values(), ids=list(COUNTS))
def test_an_edit_of_what_the_step_reaches_counts(folder, case):
    write(folder, case)
    before, gave = taken(), value()

    write(folder, case, side=2)

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


@pytest.mark.parametrize("case", COUNTS.values(), ids=list(COUNTS))
def test_no_changed_number_or_word_that_matters_goes_unseen(folder, case):
    write(folder, case)
    before, gave = taken().digest, value_or_error()

    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for variant in variants(text):
            path.write_text(variant, encoding="utf-8")
            assert value_or_error() == gave or taken().digest != before, variant
        path.write_text(text, encoding="utf-8")


DOES_NOT_COUNT = {
    "a comment": "def step(): return 1  # <one|two>",
    "a docstring": "def step():\n    '''<One|Two>.'''\n    return 1",
    "the docstring of the module": "'''<One|Two>.'''\ndef step(): return 1",
    "blank lines": "A = 1<|\n\n\n>\ndef step(): return A",
    "line breaks": "A = 1\ndef step(): return <A + 1|(\n    A\n    + 1\n)>",
    "what is not reached": "class A: x = <1|2>\nB = <1|2>\ndef f(): return <1|2>\ndef step(): pass",
    "an import that is not used": "import os<|, math\nfrom sys import path>\ndef step(): return os",
    "the order of functions": "<def f(): return 1|> \ndef step(): return f()\n<|def f(): return 1>",
    "a function beside the one in use": (
        "from core import text\ndef step(): return text.clean()",
        "text.py\ndef clean(): return 1\ndef count(): return <2|3>",
    ),
    "another name of the package": (
        "from core import clean\ndef step(): return clean()",
        "__init__.py\nfrom .text import clean, count",
        "text.py\ndef clean(): return 1\ndef count(): return <2|3>",
    ),
    "an import for type checkers": (
        "from typing import TYPE_CHECKING\nfrom core.text import clean\nif TYPE_CHECKING:\n"
        "    from core.text import Text\ndef step(): return clean()",
        "text.py\ndef clean(): return 1\nclass Text: size = <1|2>",
    ),
    "an action of a module that nothing here imports": (
        "TABLE = {}\ndef step(): return TABLE",
        "more.py\nOTHER = {}\nOTHER['x'] = <1|2>",
    ),
    "a caller of what is in use": "def f(x): pass\ndef step(): return f(1)\ndef g(): f(<1|2>)",
    "a data file that is not named": (
        READ + "(files('core') / 'words.txt').read_text()",
        "words.txt\nthe",
        "README.md\n<Words|The words>.",
    ),
}


@pytest.mark.parametrize("case", DOES_NOT_COUNT.values(), ids=list(DOES_NOT_COUNT))
def test_an_edit_that_cannot_matter_does_not_count(folder, case):
    write(folder, case)
    before = taken()

    write(folder, case, side=2)

    assert taken() == before


def test_the_parts_name_what_changed(folder):
    case = (
        "from core.text import clean\ndef step(): return clean()",
        "text.py\nfrom importlib.resources import files\n"
        "def stop_words(): return (files(__package__) / 'words.txt').read_text()\n"
        "def clean(): return <stop_words()|'x', stop_words()>",
        "words.txt\n<the|a>",
    )
    write(folder, case)
    before = taken().parts
    write(folder, case, side=2)
    after = taken().parts

    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"core.text.clean", "core/words.txt"}


def test_machinery_is_not_followed(folder):
    case = (
        "from core.records import keep\n@keep\ndef step(): return 1",
        "records.py\ndef keep(f): return <f|lambda: f()>",
    )
    write(folder, case)
    before = taken(machinery="core.records")
    write(folder, case, side=2)

    assert taken(machinery="core.records") == before


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("neural_classifiers.engine.step", True),
        ("neural_classifiers.engine.code.reach", True),
        ("neural_classifiers.operation.cli", True),
        ("neural_classifiers.engine", False),  # what it hands on may be of rows
        ("neural_classifiers.engine.rows.batches", False),
        ("neural_classifiers.engine.folder_store", False),
        ("neural_classifiers.search.plan", False),
        ("tasks.clean", False),
    ],
)
def test_machinery_is_what_stands_around_the_steps(module, expected):
    assert is_machinery(module) is expected


def test_only_libraries_that_reached_code_uses_count(folder, monkeypatch):
    steps = (
        "import numpy as np, prefect\nfrom nltk import PorterStemmer\nfrom core import fits\n"
        "def step(): return PorterStemmer, prefect\ndef other(): return np.pi\n"
        "def train(): return fits.fit()"
    )
    fits = "fits.py\ndef fit():\n    from sklearn.svm import LinearSVC\n    return LinearSVC"
    write(folder, (steps, fits))
    version = importlib.metadata.version
    python = f"{sys.version_info.major}.{sys.version_info.minor}"

    assert taken().libraries == {"python": python, "nltk": version("nltk")}
    assert taken("core.steps.other").libraries == {"python": python, "numpy": version("numpy")}
    before, stepped = taken("core.steps.train"), taken()
    assert before.libraries.keys() == {"python", "scikit-learn", "scipy", "numpy"}

    monkeypatch.setattr(subject, "_version", lambda name: "9" if name == "scipy" else version(name))
    assert taken("core.steps.train").digest != before.digest
    assert taken("core.steps.train").parts == before.parts
    assert taken() == stepped


def test_a_wrapped_function_has_the_fingerprint_of_the_innermost(folder):
    write(folder, "def helper(): return 1\ndef step(): return helper()")
    plain = importlib.import_module("core.steps").step

    @functools.wraps(plain)
    def wrapper():
        return plain()

    class Task:  # as Prefect's: the function is its attribute fn
        fn = wrapper

    expected = taken()
    for given in (plain, wrapper, Task()):
        assert fingerprint(given, ("core",)) == expected


def test_a_function_outside_of_the_packages_counts_with_its_module(folder):
    write(folder, ("", "text.py\ndef clean(): return 1"))
    script = "from core.text import clean\ndef step(): return clean()\n"
    (folder.parent / "outside.py").write_text(script, encoding="utf-8")

    parts = fingerprint("outside.step", ("core",)).parts

    assert {"outside.step", "core.text.clean"} <= parts.keys()


def test_what_is_not_defined_in_a_module_is_refused(folder):
    write(folder, "def step(): return 1")

    with pytest.raises(TypeError, match="expected a function that is defined in a module"):
        fingerprint(functools.partial(print))
    with pytest.raises(ValueError, match="expected 'stride' to be defined in the source"):
        taken("core.steps.stride")


def test_a_source_that_is_not_python_is_named(folder):
    write(folder, ("from core import half\ndef step(): return half", "half.py\ndef half("))

    with pytest.raises(SyntaxError) as error:
        taken()
    assert error.value.filename == str(folder / "half.py")


def run(code: str, **environment: str) -> str:
    root = str(Path(subject.__file__).parents[3])
    paths = {"PYTHONPATH": os.pathsep.join([*environment.pop("paths", "").split(), root])}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**paths, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


TAKE = "from neural_classifiers.engine.code.fingerprint import fingerprint\n"


def test_the_fingerprint_is_the_same_in_every_process(folder):
    write(folder, "WORDS = {'a', 'b', 'c'}\ndef step(): return WORDS")
    code = TAKE + "print(fingerprint('core.steps.step', ('core',)).digest)"

    digests = {run(code, paths=str(folder.parent), PYTHONHASHSEED=seed) for seed in ("1", "2")}

    assert digests == {fingerprint("core.steps.step", ("core",)).digest}


def test_taking_a_fingerprint_imports_no_library():
    heavy = "{'prefect', 'pandas', 'sklearn', 'nltk', 'tensorflow'}"
    code = (
        f"import sys\nfingerprint('tasks.clean.clean_comments')\nprint({heavy} & set(sys.modules))"
    )

    assert run(TAKE + code) == "set()"


def test_files_that_change_while_the_process_runs_are_told(folder, monkeypatch):
    write(folder, ("def step(): return 1", "words.txt\nthe"))
    future = max(p.stat().st_ctime for p in folder.rglob("*")) + 1
    monkeypatch.setattr(subject, "_STARTED_S", future)
    assert edited(("core",)) == []

    monkeypatch.setattr(subject, "_STARTED_S", future - 60)
    os.utime(folder / "words.txt", (0, 0))  # setting the time back hides nothing
    assert str(folder / "words.txt") in edited(("core",))
