"""Models of a run that may be promoted, read from its records: by hand the next day, or at its end.

The steps of ``run.json`` name the class of their result, so that what a run found is found again
as the references that its steps handed each other.
"""

import json
import platform
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from neural_classifiers.arrays.weights import weights_digest, weights_from_bytes
from neural_classifiers.comments.text import cleaning_of
from neural_classifiers.engine import history
from neural_classifiers.engine.records import File, Reference
from neural_classifiers.errors import RefusedError
from neural_classifiers.judgement.gates import Rival
from neural_classifiers.judgement.names import CONSTANT, SIMPLE
from neural_classifiers.judgement.weaknesses import slices_of
from neural_classifiers.serving.model import (
    COMMENTS,
    DIGITS,
    EXAMPLES,
    FORMAT,
    PIPELINE,
    PROFILE,
    RECIPE,
    SEEN,
    WEIGHTS,
    examples_to_bytes,
)
from neural_classifiers.serving.promotion import Challenger, example_rows
from neural_classifiers.serving.trained_on import (
    digests_of_images,
    digests_of_texts,
    profile_to_bytes,
    seen_to_bytes,
)
from tasks.references import Cleaned, Digits, Model, Scored, Split, TrainedDigits, read_digits

R = TypeVar("R", bound=Reference)


class NothingToPromoteError(RefusedError):
    """A run has no model that could be promoted: says what was expected and what came."""


class RunModels(ABC):
    """The models of one kind that a run has."""

    def __init__(self, run: history.Run) -> None:
        self._run = run

    @abstractmethod
    def names(self) -> list[str]:
        """The models that may be promoted."""

    @abstractmethod
    def best(self) -> list[str]:
        """The models to try, the best first, where there are any."""

    @abstractmethod
    def challenger(self, name: str) -> Challenger:
        """A model with all that promoting it takes."""

    def _last(self, result_type: type[R]) -> tuple[R, dict[str, Any]]:
        """The last result of a class, and its record."""
        results = history.results_of(self._run, result_type)
        if not results:
            raise NothingToPromoteError(
                f"{self._run.folder}: expected the record of a step that gave "
                f"{result_type.__name__}, got none: pruned, or never made"
            )
        return results[-1]

    def _manifest(
        self, kind: str, name: str, scores: File, recipe: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The entries that versions of both kinds have."""
        run, all_scores = self._run.told, json.loads(scores.verified().read_bytes())
        return {
            "format": FORMAT,
            "kind": kind,
            "model": name,
            "scores": {n: all_scores[n] for n in history.HEADLINES if n in all_scores},
            "run": {"run_id": run["run_id"], "folder": self._run.folder.name, "flow": run["flow"]},
            "parameters_sha256": recipe["parameters_sha256"],
            "libraries": recipe["libraries"],
            "python": recipe.get("python", platform.python_version()),
        }


class CommentModels(RunModels):
    """The models of comments that a run has, judged on its test set."""

    def __init__(self, run: history.Run) -> None:
        super().__init__(run)
        self._scored = {scored.name: scored for scored, _ in history.results_of(run, Scored)}
        self._models = {
            model.name: model
            for model, _ in history.results_of(run, Model)
            if CONSTANT in self._scored and model.name in self._scored
        }

    def names(self) -> list[str]:
        """Every judged model but the constant answer."""
        return sorted(self._models.keys() - {CONSTANT})

    def best(self) -> list[str]:
        """The model that did best in cross-validation, then the best linear one."""
        scoring = self._run.told["parameters"].get("scoring", "accuracy")
        alike = [name for name in self.names() if self._models[name].scoring == scoring]
        best = max(alike or self.names(), key=self._cv_score)
        return list(dict.fromkeys([best, *self._best_linear()]))

    def _best_linear(self) -> list[str]:
        linear = [name for name in SIMPLE if name in self.names()]
        return [max(linear, key=self._cv_score)] if linear else []

    def _cv_score(self, name: str) -> float:
        return self._models[name].best_cv_score or 0.0

    def challenger(self, name: str) -> Challenger:
        """A model, against the constant answer and the best linear model."""
        model = self._models[name]
        split, _ = self._last(Split)
        _, cleaned = self._last(Cleaned)
        test = pd.read_parquet(split.test.verified(), columns=["txt", "file"])
        texts = test["txt"].tolist()
        tables = {
            each: pd.read_parquet(self._scored[each].predictions.verified())
            for each in dict.fromkeys([name, CONSTANT, *self._best_linear()])
        }
        answers = {each: table["predicted"].to_numpy(str) for each, table in tables.items()}
        columns = [column for column in map(str, tables[name]) if column.startswith("p_")]
        actual = tables[name]["actual"].to_numpy(str)
        recipe = model.recipe.verified().read_bytes()

        def files() -> dict[str, bytes]:
            train = pd.read_parquet(split.train.verified(), columns=["txt", "cat", "clean"])
            rows = example_rows(actual, [len(text) for text in texts])
            probabilities = tables[name][columns].to_numpy(np.float64)[rows]
            weights = {WEIGHTS: model.weights.verified().read_bytes()} if model.weights else {}
            return weights | {
                PIPELINE: model.pipeline.verified().read_bytes(),
                RECIPE: recipe,
                EXAMPLES: examples_to_bytes([texts[row] for row in rows], probabilities),
                SEEN: seen_to_bytes(digests_of_texts(train["clean"].tolist())),
                PROFILE: profile_to_bytes(train["txt"].tolist(), train["cat"].tolist()),
            }

        return Challenger(
            manifest={
                **self._manifest(COMMENTS, name, self._scored[name].scores, json.loads(recipe)),
                "classes": [column.removeprefix("p_") for column in columns],
                "cleaning": asdict(cleaning_of(cleaned["parameters"]["cleaning"])),  # every option
                "best_params": model.best_params,
                "training": {"rows": split.rows_train, "sha256": split.train.sha256},
                "test_rows": split.rows_test,
            },
            inputs=texts,
            actual=actual,
            answers=answers.pop(name),
            rivals=[Rival(rival, theirs) for rival, theirs in answers.items()],
            files=files,
            seed=int(self._run.told["parameters"].get("seed") or 0),
            slices=slices_of(texts, test["file"].tolist()),
        )


class DigitModels(RunModels):
    """The networks of digits that a run has; of several seeds that which validated best."""

    def __init__(self, run: history.Run) -> None:
        super().__init__(run)
        self._trained: dict[str, TrainedDigits] = {}
        for each, _ in history.results_of(run, TrainedDigits):
            best = self._trained.setdefault(each.name, each)
            if each.val_accuracy > best.val_accuracy:
                self._trained[each.name] = each

    def names(self) -> list[str]:
        """Every network."""
        return sorted(self._trained)

    def best(self) -> list[str]:
        """The network that read the validation images best."""
        return [max(self.names(), key=lambda name: self._trained[name].val_accuracy)]

    def challenger(self, name: str) -> Challenger:
        """A network, against the commonest label."""
        trained = self._trained[name]
        digits, _ = self._last(Digits)
        _, record = self._last(TrainedDigits)
        arrays, labels = read_digits(digits), np.array(digits.labels)
        weights = trained.weights.verified().read_bytes()
        content = trained.predictions.verified().read_bytes()
        probabilities = weights_from_bytes(content)["probabilities"]
        commonest = int(np.bincount(arrays["labels_train"]).argmax())
        actual = labels[arrays["labels_test"]]
        digest = weights_digest(weights_from_bytes(weights))
        recipe = {"parameters_sha256": digest, "libraries": record["libraries"]}

        def files() -> dict[str, bytes]:
            rows = example_rows(actual)
            return {
                WEIGHTS: weights,
                RECIPE: trained.scores.verified().read_bytes(),
                EXAMPLES: examples_to_bytes(arrays["images_test"][rows], probabilities[rows]),
                SEEN: seen_to_bytes(digests_of_images(arrays["images_train"])),
            }

        return Challenger(
            manifest={
                **self._manifest(DIGITS, name, trained.scores, recipe),
                "classes": digits.labels,
                "training": {"rows": digits.rows_train, "sha256": digits.arrays.sha256},
                "test_rows": digits.rows_test,
            },
            inputs=arrays["images_test"],
            actual=actual,
            answers=labels[probabilities.argmax(axis=1)],
            rivals=[Rival(CONSTANT, np.full(len(actual), labels[commonest]))],
            files=files,
            seed=trained.seed,
        )
