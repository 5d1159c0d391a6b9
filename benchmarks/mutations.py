"""Change our code one definition at a time: which steps rerun, and which had to.

    make mutations                                             # traces DEFAULT_RUN, below
    python benchmarks/mutations.py run digits --sample 300     # traces this command instead

In a copy of the project a command is traced; then every function, method, constant and data file
that may decide a result is changed in turn, and the fingerprint of every step taken again. A step
whose fingerprint changed reruns; a step that used the definition in the traced run is affected.
Affected and not rerun is a false hit, and the exit status is 1.

What a step used is found by other means than the fingerprint: running code. `sys.settrace` tells
each function of ours that starts, in every thread and process, and which step's body (or which
line of a module that is being imported) is below it on the stack; its bytecode tells the names
that it may read, looked up in the modules as they are; an audit hook tells the data files that
are opened. So a constant counts as used when the code of a function that ran mentions it, and what
made the constant when it was imported counts with it. Steps that did not run, and branches that
this run did not take, are not judged: use a run that takes many.
"""

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
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

OWN = ("neural_classifiers", "tasks")
DEFAULT_RUN = ["run", "all", "--sample", "300"]
COMMAND = "import sys; from neural_classifiers.operation.cli import main; sys.exit(main())"
PROJECT = Path(__file__).resolve().parents[1]
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
CONSTANT = ast.Assign | ast.AnnAssign

Definition = tuple[str, str]
"""Module and name: ``f``, ``Class.method``, ``LIMIT``; of a data file "" and its path."""


class Tracer:
    """Notes what steps use, as lines of JSON: [who, what, module, name].

    `who` is a step's name or ``module:line`` of an import under way; `what` is "calls", "reads"
    or "opens".
    """

    def __init__(self, root: str, folder: str, bodies: dict[str, str]) -> None:
        self.folders = tuple(f"{root}/{package}/" for package in OWN)
        self.reader = f"{root}/neural_classifiers/engine/code/"  # reads our files for no step
        self.root, self.bodies = root, bodies
        self.path = Path(folder, f"{os.getpid()}.jsonl")
        self.noted: set[tuple[str, ...]] = set()
        self.active: list[str] = []

    def on_call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        """For `sys.settrace`: each function that starts."""
        code = frame.f_code
        if not code.co_filename.startswith(self.folders) or code.co_name == "<module>":
            return None
        if who := self.who(frame):
            self.note(who, "calls", str(frame.f_globals.get("__name__")), code.co_qualname)
            for name in names_read(code, frame.f_globals):
                self.note(who, "reads", *name)
        if (step := self.step_of(code)) is None:
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
        path = str(arguments[0]) if event == "open" else ""
        is_source = path.endswith((".py", ".pyc")) or "__pycache__" in path
        if path.startswith(self.folders) and not is_source and (who := self.who(sys._getframe(1))):
            self.note(who, "opens", "", str(Path(path).relative_to(self.root)))

    def step_of(self, code: CodeType) -> str | None:
        """The step whose body a code object is."""
        return self.bodies.get(f"{code.co_filename}:{code.co_qualname}")

    def who(self, frame: FrameType | None) -> str | None:
        """The import or the step on whose behalf a frame runs."""
        of_prefect = False
        while frame is not None:
            of_prefect = of_prefect or "/prefect/" in frame.f_code.co_filename
            if frame.f_code.co_filename.startswith(self.reader):
                return None
            if frame.f_code.co_filename.startswith(self.folders):
                if frame.f_code.co_name == "<module>":
                    return f"{frame.f_globals.get('__name__')}:{frame.f_lineno}"
                if step := self.step_of(frame.f_code):
                    return step
            frame = frame.f_back
        # a thread that a step started, and not Prefect for a task that is no step; unknown when
        # two steps run side by side
        return self.active[0] if len(set(self.active)) == 1 and not of_prefect else None

    def note(self, *fact: str) -> None:
        """Write a fact once."""
        if fact not in self.noted:
            self.noted.add(fact)
            with self.path.open("a") as file:
                file.write(json.dumps(fact) + "\n")


def names_read(code: CodeType, namespace: dict[str, Any]) -> Iterator[Definition]:
    """Names of our modules that a code object mentions."""
    modules: dict[str, dict[str, Any]] = {str(namespace.get("__name__")): namespace}
    for name in code.co_names:
        for path in (name, f"{namespace.get('__package__')}.{name}"):
            module = namespace.get(name) if path == name else None
            module = module if isinstance(module, ModuleType) else sys.modules.get(path)
            if module is not None and module.__name__.partition(".")[0] in OWN:
                modules[module.__name__] = vars(module)
    for module, names in modules.items():
        yield from ((module, name) for name in code.co_names if name in names)


def trace_this_process() -> None:
    """Begin to trace, as the environment says; called when a traced interpreter starts."""
    if not any("uvicorn" in word or "prefect.server" in word for word in sys.orig_argv):
        tracer = Tracer(**json.loads(os.environ["MUTATIONS_TRACE"]))
        sys.addaudithook(tracer.on_audit)
        threading.settrace(tracer.on_call)
        sys.settrace(tracer.on_call)


def traced(copy: Path, folder: Path, bodies: dict[str, str], run: list[str]) -> list[list[str]]:
    """The facts of a command in the copy, with all its processes."""
    (folder / "start").mkdir()
    (folder / "facts").mkdir()
    start = f"import runpy; runpy.run_path({str(Path(__file__).resolve())!r}, run_name='traced')\n"
    (folder / "start" / "sitecustomize.py").write_text(start)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder / 'start'}:{copy}",
        "MUTATIONS_TRACE": json.dumps(
            {"root": str(copy), "folder": str(folder / "facts"), "bodies": bodies}
        ),
        "PREFECT_HOME": str(folder / "prefect"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("NEURAL_CLASSIFIERS_HOME", None)
    command = [sys.executable, "-c", COMMAND, *run]
    ended = subprocess.run(command, cwd=copy, env=environment, check=False)
    if ended.returncode:
        print(f"the traced run ended with status {ended.returncode}: judged is what it did")
    files = sorted((folder / "facts").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


class Uses:
    """What each step used, from the facts of a trace."""

    def __init__(self, trees: dict[str, ast.Module], facts: list[list[str]]) -> None:
        self.trees = trees
        self.by_who: dict[str, list[list[str]]] = defaultdict(list)
        for who, *fact in facts:
            module, _, line = who.partition(":")
            for node in self.trees[module].body if line and module in self.trees else ():
                if first_line(node) <= int(line) <= (node.end_lineno or 0):
                    for name in names_bound(node):
                        self.by_who[f"{module}:{name}"].append(fact)
            self.by_who[who].append(fact)

    def of(self, step: str) -> set[Definition]:
        """Definitions that a step used, through the constants that it read too."""
        used: set[Definition] = set()
        pending, seen = [step], {step}
        while pending:
            for what, module, name in self.facts(pending.pop()):
                if what == "calls":
                    used.add((module, ".".join(name.split(".<")[0].split(".")[:2])))
                elif what == "opens":
                    used.add(("", name))
                else:
                    home = self.home(module, name)
                    used |= self.constants(*home)
                    if (who := ":".join(home)) not in seen:
                        seen.add(who)
                        pending.append(who)
        return used

    def facts(self, who: str) -> Iterator[list[str]]:
        """What was noted of a step or an import, and what the imported constant names."""
        yield from self.by_who.get(who, [])
        module, _, name = who.partition(":")
        for node in self.bind(module, name):
            if isinstance(node, CONSTANT):
                code = compile(ast.Module([node], []), "", "exec")
                yield from (["reads", module, read] for read in code.co_names if read != name)

    def bind(self, module: str, name: str) -> list[ast.stmt]:
        """The top-level statements that bind a name."""
        body = self.trees[module].body if name and module in self.trees else []
        return [node for node in body if name in names_bound(node)]

    def home(self, module: str, name: str) -> Definition:
        """Where an imported name is defined."""
        for node in ast.walk(self.trees.get(module, ast.Module([], []))):
            if isinstance(node, ast.ImportFrom) and str(node.module) in self.trees:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self.home(str(node.module), alias.name)
        return module, name

    def constants(self, module: str, name: str) -> set[Definition]:
        """The constant of a name, or those of a class: its fields and attributes."""
        constants: set[Definition] = set()
        for node in self.bind(module, name):
            constants |= {(module, name)} if isinstance(node, CONSTANT) else set()
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                fields = names_bound(inner) if isinstance(inner, CONSTANT) else ()
                constants |= {(module, f"{name}.{field}") for field in fields}
        return constants


def first_line(node: ast.stmt) -> int:
    """The line on which a statement begins, with its decorators."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


def names_bound(node: ast.stmt) -> list[str]:
    """Names that a definition or an assignment binds."""
    if isinstance(node, FUNCTION | ast.ClassDef):
        return [node.name]
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


def mutants(text: bytes, body: list[ast.stmt], within: str = "") -> Iterator[tuple[str, bytes]]:
    """Each definition in a body, with the whole text once that definition is changed."""
    for node in body:
        if isinstance(node, FUNCTION):  # one statement more at its end
            is_apart = node.body[0].lineno > node.lineno
            more = b"\n" + b" " * node.body[0].col_offset if is_apart else b"; "
            _, end = span(text, node.body[-1])
            yield within + node.name, text[:end] + more + b"assert True" + text[end:]
        elif isinstance(node, ast.ClassDef):
            yield from mutants(text, node.body, f"{within}{node.name}.")
        elif isinstance(node, CONSTANT):  # another value, or another type of a field
            start, end = span(text, node.value or getattr(node, "annotation", node))
            changed = text[:start] + b"((" + text[start:end] + b") or None)" + text[end:]
            yield from ((within + name, changed) for name in names_bound(node))


def span(text: bytes, node: ast.stmt | ast.expr) -> tuple[int, int]:
    """Where a piece of syntax begins and ends in its text."""
    lines = text.splitlines(keepends=True)
    before = [sum(map(len, lines[: n - 1])) for n in (node.lineno, node.end_lineno or 1)]
    return before[0] + node.col_offset, before[1] + (node.end_col_offset or 0)


def steps() -> dict[str, Any]:
    """The project's steps by name: the functions that they are made of."""
    names = [module.name for module in pkgutil.iter_modules(import_module("tasks").__path__)]
    values = [value for name in names for value in vars(import_module(f"tasks.{name}")).values()]
    tasks = [value for value in values if isinstance(getattr(value, "step", None), str)]
    return {value.step: inspect.unwrap(value.fn) for value in tasks}


def reruns(copy: Path, bodies: dict[str, Any]) -> dict[Definition, set[str]]:
    """For each definition, the steps that rerun when it is changed."""
    subject = import_module("neural_classifiers.engine.code.fingerprint")

    def digests() -> dict[str, str]:
        subject.forget()
        return {step: subject.fingerprint(body).digest for step, body in bodies.items()}

    started = time.perf_counter()
    before, rerun = digests(), {}
    print(f"{len(bodies)} fingerprints from nothing: {time.perf_counter() - started:.3f} s")
    for path in sorted(path for package in OWN for path in (copy / package).rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        text, name = path.read_bytes(), str(path.relative_to(copy))
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        changed = [("", name, text + b" ")]
        if path.suffix == ".py":
            is_judged = not subject.is_machinery(module)
            changed = [(module, *m) for m in mutants(text, ast.parse(text).body) if is_judged]
        for module, name, mutant in changed:
            path.write_bytes(mutant)
            after = digests()
            rerun[module, name] = {step for step in bodies if before[step] != after[step]}
        path.write_bytes(text)
    return rerun


def report(rerun: dict[Definition, set[str]], used: dict[str, set[Definition]]) -> int:
    """Print the comparison; 1 if there is a false hit."""
    ran = sorted(step for step, names in used.items() if names)
    affected = {(name, step) for name in rerun for step in ran if name in used[step]}
    again = {(name, step) for name in rerun for step in ran if step in rerun[name]}
    print(f"{len(rerun)} definitions changed; {len(ran)} steps ran: {', '.join(ran)}")
    print(f"steps that did not run, not judged: {', '.join(sorted({*used} - {*ran})) or 'none'}")
    print(f"affected {len(affected)}, rerun {len(again)} (definition, step) pairs")
    for title, pairs in ("false hits", affected - again), ("unnecessary reruns", again - affected):
        print(f"{title}: {len(pairs)}")
        by_name: dict[Definition, list[str]] = defaultdict(list)
        for name, step in sorted(pairs):
            by_name[name].append(step)
        for name, of_steps in by_name.items():
            print(f"  {'.'.join(name).lstrip('.')}: {', '.join(of_steps)}")
    return 1 if affected - again else 0


def main() -> int:
    """Print false hits and unnecessary reruns; 1 if there is a false hit."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        leave_out = shutil.ignore_patterns(".*", "__pycache__", "artifacts", "raw")
        copy = Path(shutil.copytree(PROJECT, folder / "project", ignore=leave_out))
        (copy / "data" / "raw").symlink_to(PROJECT / "data" / "raw")
        sys.path.insert(0, str(copy))  # our packages are the copy's from here
        bodies = steps()
        where = {f"{f.__code__.co_filename}:{f.__qualname__}": step for step, f in bodies.items()}
        assert all(key.startswith(str(copy)) for key in where), where
        facts = traced(copy, folder, where, sys.argv[1:] or DEFAULT_RUN)
        sources = {path: path.relative_to(copy).with_suffix("") for path in copy.rglob("*.py")}
        trees = {
            ".".join(name.parts).removesuffix(".__init__"): ast.parse(path.read_bytes())
            for path, name in sources.items()
        }
        uses = Uses(trees, facts)
        used = {step: uses.of(step) for step in bodies}
        if not any(used.values()):
            raise SystemExit("expected the traced command to execute steps, got none")
        return report(reruns(copy, bodies), used)


if __name__ == "traced":
    trace_this_process()
elif __name__ == "__main__":
    raise SystemExit(main())
