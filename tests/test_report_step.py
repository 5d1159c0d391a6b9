"""What a run's section is made of."""

import contextlib
from pathlib import Path

import pandas as pd
from prefect import flow
from prefect.futures import wait
from test_history import Written

from neural_classifiers.engine import branches
from neural_classifiers.engine.runs import FLOW
from neural_classifiers.engine.step import step
from neural_classifiers.search.candidates import rank_candidates
from tasks.report import columns_of, finish


def test_a_grid_over_lists_can_be_reported(tmp_path):
    table = pd.DataFrame(
        {
            "param_hidden_layer_sizes": [[20], [20, 10]],
            "params": ['{"hidden_layer_sizes": [20]}', '{"hidden_layer_sizes": [20, 10]}'],
            "rank_test_score": [2, 1],
            "mean_test_score": [0.5, 0.75],
            "std_test_score": [0.0, 0.1],
            "mean_fit_time": [1.0, 2.0],
        }
    )
    table.to_parquet(tmp_path / "grid.parquet")  # reads a list back as an array

    columns = columns_of(pd.read_parquet(tmp_path / "grid.parquet"))

    assert columns["param_hidden_layer_sizes"] == [[20], [20, 10]]
    best = rank_candidates(columns, limit=10)
    assert [20, 10] in best[0].as_dict()["params"].values()


@step()
def break_step(kind: str, folder: Path) -> Written:
    raise ValueError("expected a fish, got a bicycle")


@flow(name="names-what-failed", **FLOW)
def names_what_failed():
    futures = [break_step.submit("bicycle")]
    wait(futures)
    return finish(futures)


def test_what_failed_is_named_before_the_server_has_heard_of_it(home, prefect_server, monkeypatch):
    class Deaf:
        def read_task_run(self, _):
            raise AssertionError("expected no question: the server may not know the task run yet")

    with monkeypatch.context() as patch:
        patch.setattr(branches, "get_client", lambda **_: contextlib.nullcontext(Deaf()))
        state = names_what_failed(return_state=True)

    assert state.is_failed()
    assert state.message.startswith("break_step: ")
    assert "expected a fish, got a bicycle" in state.message
