"""Departures from the notebook, with the reason for each."""

DEPARTURES = (
    "Every word of a comment is stemmed. The notebook stems the whole comment as one word, so only "
    "its last word changes.",
    "The vectoriser is fitted on training comments only, inside each fold. The notebook fits it "
    "again on the test set before the Keras network predicts, so the columns mean other words.",
    "The Keras network's 2,100 features are a choice; the notebook takes the number of rows for "
    "the number of features.",
    "A constant answer, the best linear model and improved networks are judged beside the "
    "notebook's two. The notebook has no baseline, and hides that its Keras network is worse than "
    "always giving one answer.",
    "Candidates that cannot differ are fitted once: 48 of the notebook's 108 repeat another one.",
    "[removed] comments and duplicates are dropped and counted, the split is stratified, and no "
    "cleaned text stands on both sides of it.",
    "Stop words go while the apostrophe stands, and punctuation separates words. The notebook "
    "makes “dont” of “don't” and “pcconsole” of “pc/console”.",
    "The digits' validation images come from the training set, everything is seeded, the models "
    "are kept, and the headline is the test accuracy, not the training accuracy.",
)
