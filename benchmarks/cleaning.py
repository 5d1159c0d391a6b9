"""What each cleaning option does to cross-validated macro-F1 of the linear model.

    python benchmarks/cleaning.py comments.jsonl.gz --rows 12000

Training rows alone: the test set of the default split is never looked at. Each option is changed
alone; the difference to the default is paired by fold, over five folds of each of three samples.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
VARIANTS = {
    "default": {},
    "notebook": {"preset": "notebook"},
    "mojibake": {"mojibake": True},
    "html_entities": {"html_entities": True},
    "unicode NFC": {"unicode": "NFC"},
    "unicode NFKC": {"unicode": "NFKC"},
    "quoted_lines drop": {"quoted_lines": "drop"},
    "markdown": {"markdown": True},
    "urls drop": {"urls": "drop"},
    "emoji drop": {"emoji": "drop"},
    "emoji name": {"emoji": "name"},
    "contractions": {"contractions": True},
    "stop_words keep": {"stop_words": "keep"},
    "stop_words after punctuation": {"stop_words": "drop after punctuation"},
    "punctuation delete": {"punctuation": "delete"},
    "punctuation keep": {"punctuation": "keep"},
    "stem none": {"stem": "none"},
    "stem whole comment": {"stem": "whole comment"},
    "html, markdown, urls, quotes": {
        "html_entities": True,
        "markdown": True,
        "urls": "drop",
        "quoted_lines": "drop",
    },
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="path, or a name in the catalogue")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[34, 35, 36])
    told = parser.parse_args()

    from sklearn.metrics import f1_score
    from sklearn.model_selection import StratifiedKFold

    from neural_classifiers.comments.models.pipelines import linear_pipeline
    from neural_classifiers.comments.rows import count_rows, draw_rows, read_comments
    from neural_classifiers.comments.splits import split_comments
    from neural_classifiers.comments.text import clean_comments, cleaning_of
    from tasks.ingest import layout_of, parts_of
    from tasks.sources import find_source

    source = find_source(told.source, "comments")
    layout, parts = layout_of(source, "txt", "cat", None), parts_of(source)
    total = count_rows(parts, layout).total
    scores: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for seed in told.seeds:
        batches = read_comments(parts, layout, draw_rows(total, source.name, told.rows, seed))
        rows = [row for b in batches for row in b.to_pylist() if row["txt"] and row["cat"]]
        labels = np.array([row["cat"] for row in rows])
        texts = [row["txt"] for row in rows]
        # the split of the default cleaning, for every variant: the same rows are held out
        split = split_comments(clean_comments(texts), labels.tolist(), seed=seed)
        y = labels[split.train]
        folds = list(StratifiedKFold(5, shuffle=True, random_state=seed).split(y, y))
        for name, options in VARIANTS.items():
            began = time.monotonic()
            cleaned = clean_comments([texts[i] for i in split.train], cleaning=cleaning_of(options))
            X = np.array(cleaned, dtype=object)
            for train, test in folds:
                # the parameters that the pipeline's own search mostly chooses
                model = linear_pipeline()
                model.set_params(classifier__C=10, classifier__class_weight="balanced")
                model.fit(X[train], y[train])
                scores[name].append(f1_score(y[test], model.predict(X[test]), average="macro"))
            sys.stderr.write(f"{seed} {name} {time.monotonic() - began:.1f} s\n")
    base = np.array(scores["default"])
    print(f"{source.name}, {told.rows:,} rows drawn, 70 % of them used, seeds {told.seeds}")
    print("| option | macro-F1 | against default | standard error |")
    print("| --- | --- | --- | --- |")
    for name, found in scores.items():
        difference = np.array(found) - base
        error = difference.std(ddof=1) / len(difference) ** 0.5
        print(f"| {name} | {np.mean(found):.4f} | {difference.mean():+.4f} | {error:.4f} |")


if __name__ == "__main__":
    main()
