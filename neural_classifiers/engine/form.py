"""Descriptions of parameters in the form of a deployment: those of the flow's own docstring.

Prefect reads docstrings of Google's style only; ours are numpy's.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from griffe import Docstring, DocstringSectionKind, Parser, parse

F = TypeVar("F", bound=Callable[..., Any])


def with_form(function: F) -> F:
    """The function, its docstring rewritten so that Prefect finds the parameters' descriptions."""
    written = inspect.getdoc(function) or ""
    lines = [written.partition("\n\n")[0], "", "Args:"]
    for section in parse(Docstring(written), Parser.numpy):
        if section.kind is DocstringSectionKind.parameters:
            lines += [f"    {p.name}: {' '.join(p.description.split())}" for p in section.value]
    function.__doc__ = "\n".join(lines)
    return function
