"""A search whose fits are stored: run it, kill it, change the grid, run it again."""

from pathlib import Path

from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from neural_classifiers.engine.folder_store import (
    FolderStore,  # or any MutableMapping[str, bytes], a dict for one
)
from neural_classifiers.search.executors import local_processes
from neural_classifiers.search.fits import fit
from neural_classifiers.search.plan import plan_search
from neural_classifiers.search.results import collect, refit

if __name__ == "__main__":  # worker processes import this file again
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), SVC())
    grid = {"C": [0.1, 1.0, 10.0], "gamma": ["scale", 0.01], "kernel": ["rbf", "linear"]}
    store = FolderStore(Path("fits"))

    plan = plan_search(pipeline, grid, X, y, namespace="wine, 178 rows", scoring="f1_macro")
    with local_processes() as executor:  # or any concurrent.futures.Executor
        counts = fit(
            plan, store, executor, on_fit=lambda fit: print(end=f"\r{fit.done} of {fit.total} fits")
        )
    results = collect(plan, store)
    best = refit(plan, results)
    print(f"\n{counts.executed} made, {counts.stored} already stored: {results.best_params_}")
