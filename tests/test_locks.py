"""Locks: as network file systems want them, and told where there are none."""

import errno
import fcntl
import os
import stat

import pytest

from neural_classifiers.engine import locks
from neural_classifiers.engine.folder_store import FolderStore
from neural_classifiers.operation import doctor

real = fcntl.flock


def as_on_nfs(handle, how):
    """Refuses as NFS does: alone a handle to write, shared one to read, never a folder."""
    lacking = os.O_WRONLY if how & fcntl.LOCK_SH else os.O_RDONLY
    mode = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE
    if stat.S_ISDIR(os.fstat(handle).st_mode) or mode == lacking:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    real(handle, how)


def test_every_lock_can_be_had_on_a_network_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    path = tmp_path / "made" / "lock"
    with locks.hold(path, shared=True), locks.hold(path, shared=True):
        assert locks.try_to_hold(path) is None
    assert not locks.is_held(path)
    with locks.hold(path):
        assert locks.is_held(path)
    with locks.locked(tmp_path):
        assert locks.try_to_hold(tmp_path / locks.LOCK) is None
    store = FolderStore(tmp_path / "fits")
    store["one"] = b"1"
    assert list(store) == ["one"]


@pytest.mark.parametrize("answer", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_ill(home, monkeypatch, answer):
    def without(*_):
        raise OSError(answer, os.strerror(answer))

    assert doctor._locks().state == doctor.WELL
    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(locks.NoLocksError, match="lock: expected a file system with locks, got"):
        locks.hold(home / "lock")
    assert doctor._locks().state == doctor.ILL
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # says yes to everybody
    assert "a second process may hold" in doctor._locks().found
