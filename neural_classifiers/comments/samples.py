"""Some rows of many, with the classes of all."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def draw_stratified(labels: Sequence[str], n: int, seed: int) -> NDArray[np.intp]:
    """Positions of `n` rows drawn at random, each class with its share of them.

    Parameters
    ----------
    labels : sequence of str
        Class of each row.
    n : int
        From 0 to their number.
    seed : int

    Returns
    -------
    ndarray of shape (n,)
        Rising. Of a class as many as its share of `n`, rounded down; the rows that are still
        missing go to the classes with the largest remainders.

    Raises
    ------
    ValueError
        If there are not so many rows.
    """
    if not 0 <= n <= len(labels):
        raise ValueError(f"expected from 0 to {len(labels):,} rows to draw, got {n:,}")
    _, places, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    whole, remainders = np.divmod(counts * n, max(len(labels), 1))
    whole[np.argsort(-remainders, kind="stable")[: n - whole.sum()]] += 1
    rng = np.random.default_rng(seed)
    drawn = [
        rng.permutation(np.flatnonzero(places == place))[:wanted]
        for place, wanted in enumerate(whole)
    ]
    return np.sort(np.concatenate([np.empty(0, dtype=np.intp), *drawn]))
