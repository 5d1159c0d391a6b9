"""Worker processes: apart, limited to their cores, ended when late, gone with their parent."""

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from neural_classifiers.engine import workers


def pid_and_threads() -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


def fail() -> None:
    raise ValueError("expected a fish, got a bicycle")


def die() -> None:
    print("a last word", file=sys.stderr, flush=True)  # noqa: T201
    os.kill(os.getpid(), 9)


def hold_memory() -> int:
    block = bytearray(os.urandom(1)) * 200_000_000
    time.sleep(0.5)
    return len(block)


def test_bodies_run_in_another_process_with_its_own_threads_again_and_again():
    (pid, threads), *_ = workers.run(pid_and_threads)
    assert pid != os.getpid()
    assert threads == "1"
    assert workers.run(pid_and_threads).value == (pid, threads)


def train_a_network(threads: int) -> tuple[str, list[str]]:
    """Digest of its weights, and the threads of TensorFlow; `threads` 0: those of the worker."""
    import keras

    if threads:
        from neural_classifiers.arrays.threads import set_tensorflow_threads

        set_tensorflow_threads(threads)
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.layers.Dense(300), keras.layers.Dense(1)])
    network.compile("adam", "mse")
    x = np.random.default_rng(1).normal(size=(1000, 500)).astype(np.float32)
    network.fit(x, x[:, :1], batch_size=500, verbose=0)
    weights = b"".join(w.tobytes() for w in network.get_weights())
    tasks = Path("/proc/self/task").glob("*/comm")
    ours = sorted(name for name in (t.read_text().strip() for t in tasks) if name.startswith("tf_"))
    return hashlib.sha256(weights).hexdigest(), ours


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_tensorflow_in_a_worker_has_the_workers_threads_and_computes_the_same_bits():
    by_the_worker = workers.run(train_a_network, 0).value
    end_the_idle_worker()  # TensorFlow keeps its threads
    by_call = workers.run(train_a_network, 1).value
    end_the_idle_worker()
    assert by_the_worker == by_call


def end_the_idle_worker() -> None:
    with pytest.raises(workers.WorkerDiedError):
        workers.run(die)


def test_a_worker_is_used_again():
    (first, _), *_ = workers.run(pid_and_threads)
    (second, _), *_ = workers.run(pid_and_threads)
    assert first == second


def test_two_bodies_at_once_never_share_a_process():
    with ThreadPoolExecutor(2) as threads:
        pids = list(threads.map(lambda _: workers.run(slow_pid).value, range(2)))
    assert len(set(pids)) == min(2, workers.cores())


def slow_pid() -> int:
    time.sleep(0.5)
    return os.getpid()


def test_an_error_comes_back_as_it_was():
    with pytest.raises(ValueError, match="expected a fish, got a bicycle"):
        workers.run(fail)


def test_a_worker_that_dies_is_told_and_the_next_body_gets_a_new_one():
    with pytest.raises(workers.WorkerDiedError, match=r"(?s)death .* wrote: .*a last word"):
        workers.run(die)
    assert workers.run(pid_and_threads)[0][0] != os.getpid()


def test_a_worker_that_dies_while_it_waits_is_replaced():
    (first, _), *_ = workers.run(pid_and_threads)
    idle = psutil.Process(first)
    idle.kill()
    idle.wait(10)
    (second, _), *_ = workers.run(pid_and_threads)
    assert second != first
    assert workers.run(pid_and_threads)[0][0] == second


def test_a_worker_that_dies_before_it_is_asked_is_told_and_the_next_body_gets_a_new_one():
    def kill_it() -> None:
        pid = next(worker.process.pid for worker in workers._busy)
        os.kill(pid, 9)
        time.sleep(0.5)

    with pytest.raises(workers.WorkerDiedError, match="got its death"):
        workers.run(pid_and_threads, on_start=kill_it)
    assert workers.run(pid_and_threads)[0][1] == "1"


class TwoWordsError(Exception):
    """Pickled, it cannot be made again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def fail_in_two_words() -> None:
    raise TwoWordsError("no", "fish")


def test_an_error_that_cannot_be_passed_on_comes_back_in_words():
    (first, _), *_ = workers.run(pid_and_threads)
    with pytest.raises(RuntimeError, match="TwoWordsError: no fish"):
        workers.run(fail_in_two_words)
    assert workers.run(pid_and_threads)[0][0] == first


def test_a_body_that_is_late_is_killed():
    with pytest.raises(workers.StepTimeoutError, match=r"expected an end within 0\.5 s"):
        workers.run(time.sleep, 60, timeout_s=0.5)
    assert workers.run(pid_and_threads)[0][1] == "1"  # the cores are free again


def test_the_memory_of_a_worker_is_known_while_it_works_and_its_peak_at_the_end():
    seen: list[int] = []
    size, seconds, peak_mb = workers.run(
        hold_memory, meanwhile=lambda: seen.append(workers.busy_rss())
    )
    assert size == 200_000_000
    assert max(seen) > 200e6
    assert workers.busy_rss() == 0
    assert peak_mb > 200
    assert seconds >= 0.5


def test_workers_end_with_a_parent_that_is_killed():
    script = (
        "import psutil, time; from neural_classifiers.engine import workers; "
        "print(workers.run(time.monotonic_ns)[0]); "
        "print(psutil.Process().children()[-1].pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        gone, _ = psutil.wait_procs([worker], timeout=10)
    assert gone


def die_once(mark: str) -> int:
    path = Path(mark)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), 9)
    return os.getpid()


def test_a_body_that_goes_on_where_it_stopped_survives_the_death_of_its_worker(tmp_path):
    pid, *_ = workers.run(die_once, str(tmp_path / "mark"), attempts=2)
    assert pid != os.getpid()
    with pytest.raises(workers.WorkerDiedError):
        workers.run(die, attempts=2)
