"""How far a long step is: told in a worker process, shown by the task that waits."""

import pytest
from prefect import flow, task

from neural_classifiers.engine import progress, workers


def tell_thrice(file) -> None:
    with progress.telling(file):
        for done in (1, 2, 3):
            progress.tell(done, 3, "fits", best=0.1 * done)


def test_what_a_body_tells_in_its_process_is_seen_in_the_parent():
    published = []
    watch = progress.Watch("fit", "fit-0", lambda *told: published.append(told))
    with watch:
        workers.run(tell_thrice, watch.file, meanwhile=watch.look)

    assert published[-1] == (100.0, "3 of 3 fits, best 0.3000")
    assert not watch.file.exists()


def test_a_body_that_tells_nothing_shows_nothing():
    published = []
    with progress.Watch("fit", "fit-0", lambda *told: published.append(told)) as watch:
        watch.look()

    assert published == []


def test_telling_without_anyone_who_looks_is_no_error():
    progress.tell(1, 2, "fits")


def test_rows_are_told_as_they_are_batches_are_not_of_one_size(home, monkeypatch):
    monkeypatch.setattr(progress, "TELL_S", 0)
    told = []
    with progress.telling(home / "told", lambda: told.append(progress._read(home / "told").done)):
        tell = progress.tell_rows(50, passes=2)
        for n in (30, 20, 1, 49):
            tell(n)
    assert told == [30, 50, 51, 100]


def test_the_api_is_called_no_more_often_than_it_should(monkeypatch):
    now, published = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    watch = progress.Watch("fit", "fit-0", lambda *told: published.append(told))
    with watch, progress.telling(watch.file):
        for second in range(20):
            now[0] = 100.0 + second
            progress.tell(second, 100, "fits")
            watch.look()

    # at 0, 5, 10 and 15 s, and once more at the end
    assert [percent for percent, _ in published] == [0, 5, 10, 15, 19]


@pytest.mark.parametrize(
    ("done", "first", "seconds", "expected"),
    [
        (50, 0, 60, 60),  # half done in a minute
        (60, 20, 60, 60),  # 40 of 80 made here in a minute, 40 to go
        (20, 20, 60, None),  # all found, nothing made: no speed yet
        (4, 0, 60, None),  # less than a twentieth: too early to tell
        (100, 0, 60, 0),
    ],
)
def test_the_time_left_counts_only_what_was_really_made(done, first, seconds, expected):
    told = progress.Told(done, 100, "fits")

    assert progress.seconds_left(told, first, seconds) == expected


def test_parts_that_have_not_begun_count_in_what_is_to_do():
    line = progress._Line(task=None)
    line.note("fold 0", progress.Told(30, 60, "fits", best=0.7, parts=5))
    line.note("fold 1", progress.Told(10, 60, "fits", best=0.8, parts=5))

    together, words = line.together()

    assert (together.done, together.of) == (40, 300)  # 5 folds of 60
    assert words.startswith("40 of 300 fits, best 0.8000")


def test_another_unit_begins_a_new_count(monkeypatch, home):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    watch = progress.Watch("fit", "fit-0", lambda *told: None)
    story = [(0, 5, 10, "fits"), (60, 10, 10, "fits")]
    story += [(60.1, 0, 4, "fits on all rows"), (180.1, 1, 4, "fits on all rows")]
    words = []
    with watch, progress.telling(watch.file):
        for seconds, *told in story:
            now[0] = 100 + seconds
            progress.tell(*told)
            watch.look()
            words.append(watch.words())

    assert words[1:] == [
        "10 of 10 fits",
        "0 of 4 fits on all rows",
        "1 of 4 fits on all rows, about 6 min left",
    ]


@task(task_run_name="fit-{fold}")
def watched(fold: int) -> None:
    with progress.Watch("fit", f"fit-{fold}") as watch:
        with progress.telling(watch.file):
            progress.tell(1, 4, "fits", best=0.5)
        watch.look()
        with progress.telling(watch.file):
            progress.tell(4, 4, "fits", best=0.75)


def test_the_progress_shows_in_prefect_under_its_task(prefect_server):
    from prefect.artifacts import Artifact

    @flow
    def small() -> None:
        watched(0)

    small()

    artifact = Artifact.get("progress-fit-0")
    assert artifact is not None
    assert artifact.type == "progress"
    assert float(artifact.data) == 100
    assert artifact.description == "4 of 4 fits, best 0.7500"
    assert artifact.task_run_id is not None


def test_on_a_terminal_each_step_has_a_line(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.Watch("fit_scikit", "fit_scikit-0", lambda *told: None) as watch:
        with progress.telling(watch.file):
            progress.tell(3, 60, "fits", parts=5)
        watch.look()

    shown = capsys.readouterr().err
    assert "fit_scikit" in shown
    assert "3 of 300 fits" in shown


def test_a_training_tells_its_accuracy_and_loss_and_what_is_left():
    told = progress.Told(110, 430, "steps", scores={"accuracy": 0.91234, "loss": 0.28})

    words = progress.in_words(told, left_s=14.6)

    assert words == "110 of 430 steps, accuracy 0.9123, loss 0.2800, about 15 s left"
