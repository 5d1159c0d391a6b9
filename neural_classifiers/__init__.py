"""Classifiers of comments and readers of digits, a room for each subject.

`load` is the face for those who use a promoted model.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neural_classifiers.serving.model import PromotedModel

__all__ = ["load"]


def load(where: "str | os.PathLike[str]") -> "PromotedModel":
    """Load a promoted model: ``predict``, ``predict_proba``, ``classes_``, as scikit-learn's have.

    Parameters
    ----------
    where : str or path
        Folder of a promoted model; or, below ``artifacts/models`` of this checkout (of the folder
        that ``NEURAL_CLASSIFIERS_HOME`` names), a version's name; or ``"comments"`` or
        ``"digits"``: the version that serves now.

    Returns
    -------
    PromotedModel
        A ``Classifier`` of comments, or a ``DigitReader``. What answers is in memory: what later
        becomes of the folder, or of which version serves, does not reach it.

    Raises
    ------
    NotPromotedError
        If there is no such model, a file in it is not the one that was promoted, or it answers its
        recorded examples otherwise than when it was promoted.

    Examples
    --------
    ``docs/predict_example.py`` is a whole program.

    >>> model = neural_classifiers.load("comments")
    >>> model.predict(["The goalie saved it in the last minute!"]).tolist()
    ['sports']
    """
    from neural_classifiers.serving import registry

    model: PromotedModel = registry.load(where)
    return model
