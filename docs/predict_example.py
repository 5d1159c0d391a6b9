"""A promoted model in one's own program: no Prefect, no server, nothing but the folder."""

import sys

import neural_classifiers

if __name__ == "__main__":
    which = sys.argv[1] if len(sys.argv) > 1 else "comments"  # the model that serves, or a folder
    model = neural_classifiers.load(which)
    comments = ["The goalie saved it in the last minute!", "A new probe in orbit around Mars"]

    print(model.version, "knows", *model.classes_)
    for comment, label, row in zip(
        comments, model.predict(comments), model.predict_proba(comments), strict=True
    ):
        print(f"{row.max():.2f} {label:<24} {comment}")
