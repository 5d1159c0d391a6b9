"""Departures from the notebook: what is done differently here, why, and by which code."""

from neural_classifiers.values import Values


class Departure(Values):
    """A departure from the notebook.

    `title` says what is done here in a few words, `why` what the notebook does instead, `heading`
    where in it, `code` the function that departs, by its full name.
    """

    heading: str
    title: str
    why: str
    code: str


DEPARTURES = tuple(
    Departure(heading=heading, title=title, why=why, code=f"neural_classifiers.{code}")
    for heading, title, why, code in (
        (
            "Load and Clean Comment Data",
            "Every word of a comment is stemmed",
            "the notebook stems the whole comment as one word, so only its last word changes.",
            "comments.text.clean_column",
        ),
        (
            "Load and Clean Comment Data",
            "Stop words go while the apostrophe stands, and punctuation separates words",
            "the notebook makes “dont” of “don't” and “pcconsole” of “pc/console”.",
            "comments.text.clean_column",
        ),
        (
            "Load and Clean Comment Data",
            "Removed comments and duplicates go, and no cleaned text stands on both sides",
            "the notebook keeps them and splits by chance: here “[removed]” rows and duplicates "
            "are dropped and counted, and the split is stratified.",
            "comments.splits.split_keys",
        ),
        (
            "Part 2",
            "The vectoriser is fitted on training comments only, inside each fold",
            "the notebook fits it again on the test set before the Keras network predicts, so the "
            "columns mean other words and it scores worse than always giving one answer.",
            "comments.models.pipelines.keras_pipeline",
        ),
        (
            "Part 2",
            "The Keras network's 2,100 features are a choice",
            "the notebook takes the number of rows for the number of features.",
            "comments.models.pipelines.keras_pipeline",
        ),
        (
            "Parts 1 and 2",
            "Baselines and improved networks are judged beside the notebook's networks",
            "the notebook has no baseline, and hides that its Keras network is worse than always "
            "giving one answer: here a constant answer and the best linear model are, with paired "
            "tests.",
            "judgement.scores.compare_predictions",
        ),
        (
            "Parts 1 and 2",
            "Candidates that cannot differ are fitted once",
            "48 of the notebook's 108 repeat another one, so 60 are distinct.",
            "search.equivalence.describe",
        ),
        (
            "Part 3",
            "Digits are validated on training images set aside, and tested once",
            "the notebook validates on the test set and quotes the training accuracy; here "
            "everything is seeded, every model is kept, and the headline is the test accuracy.",
            "digits.networks.judge",
        ),
    )
)
