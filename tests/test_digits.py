import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neural_classifiers.arrays.weights import weights_digest, weights_from_bytes, weights_to_bytes
from neural_classifiers.digits.networks import (
    FAST,
    NOTEBOOK,
    PRESETS,
    DigitsPreset,
    build_network,
    layers_of,
    predict_digits,
    rebuild_network,
)
from neural_classifiers.digits.scores import score_network
from neural_classifiers.digits.splits import draw_images, validation_split
from neural_classifiers.digits.training import learning_rates, train

SMALL = {  # the two presets, made small enough to train in a moment
    "notebook": NOTEBOOK.model_copy(update={"filters": (4,), "dense_units": 16, "batch_size": 32}),
    "fast": FAST.model_copy(update={"filters": (3, 4), "dense_units": 16, "batch_size": 32}),
}


def bars(n_images, seed=0):
    """Images with a bright bar whose height tells the label, on noise; every label present."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n_images) % 10).astype(np.uint8)
    images = rng.integers(0, 80, (n_images, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 4 : 2 * label + 7, 4:24] = 220
    return images, labels


pytestmark = pytest.mark.usefixtures("one_thread")


TRAIN, VALIDATION = bars(100), bars(30, seed=1)


def train_bars(preset, **changes):
    return train_on([*TRAIN, *VALIDATION], preset, **changes)


def train_on(data, preset, **changes):
    defaults = {"seed": 3, "threads": 1, "checkpoint": {}, "on_step": lambda *_: None}
    return train(preset, *data, **defaults | changes)


# --- networks


def test_the_notebook_network_has_the_parameters_that_the_notebook_printed():
    layers = layers_of(NOTEBOOK)

    assert sum(layer["parameters"] for layer in layers) == 1_182_730
    assert [layer["parameters"] for layer in layers if layer["parameters"]] == [
        64 * (5 * 5 + 1),
        (12 * 12 * 64 + 1) * 128,
        (128 + 1) * 10,
    ]
    convolved, pooled, flat, hidden = (24, 24, 64), (12, 12, 64), (9216,), (128,)
    shapes = [convolved, pooled, pooled, flat, hidden, hidden, (10,)]
    assert [layer["output_shape"] for layer in layers] == shapes
    assert (layers[0]["name"], layers[0]["type"]) == ("conv_1", "Conv2D")


def test_the_fast_network_pools_before_it_activates():
    layers = layers_of(FAST)

    assert [layer["type"] for layer in layers[:3]] == ["Conv2D", "MaxPooling2D", "ReLU"]
    assert [layer["parameters"] for layer in layers if layer["parameters"]] == [
        16 * (5 * 5 + 1),
        32 * (5 * 5 * 16 + 1),
        (4 * 4 * 32 + 1) * 256,
        (256 + 1) * 10,
    ]
    assert sum(layer["parameters"] for layer in layers) == 147_146


def test_the_notebook_convolution_starts_normal_with_deviation_0_05():
    kernel = np.asarray(build_network(NOTEBOOK, seed=5).get_layer("conv_1").kernel)

    # 1,600 numbers: the standard error of their deviation is 0.05 / sqrt(3200) = 0.0009
    assert kernel.std() == pytest.approx(0.05, abs=0.004)
    assert abs(kernel).max() > 0.1  # a uniform distribution of that deviation ends at 0.087


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_first_weights_follow_the_seed_alone(preset):
    import keras

    first = build_network(preset, seed=1).get_weights()
    keras.utils.set_random_seed(99)
    again, other = (build_network(preset, seed).get_weights() for seed in (1, 2))

    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_the_notebook_preset_trains_as_the_notebook_did():
    assert (NOTEBOOK.optimizer, NOTEBOOK.batch_size, NOTEBOOK.epochs) == ("rmsprop", 1000, 2)
    assert NOTEBOOK.dropout == 0.5
    assert set(learning_rates(NOTEBOOK, 5)) == {0.001}


def test_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="n_layers"):
        DigitsPreset(**FAST.model_dump(), n_layers=3)


def test_one_cycle_rises_to_the_peak_and_falls_towards_zero():
    preset = FAST.model_copy(update={"learning_rate": 0.5, "warmup_fraction": 0.25})

    rates = learning_rates(preset, 8)

    # up from 0.5 / 25 = 0.02 to step 2, then down by 0.5 / 6 a step
    expected = [0.02, 0.26, 0.5] + [0.5 * (1 - k / 6) for k in range(1, 6)]
    np.testing.assert_allclose(rates, expected)


# --- validation images


def test_validation_images_are_a_twelfth_of_each_digit_and_of_no_other_use():
    labels = np.repeat(np.arange(10), [12, 24, 36, 48, 60, 60, 60, 60, 120, 120])

    train_rows, validation_rows = validation_split(labels)

    assert np.bincount(labels[validation_rows]).tolist() == [1, 2, 3, 4, 5, 5, 5, 5, 10, 10]
    assert sorted([*train_rows, *validation_rows]) == list(range(600))


def test_mnist_keeps_whole_batches_of_the_notebook_after_the_split():
    train_rows, validation_rows = validation_split(np.arange(60_000) % 10)

    assert (len(train_rows), len(validation_rows)) == (55_000, 5_000)


@pytest.mark.parametrize("n", [20, 21, 100, 119, 120, 121, 240])
def test_few_images_keep_one_of_each_digit_for_validation(n):
    train_rows, validation_rows = validation_split(np.arange(n) % 10)

    # a twelfth, but ten at least
    assert len(validation_rows) == max(10, round(n / 12))
    assert sorted([*train_rows, *validation_rows]) == list(range(n))


def test_a_digit_with_a_single_image_is_named_with_what_to_do():
    labels = np.r_[np.arange(30) % 9, 9]

    with pytest.raises(ValueError, match=r"mnist: expected at least 2 .* got 1 of \[9\] among 31"):
        validation_split(labels, name="mnist")


def test_images_are_drawn_with_the_same_share_of_each_digit():
    labels = np.repeat(np.arange(10), [10, 20, 30, 40, 50, 50, 50, 50, 100, 100])

    assert np.bincount(labels[draw_images(labels, 50, seed=1)]).tolist() == [
        1, 2, 3, 4, 5, 5, 5, 5, 10, 10
    ]  # fmt: skip
    for n in (10, 490, 491, 499, 500):
        assert len(set(draw_images(labels, n, seed=1).tolist())) == n
    assert draw_images(labels, 500, seed=1).tolist() == list(range(500))
    with pytest.raises(ValueError, match="mnist: expected at least 501 training images, got 500"):
        draw_images(labels, 501, seed=1, name="mnist")


def test_the_split_follows_its_seed():
    labels = np.arange(600) % 10

    first, again, other = (validation_split(labels, seed=seed)[1] for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# --- training


@pytest.mark.parametrize("name", PRESETS)
def test_a_training_learns(name):
    trained = train_bars(SMALL[name].model_copy(update={"epochs": 12, "batch_size": 10}))

    assert trained.epochs[-1]["val_accuracy"] > 0.9  # guessing: 0.1
    assert trained.epochs[-1]["loss"] < trained.epochs[0]["loss"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_does_not(name):
    first, again = train_bars(SMALL[name]), train_bars(SMALL[name])

    assert weights_digest(first.weights) == weights_digest(again.weights)
    assert first.epochs == again.epochs
    assert weights_digest(first.weights) != weights_digest(train_bars(SMALL[name], seed=4).weights)


def test_a_fresh_process_gives_the_same_weights_to_the_bit():
    program = (
        "import test_digits as t; "
        "print(t.weights_digest(t.train_bars(t.SMALL['notebook']).weights))"
    )
    command = [sys.executable, "-c", program]
    folder = Path(__file__).parent
    root = {"PYTHONPATH": f"{folder.parent}:{folder}"}
    result = subprocess.run(
        command, env=root, capture_output=True, text=True, check=True, timeout=120
    )

    assert result.stdout.strip() == weights_digest(train_bars(SMALL["notebook"]).weights)


def test_a_training_of_whole_batches_does_what_keras_fit_does():
    from keras import optimizers

    # One batch holds all images, so that their order cannot matter.
    preset = SMALL["fast"].model_copy(
        update={"batch_size": 100, "epochs": 4, "schedule": "constant", "learning_rate": 0.003}
    )
    model = build_network(preset, seed=3)
    model.compile(
        optimizers.Adam(0.003, beta_1=0.7, beta_2=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    images, labels = TRAIN
    validation_images, validation_labels = VALIDATION
    history = model.fit(
        images[..., None] / 255,
        labels,
        batch_size=100,
        epochs=4,
        validation_data=(validation_images[..., None] / 255, validation_labels),
        verbose=0,
    ).history

    trained = train_bars(preset)

    for i, epoch in enumerate(trained.epochs):
        expected = {key: values[i] for key, values in history.items()}
        assert epoch == pytest.approx(expected, rel=1e-4)


def test_the_accuracy_of_an_epoch_counts_every_image_once():
    # The rate is too small to change anything, so the epoch's means are those of the first
    # weights over all images, the last batch of 100 - 3 * 32 = 4 no heavier than its images.
    preset = SMALL["fast"].model_copy(update={"learning_rate": 1e-12, "epochs": 1})
    images, labels = TRAIN
    probabilities = predict_digits(build_network(preset, seed=3), images)

    epoch = train_bars(preset).epochs[0]

    assert epoch["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == labels).mean())
    loss = -np.log(probabilities[np.arange(100), labels]).mean()
    assert epoch["loss"] == pytest.approx(loss, rel=1e-5)


def test_progress_is_told_step_by_step():
    steps = []
    trained = train_bars(SMALL["fast"], on_step=lambda *step: steps.append(step))

    # 100 images in batches of 32: 4 steps an epoch
    assert [(done, total) for done, total, _ in steps] == [(k, 8) for k in range(1, 9)]
    assert steps[-1][2] == {key: trained.epochs[-1][key] for key in ("accuracy", "loss")}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("notebook", {"learning_rate": 1e38}, "epoch 1, step 2 of 4: expected a finite loss"),
        (
            "fast",
            {"learning_rate": 100.0, "schedule": "constant", "epochs": 9},
            "epoch 3, step 2 of 4: expected a loss below 23",
        ),
        # 4 steps an epoch: step 100, the last of the first hundred, is the last of epoch 25
        ("fast", {"learning_rate": 0.3, "epochs": 30}, r"epoch 25, step 4 of 4: .*guessing, 2\.30"),
    ],
    ids=["no number", "explodes", "stays at guessing"],
)
def test_a_training_that_diverges_is_stopped_and_names_the_step(name, changes, message):
    with pytest.raises(FloatingPointError, match=message):
        train_bars(SMALL[name].model_copy(update=changes))


# --- trainings that are killed


class KilledError(Exception):
    pass


def kill(done, *_):
    """Die in the first step after the first epoch."""
    if done > 4:
        raise KilledError


def steps_of(preset, checkpoint):
    """A training that goes on from a checkpoint, and the steps that it did."""
    steps = []
    trained = train_bars(preset, checkpoint=checkpoint, on_step=lambda done, *_: steps.append(done))
    return trained, steps


@pytest.mark.parametrize("name", PRESETS)
def test_a_training_killed_after_an_epoch_ends_in_the_same_weights_to_the_bit(name):
    preset = SMALL[name].model_copy(update={"epochs": 3})
    checkpoint = {}
    with pytest.raises(KilledError):
        train_bars(preset, checkpoint=checkpoint, on_step=kill)

    continued, steps = steps_of(preset, checkpoint)

    undisturbed = train_bars(preset)
    assert steps == list(range(5, 13))  # the four steps of the first epoch are not done again
    assert weights_digest(continued.weights) == weights_digest(undisturbed.weights)
    assert continued.epochs == undisturbed.epochs


@pytest.mark.parametrize(("damaged", "n_steps"), [(False, 0), (True, 8)])
def test_a_finished_training_is_handed_back_and_a_damaged_one_done_again(damaged, n_steps):
    checkpoint = {}
    finished = train_bars(SMALL["fast"], checkpoint=checkpoint)
    if damaged:
        (name,) = checkpoint
        checkpoint[name] = checkpoint[name][:-1]

    again, steps = steps_of(SMALL["fast"], checkpoint)

    assert len(steps) == n_steps
    assert weights_digest(again.weights) == weights_digest(finished.weights)


@pytest.mark.parametrize(
    ("seed", "beta_1", "brighter"),
    [(4, 0.7, 0), (3, 0.6, 0), (3, 0.7, 1)],
    ids=["seed", "preset", "images"],
)
def test_the_checkpoint_of_another_training_is_left_alone(seed, beta_1, brighter):
    checkpoint = {}
    train_bars(SMALL["fast"], checkpoint=checkpoint)
    before = dict(checkpoint)
    preset = SMALL["fast"].model_copy(update={"beta_1": beta_1})
    data = [TRAIN[0] + brighter, TRAIN[1], *VALIDATION]

    train_on(data, preset, seed=seed, checkpoint=checkpoint)

    assert len(checkpoint) == 2
    assert before.items() <= checkpoint.items()


# --- judgement


def test_scores_agree_with_a_second_method():
    from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

    trained = train_bars(SMALL["fast"])
    images, labels = bars(60, seed=2)

    scores = score_network(rebuild_network(SMALL["fast"], trained.weights), images, labels)

    assert scores.probabilities.shape == (60, 10)
    assert scores.probabilities.dtype == np.float32
    predicted = scores.probabilities.argmax(axis=1)
    assert scores.test_accuracy == accuracy_score(labels, predicted)
    assert scores.test_loss == pytest.approx(log_loss(labels, scores.probabilities), rel=1e-5)
    np.testing.assert_array_equal(
        scores.confusion, confusion_matrix(labels, predicted, labels=range(10))
    )


def test_a_network_rebuilt_from_bytes_predicts_the_same_to_the_bit():
    preset = SMALL["notebook"]
    trained = train_bars(preset)
    images, _ = bars(20, seed=2)

    rebuilt = rebuild_network(preset, weights_from_bytes(weights_to_bytes(trained.weights)))

    expected = predict_digits(rebuild_network(preset, trained.weights), images)
    assert np.array_equal(predict_digits(rebuilt, images), expected)
    # and the rebuilt network is an ordinary Keras model that takes pixels in [0, 1]
    np.testing.assert_allclose(
        rebuilt.predict(images[..., None] / 255, verbose=0), expected, rtol=1e-4, atol=1e-6
    )
    assert trained.epochs[-1]["val_accuracy"] == pytest.approx(
        (predict_digits(rebuilt, VALIDATION[0]).argmax(axis=1) == VALIDATION[1]).mean()
    )


def test_weights_of_another_network_are_refused():
    weights = train_bars(SMALL["fast"]).weights

    with pytest.raises(ValueError, match=r"notebook: expected weights .*conv_1/kernel.*, got "):
        rebuild_network(NOTEBOOK, weights)


def test_no_images_give_no_predictions():
    assert predict_digits(build_network(FAST), np.empty((0, 28, 28), np.uint8)).shape == (0, 10)


def test_tensorflow_stays_out_until_it_is_needed():
    program = (
        "import sys, neural_classifiers.digits.training; sys.exit('tensorflow' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent.parent, check=True)
