"""One training for every preset of a network that reads digits.

A training can be had again to the bit: every random choice (first weights, order of the images,
dropout) draws from the seed it is given and from nothing that other code can move, TensorFlow is
told to compute deterministically (a tenth to a fifth more processor time for the notebook's
network, nothing for the fast one), and the number of threads is an argument. So a training that
was killed and continued ends where an undisturbed one does.
"""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from neural_classifiers.arrays.threads import set_tensorflow_threads
from neural_classifiers.arrays.weights import weights_digest, weights_from_bytes, weights_to_bytes
from neural_classifiers.digits.files import IMAGE_SHAPE, N_CLASSES
from neural_classifiers.digits.networks import (
    DigitsPreset,
    accuracy_and_loss,
    build_network,
    named_variables,
    predict_digits,
    to_pixels,
)

EpochScores = dict[str, float]

GUESSING = math.log(N_CLASSES)  # loss of an answer that gives each digit the same probability
N_EXPLODED = 10  # steps with a mean loss of ten times that of guessing: it diverges
N_STUCK = 50  # steps that are no better than guessing, after the first 100: its units are dead


class TrainedNetwork(NamedTuple):
    """A trained network and how it came about.

    `weights` are float32 arrays, ``"<layer>/kernel"`` and ``"<layer>/bias"``. `epochs` has
    ``accuracy``, ``loss``, ``val_accuracy`` and ``val_loss`` of each epoch; the first two are means
    over the batches as they passed, dropout at work, as Keras prints them.
    """

    weights: dict[str, np.ndarray]
    epochs: list[EpochScores]


def learning_rates(preset: DigitsPreset, n_steps: int) -> np.ndarray:
    """Return the learning rate of each step of a training, of shape (n_steps,).

    One cycle rises from a 25th of the peak in a straight line, then falls straight towards zero.
    """
    if preset.schedule == "constant":
        return np.full(n_steps, preset.learning_rate)
    peak = preset.learning_rate
    corners = [0, preset.warmup_fraction * n_steps, n_steps]
    return np.interp(np.arange(n_steps), corners, [peak / 25, peak, 0])


def train(
    preset: DigitsPreset,
    images_train: np.ndarray,
    labels_train: np.ndarray,
    images_validation: np.ndarray,
    labels_validation: np.ndarray,
    *,
    seed: int,
    threads: int,
    checkpoint: MutableMapping[str, bytes],
    on_step: Callable[[int, int, EpochScores], None],
) -> TrainedNetwork:
    """Train the network of a preset; the same arguments give the same weights, to the bit.

    Parameters
    ----------
    preset : DigitsPreset
        Network, optimiser and their numbers.
    images_train, images_validation : ndarray of shape (n_images, 28, 28)
        uint8, pixels from 0 to 255.
    labels_train, labels_validation : ndarray of shape (n_images,)
        Digits from 0 to 9.
    seed : int
        Decides the first weights, the order of the images and what dropout drops. At least 0.
    threads : int
        Cores to work on, for TensorFlow in the whole process; part of the result's last bits.
    checkpoint : mutable mapping of str to bytes
        Gets one value after each epoch, under a name of this very training: weights, state of
        the optimiser and of dropout, the scores so far. A later call with the same arguments
        continues from it; a value that cannot be read is passed over, the training starts anew.
        Each assignment must be whole or not happen. Values under other names are left alone.
    on_step : callable
        Called after each step with the steps done, the steps of the whole training and the
        ``accuracy`` and ``loss`` of the epoch so far.

    Raises
    ------
    FloatingPointError
        If a loss is no longer a finite number, explodes, or stays that of guessing; says in
        which epoch and step.
    RuntimeError
        If TensorFlow already runs in this process with another number of threads.

    Notes
    -----
    From its first call on TensorFlow computes deterministically in the whole process.
    The notebook seeded nothing that Keras draws from, and kept no model.
    """
    set_tensorflow_threads(threads)
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    model = build_network(preset, seed)
    optimizer = _build_optimizer(preset)
    optimizer.build(model.trainable_variables)
    data = (images_train, labels_train, images_validation, labels_validation)
    name = _name_training(preset, data, seed, threads)
    epochs = _restore(model, optimizer, checkpoint, name)

    learn = _compile_step(model, optimizer)
    n_steps = -(-len(images_train) // preset.batch_size)  # of an epoch; the last may be smaller
    rates = learning_rates(preset, n_steps * preset.epochs)
    recent: deque[float] = deque(maxlen=N_STUCK)
    for epoch in range(len(epochs), preset.epochs):
        # From seed and epoch alone: nothing to remember when a training is continued.
        order = np.random.default_rng([seed, epoch]).permutation(len(images_train))
        n_seen, n_right, loss_sum = 0, 0, 0.0
        scores: EpochScores = {}
        for step in range(n_steps):
            batch = order[step * preset.batch_size :][: preset.batch_size]
            done = epoch * n_steps + step
            loss, n_right_here = learn(images_train[batch], labels_train[batch], rates[done])
            recent.append(loss)
            if fault := _fault(recent, done + 1):
                raise _diverged(f"epoch {epoch + 1}, step {step + 1} of {n_steps}", fault, preset)
            n_seen += len(batch)
            n_right += n_right_here
            loss_sum += loss * len(batch)
            scores = {"accuracy": n_right / n_seen, "loss": loss_sum / n_seen}
            on_step(done + 1, rates.size, scores)
        accuracy, loss = accuracy_and_loss(
            predict_digits(model, images_validation), labels_validation
        )
        if not np.isfinite(loss):
            fault = f"expected a finite loss, got {loss}"
            raise _diverged(f"validation after epoch {epoch + 1}", fault, preset)
        epochs.append(scores | {"val_accuracy": accuracy, "val_loss": loss})
        checkpoint[name] = _snapshot(model, optimizer, epochs)
    weights = {part: variable.numpy().copy() for part, variable in named_variables(model).items()}
    return TrainedNetwork(weights, epochs)


def _build_optimizer(preset: DigitsPreset) -> Any:
    """Return the optimiser of a preset; its rate is set step by step."""
    from keras import optimizers

    if preset.optimizer == "rmsprop":
        return optimizers.RMSprop(preset.learning_rate, rho=preset.beta_2)
    return optimizers.Adam(preset.learning_rate, beta_1=preset.beta_1, beta_2=preset.beta_2)


def _compile_step(
    model: Any, optimizer: Any
) -> Callable[[np.ndarray, np.ndarray, float], tuple[float, int]]:
    """Return what learns from one batch at one rate and gives its loss and how many were right.

    ``model.train_on_batch`` would do the same. This takes a quarter less time with small batches:
    it takes bytes, needs no new compilation for a last batch that is smaller, and hands over two
    numbers a step.
    """
    import keras
    import tensorflow as tf

    images_spec = tf.TensorSpec((None, *IMAGE_SHAPE), tf.uint8)
    labels_spec = tf.TensorSpec((None,), tf.int64)

    @tf.function(input_signature=[images_spec, labels_spec])
    def compiled(images: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            probabilities = model(to_pixels(images), training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, tf.math.count_nonzero(tf.equal(tf.argmax(probabilities, axis=1), labels))

    def learn(images: np.ndarray, labels: np.ndarray, rate: float) -> tuple[float, int]:
        optimizer.learning_rate = rate
        loss, n_right = compiled(images, labels.astype(np.int64))
        return float(loss), int(n_right)

    return learn


def _fault(recent: Sequence[float], n_steps: int) -> str | None:
    """What is wrong with the latest losses of a training after so many steps, if anything is.

    Of sound trainings of both presets no ten steps had a mean above 2.1; a rate ten times too high
    leaves 2.30, that of guessing, for good; one three hundred times too high passes 1,000.
    """
    if not np.isfinite(recent[-1]):
        return f"expected a finite loss, got {recent[-1]}"
    exploded = float(np.mean(list(recent)[-N_EXPLODED:]))
    if len(recent) >= N_EXPLODED and exploded > 10 * GUESSING:
        return f"expected a loss below {10 * GUESSING:.0f}, got {exploded:.4g} over ten steps"
    stuck = float(np.mean(recent))
    if n_steps >= 2 * N_STUCK and len(recent) == N_STUCK and stuck > 0.99 * GUESSING:
        return (
            f"expected a loss below that of guessing, {GUESSING:.2f}, got {stuck:.4g} over the "
            f"last {N_STUCK} steps"
        )
    return None


def _diverged(where: str, fault: str, preset: DigitsPreset) -> FloatingPointError:
    hint = f"the learning rate of {preset.learning_rate} may not suit"
    return FloatingPointError(f"{where}: {fault}; {hint}")


def _name_training(
    preset: DigitsPreset, data: tuple[np.ndarray, ...], seed: int, threads: int
) -> str:
    """Return a name that two trainings share only if they must end in the same weights."""
    import keras
    import tensorflow as tf

    data_digest = weights_digest({str(i): array for i, array in enumerate(data)})
    parts = [preset.model_dump_json(), data_digest, str(seed), str(threads)]
    parts += [keras.__version__, tf.__version__]
    parts += [device.device_type for device in tf.config.list_physical_devices()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _state(model: Any, optimizer: Any) -> dict[str, Any]:
    """Everything that a step changes: weights, dropout's position, the optimiser's memory.

    By number, because Keras counts its generators and optimisers through the whole process.
    """
    variables = {"model": model.variables, "optimizer": optimizer.variables}
    return {f"{part}/{i}": v for part, group in variables.items() for i, v in enumerate(group)}


def _snapshot(model: Any, optimizer: Any, epochs: list[EpochScores]) -> bytes:
    """Return the state of a training between two epochs, with its scores so far."""
    state = {name: variable.numpy() for name, variable in _state(model, optimizer).items()}
    scores = {f"epochs/{key}": np.array([epoch[key] for epoch in epochs]) for key in epochs[0]}
    return weights_to_bytes(state | scores)


def _restore(
    model: Any, optimizer: Any, checkpoint: Mapping[str, bytes], name: str
) -> list[EpochScores]:
    """Bring a training to where its checkpoint stands and return the scores of its epochs."""
    if name not in checkpoint:
        return []
    try:
        saved = weights_from_bytes(checkpoint[name], name)
    except ValueError:
        return []  # damaged: from its start the training ends in the same weights
    for part, variable in _state(model, optimizer).items():
        variable.assign(saved[part])
    scores = {key.removeprefix("epochs/"): saved[key] for key in saved if key.startswith("epochs/")}
    n_epochs = len(scores["loss"])
    return [{key: float(values[i]) for key, values in scores.items()} for i in range(n_epochs)]
