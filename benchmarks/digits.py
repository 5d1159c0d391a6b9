"""What two epochs give: accuracy, seconds and memory of the digits' networks, and what kills cost.

    python benchmarks/digits.py seeds              # notebook and fast alternately, several seeds
    python benchmarks/digits.py choices            # how the fast preset was chosen, on validation
    python benchmarks/digits.py kills              # kill -9 at random moments, weights as bits
    python benchmarks/digits.py profile            # where the time of a step goes

Each training has a process of its own, on two threads. "Training" is the call of `train` alone;
"process" counts from start to end, TensorFlow's import and the judgement too. Processor seconds
are told beside, since other work on the machine moves them least. `--data` is a folder with the
four IDX files of MNIST's names, plain or .gz (Fashion-MNIST has the same names).
"""

import argparse
import json
import os
import resource
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from neural_classifiers.arrays.threads import set_tensorflow_threads
from neural_classifiers.arrays.weights import weights_digest
from neural_classifiers.digits.files import read_idx
from neural_classifiers.digits.networks import (
    PRESETS,
    DigitsPreset,
    build_network,
    to_pixels,
)
from neural_classifiers.digits.scores import score_network
from neural_classifiers.digits.splits import validation_split
from neural_classifiers.digits.training import build_optimizer, compile_step, train
from neural_classifiers.engine.folder_store import FolderStore

THREADS = 2
CHOICES: dict[str, dict[str, Any]] = {
    "24 and 32 filters": {"filters": [24, 32]},
    "16 and 32 filters": {"filters": [16, 32]},
    "16 and 48 filters": {"filters": [16, 48]},
}
"""Changes of the fast preset that were tried."""


def read_folder(folder: Path) -> list[np.ndarray]:
    """Images and labels of training and test."""
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    paths = [next(folder.glob(f"{part}-ubyte*")) for part in parts]
    return [read_idx(path.read_bytes(), str(path)) for path in paths]


def one(told: Mapping[str, Any]) -> dict[str, Any]:
    """Train and judge once, in this process."""
    images, labels, images_test, labels_test = read_folder(Path(told["data"]))
    rows, held_out = validation_split(labels)
    rows = rows[: told.get("sample")]
    preset = DigitsPreset.model_validate(told["preset"])
    store = FolderStore(Path(told["store"])) if "store" in told else None
    set_tensorflow_threads(THREADS)  # TensorFlow is imported before the clock starts
    began, began_cpu = time.perf_counter(), time.process_time()
    trained = train(
        preset, images[rows], labels[rows], images[held_out], labels[held_out],
        seed=told["seed"], threads=THREADS, checkpoint=store,
    )  # fmt: skip
    result = {
        "training_s": time.perf_counter() - began,
        "training_cpu_s": time.process_time() - began_cpu,
        "epochs": trained.epochs,
        "continued": trained.n_epochs_continued,
        "parameters": sum(array.size for array in trained.weights.values()),
        "digest": weights_digest(trained.weights),
    }
    if told.get("judge"):
        scores = score_network(preset, trained.weights, images_test, labels_test, threads=THREADS)
        result["test_accuracy"] = scores.test_accuracy
    result["process_s"] = time.time() - psutil.Process().create_time()
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def start(told: Mapping[str, Any], under: Sequence[str]) -> subprocess.Popen[str]:
    """A process that does `one`, in a group of its own."""
    return subprocess.Popen(
        [*under, sys.executable, __file__, "one", json.dumps(told)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )  # fmt: skip


def run(told: Mapping[str, Any], under: Sequence[str]) -> dict[str, Any]:
    """What `one` returns from a process of its own."""
    process = start(told, under)
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"expected a training, got exit status {process.returncode}: {told}")
    return json.loads(said)


def spread(values: Sequence[float]) -> str:
    """Mean, standard deviation and extremes, in per cent."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    mean = statistics.fmean(values)
    return f"mean {mean:.4%}, std {deviation:.4%}, worst {min(values):.2%}, best {max(values):.2%}"


def seeds(parsed: argparse.Namespace) -> None:
    """Both arms, alternately; the test set judged once a training."""
    plan = [
        (name, seed)
        for seed in range(1, max(parsed.fast, parsed.notebook) + 1)
        for name, n in (("notebook", parsed.notebook), ("fast", parsed.fast))
        if seed <= n
    ]
    done: dict[str, list[dict[str, Any]]] = {}
    for name, seed in plan:
        preset = PRESETS[name].model_copy(update={"epochs": parsed.epochs})
        told = {
            "data": str(parsed.data),
            "preset": preset.model_dump(mode="json"),
            "seed": seed,
            "judge": True,
        }
        result = run(told, parsed.under)
        done.setdefault(name, []).append(result)
        print(
            f"{name:<9} seed {seed:<3} test {result['test_accuracy']:.2%}, training "
            f"{' '.join(format(e['accuracy'], '.2%') for e in result['epochs'])}, validation "
            f"{result['epochs'][-1]['val_accuracy']:.2%}; {result['training_s']:.1f} s "
            f"({result['training_cpu_s']:.1f} s of processor), process {result['process_s']:.1f} s,"
            f" peak {result['peak_mb']:.0f} MB",
            flush=True,
        )
    for name, results in done.items():
        print(f"\n{name}: {len(results)} seeds, {results[0]['parameters']:,} parameters")
        print(f"  test      {spread([r['test_accuracy'] for r in results])}")
        for i in range(parsed.epochs):
            print(f"  epoch {i + 1}   {spread([r['epochs'][i]['accuracy'] for r in results])}")
        for what in ("training_s", "training_cpu_s", "process_s", "peak_mb"):
            print(f"  {what:<15}median {statistics.median(r[what] for r in results):.1f}")
    if len(done) == 2:
        pairs = list(zip(done["fast"], done["notebook"], strict=False))
        for what in ("training_s", "training_cpu_s", "process_s"):
            ratios = [fast[what] / notebook[what] for fast, notebook in pairs]
            print(
                f"fast / notebook, {what}: median {statistics.median(ratios):.2f} of "
                f"{len(ratios)} pairs ({min(ratios):.2f} to {max(ratios):.2f})"
            )


def choices(parsed: argparse.Namespace) -> None:
    """Changes of the fast preset, by their validation images; the test images stay unseen."""
    done: dict[str, list[dict[str, Any]]] = {}
    for seed in range(1, parsed.fast + 1):
        for name, change in CHOICES.items():
            preset = PRESETS["fast"].model_dump(mode="json") | change
            told = {"data": str(parsed.data), "preset": preset, "seed": seed}
            result = run(told, parsed.under)
            done.setdefault(name, []).append(result)
            last = result["epochs"][-1]
            print(
                f"{name}, seed {seed}: {last['val_accuracy']:.2%}, {last['val_loss']:.4f}, "
                f"{result['training_cpu_s']:.1f} s",
                flush=True,
            )
    print(f"\n{'preset':<24}{'validation':>12}{'worst':>9}{'loss':>9}{'processor s':>13}")
    for name, results in done.items():
        lasts = [r["epochs"][-1] for r in results]
        print(
            f"{name:<24}{statistics.fmean(e['val_accuracy'] for e in lasts):>12.3%}"
            f"{min(e['val_accuracy'] for e in lasts):>9.2%}"
            f"{statistics.fmean(e['val_loss'] for e in lasts):>9.4f}"
            f"{statistics.median(r['training_cpu_s'] for r in results):>13.1f}"
        )


def kills(parsed: argparse.Namespace) -> None:
    """Kill -9 at random moments; each training ends in the weights of an undisturbed one."""
    rng = np.random.default_rng(parsed.seed)
    preset = PRESETS["fast"].model_copy(update={"epochs": 4})
    told = {
        "data": str(parsed.data),
        "preset": preset.model_dump(mode="json"),
        "seed": parsed.seed,
        "sample": parsed.sample,
    }
    undisturbed = run(told, parsed.under)
    equal = 0
    for i in range(parsed.kills):
        with tempfile.TemporaryDirectory() as folder:
            process = start(told | {"store": folder}, parsed.under)
            moment = rng.uniform(0, undisturbed["process_s"])
            try:
                process.wait(moment)
                print(f"kill {i + 1}: ended before {moment:.1f} s")
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            left = [path.name for path in Path(folder).iterdir()]
            after = run(told | {"store": folder}, parsed.under)
        same = after["digest"] == undisturbed["digest"] and after["epochs"] == undisturbed["epochs"]
        equal += same
        print(
            f"kill {i + 1} after {moment:.1f} s: status {process.returncode}, {len(left)} files "
            f"left, continued after {after['continued']} of {preset.epochs} epochs, weights "
            f"{'equal to the bit' if same else 'DIFFER'}",
            flush=True,
        )
    print(f"{equal} of {parsed.kills} equal, digest {undisturbed['digest'][:16]}")
    if equal < parsed.kills:
        raise SystemExit(1)


def profile(parsed: argparse.Namespace) -> None:
    """Where a step's time goes: milliseconds of a batch, each part the least of many."""
    set_tensorflow_threads(THREADS)
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    images, labels, *_ = read_folder(parsed.data)
    for name, preset in PRESETS.items():
        model, optimizer = build_network(preset, seed=1), build_optimizer(preset)
        optimizer.build(model.trainable_variables)
        step = compile_step(model, optimizer)
        rows = np.random.default_rng(1).permutation(len(images))[: preset.batch_size]
        batch, wanted = images[rows], labels[rows]
        parts = {
            "draw the batch, as bytes": lambda rows=rows: (images[rows], labels[rows]),
            "the same as float32": lambda rows=rows: images[rows].astype(np.float32) / 255,
            "learn from it": lambda step=step, b=batch, w=wanted: step(b, w, 0.0),
        }
        before = tf.constant(to_pixels(batch))
        for layer in model.layers:
            forward = tf.function(layer)
            parts[f"forward: {layer.name}"] = lambda f=forward, x=before: f(x).numpy()
            before = layer(before)
        print(f"\n{name}, batches of {preset.batch_size}")
        for part, do in parts.items():
            print(f"  {part:<28}{1000 * least(do):>8.2f} ms")


def least(do: Callable[[], Any], times: int = 15) -> float:
    """Seconds of the fastest of many calls, the first not counted."""
    do()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = {"seeds": seeds, "choices": choices, "kills": kills, "profile": profile}
    parser.add_argument("what", choices=[*commands, "one"])
    parser.add_argument("told", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, default=Path("data/raw/mnist"))
    parser.add_argument("--fast", type=int, default=10, help="seeds of the fast preset")
    parser.add_argument("--notebook", type=int, default=5, help="seeds of the notebook's")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--sample", type=int, default=15_000, help="images of a killed training")
    parser.add_argument("--seed", type=int, default=34, help="of the moments and the training")
    parser.add_argument(
        "--under", type=shlex.split, default=[], help="command to run each training under"
    )
    parsed = parser.parse_args()
    if parsed.what == "one":
        print(json.dumps(one(json.loads(parsed.told))))
    else:
        commands[parsed.what](parsed)


if __name__ == "__main__":
    main()
