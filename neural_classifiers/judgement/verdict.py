"""A comparison in sentences: which model is recommended, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    Scores,
    Standing,
    model_title,
)

EXPECTED = (CONSTANT, LINEAR, "scikit", "keras")  # in every run
Standings = tuple[Standing, Standing]  # by the share of right answers, by macro-F1


def comparison_in_words(comparison: Comparison) -> str:
    """Plain words for what a comparison allows one to say.

    "better", "worse" or "no difference that 900 comments could show" for accuracy; what macro-F1
    says of the rarer classes is added where that is another clear answer, and that the model only
    guesses where that is why macro-F1 does not count.
    """
    accuracy, f1_macro = comparison.accuracy_standing, comparison.f1_macro_standing
    shown = f"that {comparison.n_rows:,} comments could show"
    overall = f"no difference {shown}" if accuracy == "unclear" else accuracy
    if f1_macro == "unclear" and comparison.f1_macro_interval[0] > 0:
        return f"{overall}, and no better than guessing"
    if f1_macro in ("unclear", accuracy):
        return overall
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

    Gives ``"constant"`` where no model beats it, None where there is no model.
    """
    return _Judgement(models, comparisons).recommended()


def verdict_sentences(
    models: Mapping[str, Scores], comparisons: Sequence[ModelComparison]
) -> list[str]:
    """Sum up models in a few sentences that need no statistics to be understood.

    In this order and where they apply: which model to use, how it stands against the others, what
    is worse than the constant answer, what only guesses, the weakest class, what could not be
    judged. Models are scored on the same test comments, under the names of `MODEL_TITLES`; pairs
    are compared either way round, and one that is not gets figures but no judgement.
    """
    return _Judgement(models, comparisons).sentences()


def digits_sentence(shares: Mapping[str, float], n_digits: int) -> str:
    """Sum up networks by the share of so many test digits that each reads correctly."""
    reads = [f"the {name} network reads {percent(share)}" for name, share in shares.items()]
    return f"Of {n_digits:,} unseen digits {_listed(reads)} correctly."


@dataclass(frozen=True)
class _Judgement:
    """Models and their comparisons: who stands how against whom, and that in sentences."""

    models: Mapping[str, Scores]
    comparisons: Sequence[ModelComparison]

    def standings(self, model: str, rival: str) -> Standings | None:
        """The two standings of a model against a rival, compared either way round."""
        for c in self.comparisons:
            if (c.model, c.rival) == (model, rival):
                return c.accuracy_standing, c.f1_macro_standing
            if (c.model, c.rival) == (rival, model):
                return OPPOSITE[c.accuracy_standing], OPPOSITE[c.f1_macro_standing]
        return None

    def standing(self, model: str, rival: str) -> Standing | None:
        """The one that decides: macro-F1 first against the constant answer, else accuracy."""
        both = self.standings(model, rival)
        if both is None:
            return None
        first, second = both[::-1] if CONSTANT in (model, rival) else both
        return second if first == "unclear" else first

    def only_guesses(self, model: str) -> bool:
        """Whether a model is not shown to be better than guessing."""
        kappas = [c.kappa_interval for c in self.comparisons if c.model == model]
        kappas += [c.rival_kappa_interval for c in self.comparisons if c.rival == model]
        return bool(kappas) and kappas[0][0] <= 0

    def recommended(self) -> str | None:
        """The simplest model that nothing is shown to beat."""
        networks = sorted(
            (name for name in self.models if name not in (*SIMPLE, SERVING)),
            key=lambda name: -self.models[name].accuracy,
        )
        simple = [name for name in SIMPLE if name in self.models]
        if not simple:
            return networks[0] if networks else None
        chosen = simple[0]

        def is_better(name: str) -> bool:
            rivals = {rival for rival in (CONSTANT, chosen) if rival in self.models}
            is_shown = all(self.standing(name, rival) == "better" for rival in rivals)
            return is_shown and not self.only_guesses(name)

        for name in simple[1:]:
            if is_better(name):
                chosen = name
        return next(filter(is_better, networks), chosen)

    def sentences(self) -> list[str]:
        """The sentences on the comments."""
        chosen = self.recommended()
        if chosen is None:
            return ["No model could be judged on the comments."]
        trained = [name for name in self.models if name not in (CONSTANT, SERVING)]
        below = [name for name in trained if self.standing(name, CONSTANT) == "worse"]
        guessing = [name for name in trained if name not in below and self.only_guesses(name)]
        missing = [MODEL_TITLES[name] for name in EXPECTED if name not in self.models]
        sentences = self._on_chosen(chosen, trained)
        if below:
            verb = "are" if len(below) > 1 else "is"
            losers = _listed([self._with_score(name) for name in below])
            sentences.append(f"{losers} {verb} worse than {self._title(CONSTANT)}.")
        if guessing:
            verb, whose = ("are", "their") if len(guessing) > 1 else ("is", "its")
            sentences.append(
                f"{_listed([self._with_score(name) for name in guessing])} {verb} not shown to be "
                f"better than guessing: {whose} answers, dealt out at random, might be right as "
                "often."
            )
        if trained:
            sentences.append(self._on_weakest_class(trained))
        if missing:
            sentences.append(f"Not judged in this run: the {_listed(missing)}.")
        return [sentence[0].upper() + sentence[1:] for sentence in sentences]

    def _on_chosen(self, chosen: str, trained: Sequence[str]) -> list[str]:
        """Which model to use, how it stands against the others and against the serving one."""
        right = f"{self._score(chosen)} of {self.models[chosen].n_rows:,} test comments"
        if chosen == CONSTANT:
            others = _listed([f"{self._title(name)} {self._score(name)}" for name in trained])
            tail = f", and nothing here is shown to beat it: {others}" if others else ""
            return [
                f"Use none of these models: {self._title(CONSTANT)} is right for {right}{tail}."
            ]
        is_traded = self.standings(chosen, CONSTANT) == ("worse", "better")
        condition = " if every class matters to you" if is_traded else ""
        sentences = [f"Use {self._title(chosen)}{condition}: it is right for {right}."]
        rivals = [name for name in self.models if name not in (chosen, SERVING)]
        rivals.sort(key=list(MODEL_TITLES).index)  # simplest first
        titles = {name: self._with_score(name) for name in rivals}
        if titles:
            sentences.append(f"It is {self._against(chosen, titles)}.")
        if SERVING in self.models:
            serving = {SERVING: f"the one that serves now ({self._score(SERVING)})"}
            sentences.append(f"It is {self._against(chosen, serving)}.")
        return sentences

    def _against(self, model: str, rivals: Mapping[str, str]) -> str:
        """How a model stands against rivals (titles by name), those alike in one breath."""
        groups: dict[Standings | None, list[str]] = {}
        for name, title in rivals.items():
            groups.setdefault(self.standings(model, name), []).append(title)
        return "; ".join(_in_words(both, _listed(titles)) for both, titles in groups.items())

    def _on_weakest_class(self, trained: Sequence[str]) -> str:
        """Which class is recognised least, and by how much."""
        per_class = {name: self.models[name].per_class for name in trained}
        support = {c: each.support for c, each in per_class[trained[0]].items() if each.support}
        hits = {
            label: {name: round(per_class[name][label].recall * n) for name in trained}
            for label, n in support.items()
        }
        weakest = min(hits, key=lambda label: sum(hits[label].values()) / support[label])
        sought = f"Weakest class: of {support[weakest]:,} “{weakest}” comments"
        if not any(hits[weakest].values()):
            return f"{sought} no model finds any."
        counts = [
            f"the {model_title(name)} finds {n or 'none'}" for name, n in hits[weakest].items()
        ]
        return f"{sought} {_listed(counts)}."

    def _title(self, name: str) -> str:
        return f"{'' if name == CONSTANT else 'the '}{model_title(name, self.models)}"

    def _score(self, name: str) -> str:
        return percent(self.models[name].accuracy)

    def _with_score(self, name: str) -> str:
        return f"{self._title(name)} ({self._score(name)})"


def _in_words(standings: Standings | None, rivals: str) -> str:
    match standings:
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
    """Phrases joined as in "a, b and c"."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)
