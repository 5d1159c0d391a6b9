"""Deaths and faults: whatever happens, the next run gives what an undisturbed one gives."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import flow_kills
import pytest
import small_flow

TESTS = Path(__file__).parent


def tried(every, scenarios=None, spoil=""):
    """The record layer's counts, from a process whose file operations may be replaced."""
    code = (
        f"import json, sys; sys.path.insert(0, {str(TESTS)!r}); import record_faults; {spoil}"
        f"print(json.dumps(vars(record_faults.try_records({every}, {scenarios}))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_record_survives_death_and_fault_at_any_file_operation():
    layer = tried(every=3)

    assert layer["divergences"] == []
    assert layer["deaths"] + layer["faults"] >= 1000
    assert layer["raised"] + layer["absorbed"] == layer["faults"]
    assert layer["raised"] > layer["absorbed"]


@pytest.mark.parametrize(
    ("every", "scenarios", "spoil"),
    [
        (
            29,
            ["compute and record", "find an output damaged"],
            "record_faults.records.faults_of = lambda _: None; ",
        ),
        (
            1,
            ["keep new fits"],
            "import neural_classifiers.engine.folder_store as store; "
            "store.write_durably = lambda path, content: path.write_bytes(content); ",
        ),
        (
            29,
            ["the same after a death"],
            "from types import SimpleNamespace as Careless; record_faults.records.shutil = "
            "Careless(rmtree=lambda path, ignore_errors: None); ",
        ),
    ],
    ids=["damage is believed", "values are written in place", "nothing is swept"],
)
def test_a_record_layer_that_is_careless_is_seen(every, scenarios, spoil):
    assert tried(every, scenarios, spoil)["divergences"]


def test_a_flow_that_was_killed_ends_as_if_it_had_not_been(api_url, tmp_path):
    tally = flow_kills.try_flow(tmp_path, kills=2, seed=1, api_url=api_url)

    assert [kill.whom for kill in tally.kills] == ["process group", "main process"]
    for kill in tally.kills:
        assert kill.divergences == []
        assert (kill.records_again, kill.fits_again) == (0, 0)
    assert any(kill.records_whole < tally.records for kill in tally.kills)


STEPS = (
    "ingest_comments validate_comments clean_comments split_comments find_near_duplicates "
    "fit_scikit fit_keras fit_constant search_linear search_scikit search_keras "
    "search_scikit_improved search_keras_improved score_model draw_model compare_models "
    "examine_training explain_models"
).split()


@pytest.mark.parametrize("damaged", [STEPS[::2], STEPS[1::2]], ids=["every other", "the others"])
def test_of_damaged_records_exactly_these_are_computed_again(api_url, tmp_path, damaged):
    first = small_flow.undisturbed(api_url)
    expected, home = small_flow.contents(first.home), tmp_path / "home"
    shutil.copytree(first.home, home)
    assert {name.split("/")[0] for name in small_flow.records(home)} == set(STEPS)
    hurt = {n: r for n, r in small_flow.records(home).items() if n.split("/")[0] in damaged}
    for name, record in hurt.items():
        path = home / "artifacts" / "cache" / name / record["outputs"][-1]["file"]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    small_flow.begin(home, first.source, api_url).end()

    again = {f"{s['step']}/{s['key']}" for s in small_flow.steps(home) if not s["hit"]}
    assert again == set(hurt)  # not those before them, not those behind them
    assert small_flow.contents(home) == expected
    assert len(list((home / "artifacts" / "cache" / ".aside").iterdir())) == len(hurt)


@pytest.fixture
def api_url(prefect_server) -> str:
    return small_flow.api_url()
