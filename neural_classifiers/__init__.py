"""The core: how it is done. Values in, values out; no Prefect, no paths, no logging.

`load` is the one door for those who have a folder and no value yet.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from neural_classifiers.serving.model import Classifier, DigitReader

__all__ = ["load"]


def load(where: "str | os.PathLike[str]") -> "Classifier | DigitReader":
    """A promoted model: ``predict``, ``predict_proba`` and ``classes_``, as scikit-learn has them.

    Parameters
    ----------
    where : str or path
        Folder of a promoted model; or, below ``artifacts/models`` of this checkout (of the folder
        that ``NEURAL_CLASSIFIERS_HOME`` names), a version's name; or ``"comments"`` or
        ``"digits"``: the version that serves now.

    Returns
    -------
    Classifier or DigitReader
        Of comments, or of digits. It has everything in memory: what later becomes of the folder,
        or of which version serves, does not reach it.

    Raises
    ------
    NotPromotedError
        If there is no such model, a file in it is not the one that was promoted, or it answers its
        recorded examples otherwise than when it was promoted.

    Examples
    --------
    See ``docs/predict_example.py``.
    """
    from pathlib import Path

    from neural_classifiers.engine import paths
    from neural_classifiers.serving.model import (
        KINDS,
        MANIFEST,
        POINTER,
        NotPromotedError,
        read_promoted,
        serving_version,
    )

    below = paths.root() / "artifacts" / "models"
    if str(where) in KINDS:
        pointer = below / POINTER
        where = serving_version(pointer.read_bytes() if pointer.exists() else b"{}", str(where))
    is_version = not Path(where).is_dir() and Path(where).name == str(where)
    folder = below / where if is_version else Path(where)
    if not (folder / MANIFEST).is_file():
        known = sorted(path.parent.name for path in below.glob(f"*/{MANIFEST}"))
        raise NotPromotedError(
            f"{folder}: expected a promoted model, got none; known versions: {known}"
        )

    def read(name: str) -> bytes:
        return (folder / name).read_bytes()

    try:
        return read_promoted(read, folder.name if folder.parent == below else None)
    except (NotPromotedError, OSError) as error:
        raise NotPromotedError(f"{folder}: {error}") from error
