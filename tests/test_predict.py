"""Predicting with a promoted model: the same features as in training, every row accounted for."""

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import made_models
import pandas as pd
import pyarrow as pa
import pytest
from dirty import dirty_lines
from prefect.logging import disable_run_logger

import neural_classifiers
from neural_classifiers.comments.packing import CommentFileError
from neural_classifiers.comments.text import Cleaning, clean_column
from neural_classifiers.engine import runs
from neural_classifiers.engine.records import File
from neural_classifiers.judgement.calibration import Calibrated
from neural_classifiers.serving import model as model_module
from neural_classifiers.serving import predict, registry
from neural_classifiers.serving.model import (
    COMMENTS,
    EXAMPLES,
    MANIFEST,
    PIPELINE,
    RECIPE,
    Classifier,
    NotPromotedError,
    version_of,
)
from tasks import predict_new
from tasks.references import New

ROOT = Path(__file__).parents[1]
GOOD = "The goalie saved the penalty in the last match of the season"
HOSTILE = {
    "<script>alert(1)</script> | **boss** [x](javascript:1) \x00\x1b[31m": None,
    "=cmd|' /C calc'!A0 goal, \"quoted\"\nand a second line": None,
    "goal " * 100_000: None,
    "": ["txt: empty"],
    " \t\n\u2003": ["txt: empty"],
    "[removed]": ["txt: removed"],
    "the! of?": ["clean: nothing left"],
    "half a pair \ud83d": ["txt: lone surrogate"],
}


@pytest.fixture
def version(home) -> str:
    return made_models.serve(home)


@pytest.fixture
def model(version):
    return neural_classifiers.load(version)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"txt": text}) + "\n" for text in texts))
    return path


# --------------------------------------------------------------------------- from Python


def test_a_promoted_model_answers_like_any_classifier(home, model):
    texts, labels = made_models.comments(home)
    proba = model.predict_proba(texts[160:])

    assert proba.shape == (80, 3)
    assert proba.sum(axis=1) == pytest.approx(1)
    assert model.predict(texts[160:]).tolist() == model.classes_[proba.argmax(axis=1)].tolist()
    assert (model.predict(texts[160:]) == labels[160:]).mean() > 0.9
    assert model.predict(pd.Series(texts[:2])).shape == (2,)
    assert model.predict_proba([]).shape == (0, 3)
    with pytest.raises(TypeError, match="expected a list of comments, got str"):
        model.predict("one text")


def test_a_model_that_shifts_its_answers_shifts_them_when_it_serves(home, tmp_path):
    texts, labels = made_models.comments(home)
    pipeline = made_models.fitted(texts[:160], labels[:160], C=0.01)
    name, linear = pipeline.steps[-1]
    pipeline.steps[-1] = (name, Calibrated(linear, 1.0, [8.0, 0.0, 0.0]))  # science, if in doubt
    model = neural_classifiers.load(made_models.serve(home, pipeline))

    expected = pipeline.predict(model.clean(texts[160:]))
    likeliest = model.classes_[model.predict_proba(texts[160:]).argmax(axis=1)]
    assert (expected != likeliest).any()
    assert model.predict(texts[160:]).tolist() == expected.tolist()
    told = predict.predict_texts(model, texts[160:])
    assert [row["label"] for row in told] == expected.tolist()
    source, out = write_texts(tmp_path / "new.jsonl", texts[160:]), tmp_path / "out.jsonl"
    predict.predict_file(source, out, model)
    assert [row["label"] for row in rows_of(out)] == expected.tolist()


@pytest.mark.parametrize("which", ["comments", "version", "folder"])
def test_a_model_is_found_by_what_it_serves_by_version_and_by_folder(home, version, which):
    folder = shutil.copytree(registry.version_folder(version), home / "elsewhere" / "copy")
    where = {"comments": "comments", "version": version, "folder": folder}[which]
    assert neural_classifiers.load(where).version == version


def test_what_is_no_model_is_told(home, version):
    with pytest.raises(NotPromotedError, match=rf"linear-0: expected a .* versions: \['{version}"):
        neural_classifiers.load("linear-0")
    with pytest.raises(NotPromotedError, match="model of digits, got none: neural-classifiers pro"):
        neural_classifiers.load("digits")
    with pytest.raises(NotPromotedError, match="expected a model of digits, got one of comments"):
        registry.load(version, kind="digits")


@pytest.mark.parametrize(
    "name", ["/etc", "../runs", "a/b", "..", ".", "", ".writing", "x" * 9 + "\n"]
)
def test_a_version_is_a_plain_name_and_no_path(home, version, name):
    with pytest.raises(NotPromotedError, match="expected the name of a version, got"):
        registry.version_folder(name)


def test_predicting_needs_no_prefect_and_a_linear_model_no_tensorflow(version):
    script = (
        "import sys, neural_classifiers.serving.predict, neural_classifiers as n; "
        f"neural_classifiers.serving.predict.predict_texts(n.load('{version}'), ['a goal']); "
        "print({'prefect', 'tensorflow', 'great_expectations'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "set()"


def test_the_example_of_the_documents_runs(version):
    script = [sys.executable, str(ROOT / "docs" / "predict_example.py")]
    done = subprocess.run(script, capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout.splitlines()[0] == (
        f"{version} knows science_and_technology sports video_games"
    )
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize("name", [PIPELINE, RECIPE, EXAMPLES, MANIFEST])
def test_a_tampered_file_is_never_loaded(home, version, name, monkeypatch):
    folder = registry.version_folder(version)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).chmod(0o644)
    (folder / name).write_bytes(bytes(content))

    def never(*_: object) -> None:
        raise AssertionError("a tampered file was read")

    monkeypatch.setattr(model_module, "build_pipeline", never)
    with pytest.raises(NotPromotedError, match=rf"{version}: .*expected"):
        neural_classifiers.load(version)


def test_a_manifest_that_was_written_anew_is_another_version(home, version):
    folder = registry.version_folder(version)
    told = json.loads((folder / "manifest.json").read_bytes()) | {"classes": ["a", "b", "c"]}
    told["version"] = version_of(told)
    (folder / "manifest.json").chmod(0o644)
    (folder / "manifest.json").write_text(json.dumps(told))

    with pytest.raises(NotPromotedError, match=f"expected the manifest of {version}, got that of"):
        neural_classifiers.load("comments")


# --------------------------------------------------------------------------- one way to features


def test_features_of_prediction_are_those_of_training_byte_for_byte(home, tmp_path):
    """10,000 texts: by the steps of a run, and one by one, in batches and in a file."""
    texts = [json.loads(line)["txt"] for line in dirty_lines(10_000, faults={})]
    labels = (["a", "b", "c"] * 10_000)[:10_000]
    column = clean_column(pa.array(texts))  # what the step of a run calls
    cleaned = column.to_pylist()
    pipeline = made_models.fitted(texts[:500], labels[:500])
    in_training = pipeline[:-1].transform(cleaned)
    made = made_models.challenger(home)
    model = Classifier(
        pipeline, Cleaning(**made.manifest["cleaning"]), {"version": "linear-1"}, home
    )

    def features(some: list[str]):
        return pipeline[:-1].transform(model.clean(some))

    def same(one, other) -> bool:
        parts = ("indptr", "indices", "data")
        return all(getattr(one, p).tobytes() == getattr(other, p).tobytes() for p in parts)

    assert same(features(texts), in_training)
    for start in range(0, 10_000, 2_500):
        part = slice(start, start + 2_500)
        assert same(features(texts[part]), in_training[part])
    for row in range(0, 10_000, 500):
        assert same(features([texts[row]]), in_training[row])


@pytest.mark.parametrize("cleaning", ["notebook", {"stem": "none", "emoji": "name"}])
def test_a_model_is_asked_as_it_was_trained_whatever_the_cleaning(home, cleaning):
    from neural_classifiers.comments.text import clean_comment, cleaning_of

    texts, labels = made_models.comments(home)
    options = Cleaning(**asdict(cleaning_of(cleaning)))  # as a manifest has them
    pipeline = made_models.fitted(texts, labels)
    model = Classifier(pipeline, options, {"version": "linear-1"}, home)
    dirty = [json.loads(line)["txt"] for line in dirty_lines(200, faults={})]

    assert model.clean(dirty) == [
        clean_comment(text, cleaning=cleaning_of(cleaning)) for text in dirty
    ]


# --------------------------------------------------------------------------- texts


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_a_hostile_text_is_answered_or_rejected(model, text):
    [good, told] = predict.predict_texts(model, [GOOD, text])

    assert good["label"] == "sports"
    assert told["version"] == model.version
    assert told.get("rejected") == HOSTILE[text]
    if HOSTILE[text] is None:
        assert sum(told["probabilities"].values()) == pytest.approx(1)
        json.dumps(told)


# --------------------------------------------------------------------------- files

LINES = [
    json.dumps({"id": 1, "txt": GOOD}),
    "not JSON",
    json.dumps({"txt": None}),
    json.dumps({"txt": "[deleted]"}),
    "",
    json.dumps({"txt": "The level boss drops loot, a quest in the console"}),
    json.dumps({"txt": "the! of?"}),
    json.dumps({"txt": "lone \ud83d"}),
]


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "new.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    return path


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_every_row_of_a_file_has_a_prediction_or_a_reason(home, model, source, ending):
    out = home / "out" / f"predicted.{ending}"
    out.parent.mkdir()
    out.with_name(f".{out.name}.writing-{2**22 + 1}").write_text("what a killed process left")
    account = predict.predict_file(source, out, model)

    if ending == "jsonl":
        rows = rows_of(out)
        proba = [list(row["probabilities"].values()) for row in rows]
    else:
        table = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
        rows = table.to_dict("records")
        proba = table[[f"p_{name}" for name in model.classes_]].to_numpy().tolist()
    texts = [row["txt"] for row in rows]
    assert [(row["line"], row["label"]) for row in rows] == [(1, "sports"), (6, "video_games")]
    assert {row["version"] for row in rows} == {model.version}
    assert proba == model.predict_proba(texts).tolist()
    rejected = rows_of(Path(account.rejected_file))
    assert [(row["line"], row["reasons"]) for row in rejected] == [
        (2, ["line: not JSON"]),
        (3, ["txt: null"]),
        (4, ["txt: removed"]),
        (7, ["clean: nothing left"]),
        (8, ["txt: lone surrogate"]),
    ]
    assert rejected[0]["raw"] == "not JSON"
    assert (account.rows, account.predicted, account.rejected) == (7, 2, 5)
    assert sorted(p.name for p in out.parent.iterdir()) == sorted(
        [out.name, f"{out.name}.rejected.jsonl"]
    )


@pytest.mark.parametrize("ending", ["csv", "parquet", "tsv"])
def test_a_file_may_be_a_table_with_the_columns_of_the_training_data(
    home, model, tmp_path, monkeypatch, ending
):
    monkeypatch.setitem(model.manifest, "columns", {"text": "body", "label": "topic"})
    texts = [GOOD, 'loot "boss" level,\nquest', "enzyme\tatom cell laser"]
    path, table = tmp_path / f"new.{ending}", pd.DataFrame({"more": [1, 2, 3], "body": texts})
    if ending == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    predict.predict_file(path, home / "out.jsonl", model)

    rows = rows_of(home / "out.jsonl")
    assert [row["txt"] for row in rows] == texts
    predict.predict_file(path, home / "named.jsonl", model, text_column="body")
    assert rows_of(home / "named.jsonl") == rows
    assert [row["label"] for row in rows] == model.predict(texts).tolist()


def test_neither_the_size_of_the_batches_nor_workers_change_a_byte(home, model, tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_bytes(b"".join(dirty_lines(3000)))
    written = []
    for n_workers, batch_rows in ((0, 8192), (0, 97), (2, 700)):
        out = home / f"out-{n_workers}-{batch_rows}.parquet"
        account = predict.predict_file(path, out, model, n_workers=n_workers, batch_rows=batch_rows)
        written.append((out.read_bytes(), Path(account.rejected_file).read_bytes()))
    assert account.rows == 3000
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected rows, got 0 bytes"),
        (b"nothing\nof this\n", "expected a JSON object on each line"),
        (b'{"body": "x"}\n', "expected a field 'txt', got only"),
        (b"PAR1 and then nothing", "expected a whole Parquet"),
        (b"\x1f\x8b and then nothing", "expected a whole file"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_nothing_behind(home, model, tmp_path, content, message):
    path = tmp_path / "new.jsonl"
    path.write_bytes(content)
    with pytest.raises(CommentFileError, match=message):
        predict.predict_file(path, home / "out" / "predicted.jsonl", model)
    assert not (home / "out").exists() or list((home / "out").iterdir()) == []


def test_what_is_read_is_never_written(home, model, tmp_path):
    source = write_texts(tmp_path / "p.csv.rejected.jsonl", [GOOD])
    (tmp_path / "other.csv").hardlink_to(source)
    before = source.read_bytes()

    for out in ("p.csv", "other.csv"):
        with pytest.raises(predict.PredictionError, match="another file than the one that is read"):
            predict.predict_file(source, tmp_path / out, model)
    with pytest.raises(predict.PredictionError, match="another file than the one that is read"):
        predict.predict_images([source], model, tmp_path / "other.csv")
    assert source.read_bytes() == before


def test_drift_against_the_training_data_is_told(home, model, tmp_path):
    alike, _ = made_models.comments(home, n=400, seed=7)
    other = [
        f"Ein Spieler trifft {i} mal und niemand hat es gesehen, sagt der Trainer"
        for i in range(400)
    ]
    accounts = {}
    for name, texts in (("alike", alike), ("other", other)):
        path = write_texts(tmp_path / f"{name}.jsonl", texts)
        accounts[name] = predict.predict_file(path, home / f"{name}.csv", model)

    assert accounts["alike"].drifted == []
    assert {"vocabulary", "language"} <= set(accounts["other"].drifted)
    assert any("unlike the training data in lan" in line for line in accounts["other"].in_words())


def test_a_rollback_while_a_file_is_predicted_leaves_it_to_the_version_it_began_with(
    home, tmp_path, monkeypatch
):
    texts, labels = made_models.comments(home)
    first = made_models.serve(home)
    second = made_models.serve(home, made_models.fitted(texts, labels, C=0.01))
    path, out = tmp_path / "many.jsonl", home / "out.jsonl"
    path.write_bytes(b"".join(dirty_lines(2000, faults={})))
    model = neural_classifiers.load(COMMENTS)
    clean = model.clean

    def clean_and_roll_back(batch):
        if registry.serving_version(COMMENTS) == second:
            registry.roll_back(COMMENTS)
        return clean(batch)

    monkeypatch.setattr(model, "clean", clean_and_roll_back)
    predict.predict_file(path, out, model, batch_rows=100)

    assert {row["version"] for row in rows_of(out)} == {second}
    assert neural_classifiers.load(COMMENTS).version == first


# --------------------------------------------------------------------------- new files in a folder


def new_in(folder: Path) -> New:
    with disable_run_logger():
        return predict_new.find_new_files.fn(str(folder), str(folder.parent / "out"), None)


def predicted_as_csv(file: File, new: New) -> predict.PredictedFile | None:
    with disable_run_logger():
        return predict_new.predict_new_file.fn(file, new.version, new.out, "csv")


def note_on(file: File, new: New) -> str:
    [note] = new.out.glob(f"*-{file.sha256[:16]}.aside.json")
    return json.loads(note.read_text())["reason"]


def test_each_content_of_a_folder_is_predicted_once(home, version, source):
    folder = home / "incoming"
    folder.mkdir()
    shutil.copy(source, folder / "monday.jsonl")
    shutil.copy(source, folder / "the same again.jsonl")

    [file] = (new := new_in(folder)).files
    assert (file.path.name, new.version) == ("monday.jsonl", version)
    assert Path(predicted_as_csv(file, new).out).name == f"monday-{file.sha256[:16]}.csv"

    assert new_in(folder).files == []
    (folder / "monday.jsonl").write_text(json.dumps({"txt": GOOD}) + "\n")  # changed
    assert [f.path.name for f in new_in(folder).files] == ["monday.jsonl"]


def test_nothing_of_a_file_that_changes_meanwhile_is_kept(home, version, source, monkeypatch):
    folder = home / "incoming"
    folder.mkdir()
    growing = Path(shutil.copy(source, folder / "growing.jsonl"))
    [file] = (new := new_in(folder)).files
    run = predict_new.workers.run

    def and_meanwhile(*args, **options):
        answer = run(*args, **options)
        growing.write_text(growing.read_text() + "{}\n")
        return answer

    monkeypatch.setattr(predict_new.workers, "run", and_meanwhile)
    with pytest.raises(ValueError, match=r"growing\.jsonl: expected sha256"):
        predicted_as_csv(file, new)
    assert list(new.out.iterdir()) == []


def test_what_holds_no_comments_is_passed_over_and_told_once(home, version):
    folder = home / "incoming"
    folder.mkdir()
    files = {
        "README.md": b"# What this folder is for\n",
        "desktop.ini": b"[.ShellClassInfo]\r\n",
        "empty_hour.csv": b"id,txt\n",
        "zero.jsonl": b"",
        "~$book.xlsx": b"\x05admin",
        "only blank.tsv": b"\n\n",
    }
    for name, content in {**files, ".hidden": b"x", "big.csv.part": b"txt\nhalf"}.items():
        (folder / name).write_bytes(content)
    (folder / "sub").mkdir()

    new = new_in(folder)
    assert [file.path.name for file in new.files] == sorted(files)
    assert [predicted_as_csv(file, new) for file in new.files] == [None] * 6
    assert note_on(new.files[2], new).startswith("empty_hour.csv: expected rows, got none")
    with disable_run_logger():
        said = predict_new.report_predictions.fn({"zero.jsonl": None, "README.md": None})
    assert said == "nothing new; passed over: zero.jsonl, README.md"
    assert new_in(folder).files == []


@pytest.mark.parametrize(
    ("name", "content", "limit_s", "words"),
    [
        ("broken.parquet", b"PAR1 and then nothing", None, "expected a whole Parquet"),
        ("no column.csv", b"a,b\n1,2\n", None, "expected a header with the columns"),
        ("RC_2011-01", b"\x1f\x8b and then nothing", None, "expected a whole file"),
        ("slow.jsonl", 50_000 * b'{"txt": "goal"}\n', "0.01", "expected an end within 0.01 s"),
    ],
)
def test_a_file_that_fails_is_set_aside_and_does_not_fail_again(
    home, version, monkeypatch, name, content, limit_s, words
):
    if limit_s:
        monkeypatch.setenv("NEURAL_CLASSIFIERS_STEP_LIMIT_S", limit_s)
    folder = home / "incoming"
    folder.mkdir()
    (folder / name).write_bytes(content)
    [file] = (new := new_in(folder)).files

    with pytest.raises((CommentFileError, TimeoutError), match=words):
        predicted_as_csv(file, new)

    assert words in note_on(file, new)
    assert new_in(folder).files == []
    (folder / name).write_bytes(content + b" ")  # mended: it is another content
    assert len(new_in(folder).files) == 1


def test_no_link_out_of_the_folder_is_followed_and_no_prediction_predicted(home, version, source):
    folder = home / "incoming"
    folder.mkdir()
    shutil.copy(source, folder / "good.jsonl")
    (folder / "link.jsonl").symlink_to("good.jsonl")
    (folder / "secret.csv").symlink_to(source)
    (folder / "gone.csv").symlink_to("nowhere")

    assert [file.path.name for file in new_in(folder).files] == ["good.jsonl"]
    with pytest.raises(ValueError, match="expected another folder for the predictions"):
        predict_new.find_new_files.fn(str(folder), str(folder / "."), None)


def test_a_folder_without_new_files_needs_no_model(home):
    assert new_in(home / "incoming").files == []
    (home / "incoming").mkdir()
    (home / "incoming" / "new.jsonl").write_text("{}")
    with pytest.raises(NotPromotedError, match="expected a promoted model for 1 new files"):
        new_in(home / "incoming")


def test_a_run_that_predicts_ends_at_its_limit_unless_it_ended_before(home, monkeypatch):
    from flows.predict import predict_comments

    monkeypatch.setenv("NEURAL_CLASSIFIERS_RUN_LIMIT_S", "0.2")
    told, ended = SimpleNamespace(id="a run"), threading.Event()
    monkeypatch.setattr(runs.os, "kill", lambda pid, number: ended.set())
    monkeypatch.setattr(runs.threading, "Timer", _TimerOnce)
    [limit], [release] = predict_comments.on_running_hooks, predict_comments.on_completion_hooks

    limit(predict_comments, told, None)
    release(predict_comments, told, None)
    assert not ended.wait(0.5)
    limit(predict_comments, told, None)
    assert ended.wait(10)
    release(predict_comments, told, None)


class _TimerOnce(threading.Timer):
    """The kill that follows the limit would be at this process: it is not begun."""

    def start(self) -> None:
        if self.interval < 1:
            super().start()
