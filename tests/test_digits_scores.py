"""What an accuracy hides: expected numbers come from arithmetic in the test or a second method."""

import numpy as np
import pytest

from neural_classifiers.digits import scores
from neural_classifiers.digits.networks import FAST, build_network
from neural_classifiers.digits.scores import (
    ALTERATIONS,
    add_noise,
    best_seed,
    is_guessing,
    rotate,
    score_altered,
    score_each_digit,
    shift,
    spread_of_seeds,
    worst_mistakes,
)
from neural_classifiers.judgement.calibration import calibrate
from neural_classifiers.judgement.scores import wilson_interval

pytestmark = pytest.mark.usefixtures("one_thread")


def probabilities(*answers):
    """Rows that give a digit its probability and share the rest out evenly."""
    rows = np.empty((len(answers), 10), np.float32)
    for row, (digit, p) in zip(rows, answers, strict=True):
        row[:] = (1 - p) / 9
        row[digit] = p
    return rows


def test_each_digit_has_its_accuracy_interval_and_rival():
    confusion = np.zeros((10, 10), int)
    confusion[4, 4], confusion[4, 9], confusion[4, 1] = 7, 2, 1
    confusion[5, 5] = 3

    four, five = score_each_digit(confusion)

    assert (four["digit"], four["images"], four["accuracy"]) == (4, 10, 0.7)
    assert (four["low"], four["high"]) == wilson_interval(7, 10)
    assert four["mistaken_for"] == 9
    # Wilson for 3 of 3: low is n / (n + z^2) = 3 / (3 + 3.8415)
    assert five["low"] == pytest.approx(3 / (3 + 1.959964**2), rel=1e-5)
    assert (five["high"], five["mistaken_for"]) == (1, None)


# Of 100 images, ten a digit; Wilson's lower bound is 0.093 for 15 and 0.101 for 16 right answers.
@pytest.mark.parametrize(("n_right", "guesses"), [(0, True), (15, True), (16, False), (100, False)])
def test_a_network_that_is_not_shown_to_beat_the_commonest_digit_guesses(n_right, guesses):
    confusion = np.zeros((10, 10), int)
    for i in range(100):
        confusion[i % 10, (i + (i >= n_right)) % 10] += 1

    assert is_guessing(confusion) == guesses


def test_the_surest_mistakes_come_first_and_right_answers_never():
    given = probabilities((3, 0.9), (3, 0.99), (7, 0.6), (7, 0.6))

    mistakes = worst_mistakes(given, np.array([8, 8, 7, 1]))

    assert [m["image"] for m in mistakes] == [1, 0, 3]
    assert mistakes[0] == {
        "image": 1,
        "actual": 8,
        "predicted": 3,
        "p_actual": pytest.approx(0.01 / 9),
        "p_predicted": pytest.approx(0.99),
    }
    assert worst_mistakes(given, np.array([3, 3, 7, 7])) == []


def test_calibration_is_the_distance_of_confidence_and_accuracy_weighed_by_images():
    # 3 answers of 0.95, 2 right; 1 answer of 0.55, right
    given = probabilities((1, 0.95), (1, 0.95), (1, 0.95), (2, 0.55))

    told = calibrate(given, np.array([1, 1, 0, 2]))

    assert told["ece"] == pytest.approx(3 / 4 * (0.95 - 2 / 3) + 1 / 4 * (1 - 0.55))
    assert [(b["from"], b["rows"], b["accuracy"]) for b in told["bins"]] == [
        (0.5, 1, 1.0),
        (0.9, 3, pytest.approx(2 / 3)),
    ]
    assert told["confidence"] == pytest.approx((3 * 0.95 + 0.55) / 4)


def test_a_probability_of_one_is_in_the_last_bin():
    told = calibrate(probabilities((1, 1.0)), np.array([1]))

    assert [b["to"] for b in told["bins"]] == [1.0]
    assert told["ece"] == 0


def test_a_shift_moves_every_image_by_its_pixels_and_nothing_else():
    images = np.zeros((40, 28, 28), np.uint8)
    images[:, 10, 15] = 200

    moved = shift(images, 3, np.random.default_rng(0))

    places = {tuple(np.argwhere(image)[0].tolist()) for image in moved}
    assert places == {(7, 15), (13, 15), (10, 12), (10, 18)}
    assert (moved.max(axis=(1, 2)) == 200).all()
    assert (moved.astype(int).sum(axis=(1, 2)) == 200).all()


def test_a_quarter_turn_is_that_of_numpy_one_way_or_the_other():
    image = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)

    turned = rotate(np.stack([image] * 20), 90, np.random.default_rng(0))

    ways = [np.rot90(image, 1), np.rot90(image, -1)]
    which = [[np.abs(t.astype(int) - way).max() <= 1 for way in ways] for t in turned]
    assert {tuple(w) for w in which} == {(True, False), (False, True)}


def test_noise_has_its_deviation_and_stays_within_a_byte():
    grey = np.full((50, 28, 28), 128, np.uint8)

    noisy = add_noise(grey, 25, np.random.default_rng(0))

    # 39,200 pixels: the standard error of their deviation is 25 / sqrt(2 * 39200) = 0.09
    assert noisy.std() == pytest.approx(25, abs=0.5)
    assert noisy.dtype == np.uint8
    bright = add_noise(np.full((5, 28, 28), 250, np.uint8), 75, np.random.default_rng(0))
    assert (bright.min(), bright.max()) == (0, 255) or bright.max() == 255


def test_every_network_is_shown_the_same_altered_images_and_all_alterations(monkeypatch):
    preset = FAST.model_copy(update={"filters": (2, 2), "dense_units": 4})
    network = build_network(preset, seed=1)
    rng = np.random.default_rng(2)
    images, labels = rng.integers(0, 256, (60, 28, 28)).astype(np.uint8), np.arange(60) % 10
    monkeypatch.setattr(scores, "N_ALTERED", 50)

    rows = score_altered(network, images, labels)
    again = score_altered(network, images, labels)

    assert rows == again
    assert [row["alteration"] for row in rows] == list(ALTERATIONS)
    assert {row["images"] for row in rows} == {50}
    first = rows[0]
    assert (first["low"], first["high"]) == wilson_interval(round(first["accuracy"] * 50), 50)


def test_the_seed_is_chosen_by_validation_and_equals_by_their_loss():
    seeds = {
        1: {"val_accuracy": 0.98, "val_loss": 0.01},
        2: {"val_accuracy": 0.99, "val_loss": 0.06},
        3: {"val_accuracy": 0.99, "val_loss": 0.05},
    }

    assert best_seed(seeds) == 3


def test_the_spread_of_seeds_is_that_of_a_sample():
    told = spread_of_seeds([0.991, 0.993, 0.995])

    assert told == pytest.approx(
        {"n": 3, "mean": 0.993, "std": 0.002, "worst": 0.991, "best": 0.995}
    )
    assert spread_of_seeds([0.9])["std"] == 0
