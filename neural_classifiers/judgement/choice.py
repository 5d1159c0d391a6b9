"""The choice of a model by training rows alone, so that the test set can confirm or refuse it.

Judged are the answers that cross-validation kept: each row's by a model that was not fitted on it.
The parameters of a model were chosen by the same rows, so these scores are a little too good, for
all searched models alike; the test set, which chose nothing, says how good the chosen one is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from neural_classifiers.judgement.names import CONSTANT, MODEL_TITLES
from neural_classifiers.judgement.scores import OPPOSITE, ModelComparison, Standing
from neural_classifiers.values import Values

Standings = tuple[Standing, Standing]  # by the share of right answers, by macro-F1
SAME_PRICE = 2  # a price up to so many times the least is not told from it


class Price(Values):
    """Cost of a model, as measured: an answer to one text alone, its files, its search and fit.

    Times are the processor's: on a busy machine those of the clock say little.
    """

    ms_per_text: float
    megabytes: float
    training_s: float


class HeldOutScores(Values):
    """Scores of models by name on `n_rows` training rows held out, and every pair compared."""

    n_rows: int
    accuracy: dict[str, float]
    f1_macro: dict[str, float]
    comparisons: list[ModelComparison]


@dataclass(frozen=True)
class Pairs:
    """Comparisons of pairs of models on the same rows, to be asked either way round."""

    comparisons: Sequence[ModelComparison]

    def standings(self, model: str, rival: str) -> Standings | None:
        """The two standings of a model against a rival; None if they were not compared."""
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

    def is_useful(self, model: str, models: Collection[str]) -> bool:
        """Whether a model is shown better than guessing, and than the constant answer if there."""
        if self.only_guesses(model):
            return False
        return CONSTANT not in models or self.standing(model, CONSTANT) == "better"


def best_and_cheapest(
    held_out: HeldOutScores, prices: Mapping[str, Price]
) -> tuple[str, str] | None:
    """The best model, and the cheapest that is not shown worse than it; None if none is of use.

    The best is, of the models that are not shown less often right than the one most often right,
    that of the highest macro-F1. Cheap is first what answers fast, then what trained fast, then
    what is simple: of prices that differ by less than a factor of two neither is the lower.
    """
    pairs = Pairs(held_out.comparisons)
    names = [
        n for n in held_out.accuracy if n != CONSTANT and pairs.is_useful(n, held_out.accuracy)
    ]
    best = ""
    for part, scores in enumerate((held_out.accuracy, held_out.f1_macro)):
        if not names:
            return None
        best = max(names, key=scores.__getitem__)
        against = {name: pairs.standings(name, best) for name in names}
        names = [name for name, both in against.items() if not both or both[part] != "worse"]
    for what in ("ms_per_text", "training_s") if prices.keys() >= set(names) else ():
        price = {name: prices[name].as_dict()[what] for name in names}
        names = [name for name in names if price[name] <= SAME_PRICE * min(price.values())]
    return best, min(names, key=list(MODEL_TITLES).index)
