"""Warnings: what a reader should know before using a model."""

from collections.abc import Sequence

import numpy as np

from neural_classifiers.comments.drift import Profile
from neural_classifiers.judgement.names import CONSTANT, SIMPLE, percent
from neural_classifiers.report.sections import CommentsSection

TOO_GOOD = 0.99  # no model sorts people's comments so well without a leak
NEAR_DUPLICATES = 0.05  # of the test comments, beyond which they make a score look better
SUSPECTED = 0.05  # of the training comments
ERRORS_SHOWN, ERROR_LENGTH = 3, 300  # of a grid; characters
ENGLISH = 0.1  # stop words among the words of comments, below which they are of another language
UNSURE = 0.1  # calibration error beyond which probabilities mislead


def warnings_of(section: CommentsSection) -> list[str]:
    """Sentences that warn of what is odd about a run's models; none where all is well."""
    trained = {name: model for name, model in section.models.items() if name != CONSTANT}
    titles, near, examined = section.titles, section.near_duplicates, section.examined
    warnings = [*section.notes]
    best = max(trained, key=lambda name: trained[name].accuracy, default=None)
    if best and trained[best].accuracy >= TOO_GOOD:
        warnings.append(
            f"Too good to be true? The {titles[best]} is right for "
            f"{percent(trained[best].accuracy)} of the test comments. Look whether the text "
            "gives its label away; the words that decide, below, may show how."
        )
    if near and near["share"] > NEAR_DUPLICATES:
        warnings.append(
            f"{percent(near['share'])} of the test comments nearly repeat a training comment: the "
            "scores are better than they would be on new comments."
        )
    for name, model in trained.items():
        answers = np.sum(model.confusion_matrix, axis=0)
        if never := [c for c, n in zip(model.labels, answers, strict=True) if not n]:
            listed = " and ".join(f"“{label}”" for label in never)
            warnings.append(f"The {titles[name]} never answers {listed}.")
    for name, grid in section.grids.items():
        warnings += [
            f"{n:,} of {grid.candidates:,} candidates of the {titles.get(name, name)} failed and "
            f"have no score: {error[:ERROR_LENGTH]}"
            for error, n in list(grid.errors.items())[:ERRORS_SHOWN]
        ]
    if unjudged := [c for c, n in section.counts.items() if not n["test"]]:
        listed = " or ".join(f"“{label}”" for label in unjudged)
        warnings.append(f"No test comment is {listed}: how well that is found, nothing here says.")
    warnings += _on_best_network(section)
    if section.recommended in trained:
        ece = trained[section.recommended].calibration.ece
        if ece > UNSURE:
            warnings.append(
                f"The probabilities of the {titles[section.recommended]} mislead: they are off by "
                f"{percent(ece)} on average."
            )
    if examined and examined.n_suspected / examined.rows > SUSPECTED:
        warnings.append(
            f"{percent(examined.n_suspected / examined.rows)} of the training comments may carry a "
            "wrong label; the likeliest are listed below."
        )
    return warnings


def about_encoder(asked: str | None, languages: Sequence[str] | None, profile: Profile) -> str:
    """A warning that a pretrained encoder was left out, or does not know the language; or "".

    Parameters
    ----------
    asked : str or None
        Its name; None where none was asked for.
    languages : sequence of str or None
        Its languages, as far as they are stated; None where it could not be had.
    profile : Profile
        Of the comments.
    """
    if asked is None:
        return ""
    if languages is None:
        return f"The pretrained encoder {asked} was left out: its files could not be had."
    share = profile.n_stop_words / max(profile.n_words, 1)
    if list(languages) == ["English"] and share < ENGLISH:
        return (
            f"The pretrained encoder {asked} knows English, which these comments hardly are: "
            f"{percent(share)} of their words are English stop words."
        )
    return ""


def _on_best_network(section: CommentsSection) -> list[str]:
    """Warnings that no network is shown to beat the simpler model that is recommended."""
    accuracy = section.held_out.accuracy if section.held_out else {}
    networks = [name for name in section.models if name in accuracy and name not in SIMPLE]
    best = max(networks, key=accuracy.__getitem__, default=None)
    if section.recommended not in SIMPLE:
        return []
    warnings = []
    for c in section.comparisons:
        if (c.model, c.rival) != (best, section.recommended):
            continue
        title, rival = section.titles[c.model], section.titles[c.rival]
        if c.accuracy_standing == "unclear":
            warnings.append(
                f"The test set is too small to tell the {title} from the {rival}: it answers "
                f"{c.won + c.lost:,} of {c.n_rows:,} comments better or worse, so a difference of "
                f"{100 * c.smallest_shown:.1f} points or more would be shown, and this one is "
                f"{100 * abs(c.accuracy_difference):.1f}."
            )
        if c.rival != CONSTANT:
            warnings.append(
                f"A simpler model will do: no network is shown to be better than the {rival}, not "
                f"even the {title}. That does not show that they are equal."
            )
    return warnings
