"""What the form of a deployment says of each parameter: the flow's own docstring.

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
    told = {}
    for section in parse(Docstring(written), Parser.numpy):
        if section.kind is DocstringSectionKind.parameters:
            told = {parameter.name: parameter.description for parameter in section.value}
    summary = written.partition("\n\n")[0]
    lines = [f"    {name}: {' '.join(text.split())}" for name, text in told.items()]
    function.__doc__ = "\n".join([summary, "", "Args:", *lines])
    return function
