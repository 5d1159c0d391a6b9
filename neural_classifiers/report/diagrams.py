"""Pipelines as pictures: scikit-learn's own diagram, and their steps as boxes to draw."""

import re
from inspect import signature
from itertools import count
from typing import Any, NamedTuple

_DROPPED = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"<script\b.*?</script>",
        r"<button\b.*?</button>",  # it would need a script
        r'<div class="sk-text-repr-fallback">.*?</div>',
        r'<(a|span) class="sk-estimator-doc-link.*?</span></\1>',  # pages elsewhere, "not fitted"
        r'<span class="param-doc-description".*?</span>',
        r'\s(?:href|target|rel|style|hidden)(?:="[^"]*")?(?=[\s>])',
        r"</?body>",
        # a function's address, another in each process; a long name is cut before it
        r"(?: at |\.\.\.[a-z ]*)0?x?[0-9a-f]{6,}",
        r"/\*.*?\*/",
        r"[^{}]*\{[^{}]*url\([^{}]*\}",  # of the buttons
    )
]


class Box(NamedTuple):
    """A step of a pipeline, or a layer of its network: what it is called, and lines on it."""

    title: str
    lines: tuple[str, ...] = ()


def draw_diagram(pipeline: Any, name: str) -> str:
    """scikit-learn's diagram of an unfitted copy: HTML without script, address or chance.

    A page; its ``<style>`` is the same for every pipeline, its ``<body>`` one ``<div>``. The
    model's name keeps the identities in the HTML apart from those of other diagrams.
    """
    from sklearn.base import clone
    from sklearn.utils import estimator_html_repr

    diagram = estimator_html_repr(clone(pipeline))
    for pattern in _DROPPED:
        diagram = pattern.sub("", diagram)
    numbers = count(1)
    ids = {found: f"{name}-{next(numbers)}" for found in re.findall(r'\bid="([^"]+)"', diagram)}
    for found, own in ids.items():
        diagram = re.sub(rf'"{re.escape(found)}"', f'"{own}"', diagram)
    diagram = diagram.replace('sk-top-container sk-global"', 'sk-top-container sk-global light"')
    style, _, body = re.sub(r"\s+", " ", diagram).partition("</style>")
    head = f'<meta charset="utf-8"><title>{name}</title>{style.strip()}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def steps_of(pipeline: Any, text: str = "cleaned text") -> list[list[Box]]:
    """What a fitted pipeline does to a text: boxes side by side work on the same input."""
    rows = [[Box(text)]]
    for name, step in pipeline.steps:
        parts = getattr(step, "transformer_list", None) or [(name, step)]
        rows.append([_box(n, part) for n, part in parts if not isinstance(part, str)])
        classifier = getattr(step, "classifier", step)  # beneath a temperature
        rows += [[layer] for layer in _layers(classifier)]
    rows.append([Box("category", (", ".join(map(str, pipeline.classes_)),))])
    return rows


def _box(name: str, step: Any) -> Box:
    """A step with the parameters that are not scikit-learn's defaults."""
    classifier = getattr(step, "classifier", step)
    lines = []
    if classifier is not step:
        shifted = ", answers shifted" if step.offsets is not None else ""
        lines.append(f"temperature {step.temperature:.3g}{shifted}")
    if not hasattr(classifier, "model_"):  # of a Keras network its layers say more
        usual = {n: repr(p.default) for n, p in signature(type(classifier)).parameters.items()}
        changed = classifier.get_params(deep=False).items()
        lines += [f"{n}={value!r}" for n, value in changed if repr(value) != usual.get(n)]
    return Box(f"{name}: {type(classifier).__name__}", tuple(lines))


def _layers(classifier: Any) -> list[Box]:
    """The layers of a network: Keras', or those of scikit-learn's multilayer perceptron."""
    if hasattr(classifier, "model_"):
        return [
            Box(
                f"{layer.name}: {type(layer).__name__}",
                (f"{layer.output.shape[-1]:,} units, {layer.count_params():,} parameters",),
            )
            for layer in classifier.model_.layers
        ]
    if not hasattr(classifier, "coefs_"):
        return []
    sizes = [(w.shape[1], w.size + b.size) for w, b in zip(
        classifier.coefs_, classifier.intercepts_, strict=True
    )]  # fmt: skip
    names = [f"hidden_{i}" for i in range(1, len(sizes))] + ["classes"]
    return [
        Box(f"{name}: dense", (f"{units:,} units, {parameters:,} parameters",))
        for name, (units, parameters) in zip(names, sizes, strict=True)
    ]
