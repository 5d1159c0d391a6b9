"""A comparison in sentences: which model is recommended, and how sure that is."""

from collections.abc import Mapping, Sequence

from neural_classifiers.judgement.names import (
    CONSTANT,
    LINEAR,
    MODEL_TITLES,
    SERVING,
    SIMPLE,
    percent,
)
from neural_classifiers.judgement.scores import (
    OPPOSITE,
    Comparison,
    ModelComparison,
    Outcome,
    Scores,
    model_title,
)

EXPECTED = (CONSTANT, LINEAR, "scikit", "keras")  # in every run


def verdict(comparison: Comparison, unit: str = "comments") -> str:
    """Say in plain words what a comparison allows one to say.

    Returns
    -------
    str
        "better", "worse" or "no difference that 900 comments could show" for accuracy; what
        macro-F1 says of the rarer classes is added where that is another clear answer, and that
        the model only guesses where that is why macro-F1 does not count.
    """
    accuracy, f1_macro = comparison.accuracy_outcome, comparison.f1_macro_outcome
    shown = f"that {comparison.n_rows:,} {unit} could show"
    if f1_macro == "unclear" and comparison.f1_macro_interval[0] > 0:
        begun = f"no difference {shown}" if accuracy == "unclear" else accuracy
        return f"{begun}, and no better than guessing"
    if f1_macro in ("unclear", accuracy):
        return f"no difference {shown}" if accuracy == "unclear" else accuracy
    in_accuracy = f"no difference in accuracy {shown}" if accuracy == "unclear" else accuracy
    return f"{in_accuracy}, but {f1_macro} at the rarer classes"


def recommend_model(
    models: Mapping[str, Scores], comparisons: Sequence[ModelComparison]
) -> str | None:
    """Name the simplest model that nothing here is shown to beat.

    A model must be shown better than the constant answer and than every simpler model that is
    shown so: a network than the linear model, an improved network than the improved linear
    model too. Among networks the higher accuracy wins. The serving model is none of this run: it
    is not recommended, only compared with.

    It must be shown better than guessing. Between two models the share of right answers then
    decides; where it cannot, macro-F1 does. Against the constant answer it is the other way
    round, since of unequal classes a useful model may be less often right than the commonest
    answer. `verdict_sentences` then says for whom it is.

    Returns
    -------
    str or None
        A key of `models`, ``"constant"`` where no model beats it, None where there is no model.
    """
    networks = sorted(
        (name for name in models if name not in (*SIMPLE, SERVING)),
        key=lambda name: -models[name].accuracy,
    )
    simple = [name for name in SIMPLE if name in models]
    chosen = simple[0] if simple else None

    def is_better(name: str) -> bool:
        rivals = {rival for rival in (CONSTANT, chosen) if rival and rival in models}
        is_shown = all(_outcome(comparisons, name, rival) == "better" for rival in rivals)
        return is_shown and not _only_guesses(comparisons, name)

    for name in simple[1:]:
        if is_better(name):
            chosen = name
    if chosen is None:
        return networks[0] if networks else None
    return next(filter(is_better, networks), chosen)


def verdict_sentences(
    models: Mapping[str, Scores] | None = None,
    comparisons: Sequence[ModelComparison] = (),
    *,
    digits: Mapping[str, float] | None = None,
    n_digits: int = 0,
) -> tuple[str, ...]:
    """Sum up a run in a few sentences that need no statistics to be understood.

    Parameters
    ----------
    models : mapping of str to Scores, optional
        Scores on the same test comments under the names of `MODEL_TITLES`; a model whose step
        failed is absent. None where the run had no comments.
    comparisons : sequence of ModelComparison
        Any pairs of `models`, either way round; a pair without one gets figures but no judgement.
    digits : mapping of str to float, optional
        Share of the test digits that each network reads correctly; without networks or None
        nothing is said of them.
    n_digits : int
        Number of test digits.

    Returns
    -------
    tuple of str
        In this order and where they apply: which model to use, how it stands against the others,
        what is worse than the constant answer, what only guesses, the weakest class, what could
        not be judged, and the digits.
    """
    sentences = [] if models is None else _comment_sentences(models, comparisons)
    if digits:
        shares = [f"the {name} network reads {percent(share)}" for name, share in digits.items()]
        sentences.append(f"Of {n_digits:,} unseen digits {_listed(shares)} correctly.")
    return tuple(sentences)


def _find(
    comparisons: Sequence[ModelComparison], model: str, rival: str
) -> tuple[Outcome, Outcome] | None:
    """What is known of model against rival, as (accuracy, macro-F1), either way round."""
    for c in comparisons:
        if (c.model, c.rival) == (model, rival):
            return c.accuracy_outcome, c.f1_macro_outcome
        if (c.model, c.rival) == (rival, model):
            return OPPOSITE[c.accuracy_outcome], OPPOSITE[c.f1_macro_outcome]
    return None


def _outcome(comparisons: Sequence[ModelComparison], model: str, rival: str) -> Outcome | None:
    """Which of the two `recommend_model` holds for better."""
    known = _find(comparisons, model, rival)
    if known is None:
        return None
    first, second = known[::-1] if CONSTANT in (model, rival) else known
    return second if first == "unclear" else first


def _only_guesses(comparisons: Sequence[ModelComparison], model: str) -> bool:
    """Whether a model is not shown to be better than guessing."""
    kappas = [c.kappa_interval for c in comparisons if c.model == model]
    kappas += [c.rival_kappa_interval for c in comparisons if c.rival == model]
    return bool(kappas) and kappas[0][0] <= 0


def _standing(comparisons: Sequence[ModelComparison], model: str, rivals: Mapping[str, str]) -> str:
    """How model stands against its rivals (titles by name), those alike in one breath."""
    groups: dict[tuple[Outcome, Outcome] | None, list[str]] = {}
    for name, title in rivals.items():
        groups.setdefault(_find(comparisons, model, name), []).append(title)
    return "; ".join(_against(known, _listed(titles)) for known, titles in groups.items())


def _against(known: tuple[Outcome, Outcome] | None, rivals: str) -> str:
    """Words for what is known of accuracy and macro-F1 against rivals."""
    match known:
        case None:
            return f"not compared with {rivals}"
        case ("unclear", "unclear"):
            return f"as good as {rivals}"
        case ("unclear", rarer):
            return f"as often right as {rivals}, but {rarer} at the rarer classes"
        case ("better", "worse"):
            return f"more often right than {rivals}, but worse at the rarer classes"
        case ("worse", "better"):
            return f"less often right than {rivals}, but better at the rarer classes"
        case (accuracy, _):
            return f"{accuracy} than {rivals}"


def _listed(phrases: Sequence[str]) -> str:
    """Join phrases as in "a, b and c"."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


def _comment_sentences(
    models: Mapping[str, Scores], comparisons: Sequence[ModelComparison]
) -> list[str]:
    """The sentences of `verdict_sentences` on the comments."""
    trained = [name for name in models if name not in (CONSTANT, SERVING)]
    chosen = recommend_model(models, comparisons)
    if chosen is None:
        return ["No model could be judged on the comments."]

    def named(name: str) -> str:
        article = "" if name == CONSTANT else "the "
        return f"{article}{model_title(name, models)}"

    def figure(name: str) -> str:
        return percent(models[name].accuracy)

    unit = f"{models[chosen].n_rows:,} test comments"
    sentences = []
    if chosen == CONSTANT:
        figures = [f"{named(name)} {figure(name)}" for name in trained]
        tail = f", and nothing here is shown to beat it: {_listed(figures)}" if figures else ""
        sentences.append(
            f"Use none of these models: {named(CONSTANT)} is right for {figure(CONSTANT)} "
            f"of {unit}{tail}."
        )
    else:
        against = _find(comparisons, chosen, CONSTANT)
        condition = " if every class matters to you" if against == ("worse", "better") else ""
        sentences.append(
            f"Use {named(chosen)}{condition}: it is right for {figure(chosen)} of {unit}."
        )
        others = [name for name in models if name not in (chosen, SERVING)]
        rivals = sorted(others, key=_simplest_first)
        if rivals:
            titles = {name: f"{named(name)} ({figure(name)})" for name in rivals}
            sentences.append(f"It is {_standing(comparisons, chosen, titles)}.")

        if SERVING in models:
            serving = {SERVING: f"the one that serves now ({figure(SERVING)})"}
            sentences.append(f"It is {_standing(comparisons, chosen, serving)}.")

    if below := [n for n in trained if _outcome(comparisons, n, CONSTANT) == "worse"]:
        verb = "are" if len(below) > 1 else "is"
        losers = _listed([f"{named(name)} ({figure(name)})" for name in below])
        sentences.append(_sentence(f"{losers} {verb} worse than {named(CONSTANT)}."))
    if guess := [n for n in trained if n not in below and _only_guesses(comparisons, n)]:
        verb, whose = ("are", "their") if len(guess) > 1 else ("is", "its")
        guessers = _listed([f"{named(name)} ({figure(name)})" for name in guess])
        sentences.append(
            _sentence(
                f"{guessers} {verb} not shown to be better than guessing: {whose} answers, dealt "
                "out at random, might be right as often."
            )
        )
    if trained:
        sentences.append(_weakness_sentence({name: models[name] for name in trained}))
    if missing := [MODEL_TITLES[name] for name in EXPECTED if name not in models]:
        sentences.append(f"Not judged in this run: the {_listed(missing)}.")
    return sentences


def _weakness_sentence(models: Mapping[str, Scores]) -> str:
    """Which class is found least, and by how much."""
    first = next(iter(models.values()))
    found = {
        label: [scores.confusion_matrix[i][i] for scores in models.values()]
        for i, label in enumerate(first.labels)
        if first.per_class[label].support
    }
    support = {label: first.per_class[label].support for label in found}
    weakest = min(found, key=lambda label: sum(found[label]) / support[label])
    sought = f"Weakest class: of {support[weakest]:,} “{weakest}” comments"
    if not any(found[weakest]):
        return f"{sought} no model finds any."
    counts = [
        f"the {model_title(name)} finds {n_found or 'none'}"
        for name, n_found in zip(models, found[weakest], strict=True)
    ]
    return f"{sought} {_listed(counts)}."


def _simplest_first(name: str) -> int:
    titles = list(MODEL_TITLES)
    return titles.index(name) if name in titles else len(titles)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]
