"""The catalogue of messages: each message of an expected error stands in it, and nothing else."""

import ast
import re
from pathlib import Path

from neural_classifiers.errors import MESSAGE_LENGTH, SourceError, ValidationError, shown

ROOT = Path(__file__).parents[1]
SOURCES = [p for d in ("neural_classifiers", "tasks") for p in sorted((ROOT / d).rglob("*.py"))]


def words_of(node: ast.AST) -> str:
    """A message as its source has it, with … for what a run fills in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(words_of, parts))
        case ast.BinOp(left=left, right=right):
            return words_of(left) + words_of(right)
    return "…"


def raised() -> dict[str, set[str]]:
    """Messages of the expected errors by the identifier of their class."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    codes: dict[str, str] = {}
    for node in 2 * [n for n in nodes if isinstance(n, ast.ClassDef)]:  # of a class, then inherited
        own = [n.value for n in node.body if isinstance(n, ast.Assign) if words_of(n.value) != "…"]
        bases = [b.id for b in node.bases if isinstance(b, ast.Name) and b.id in codes]
        if bases or node.name == "RefusedError":
            codes[node.name] = own[-1].value if own else codes[bases[0]]
    found: dict[str, set[str]] = {code: set() for code in codes.values()}
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            words = " ".join(re.sub("…+", "…", words_of(node.args[0])).replace("|", "/").split())
            # A message that is passed on, or put together elsewhere, has no words here
            if node.func.id in codes and re.search("[a-z]{4}", words):
                found[codes[node.func.id]].add(words)
    return found


def test_every_message_stands_in_the_catalogue_with_what_to_do():
    page = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    listed = {}
    for section in page.split("\n## ")[1:]:
        rows = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE)[1:]
        assert len({words for words, _ in rows}) == len(rows), section[:4]
        listed[section[:4]] = {words for words, _ in rows if words != "---"}

    found = raised()

    assert listed.keys() == found.keys()
    for code, messages in found.items():
        assert (code, messages - listed[code]) == (code, set()), "in no row of the page"
        assert (code, listed[code] - messages) == (code, set()), "a message that there is not"


def test_a_message_ends_with_its_identifier_and_never_fills_the_screen():
    assert str(SourceError("a.csv: expected rows, got none")).endswith("got none [NC20]")
    assert len(str(ValidationError("x" * 10**6))) < MESSAGE_LENGTH + 20
    assert str(ValidationError(f"sample: {SourceError('no')}")) == "sample: no [NC20]"
    assert shown("x" * 300) == "x" * 199 + "…"
