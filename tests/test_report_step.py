"""What a run's section is made of."""

import pandas as pd

from neural_classifiers.search.candidates import rank_candidates
from tasks.report import columns_of


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
