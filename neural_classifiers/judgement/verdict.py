"""A comparison in sentences: which model is recommended, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from neural_classifiers.judgement.choice import (
    HeldOutScores,
    Pairs,
    Price,
    Standings,
    best_and_cheapest,
)
from neural_classifiers.judgement.names import (
    CONSTANT,
    LINEAR,
    MODEL_TITLES,
    SERVING,
    percent,
)
from neural_classifiers.judgement.scores import (
    ALPHA,
    Comparison,
    ModelComparison,
    Scores,
    model_title,
)

EXPECTED = (CONSTANT, LINEAR, "scikit", "keras")  # in every run


def comparison_in_words(comparison: Comparison) -> str:
    """Plain words for what a comparison allows one to say.

    "better", "worse" or "no difference that 900 comments could show" for accuracy; what macro-F1
    says of the rarer classes is added where that is another clear answer, and that the model only
    guesses where that is why macro-F1 does not count.
    """
    accuracy, f1_macro = comparison.accuracy_standing, comparison.f1_macro_standing
    shown = f"that {comparison.n_rows:,} comments could show"
    overall = f"no difference {shown}" if accuracy == "unclear" else accuracy
    is_ahead = comparison.f1_macro_p_value < ALPHA and comparison.f1_macro_difference > 0
    if f1_macro == "unclear" and is_ahead:
        return f"{overall}, and no better than guessing"
    if f1_macro in ("unclear", accuracy):
        return overall
    in_accuracy = f"no difference in accuracy {shown}" if accuracy == "unclear" else accuracy
    return f"{in_accuracy}, but {f1_macro} at the rarer classes"


def digits_sentence(shares: Mapping[str, float], n_digits: int) -> str:
    """Sum up networks by the share of so many test digits that each reads correctly."""
    reads = [f"the {name} network reads {percent(share)}" for name, share in shares.items()]
    return f"Of {n_digits:,} unseen digits {_listed(reads)} correctly."


@dataclass(frozen=True)
class Judgement:
    """The models of a run: which one is recommended, and that in sentences.

    The training rows choose (`choice.best_and_cheapest`), so that the figures of the chosen model
    on the test set are what they seem; the test set confirms or refuses the choice.

    Attributes
    ----------
    models : mapping of str to Scores
        Scored on the same test comments, under the names of `MODEL_TITLES`. The serving model is
        none of this run: it is not recommended, only compared with.
    comparisons : sequence of ModelComparison
        On those comments, either way round; a pair that is not compared gets figures but no
        judgement.
    held_out : HeldOutScores, optional
        On training comments. Models that are missing there or among `models` cannot be chosen.
    prices : mapping of str to Price
    """

    models: Mapping[str, Scores]
    comparisons: Sequence[ModelComparison]
    held_out: HeldOutScores | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)

    @property
    def pairs(self) -> Pairs:
        """The comparisons on the test comments."""
        return Pairs(self.comparisons)

    @cached_property
    def best_and_chosen(self) -> tuple[str, str] | None:
        """The best model on the training comments, and the one chosen there; None if none is."""
        return best_and_cheapest(self.held_out, self.prices) if self.held_out else None

    @property
    def chosen(self) -> str | None:
        """The model that the training comments chose; "constant" if none was of use."""
        if self.best_and_chosen:
            return self.best_and_chosen[1]
        return CONSTANT if self.held_out and CONSTANT in self.models else None

    @property
    def refused_by(self) -> list[str]:
        """Models of this run that the test comments show better than the chosen one."""
        chosen = str(self.chosen)
        training = Pairs(self.held_out.comparisons if self.held_out else ())

        def is_ahead(name: str) -> bool:
            match self.pairs.standings(name, chosen), training.standings(name, chosen):
                case ("better", _), _:
                    return True
                case ("unclear", "better"), ("unclear" | "better", _):
                    return True  # but not one that the training rows show less often right
            return False

        return [n for n in self.models if n not in (CONSTANT, SERVING) and is_ahead(n)]

    @property
    def recommended(self) -> str | None:
        """The chosen model, if the test comments do not refuse it.

        "constant" if they do not show it better than the constant answer. There the share of right
        answers decides only where macro-F1 cannot, since of unequal classes a useful model may be
        less often right than the commonest answer. None if they show another model better.
        """
        chosen = self.chosen
        if chosen in (None, CONSTANT):
            return chosen
        if not self.pairs.is_useful(str(chosen), self.models):
            return CONSTANT if CONSTANT in self.models else None
        return None if self.refused_by else chosen

    def sentences(self) -> list[str]:
        """A few sentences that need no statistics to be understood.

        In this order and where they apply: which model to use, how it was chosen, how it stands
        against the others, what is worse than the constant answer, what only guesses, the weakest
        class, what could not be judged.
        """
        chosen = self.chosen
        if chosen is None or chosen not in self.models:
            return ["No model could be judged on the comments."]
        trained = [name for name in self.models if name not in (CONSTANT, SERVING)]
        below = [name for name in trained if self.pairs.standing(name, CONSTANT) == "worse"]
        guessing = [n for n in trained if n not in below and self.pairs.only_guesses(n)]
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
        is_traded = self.pairs.standings(chosen, CONSTANT) == ("worse", "better")
        condition = " if every class matters to you" if is_traded else ""
        price = f" at {price_in_words(self.prices[chosen])}" if chosen in self.prices else ""
        first = f"Use {self._title(chosen)}{condition}: it is right for {right}{price}."
        none, n_rows = "Use none of these models", f"{self.models[chosen].n_rows:,} test comments"
        if self.recommended is None:
            better = _listed([self._with_score(name) for name in self.refused_by])
            first = (
                f"{none} before new comments have judged them: {n_rows} show {better} to be better "
                f"than {self._with_score(chosen)}, which the training comments chose."
            )
        elif self.recommended == CONSTANT:
            first = (
                f"{none}: {n_rows} do not show that {self._with_score(chosen)}, which the training "
                f"comments chose, is better than {self._with_score(CONSTANT)}."
            )
        sentences = [first, self._on_choice(chosen)]
        rivals = [name for name in self.models if name not in (chosen, SERVING)]
        rivals.sort(key=list(MODEL_TITLES).index)  # simplest first
        titles = {name: self._with_score(name) for name in rivals}
        if titles:
            sentences.append(f"It is {self._against(chosen, titles)}.")
        if SERVING in self.models:
            serving = {SERVING: f"the one that serves now ({self._score(SERVING)})"}
            sentences.append(f"It is {self._against(chosen, serving)}.")
        return sentences

    def _on_choice(self, chosen: str) -> str:
        """How the model was chosen, and what the test comments say of that."""
        assert self.held_out
        assert self.best_and_chosen
        best = self.best_and_chosen[0]
        cheapest = f"the cheapest not shown worse there than the best, {self._title(best)}"
        return (
            f"Chosen by cross-validated answers to {self.held_out.n_rows:,} training comments, as "
            f"{'the best there' if best == chosen else cheapest}; the test comments "
            f"{'confirm' if self.recommended == chosen else 'refuse'} it (p-values are corrected "
            f"for {len(self.comparisons)} pairs by Holm)."
        )

    def _against(self, model: str, rivals: Mapping[str, str]) -> str:
        """How a model stands against rivals (titles by name), those alike in one breath."""
        groups: dict[Standings | None, list[str]] = {}
        for name, title in rivals.items():
            groups.setdefault(self.pairs.standings(model, name), []).append(title)
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
            return f"not told apart from {rivals}"
        case ("unclear", rarer):
            return (
                f"not told apart from {rivals} by right answers, but {rarer} at the rarer classes"
            )
        case ("better", "worse"):
            return f"more often right than {rivals}, but worse at the rarer classes"
        case ("worse", "better"):
            return f"less often right than {rivals}, but better at the rarer classes"
        case (accuracy, _):
            return f"{accuracy} than {rivals}"


def price_in_words(price: Price) -> str:
    """Milliseconds, megabytes and seconds.

    Examples
    --------
    >>> price_in_words(Price(ms_per_text=1.13, megabytes=2.04, training_s=75.2))
    '1.1 ms a text, 2.0 MB, 75 s of training'
    """
    return (
        f"{price.ms_per_text:.1f} ms a text, {price.megabytes:.1f} MB, "
        f"{price.training_s:,.0f} s of training"
    )


def _listed(phrases: Sequence[str]) -> str:
    """Phrases joined as in "a, b and c"."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)
