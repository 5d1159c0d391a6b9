"""The project keeps its own rules."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LAYERS = ["neural_classifiers", "tasks", "flows"]
SCIENCE = ["arrays", "comments", "digits", "judgement", "report", "search"]
MODULES = [path for layer in LAYERS for path in sorted((ROOT / layer).glob("**/*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names of all that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    "path",
    [path for room in SCIENCE for path in (ROOT / "neural_classifiers" / room).glob("**/*.py")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_science_knows_values_only(path):
    assert not imported(path) & {"prefect", "logging", "pathlib", "shutil", "tempfile"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_of_ours_pickles_to_disk(path):
    assert not imported(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}


def test_no_flow_hides_a_library():
    libraries = {"keras", "prefect", "sklearn", "tensorflow", "pandas", "nltk", "scikeras"}
    assert not {path.stem for path in (ROOT / "flows").glob("*.py")} & libraries


def test_every_deployment_names_a_flow_that_exists_and_its_parameters():
    from prefect import Flow

    told = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    names = set()
    for deployment in told["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        found = getattr(importlib.import_module(module), name)
        assert isinstance(found, Flow)
        assert set(deployment.get("parameters", {})) <= set(found.parameters.properties)
        names.add(f"{found.name}/{deployment['name']}")
    assert {"classify-comments/nightly", "train-classifiers/manual"} <= names


def test_flows_are_imported_without_the_heavy_libraries():
    heavy = {"tensorflow", "keras", "great_expectations", "scikeras", "nltk", "matplotlib"}
    heavy |= {"scipy", "sklearn"}
    script = f"import sys, flows.classifiers; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_lock_is_hashed_and_names_no_address():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    requirements = re.findall(r"^[A-Za-z0-9].*==.*$", lock, flags=re.MULTILINE)

    assert len(requirements) > 100
    assert len(re.findall(r"^    --hash=sha256:[0-9a-f]{64}", lock, flags=re.MULTILINE)) > 1000
    assert "://" not in lock
    assert all(line.endswith("\\") for line in requirements)  # each is followed by its hashes


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z]+)", readme))

    assert {"run", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))


@pytest.mark.parametrize(
    "name",
    ["Bob's comments.csv", "x'; touch marker; '", '"`touch marker`$(shell touch marker)$$.csv'],
)
def test_make_hands_a_source_on_as_it_was_typed(tmp_path, name):
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "neural-classifiers"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    command.chmod(0o700)
    (tmp_path / "installed").touch()
    make = ["make", "-s", "-f", ROOT / "Makefile", "run", f"VENV={tmp_path}", f"SOURCE={name}"]
    for file in ("requirements.lock", "pyproject.toml"):
        (tmp_path / file).symlink_to(ROOT / file)
    done = subprocess.run(make, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-2:] == ["--source", name]
    assert not (tmp_path / "marker").exists()


def test_every_command_of_the_readme_is_understood():
    from neural_classifiers.operation.cli import parse

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:\.venv/bin/)?neural-classifiers (.+)$", readme, flags=re.MULTILINE)

    assert commands
    for command in commands:
        parse(command.split("#")[0].split())


def test_no_file_speaks_of_a_machine():
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    paths = re.compile(r"/(?:home|root|work|Users)/\w")
    told = [f for f in listed if f.endswith((".py", ".md", ".yaml", ".toml", "Makefile"))]
    assert told
    assert not [f for f in told if paths.search((ROOT / f).read_text(encoding="utf-8"))]


def test_the_faults_that_the_readme_quotes_are_those_that_were_counted():
    counted = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    quoted = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = re.search(
        r"was killed ([\d,]+) times and made to fail ([\d,]+) times.* "
        r"flow was killed ([\d,]+) times at random moments: ([\d,]+) divergences",
        quoted,
    )
    assert told
    deaths, faults, kills, divergences = (n.replace(",", "") for n in told.groups())
    assert f"| record layer | {deaths} | {faults} | {divergences} |" in counted
    assert f"| comments flow | {kills} | | {divergences} |" in counted


def test_the_way_from_the_notebook_names_what_there_is():
    """Steps, files and tests of the README; a file alone lies in the folder of the one before."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    flows = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "flows").glob("*.py"))
    table = readme[readme.index("| notebook | flow line |") :].split("\n\n")[0]
    rows = [line.split("|") for line in table.splitlines()[2:]]

    assert len(rows) >= 14
    for row in rows:
        steps, files, tests = (re.findall(r"`([^`]+)`", cell) for cell in row[2:5])
        assert all(re.search(rf"\b{step}\b", flows) for step in steps), row
        assert all((ROOT / "tests" / test).is_file() for test in tests), row
        folder = ROOT
        for file in files:
            if "/" in file:
                folder = ROOT if file.startswith("tasks/") else ROOT / "neural_classifiers"
            assert (folder / file).exists(), file
            folder = (folder / file).parent


def test_the_ml_test_score_names_what_there_is_and_adds_up():
    from neural_classifiers.operation.cli import parse

    page = (ROOT / "docs" / "ml-test-score.md").read_text(encoding="utf-8")
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    sums = []
    for part in page.split("\n## ")[1:]:
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()[4:]]
        assert len(rows) == 7
        sums.append(sum(float(points) for *_, points in rows))
        assert part.partition("\n")[0].endswith(f": {sums[-1]:g}")
        for _, by, points in rows:
            assert points in ("0", "0.5", "1")
            assert by.startswith("no") == (points == "0")
            for name in re.findall(r"`([^`]+)`", by):
                path, _, test = name.partition("::")
                if name.startswith("neural-classifiers "):
                    parse(name.split()[1:])
                elif name.startswith("make "):
                    assert re.search(rf"^{name[5:]}:", targets, re.MULTILINE)
                else:
                    assert (f"def {test}(" if test else "") in (ROOT / path).read_text(
                        encoding="utf-8"
                    )
    assert len(sums) == 4
    assert f"least of the four: {min(sums):g}**" in page
