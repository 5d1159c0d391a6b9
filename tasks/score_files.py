"""The files of a model's scores, for every step that judges one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neural_classifiers.engine.records import File
from neural_classifiers.errors import ParameterError
from neural_classifiers.judgement.scores import JudgedModel, f1_macro_interval, score_predictions
from tasks.references import Scored


def keep_scores(
    name: str, table: pd.DataFrame, about: dict[str, Any], labels: list[str], folder: Path
) -> Scored:
    """Write a model's answers and all their scores.

    Parameters
    ----------
    name : str
        Of the model.
    table : DataFrame
        A line a test comment: ``actual``, ``predicted`` and ``p_<label>``. Rows with a true
        ``seen``, where there is such a column, count in no score.
    about : dict
        How the model was chosen: the fields of `JudgedModel` that are no scores.
    labels : list of str
        All classes, in the order wanted.
    folder : Path
        Where the files go.
    """
    from neural_classifiers.judgement.calibration import calibrate

    judged = table[~table["seen"]] if "seen" in table else table
    actual, predicted = judged["actual"].to_numpy(str), judged["predicted"].to_numpy(str)
    columns = [column for column in table.columns if column.startswith("p_")]
    classes = [column.removeprefix("p_") for column in columns]
    probabilities = judged[columns].to_numpy()
    if n_none := int((~np.isfinite(probabilities).all(axis=1)).sum()):
        raise ParameterError(
            f"{name}: expected probabilities, got none that are numbers for {n_none:,} of "
            f"{len(judged):,} test comments: its training diverged; try smaller learning rates"
        )
    scores = score_predictions(actual, predicted, labels)
    calibration = calibrate(probabilities, np.searchsorted(classes, actual))
    model = JudgedModel.model_validate(
        {
            **scores.model_dump(),
            "f1_macro_interval": f1_macro_interval(actual, predicted),
            "calibration": calibration,
            **about,
        }
    )
    content = json.dumps(model.model_dump(mode="json", exclude_unset=True), indent=2) + "\n"
    (folder / "scores.json").write_text(content, encoding="utf-8")
    table.to_parquet(folder / "predictions.parquet", index=False)
    return Scored(
        name=name,
        scores=File.of(folder / "scores.json"),
        predictions=File.of(folder / "predictions.parquet"),
        accuracy=scores.accuracy,
        f1_macro=scores.f1_macro,
    )
