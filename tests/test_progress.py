"""Progress of a long step: reported in a worker process, shown by the task that waits."""

import pytest
from prefect import flow, task

from neural_classifiers.engine import progress, workers


def report_thrice(file) -> None:
    with progress.reporting_to(file):
        for done in (1, 2, 3):
            progress.report(done, 3, "fits", best=0.1 * done)


def test_a_report_from_a_worker_is_shown_in_the_parent():
    published = []
    watch = progress.Watch("fit", "fit-0", lambda *shown: published.append(shown))
    with watch:
        workers.run(report_thrice, watch.file, meanwhile=watch.look)

    assert published[-1] == (100.0, "3 of 3 fits, best 0.3000")
    assert not watch.file.exists()


def test_a_body_that_reports_nothing_shows_nothing():
    published = []
    with progress.Watch("fit", "fit-0", lambda *shown: published.append(shown)) as watch:
        watch.look()

    assert published == []


def test_a_report_that_nobody_looks_at_is_no_error():
    progress.report(1, 2, "fits")


def test_rows_are_counted_over_batches_of_any_size_and_all_passes(home, monkeypatch):
    monkeypatch.setattr(progress, "WRITE_S", 0)
    file, done = home / "report", []
    with progress.reporting_to(file, lambda: done.append(progress.read_report(file).done)):
        report = progress.reporter_for_rows(50, passes=2)
        for n in (30, 20, 1, 49):
            report(n)
    assert done == [30, 50, 51, 100]


def test_the_api_is_called_no_more_often_than_it_should(monkeypatch):
    now, published = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    watch = progress.Watch("fit", "fit-0", lambda *shown: published.append(shown))
    with watch, progress.reporting_to(watch.file):
        for second in range(20):
            now[0] = 100.0 + second
            progress.report(second, 100, "fits")
            watch.look()

    # at 0, 5, 10 and 15 s, and once more at the end
    assert [percent for percent, _ in published] == [0, 5, 10, 15, 19]


@pytest.mark.parametrize(
    ("done", "first", "left"),
    [
        (50, 0, ", about 60 s left"),  # half done in a minute
        (60, 20, ", about 60 s left"),  # 40 of 80 made here in a minute, 40 to go
        (20, 20, ""),  # all found, nothing made: no speed yet
        (4, 0, ""),  # less than a twentieth: too early to tell
        (100, 0, ""),
    ],
)
def test_the_time_left_counts_only_what_was_really_made(done, first, left):
    report = progress.ProgressReport(done, 100, "fits")

    assert progress.progress_in_words(report, first, seconds=60) == f"{done} of 100 fits{left}"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            progress.ProgressReport(110, 430, "steps", scores={"accuracy": 0.91234, "loss": 0.28}),
            "110 of 430 steps, accuracy 0.9123, loss 0.2800, about 13 s left",
        ),
        (
            progress.ProgressReport(3_010, 9_010, "rows"),
            "3,010 of 9,010 rows, 750 a second, about 8 s left",
        ),
    ],
    ids=["a training has scores", "rows have a rate"],
)
def test_a_report_says_what_there_is_to_say(report, words):
    assert progress.progress_in_words(report, first=10, seconds=4) == words


def test_folds_that_have_not_begun_count_in_the_total():
    pace = progress.Pace()
    pace.add("fold 0", progress.ProgressReport(30, 60, "fits", best=0.7, parts=5))
    pace.add("fold 1", progress.ProgressReport(10, 60, "fits", best=0.8, parts=5))

    together = pace.together()

    assert (together.done, together.total) == (40, 300)  # 5 folds of 60
    assert pace.words() == "40 of 300 fits, best 0.8000"


def test_another_unit_begins_a_new_count(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pace = progress.Pace()
    story = [(0, 5, 10, "fits"), (60, 10, 10, "fits")]
    story += [(60.1, 0, 4, "fits on all rows"), (180.1, 1, 4, "fits on all rows")]
    words = []
    for seconds, *report in story:
        now[0] = 100 + seconds
        pace.add("fit", progress.ProgressReport(*report))
        words.append(pace.words())

    assert words[1:] == [
        "10 of 10 fits",
        "0 of 4 fits on all rows",
        "1 of 4 fits on all rows, about 6 min left",
    ]


@task(task_run_name="fit-{fold}")
def watched(fold: int) -> None:
    with progress.Watch("fit", f"fit-{fold}") as watch:
        with progress.reporting_to(watch.file):
            progress.report(1, 4, "fits", best=0.5)
        watch.look()
        with progress.reporting_to(watch.file):
            progress.report(4, 4, "fits", best=0.75)


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
    with progress.Watch("fit_scikit", "fit_scikit-0", lambda *shown: None) as watch:
        with progress.reporting_to(watch.file):
            progress.report(3, 60, "fits", parts=5)
        watch.look()

    shown = capsys.readouterr().err
    assert "fit_scikit" in shown
    assert "3 of 300 fits" in shown
