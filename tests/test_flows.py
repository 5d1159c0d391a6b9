"""The flows, whole: one good path, and one test for each way a run should stop."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import comments_file
from made_encoder import made_encoder
from PIL import Image

import neural_classifiers
from flows.comments import classify_comments
from flows.digits import classify_digits
from flows.predict import predict_comments
from neural_classifiers.digits.files import read_images
from neural_classifiers.digits.networks import FAST, NOTEBOOK
from neural_classifiers.engine import history, run_files
from neural_classifiers.operation import cli
from neural_classifiers.operation.check import check
from neural_classifiers.serving import predict, registry
from tasks.downloads import to_idx
from tasks.promote import promote as promote_model

pytestmark = pytest.mark.usefixtures("prefect_server")

SMALL = {
    "scikit_grid": {"solver": ["lbfgs", "adam"], "learning_rate": ["constant", "adaptive"]},
    "keras_grid": {"epochs": [1, 3], "batch_size": [50]},
    "folds": 2,
    "encoder": None,
}
IMPROVED = {"scikit": {"balance": [0.5, 1.0]}, "keras": {"epochs": [2]}}
DIRTY = [
    '{"cat": "sports", "txt": "[removed]"}',
    '{"cat": "sports", "txt": null}',
    '{"cat": "cooking", "txt": "A row of a category that nobody knows"}',
    "not JSON at all",
    '{"cat": "video_games", "txt": "<script>alert(1)</script> | **boss** [x](y) level quest"}',
]


def only_run(home: Path) -> Path:
    [folder] = (home / "artifacts" / "runs").iterdir()
    return folder


def read(path: Path):
    return json.loads(path.read_bytes())


@pytest.fixture(scope="module")
def good(tmp_path_factory, prefect_server):
    """A run on a dirty file and the same run again: their root, states and folders."""
    home = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURAL_CLASSIFIERS_HOME", str(home))
        source = comments_file(home / "comments.jsonl")
        lines = source.read_text().splitlines()
        source.write_text("\n".join([*lines, *DIRTY, lines[0]]) + "\n")
        asked = {**SMALL, "improved_grids": IMPROVED, "pretrained_grid": {"tuned_blocks": [0, 1]}}
        asked["encoder"] = str(made_encoder(home / "tiny"))
        states = [classify_comments(str(source), **asked, return_state=True) for _ in range(2)]
        folders = [run_files.find_folder(str(state.state_details.flow_run_id)) for state in states]
        yield home, states, folders


def test_a_run_completes_and_tells_what_it_did(good):
    _, states, folders = good
    run = read(folders[0] / "run.json")

    assert states[0].is_completed()
    assert (run["status"], run["flow"], run["attempts"]) == ("completed", "classify-comments", 1)
    assert run["run_id"] == str(states[0].state_details.flow_run_id)
    assert run["source"]["rows"] == 246
    assert len(run["source"]["digest"]) == 64
    assert run["parameters"]["keras_grid"] == SMALL["keras_grid"]
    steps = {step["task_run"]: step for step in run["steps"]}
    assert {"ingest_comments", "fit_scikit-0", "fit_keras-1", "score_model-keras"} <= set(steps)
    for step in steps.values():
        assert not step["hit"]
        assert step["seconds"] > 0
        assert step["peak_rss_mb"] > 10
        assert len(step["key"]) == 64


def test_metrics_hold_every_number_that_the_notebook_printed_and_the_baselines(good):
    metrics = read(good[2][0] / "metrics.json")["comments"]

    improved = {"linear_improved", "scikit_improved", "keras_improved"}
    names = {"constant", "linear", "linear_raw", "scikit", "keras", "probe", "pretrained"}
    assert set(metrics) == {*names, *improved}
    for told in metrics.values():
        matrix = np.array(told["confusion_matrix"])
        assert told["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
        recalls = np.diag(matrix) / matrix.sum(axis=1)
        assert [told["per_class"][c]["recall"] for c in told["labels"]] == pytest.approx(recalls)
        assert {"precision_weighted", "recall_weighted", "f1_weighted", "f1_macro"} <= set(told)
    assert set(metrics["scikit"]["best_params"]) == {"solver", "learning_rate"}
    assert 0 < metrics["keras"]["best_cv_score"] <= 1
    # notebook's mistake 4: no baseline. 43 of 72 test comments are about games.
    assert metrics["constant"]["accuracy"] == pytest.approx(43 / 72, abs=0.02)


def test_a_check_says_what_a_run_finds_and_its_records_are_the_runs(good):
    home, _, folders = good
    account = read(folders[0] / "report.json")["comments"]["account"]
    records = sorted((home / "artifacts" / "cache").glob("[!.]*/*"))

    checked = check("comments", {"source": str(home / "comments.jsonl"), "folds": 2})

    assert checked["ok"], checked
    names = ("rows_in", "accepted", "duplicates")
    assert [checked[name] for name in names] == [account[n] for n in ("in", *names[1:])]
    assert sum(checked["quarantined"].values()) == account["quarantined"]
    assert checked["train"] + checked["test"] == sum(checked["categories"].values())
    assert sorted((home / "artifacts" / "cache").glob("[!.]*/*")) == records


def test_every_row_of_the_file_is_accounted_for(good):
    section = read(good[2][0] / "report.json")["comments"]
    rows = section["rows"]

    assert rows["in_file"] == rows["drawn"] == 246
    assert rows["reasons"] == {
        "cat: unknown category": 1,
        "line: not JSON": 1,
        "txt: null": 1,
        "txt: removed": 1,
    }
    assert rows["duplicates"] == 1
    assert section["account"] == {
        "in": 246,
        "accepted": rows["train"] + rows["test"],
        "quarantined": 4,
        "duplicates": 1,
    }
    assert "246 rows in = " in (good[2][0] / "report.html").read_text()
    kept = rows["train"] + rows["test"]
    assert kept + rows["duplicates"] + rows["empty"] + rows["quarantined"] == rows["drawn"]


def test_quarantined_rows_lie_in_a_file_with_their_bytes_and_reasons(good):
    files = read(good[2][0] / "report.json")["comments"]["files"]
    quarantine = pd.read_parquet(files["quarantine"]["path"])

    assert quarantine["line"].tolist() == [241, 242, 243, 244]
    assert set(quarantine["file"]) == {"comments.jsonl"}
    assert quarantine["raw"].iloc[3] == b"not JSON at all"
    assert [list(r) for r in quarantine["reasons"]][2] == ["cat: unknown category"]


def test_the_folder_holds_grids_figures_and_a_report_that_shows_them(good):
    folder = good[2][0]
    grid = pd.read_csv(folder / "grids" / "scikit.csv")
    report = (folder / "report.html").read_text(encoding="utf-8")

    assert len(grid) == 4
    assert {"rank_test_score", "mean_test_score", "split0_test_score", "mean_fit_time"} <= set(grid)
    for figure in ("head", "confusion-scikit", "confusion-keras", "grid-scikit", "grid-keras"):
        assert (folder / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert report.count("<img") >= 8
    assert 'src="data:image/png;base64,' in report
    assert "<script" not in report


def test_a_second_run_computes_nothing_and_adds_little(good):
    _, states, folders = good
    run = read(folders[1] / "run.json")

    assert states[1].is_completed()
    assert all(step["hit"] for step in run["steps"])
    assert read(folders[1] / "metrics.json") == read(folders[0] / "metrics.json")
    assert sum(p.stat().st_size for p in folders[1].rglob("*") if p.is_file()) < 3e6
    first, second = (read(folder / "report.json")["comments"]["prices"] for folder in folders)
    assert first == second  # as measured when it was computed
    assert set(first) == set(read(folders[0] / "metrics.json")["comments"])
    assert all(number > 0 for price in first.values() for number in price.values())


def test_prefect_shows_what_was_cached_and_the_report_as_artifacts(good):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    ids = [state.state_details.flow_run_id for state in good[1]]
    with get_client(sync_client=True) as client:
        names = [
            {
                run.name: run.state.name
                for run in client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
                )
            }
            for flow_run_id in ids
        ]
        artifacts = client.read_artifacts(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[ids[0]]))
        )
    assert names[0]["fit_keras-0"] == "Completed"
    assert names[1]["fit_keras-0"] == "Cached"
    assert names[1]["search_scikit"] == "Cached"
    kinds = {artifact.key: artifact.type for artifact in artifacts}
    assert kinds["report-comments"] == "markdown"
    assert kinds["grid-scikit"] == "table"
    markdown = next(a.data for a in artifacts if a.key == "report-comments")
    assert "data:image/png;base64," in markdown
    assert len(markdown.encode()) <= 300_000


def test_the_keras_vectoriser_never_sees_a_test_row(good):
    """The notebook's mistake 2: it fits the vectoriser again, on the test set."""
    from tasks.model_files import load_pipeline
    from tasks.references import Model

    home, _, folders = good
    keys = {s["task_run"]: s["key"] for s in read(folders[0] / "run.json")["steps"]}
    record = home / "artifacts/cache/search_keras" / keys["search_keras"]
    told = read(record / "record.json")["result"]
    model = Model.model_validate(told, context={"folder": record})
    vocabulary = set(load_pipeline(model)[0].vocabulary_)
    files = read(folders[0] / "report.json")["comments"]["files"]
    words = {
        side: set(" ".join(pd.read_parquet(files[side]["path"])["clean"]).split())
        for side in ("train", "test")
    }
    assert words["test"] - words["train"]  # every comment has a word of its own
    assert not vocabulary & (words["test"] - words["train"])
    assert vocabulary <= words["train"]


def test_the_number_of_features_is_not_the_number_of_rows(good):
    """The notebook's mistake 3."""
    from neural_classifiers.comments.models.pipelines import keras_pipeline

    assert keras_pipeline(34)[0].max_features == 2100
    recipe = read(next((good[0] / "artifacts/cache/search_keras").iterdir()) / "recipe.json")
    assert recipe["network"]["n_features"] != recipe["training_rows"]


def test_candidates_that_cannot_differ_are_fitted_once(good):
    """The notebook's mistake 5: learning_rate acts with sgd only."""
    grid = pd.read_csv(good[2][0] / "grids" / "scikit.csv")

    assert len(grid) == 4
    assert grid["fitted_as"].nunique() == 2


@pytest.fixture(scope="module")
def promoted_run(good):
    """The same run told to promote, and once more: their states and folders."""
    home, _, _ = good
    states, folders = [], []
    for promote in (True, False):
        state = classify_comments(
            str(home / "comments.jsonl"), **SMALL, promote=promote, return_state=True
        )
        states.append(state)
        folders.append(run_files.find_folder(str(state.state_details.flow_run_id)))
    return states, folders


def test_the_best_model_is_promoted_by_a_run_that_is_told_to(good, promoted_run):
    states, [folder, _] = promoted_run
    [*_, decision] = read(folder / "promotion.json")

    assert states[0].is_completed()
    assert all(gate["passed"] for gate in decision["gates"]), decision
    assert decision["version"] == registry.serving_version("comments")
    model = neural_classifiers.load("comments")
    scores = read(folder / "metrics.json")["comments"][decision["model"]]
    test = pd.read_parquet(read(folder / "report.json")["comments"]["files"]["test"]["path"])
    right = (model.predict(test["txt"]) == test["cat"]).mean()  # from the texts as they came
    assert right == pytest.approx(scores["accuracy"])
    assert model.manifest["run"]["run_id"] == read(folder / "run.json")["run_id"]


def test_the_serving_model_is_judged_in_the_next_run_beside_the_others(good, promoted_run):
    states, [_, folder] = promoted_run
    metrics = read(folder / "metrics.json")["comments"]
    section = read(folder / "report.json")["comments"]

    assert states[1].is_completed()
    version = registry.serving_version("comments")
    assert metrics["serving"]["version"] == version
    assert metrics["serving"]["rows_seen"] == 0  # trained on the other side of the same split
    name = version.rpartition("-")[0]
    assert metrics["serving"]["accuracy"] == metrics[name]["accuracy"]
    pairs = [(c["model"], c["rival"]) for c in section["comparisons"]]
    assert ("keras", "serving") in pairs
    assert ("serving", "linear") in pairs
    assert "serving model" in (folder / "report.html").read_text()
    steps = {step["task_run"]: step["hit"] for step in read(folder / "run.json")["steps"]}
    computed = {name for name, hit in steps.items() if not hit}
    assert {"score_serving", "compare_models"} <= computed
    assert not [n for n in computed if n.startswith(("ingest", "fit", "search", "score_model"))]


def test_a_model_of_a_run_is_refused_with_reasons_by_the_command(good, promoted_run, capsys):
    status = cli.main(["promote", promoted_run[1][1].name, "--model", "scikit", "--json"])
    [decision] = json.loads(capsys.readouterr().out)["decisions"]

    assert (status, decision["version"]) == (1, None)
    refused = {gate["name"] for gate in decision["gates"] if not gate["passed"]}
    assert {"better than linear", "better than serving"} <= refused | {"another model than serves"}
    assert cli.main(["promote", promoted_run[1][1].name, "--model", "nonsense"]) == 1
    assert "expected a model called 'nonsense'" in capsys.readouterr().err


def test_new_files_in_a_folder_are_predicted_by_a_flow_each_once(good, promoted_run):
    home = good[0]
    incoming, out = home / "data" / "incoming", home / "artifacts" / "predictions"
    incoming.mkdir(parents=True)
    comments_file(incoming / "monday.jsonl", n=50, seed=5)
    (incoming / "broken.jsonl").write_bytes(b"PAR1 and then nothing")

    state = predict_comments(return_state=True)
    assert state.is_failed()
    assert "broken.jsonl: " in state.message
    [predicted] = out.glob("*.parquet")
    table = pd.read_parquet(predicted)
    assert len(table) == 50
    assert set(table["version"]) == {registry.serving_version("comments")}

    (incoming / "broken.jsonl").unlink()
    written = predicted.stat().st_mtime_ns
    state = predict_comments(return_state=True)
    assert (state.is_completed(), state.message) == (True, "nothing new")
    assert predicted.stat().st_mtime_ns == written


def test_a_branch_that_fails_leaves_the_others_their_report(home):
    source = comments_file(home / "comments.jsonl", n=120)
    in_the_way = home / "artifacts" / "cache" / "fit_scikit"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where a folder should be")

    state = classify_comments(str(source), **SMALL, return_state=True)

    folder = only_run(home)
    assert state.is_failed()
    assert "fit_scikit-0" in state.message
    assert "search_keras" not in state.message
    assert read(folder / "run.json")["status"] == "failed"
    assert set(read(folder / "metrics.json")["comments"]) == {
        "constant",
        "linear",
        "linear_raw",
        "keras",
    }
    assert "This run failed in fit_scikit-0" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a path that exists"),
        (b"", "got 0 bytes"),
        (b"category,txt\nsports,goal\n", "expected a JSON object on each line"),
        (b'{"cat": "a", "txt": "b"}\n' * 9, "expected at least 2 categories"),
        (b'{"cat": "a", "txt": null}\n{"cat": "b", "txt": "c"}\n' * 30, "txt: null"),
    ],
    ids=["missing", "empty", "not JSON Lines", "one category", "too many faulty rows"],
)
def test_a_file_at_fault_stops_the_run_and_leaves_nothing(home, capsys, caplog, content, message):
    path = home / "comments.jsonl"
    if content is not None:
        path.write_bytes(content)

    status = cli.main(["run", "comments", "--source", str(path), "--json"])

    told = json.loads(capsys.readouterr().out)  # one JSON object, nothing else
    assert status == 1
    assert told["status"] == "failed"
    assert message in told["error"]
    assert caplog.text.count(told["error"]) == 1  # of the task's, the flow's and their states'
    assert "Traceback" not in caplog.text
    assert read(only_run(home) / "run.json")["status"] == "failed"
    written = home / "artifacts" / "cache" / ".writing"
    assert not written.exists() or not list(written.iterdir())
    if content is not None and content.count(b'"txt": null') == 30:  # by whom, and where to look
        kept = pd.read_parquet(only_run(home) / "quarantine.parquet")
        assert list(kept["line"]) == list(range(1, 60, 2))
        docs = (only_run(home) / "data_docs.html").read_text()
        assert re.search(r"Status:(<[^>]*>|\s)*Failed", docs)


def digits_folder(folder: Path) -> Path:
    """MNIST's four files with made-up digits: a bright block whose place tells the digit."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, n in (("train", 240), ("t10k", 60)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = rng.integers(0, 60, (n, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 + 2 * label : 8 + 2 * label, 6:22] = 250
        (folder / f"{name}-images-idx3-ubyte").write_bytes(to_idx(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(to_idx(labels))
    return folder


def test_digits_are_judged_once_on_the_test_images(home, capsys):
    source = digits_folder(home / "digits")
    presets = {
        "notebook": NOTEBOOK.model_copy(update={"batch_size": 50}),
        "fast": FAST.model_copy(update={"batch_size": 20}),
    }
    state = classify_digits(str(source), presets=presets, seeds=[34, 35], return_state=True)

    folder = only_run(home)
    told = read(folder / "metrics.json")["digits"]["notebook"]
    section = read(folder / "report.json")["digits"]
    assert state.is_completed()
    assert told["parameters"] == 1_182_730
    assert len(told["epochs"]) == 2
    assert {"accuracy", "loss", "val_accuracy", "val_loss"} == set(told["epochs"][0])
    # the notebook's mistake 8: validation images are training images set aside
    assert section["rows"] == {
        **{"train": 220, "validation": 20, "test": 60},
        **{"blank": 0, "on_both_sides": 0, "oddities": []},
    }
    matrix = np.array(told["confusion_matrix"])
    assert matrix.sum() == 60
    assert told["test_accuracy"] == pytest.approx(np.trace(matrix) / 60)
    assert Path(section["files"]["weights notebook"]["path"]).exists()
    for figure in ("curves", "confusion-digits", "mistakes", "calibration", "summary"):
        assert (folder / "figures" / f"{figure}-notebook.png").exists()
    assert {row["digit"] for row in told["per_digit"]} == set(range(10))
    assert len(told["mistakes"]) == min(25, 60 - np.trace(matrix))
    assert told["robustness"][0]["accuracy"] == pytest.approx(told["test_accuracy"])
    report = (folder / "report.html").read_text()
    for heading in ("Digit by digit", "How robust", "worst mistakes", "Seed shown"):
        assert heading in report

    # each seed is a record of its own, and the one shown was chosen without the test images
    steps = [s for s in read(folder / "run.json")["steps"] if s["step"] == "train_digits"]
    assert len({step["key"] for step in steps}) == 4
    seeds = told["seeds"]
    accuracies = [seeds["test_accuracy"][seed] for seed in ("34", "35")]
    assert seeds["n"] == 2
    assert seeds["worst"] == min(accuracies)
    assert seeds["mean"] == pytest.approx(sum(accuracies) / 2)
    assert accuracies[seeds["chosen"] - 34] == told["test_accuracy"]
    by_seed = {}
    for step in steps:
        if step["task_run"].startswith("train_digits-notebook"):
            record = home / "artifacts/cache/train_digits" / step["key"]
            trained = read(record / "scores.json")
            by_seed[trained["seed"]] = trained["epochs"][-1]["val_accuracy"]
    assert by_seed[seeds["chosen"]] == max(by_seed.values())

    # and the network that read the validation images best may serve
    [decision] = promote_model(history.Run(folder, read(folder / "run.json")))
    gates = {gate.name: gate for gate in decision.gates}
    assert gates["better than constant"].passed, gates
    reader = neural_classifiers.load("digits")
    assert reader.version == decision.version == registry.serving_version("digits")
    images = source / "t10k-images-idx3-ubyte"
    seven = read_images(images.read_bytes(), "images")[7]
    Image.fromarray(seven).save(home / "seven.png")
    Image.fromarray(255 - seven).save(home / "white.BMP")
    capsys.readouterr()
    files = [str(home / name) for name in ("seven.png", "white.BMP")]
    assert cli.main(["predict", *files, str(images), "--json"]) == 0
    [png, white, *idx] = json.loads(capsys.readouterr().out)["predictions"]
    assert (png["file"], idx[7]["image"]) == ("seven.png", 7)
    guess = predict.GUESS if max(png["probabilities"].values()) < 0.5 else None
    turned = "; ".join(filter(None, ["white background, turned round", guess]))
    assert (png["warning"], white["warning"]) == (guess, turned)
    assert white["probabilities"] == png["probabilities"]
    assert list(png["probabilities"].values()) == pytest.approx(
        list(idx[7]["probabilities"].values()), abs=1e-6
    )
    accuracy = np.mean([int(row["label"]) == i % 10 for i, row in enumerate(idx)])
    assert accuracy == read(folder / "metrics.json")["digits"][decision.model]["test_accuracy"]


def test_one_half_that_fails_leaves_the_other_its_report(home, capsys, monkeypatch):
    from flows import classifiers

    source = digits_folder(home / "digits")
    small = {"fast": FAST.model_copy(update={"batch_size": 50, "epochs": 1})}

    def classify_few(**asked):
        return classify_digits(**asked | {"source": str(source), "presets": small})

    classify_few.name = classify_digits.name
    monkeypatch.setattr(classifiers, "classify_digits", classify_few)
    status = cli.main(["run", "all", "--source", str(home / "nowhere.jsonl"), "--json"])

    told = json.loads(capsys.readouterr().out)
    assert status == 1
    assert "classify-comments" in told["error"]
    assert "nowhere.jsonl" in told["error"]
    assert set(told["metrics"]) == {"digits"}
    assert "classify-comments" in (Path(told["folder"]) / "report.html").read_text()


def test_an_improved_network_that_there_is_not_is_refused_before_anything_begins(home):
    state = classify_comments("nowhere", improved_grids={"forest": {}}, return_state=True)

    assert state.is_failed()
    assert "improved_grids.forest" in state.message
    assert "'scikit' or 'keras'" in state.message
    assert not (home / "artifacts" / "runs").exists()
