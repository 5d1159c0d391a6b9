"""Departures from the notebook: what is done differently here, why, and by which code."""

from typing import NamedTuple


class Departure(NamedTuple):
    """A departure from the notebook.

    `title` says what is done here in a few words, `why` what the notebook does instead, `heading`
    where in it, `code` the function that departs, by its full name.
    """

    heading: str
    title: str
    why: str
    code: str


CLEANING, NETWORKS = "Load and Clean Comment Data", "Parts 1 and 2"
DEPARTURES = (
    Departure(
        CLEANING,
        "Every word of a comment is stemmed",
        "the notebook stems the whole comment as one word, so only its last word changes.",
        "neural_classifiers.comments.text.clean_column",
    ),
    Departure(
        CLEANING,
        "Stop words go while the apostrophe stands, and punctuation separates words",
        "the notebook makes “dont” of “don't” and “pcconsole” of “pc/console”.",
        "neural_classifiers.comments.text.clean_column",
    ),
    Departure(
        "Split Data",
        "Removed comments and duplicates go, and no cleaned text stands on both sides",
        "the notebook keeps them and splits by chance: here “[removed]” rows and duplicates "
        "are dropped and counted, and the split is stratified.",
        "neural_classifiers.comments.splits.split_keys",
    ),
    Departure(
        "Part 2",
        "The vectoriser is fitted on training comments only, inside each fold",
        "the notebook fits it again on the test set before the Keras network predicts, so the "
        "columns mean other words and it scores worse than always giving one answer.",
        "neural_classifiers.comments.models.pipelines.keras_pipeline",
    ),
    Departure(
        "Part 2",
        "The Keras network's 2,100 features are a choice",
        "the notebook takes the number of rows for the number of features.",
        "neural_classifiers.comments.models.pipelines.keras_pipeline",
    ),
    Departure(
        NETWORKS,
        "Baselines are judged beside the notebook's networks",
        "the notebook has no baseline, and hides that its Keras network is worse than always "
        "giving one answer: here a constant answer and the best linear model are, with paired "
        "tests.",
        "neural_classifiers.judgement.scores.compare_predictions",
    ),
    Departure(
        NETWORKS,
        "Candidates that cannot differ are fitted once",
        "48 of the notebook's 108 repeat another one, so 60 are distinct.",
        "neural_classifiers.search.equivalence.describe",
    ),
    Departure(
        "Part 3",
        "Digits are validated on training images set aside, and tested once",
        "the notebook validates on the test set and quotes the training accuracy; here "
        "everything is seeded, every model is kept, and the headline is the test accuracy.",
        "neural_classifiers.digits.splits.validation_split",
    ),
    Departure(
        CLEANING,
        "The comments drawn are others than the notebook's",
        "the notebook draws 3,000 by pandas after reading the whole file; here rows are drawn by "
        "numpy's generator before any is read, so that a large file need not fit in memory.",
        "neural_classifiers.comments.rows.draw_rows",
    ),
)
