"""Records are checked, removed when no recent run needs them, and packed up to travel."""

import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_history import KEY, at, entry, record, run_folder, with_

from neural_classifiers.engine import locks, paths
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


@pytest.mark.parametrize("damage", ["bytes", "no file", "no record", "half a record", "other key"])
def test_verify_finds_each_damage_and_names_the_place(home, damage):
    record(OTHER)
    folder = record(KEY)
    number, told = folder / "number.txt", folder / "record.json"
    if damage == "bytes":
        number.write_text("2")
    elif damage == "no file":
        number.unlink()
    elif damage == "no record":
        told.unlink()
    elif damage == "half a record":
        told.write_text(told.read_text()[:50])
    else:
        told.write_text(told.read_text().replace('"seed": 34', '"seed": 36'))
    heard: list[str] = []

    faults = verify(heard.append)["faults"]

    assert faults == heard
    assert len(faults) == 1
    assert str(folder) in faults[0]


def test_verify_tells_of_a_file_where_records_should_lie(home):
    paths.cache().mkdir(parents=True)
    (paths.cache() / "clean").write_text("in the way")

    [fault] = verify()["faults"]
    assert "expected the folder of a record" in fault


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
    homes = [record(key, hour) for key, hour in ((old, 1), (shared, 1), (new, 3))]
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
    search = Key("fit_scikit", {"fold": 0}, {"split": {"train": train}}, {"grids": "1"})
    # as the search names the store of its single fits
    store = Key("fit_scikit", {}, {"train": train}, {"grids": "1"}).digest
    record(search, 3)
    unfinished = with_(KEY, step="train_digits")
    run_folder("old", 1)
    run_folder("new", 3, entry(search, 3), entry(unfinished, 3, error="WorkerDiedError: x"))
    stay = [
        left_over(cache / ".fits" / store, 1),  # a kept record was made of them
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


def test_the_store_of_a_searchs_fits_is_found_from_its_record(home, monkeypatch):
    from neural_classifiers.engine.housekeeping import _namespaces
    from neural_classifiers.engine.records import File, Reference
    from neural_classifiers.engine.step import body_of, key_of
    from tasks import searches
    from tasks.search_models import fit_scikit

    made: list[Path] = []

    class AskedError(Exception):
        pass

    def ask(folder: Path) -> None:
        made.append(folder)
        raise AskedError

    class Split(Reference):
        train: File

    (home / "train").write_text("rows")
    split = Split(train=File.of(home / "train"))
    search = SimpleNamespace(searched=split.train, plan=lambda namespace: None)
    monkeypatch.setattr(searches, "FolderStore", ask)
    with pytest.raises(AskedError):
        searches.fit_fold(fit_scikit, search, 0, home)  # type: ignore[arg-type]
    monkeypatch.undo()
    monkeypatch.setenv("NEURAL_CLASSIFIERS_HOME", str(home))

    key = key_of(body_of(fit_scikit), {"split": split, "fold": 0})
    record(key)
    assert list(_namespaces([("fit_scikit", key.digest)])) == [made[0].name]

    (home / "all").write_text("more rows")  # a search on a sample of them
    whole = Split(train=File.of(home / "all"))
    key = key_of(body_of(fit_scikit), {"split": whole, "sample": split})
    record(key)
    assert made[0].name in _namespaces([("fit_scikit", key.digest)])


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
