"""Records are checked, removed when no recent run needs them, and packed up to travel."""

import contextlib
import json
import os
import sqlite3
import zipfile
from pathlib import Path

import pytest
from test_history import KEY, at, entry, record, run_folder, with_

from neural_classifiers.engine import locks, paths
from neural_classifiers.engine.files import OutputError
from neural_classifiers.engine.folder_store import fits_namespace
from neural_classifiers.engine.history import find_run
from neural_classifiers.engine.housekeeping import InUseError, export, prune, verify
from neural_classifiers.engine.records import Key, record_folder

OTHER = with_(KEY, parameters={"seed": 35})


def test_verify_counts_sound_records_and_leaves_them_alone(home):
    record(KEY)
    record(OTHER)
    told = verify()

    assert (told["records"], told["faults"]) == (2, [])
    files = [f for f in (paths.cache() / "clean").rglob("*") if f.is_file()]
    assert told["bytes"] == sum(f.stat().st_size for f in files)


def test_verify_names_each_damaged_record_at_once(home):
    record(OTHER)
    damaged, moved = record(KEY), record(with_(KEY, step="split"))
    (damaged / "number.txt").write_text("2")
    moved = moved.rename(moved.with_name("0" * 64))  # sound, and the record of another key
    in_the_way = paths.cache() / "train"
    in_the_way.write_text("no folder")
    heard: list[str] = []

    faults = verify(heard.append)["faults"]

    assert faults == heard
    expected = [
        f"{damaged}/number.txt: expected sha256",
        f"{moved}/record.json: expected the parts of key {moved.name}, got those of",
        f"{in_the_way}: expected the folder of a record, got a file",
    ]
    assert len(faults) == len(expected)
    assert all(map(str.startswith, faults, expected))


def left_over(path: Path, hour: float) -> Path:
    """A folder with 5 bytes, last touched at an hour."""
    path.mkdir(parents=True)
    (path / "fit").write_text("5 b..")
    for touched in (path / "fit", path):
        os.utime(touched, (at(hour).timestamp(),) * 2)
    return path


def size_of(*folders: Path) -> int:
    return sum(f.stat().st_size for folder in folders for f in folder.rglob("*") if f.is_file())


def test_prune_keeps_what_the_newest_runs_name_and_removes_the_rest(home):
    old, shared, new = OTHER, KEY, with_(KEY, step="split")
    homes = [record(key) for key in (old, shared, new)]
    run_folder("old", 1, entry(old, 1), entry(shared, 1))
    run_folder("new", 3, entry(shared, 3, hit=True), entry(new, 3))
    expected = {"runs": 1, "kept": 2, "removed": {"records": 1}, "bytes": size_of(homes[0])}

    assert prune(1, dry_run=True) == {**expected, "dry_run": True}
    assert all(folder.exists() for folder in homes)
    assert prune(2)["removed"] == {}

    assert prune(1) == {**expected, "dry_run": False}
    assert [folder.exists() for folder in homes] == [False, True, True]
    assert find_run("old").folder.exists()  # made for people
    assert not list((paths.cache() / ".writing").iterdir())
    assert not list((paths.cache() / ".locks").iterdir())


def test_prune_removes_leftovers_that_no_kept_run_can_want(home):
    cache = paths.cache()
    train = "7" * 64
    sample = "8" * 64
    inputs = {"split": {"train": train}, "sample": {"train": sample}}
    search = Key("fit_scikit", {"fold": 0}, inputs, {"grids": "1"})
    record(search)
    unfinished = with_(KEY, step="train_digits")
    run_folder("old", 1)
    run_folder("new", 3, entry(search, 3), entry(unfinished, 3, error="WorkerDiedError: x"))
    stay = [
        # a kept record was made of them
        left_over(cache / ".fits" / fits_namespace(search, train), 1),
        left_over(cache / ".fits" / fits_namespace(search, sample), 1),
        left_over(cache / ".fits" / ("f" * 8), 3.5),  # touched since: a killed run may go on
        left_over(cache / ".unfinished" / f"train_digits-{unfinished.digest}", 1),
        left_over(cache / ".unfinished" / "train_digits-1", 3.5),
        left_over(cache / ".aside" / f"fit_scikit-{search.digest[:16]}-1", 1),
        left_over(cache / ".writing" / "clean-1", 1),
    ]
    go = [
        left_over(cache / ".fits" / ("e" * 8), 1),
        left_over(cache / ".unfinished" / "train_digits-2", 1),
        left_over(cache / ".aside" / f"clean-{KEY.digest[:16]}-1", 3.5),
        left_over(cache / ".writing" / "clean-2", 3.5),
    ]
    (cache / ".locks" / "clean-2").touch()
    at_work = locks.hold(cache / ".locks" / "clean-1")

    told = prune(1)
    at_work.close()

    assert told["removed"] == {"aside": 1, "writing": 1, "fits": 1, "unfinished": 1}
    assert told["bytes"] == 4 * 5
    assert all(folder.exists() for folder in stay)
    assert not any(folder.exists() for folder in go)
    assert [lock.name for lock in (cache / ".locks").iterdir()] == ["clean-1"]


def test_prune_waits_for_no_run_and_takes_nothing_from_one(home):
    folder = record(KEY)
    run = run_folder("owl", 1, status="running")
    held = [
        locks.hold(paths.cache() / locks.IN_USE, shared=True),
        locks.hold(run / locks.RUNNING),
    ]
    with pytest.raises(InUseError, match=f"expected no run to be going on, got {run.name}"):
        prune(1)
    assert folder.exists()
    assert prune(1, dry_run=True)["removed"] == {"records": 1}

    for lock in held:
        lock.close()
    assert prune(1)["removed"] == {"records": 1}


def test_prune_touches_nothing_when_a_run_cannot_be_read(home):
    folder = record(KEY)
    (run_folder("owl", 1, entry(KEY, 1)) / "run.json").write_text("{")

    with pytest.raises(ValueError, match=r"run\.json: expected a run"):
        prune(1)
    assert folder.exists()


def test_export_packs_the_runs_folder_and_its_records_under_relative_names(home, tmp_path):
    folder, gone = record(KEY), with_(KEY, step="gone")
    record(OTHER)
    run = run_folder("owl", 1, entry(KEY, 1), entry(gone, 1), metrics={})
    (run / "figures").mkdir()
    (run / "figures" / "a.png").write_bytes(b"png")

    told = export(find_run("owl"), tmp_path / "owl.zip")

    assert (told["records"], told["gone"]) == (1, [f"gone/{gone.digest}"])
    with zipfile.ZipFile(told["file"]) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "elsewhere" / "artifacts")
    record_name = f"cache/clean/{KEY.digest}"
    assert names == {
        f"runs/{run.name}/run.json",
        f"runs/{run.name}/figures/a.png",
        f"{record_name}/number.txt",
        f"{record_name}/record.json",
        f"{record_name}/timing.json",
    }
    moved = tmp_path / "elsewhere" / "artifacts" / record_name
    assert json.loads((moved / "record.json").read_bytes()) == json.loads(
        (record_folder(paths.cache(), KEY) / "record.json").read_bytes()
    )
    assert (moved / "number.txt").read_bytes() == (folder / "number.txt").read_bytes()
    assert [p.name for p in tmp_path.glob(".owl*")] == []


# --------------------------------------------------------------------------- links, foreign folders


def test_prune_and_verify_follow_no_link_out_of_the_cache(home):
    folder, cache = record(KEY), paths.cache()
    outside = left_over(home / "outside" / "precious", 1)
    run_folder("owl", 1, entry(KEY, 1))
    links = [cache / "evil", cache / "clean" / ("0" * 64), cache / ".fits", cache / ".aside"]
    for link in links:
        link.symlink_to(outside.parent)

    assert [fault.partition(": ")[2] for fault in verify()["faults"]] == [
        "expected the folder of a record, got a link"
    ] * 2
    told = prune(1)

    assert told["removed"] == {"links": 2}
    assert told["kept"] == 1
    assert (outside / "fit").read_text() == "5 b.."
    assert folder.exists()
    assert [link.is_symlink() for link in links] == [False, False, True, True]


@pytest.mark.parametrize(
    "name", [".bashrc", "run.tar", "folder.zip", "pipe.zip", "old.zip", "l.zip"]
)
def test_export_writes_nothing_but_a_new_zip(home, tmp_path, name):
    record(KEY)
    run_folder("owl", 1, entry(KEY, 1))
    (tmp_path / "folder.zip").mkdir()
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / ".bashrc").write_text("mine")
    (tmp_path / "old.zip").write_text("mine")
    (tmp_path / "l.zip").symlink_to("old.zip")
    before = sorted(tmp_path.iterdir())

    with pytest.raises(OutputError, match=f"{name}: expected"):
        export(find_run("owl"), tmp_path / name)

    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / ".bashrc").read_text() == (tmp_path / "old.zip").read_text() == "mine"


def test_export_packs_nothing_that_a_link_leads_to(home, tmp_path):
    record(KEY)
    moved = record(OTHER)
    outside = left_over(home / "outside" / "precious", 1)
    moved = moved.rename(home / "moved")
    (paths.cache() / "clean" / OTHER.digest).symlink_to(moved)
    run = run_folder("owl", 1, entry(KEY, 1), entry(OTHER, 1))
    (run / "notes.txt").symlink_to(outside / "fit")
    (run / "figures").symlink_to(outside)

    told = export(find_run("owl"), tmp_path / "owl.zip")

    assert told["gone"] == [f"clean/{OTHER.digest}"]
    with zipfile.ZipFile(told["file"]) as archive:
        names = archive.namelist()
    assert not [name for name in names if "notes" in name or "figures" in name or ".." in name]


@pytest.mark.parametrize(("step", "key"), [("../../outside", "a" * 64), ("clean", "."), ("", "x")])
def test_a_run_that_names_no_step_or_key_is_refused(home, step, key):
    run_folder("owl", 1, entry(KEY, 1) | {"step": step, "key": key})

    with pytest.raises(ValueError, match="expected a step and its key, got"):
        find_run("owl")


def test_prune_gives_back_what_removed_runs_left_in_prefects_database(home):
    database = home / ".prefect" / "prefect.db"
    database.parent.mkdir()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE log (message TEXT)")
        connection.executemany("INSERT INTO log VALUES (?)", [("x" * 1000,)] * 1000)
        connection.execute("DELETE FROM log")
        connection.commit()
    before = database.stat().st_size

    with locks.hold(home / ".prefect" / "up.lock"):
        (home / ".prefect" / "up.json").write_text("{}")
        assert prune(1)["bytes"] == 0
    freed = prune(1)["bytes"]
    assert freed == before - database.stat().st_size > 900_000
