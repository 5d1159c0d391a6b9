"""Change the core one place at a time: which steps rerun, and which had to.

    python benchmarks/mutations.py                               # traces DEFAULT_RUN, below
    python benchmarks/mutations.py run digits                    # traces this command instead
    python benchmarks/mutations.py path/of/script.py             # or this

In a copy of the project a run is traced, then every function, method, constant and data file of
`neural_classifiers` is changed in turn and the fingerprint of every step taken again. A step whose
fingerprint changed reruns; a step that used the place in the traced run is affected. Affected
and not rerun is a false hit, and the exit status is 1.

What a step used is found by other means than the fingerprint: running code. `sys.settrace` tells
each function of ours that starts, in every thread and process, and which step's body (or which
line of a module that is being imported) is below it on the stack; its bytecode tells the names
that it may read, looked up in the modules as they are; an audit hook tells the data files that
are opened. So a constant counts as used when the code of a function that ran mentions it, and what
made the constant when it was imported counts with it. Steps that did not run, and branches that
this run did not take, are not judged: use a run that takes many.
"""

import argparse
import ast
import inspect
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

CORE, OWN = "neural_classifiers", ("neural_classifiers", "tasks")
DEFAULT_RUN = ["run", "all", "--sample", "300"]
COMMAND = "import sys; from neural_classifiers.operation.cli import main; sys.exit(main())"
PROJECT = Path(__file__).resolve().parents[1]


# --------------------------------------------------------------------------- the trace


class Tracer:
    """Notes what steps use, as lines of JSON: [who, what, module, name].

    `who` is a step's name or ``module:line`` of an import under way; `what` is "calls", "reads"
    or "opens".
    """

    def __init__(self, root: str, folder: Path, bodies: dict[str, str]) -> None:
        self.folders = tuple(f"{root}/{package}/" for package in OWN)
        self.root, self.bodies = root, bodies
        self.file = (folder / f"{os.getpid()}.jsonl").open("a", buffering=1)
        self.noted: set[tuple[str, ...]] = set()
        self.active: list[str] = []

    def start(self) -> None:
        """Trace this thread and those to come."""
        sys.addaudithook(self.on_audit)
        threading.settrace(self.on_call)
        sys.settrace(self.on_call)

    def on_call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        """For `sys.settrace`: each function that starts."""
        code = frame.f_code
        if not code.co_filename.startswith(self.folders) or code.co_name == "<module>":
            return None
        who = self.who(frame)
        if who:
            module = str(frame.f_globals.get("__name__"))
            self.note(who, "calls", module, code.co_qualname)
            for name in names_read(code, frame.f_globals):
                self.note(who, "reads", *name)
        step = self.step_of(code)
        if step is None:
            return None
        self.active.append(step)
        frame.f_trace_lines = False

        def on_return(_frame: FrameType, event: str, _arg: object) -> Any:
            if event == "return":
                self.active.remove(step)
            return on_return

        return on_return

    def on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """For `sys.addaudithook`: each file that is opened."""
        if event != "open" or not isinstance(arguments[0], str):
            return
        path = arguments[0]
        if path.startswith(self.folders) and not path.endswith((".py", ".pyc")):
            who = self.who(sys._getframe(1))
            if who and "__pycache__" not in path:
                self.note(who, "opens", "", str(Path(path).relative_to(self.root)))

    def step_of(self, code: CodeType) -> str | None:
        """The step whose body a code object is."""
        return self.bodies.get(f"{code.co_filename}:{code.co_qualname}")

    def who(self, frame: FrameType | None) -> str | None:
        """The import or the step on whose behalf a frame runs."""
        while frame is not None:
            code = frame.f_code
            if code.co_filename.startswith(self.folders):
                if code.co_name == "<module>":
                    return f"{frame.f_globals.get('__name__')}:{frame.f_lineno}"
                if step := self.step_of(code):
                    return step
            frame = frame.f_back
        # a thread that a step started; unknown when two steps run side by side
        return self.active[0] if len(set(self.active)) == 1 else None

    def note(self, *fact: str) -> None:
        """Write a fact once."""
        if fact not in self.noted:
            self.noted.add(fact)
            self.file.write(json.dumps(fact) + "\n")


def names_read(code: CodeType, namespace: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of our modules that a code object mentions: (module, name)."""
    home = str(namespace.get("__name__"))
    modules: dict[str, ModuleType] = {}
    for name in code.co_names:
        if name in namespace:
            yield home, name
        for path in (name, f"{namespace.get('__package__')}.{name}"):
            found = namespace.get(name) if path == name else None
            found = found if isinstance(found, ModuleType) else sys.modules.get(path)
            if found is not None and found.__name__.partition(".")[0] in OWN:
                modules[found.__name__] = found
    for module in modules.values():
        for name in code.co_names:
            if name in vars(module):
                yield module.__name__, name


def trace_this_process() -> None:
    """Begin to trace, as the environment says; called when a traced interpreter starts."""
    told = json.loads(os.environ["MUTATIONS_TRACE"])
    if not any("uvicorn" in word or "prefect.server" in word for word in sys.orig_argv):
        Tracer(told["root"], Path(told["folder"]), told["bodies"]).start()


def steps() -> list[dict[str, str]]:
    """The project's steps: objects of the modules of `tasks` that have the attribute ``step``."""
    found = {}
    for module in pkgutil.iter_modules(import_module("tasks").__path__, "tasks."):
        for value in vars(import_module(module.name)).values():
            if isinstance(getattr(value, "step", None), str):
                body: Any = inspect.unwrap(getattr(value, "fn", value))
                found[value.step] = {
                    "step": value.step,
                    "name": f"{body.__module__}.{body.__qualname__}",
                    "body": f"{body.__code__.co_filename}:{body.__qualname__}",
                }
    return list(found.values())


# ----------------------------------------------------------------- what a step has used


@dataclass(frozen=True)
class Place:
    """A place that can be changed: a function, a method, a constant, a data file."""

    module: str  # of a data file: empty
    name: str


class Uses:
    """What each step used, from the facts of a trace."""

    def __init__(self, root: Path, facts: list[list[str]]) -> None:
        self.root = root
        self._trees: dict[str, ast.Module] = {}
        self.by_who: dict[str, list[list[str]]] = defaultdict(list)
        for who, *fact in facts:
            if ":" in who:  # an import: who is the statement on that line
                module, line = who.split(":")
                for name in self.bound_at(module, int(line)):
                    self.by_who[f"{module}:{name}"].append(fact)
            else:
                self.by_who[who].append(fact)

    def tree(self, module: str) -> ast.Module:
        """Syntax tree of a module of the copy."""
        if module not in self._trees:
            path = self.root / module.replace(".", "/")
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            self._trees[module] = ast.parse(path.read_bytes())
        return self._trees[module]

    def bound_at(self, module: str, line: int) -> list[str]:
        """Names that the top-level statement on a line binds."""
        return [
            name
            for node in self.tree(module).body
            if first_line(node) <= line <= (node.end_lineno or 0)
            for name in names_bound(node)
        ]

    def of(self, step: str) -> set[Place]:
        """Places that a step used, through the constants that it read too."""
        found: set[Place] = set()
        pending = [step]
        seen = {step}
        while pending:
            who = pending.pop()
            for what, module, name in self.facts(who):
                if what == "calls":
                    place = Place(module, ".".join(name.split(".<")[0].split(".")[:2]))
                elif what == "opens":
                    place = Place("", name)
                else:
                    module, name = self.home(module, name)
                    place = Place(module, name)
                    if f"{module}:{name}" not in seen:
                        seen.add(f"{module}:{name}")
                        pending.append(f"{module}:{name}")
                if what != "reads" or self.is_constant(place):
                    found.add(place)
                if what == "reads":
                    found |= self.class_constants(place)
        return found

    def facts(self, who: str) -> Iterator[list[str]]:
        """What was noted of a step or of an import, and what the imported statement names."""
        yield from self.by_who.get(who, [])
        module, _, name = who.partition(":")
        for node in self.tree(module).body if name else ():
            if name in names_bound(node) and isinstance(node, ast.Assign | ast.AnnAssign):
                code = compile(ast.Module([node], []), "", "exec")
                for read in code.co_names:
                    if read != name:
                        yield ["reads", module, read]

    def home(self, module: str, name: str) -> tuple[str, str]:
        """Where an imported name is defined."""
        for node in ast.walk(self.tree(module)) if self.has(module) else ():
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OWN):
                for alias in node.names:
                    if (alias.asname or alias.name) == name and self.has(str(node.module)):
                        return self.home(str(node.module), alias.name)
        return module, name

    def has(self, module: str) -> bool:
        """Whether a module is one of ours."""
        path = self.root / module.replace(".", "/")
        return path.with_suffix(".py").exists() or (path / "__init__.py").exists()

    def node_of(self, place: Place) -> list[ast.stmt]:
        """The top-level statements that bind a place's name."""
        if not place.module or not self.has(place.module):
            return []
        body = self.tree(place.module).body
        return [node for node in body if place.name in names_bound(node)]

    def is_constant(self, place: Place) -> bool:
        """Whether a name is bound by an assignment."""
        return any(isinstance(n, ast.Assign | ast.AnnAssign) for n in self.node_of(place))

    def class_constants(self, place: Place) -> set[Place]:
        """The constants of a class that was mentioned: its fields and attributes."""
        return {
            Place(place.module, f"{place.name}.{name}")
            for node in self.node_of(place)
            if isinstance(node, ast.ClassDef)
            for inner in node.body
            if isinstance(inner, ast.Assign | ast.AnnAssign)
            for name in names_bound(inner)
        }


def first_line(node: ast.stmt) -> int:
    """The line on which a statement begins, with its decorators."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


def names_bound(node: ast.stmt) -> list[str]:
    """Names that a definition or an assignment binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        targets: list[ast.expr] = [node.target]
    else:
        targets = node.targets if isinstance(node, ast.Assign) else []
    names = [name for target in targets for name in ast.walk(target)]
    return [name.id for name in names if isinstance(name, ast.Name)]


# ---------------------------------------------------------------------------- mutants


def mutants(root: Path) -> Iterator[tuple[Place, Path, bytes]]:
    """Each place of the core, with its file and the text of that file once it is changed."""
    for path in sorted((root / CORE).rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        inside = path.relative_to(root)
        if path.suffix != ".py":
            yield Place("", str(inside)), path, path.read_bytes() + b" "
            continue
        parts = inside.with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_bytes()
        for name, changed in changes(text, ast.parse(text).body):
            yield Place(module, name), path, changed


def changes(text: bytes, body: list[ast.stmt], within: str = "") -> Iterator[tuple[str, bytes]]:
    """Each definition in a body, with the whole text once that definition is changed."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield within + node.name, with_statement(text, node)
        elif isinstance(node, ast.ClassDef):
            yield from changes(text, node.body, f"{within}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            value = node.value or getattr(node, "annotation", None)
            for name in names_bound(node):
                if value is not None:
                    yield within + name, with_other_value(text, value)


def with_statement(text: bytes, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bytes:
    """The text with one more statement at the end of a function."""
    last = node.body[-1]
    lines = text.splitlines(keepends=True)
    end = sum(map(len, lines[: (last.end_lineno or 1) - 1])) + (last.end_col_offset or 0)
    on_its_own_line = node.body[0].lineno > node.lineno
    more = b"\n" + b" " * node.body[0].col_offset if on_its_own_line else b"; "
    return text[:end] + more + b"assert True" + text[end:]


def with_other_value(text: bytes, value: ast.expr) -> bytes:
    """The text with ``(value) or None`` for a value."""
    lines = text.splitlines(keepends=True)
    starts = [sum(map(len, lines[:n])) for n in range(len(lines))]
    start = starts[value.lineno - 1] + value.col_offset
    end = starts[(value.end_lineno or 1) - 1] + (value.end_col_offset or 0)
    return text[:start] + b"((" + text[start:end] + b") or None)" + text[end:]


# ----------------------------------------------------------------------- the benchmark


def copy_of_project(folder: Path) -> Path:
    """A copy with an empty cache; downloaded data is shared."""
    leave_out = shutil.ignore_patterns(".*", "__pycache__", "artifacts", "raw", "node_modules")
    copy = Path(shutil.copytree(PROJECT, folder / "project", ignore=leave_out))
    (copy / "data" / "raw").symlink_to(PROJECT / "data" / "raw")
    (copy / "artifacts").mkdir()
    return copy


def traced(copy: Path, folder: Path, found: list[dict[str, str]], run: list[str]) -> list[Any]:
    """The facts of a run in the copy, with all its processes."""
    (folder / "start").mkdir()
    (folder / "facts").mkdir()
    start = f"import runpy; runpy.run_path({str(Path(__file__).resolve())!r}, run_name='traced')\n"
    (folder / "start" / "sitecustomize.py").write_text(start)
    told = {
        "root": str(copy),
        "folder": str(folder / "facts"),
        "bodies": {step["body"]: step["step"] for step in found},
    }
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder / 'start'}:{copy}",
        "MUTATIONS_TRACE": json.dumps(told),
        "PREFECT_HOME": str(folder / "prefect"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("NEURAL_CLASSIFIERS_HOME", None)
    ended = subprocess.run([sys.executable, *run], cwd=copy, env=environment, check=False)
    if ended.returncode:
        print(f"the traced run ended with status {ended.returncode}: judged is what it did")
    files = sorted((folder / "facts").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def found_steps(copy: Path) -> list[dict[str, str]]:
    """The steps of the copy; asked in a process of its own, because it imports them."""
    code = f"import runpy, json; m = runpy.run_path({__file__!r}); print(json.dumps(m['steps']()))"
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, env=environment, stdout=subprocess.PIPE, check=True
    )
    return json.loads(ended.stdout.splitlines()[-1])


def main() -> int:
    """Print false hits and unnecessary reruns; 1 if there is a false hit."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    about = "of neural-classifiers, or a script and its own"
    parser.add_argument("run", nargs=argparse.REMAINDER, help=f"arguments {about}")
    run: list[str] = parser.parse_args().run or DEFAULT_RUN
    script = Path(run[0])
    run = [str(script.resolve()), *run[1:]] if script.is_file() else ["-c", COMMAND, *run]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        copy = copy_of_project(folder)
        found = found_steps(copy)
        uses = Uses(copy, traced(copy, folder, found, run))
        used = {step["step"]: uses.of(step["step"]) for step in found}
        if not any(used.values()):
            raise SystemExit("expected the traced run to execute steps, got none")
        return report(judged(copy, found), used)


def judged(copy: Path, found: list[dict[str, str]]) -> dict[Place, set[str]]:
    """For each place, the steps that rerun when it is changed."""
    sys.path.insert(0, str(copy))  # the copy's packages are the ones that fingerprints read
    module = import_module("neural_classifiers.engine.code.fingerprint")
    assert str(module.__file__).startswith(str(copy)), module.__file__
    names = {step["step"]: step["name"] for step in found}

    def digests() -> dict[str, str]:
        module.forget()
        return {step: module.fingerprint(name).digest for step, name in names.items()}

    started = time.perf_counter()
    before, rerun = digests(), {}
    print(f"{len(names)} fingerprints from nothing: {time.perf_counter() - started:.3f} s")
    for place, path, changed in list(mutants(copy)):
        original = path.read_bytes()
        path.write_bytes(changed)
        after = digests()
        path.write_bytes(original)
        rerun[place] = {step for step in names if before[step] != after[step]}
    return rerun


def report(rerun: dict[Place, set[str]], used: dict[str, set[Place]]) -> int:
    """Print the comparison; 1 if there is a false hit."""
    ran = {step for step, places in used.items() if places}
    pairs = {(place, step) for place in rerun for step in ran}
    affected = {(place, step) for place, step in pairs if place in used[step]}
    reruns = {(place, step) for place, step in pairs if step in rerun[place]}
    print(f"{len(rerun)} places changed; {len(ran)} steps ran: {', '.join(sorted(ran))}")
    print(f"steps that did not run, not judged: {', '.join(sorted(set(used) - ran)) or 'none'}")
    print(f"affected {len(affected)}, rerun {len(reruns)} (place, step) pairs")
    false_hits, unnecessary = affected - reruns, reruns - affected
    print(f"false hits: {len(false_hits)}")
    for place, step in sorted(false_hits, key=str):
        print(f"  {step} used {place.module}.{place.name} and would not rerun")
    print(f"unnecessary reruns: {len(unnecessary)}")
    by_place: dict[Place, list[str]] = defaultdict(list)
    for place, step in unnecessary:
        by_place[place].append(step)
    for place in sorted(by_place, key=str):
        name = f"{place.module}.{place.name}".lstrip(".")
        print(f"  {name}: {', '.join(sorted(by_place[place]))}")
    return 1 if false_hits else 0


if __name__ == "traced":
    trace_this_process()
elif __name__ == "__main__":
    raise SystemExit(main())
