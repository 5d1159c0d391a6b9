from collections import Counter
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_classifiers.comments.splits import (
    Side,
    check_folds,
    check_halving,
    check_test_rows,
    check_words,
    keys_of,
    split_keys,
)
from neural_classifiers.errors import ValidationError

CLASSES = ["games", "science", "sports"]

# Few texts, so that copies, conflicts and empty ones are the rule
comments = st.lists(
    st.tuples(st.sampled_from(["", *"abcdefgh"]), st.sampled_from(CLASSES)), max_size=60
)
fractions, seeds = st.sampled_from([0.1, 0.5, 0.7, 0.95]), st.integers(0, 2**32 - 1)


def split_of(rows, fraction=0.7, seed=34, times=None):
    labels = pd.Categorical([label for _, label in rows])
    return split_keys(keys_of([text for text, _ in rows]), labels, fraction, seed, times)


def train(split):
    return split.rows_of(Side.TRAIN).tolist()


def held_out(split):
    return split.rows_of(Side.TEST).tolist()


def distinct(*sizes):
    """Rows with texts that occur once: so many of each class."""
    return [
        (f"{label} {i}", label) for label, n in zip(CLASSES, sizes, strict=True) for i in range(n)
    ]


def classes_of(rows, positions):
    return Counter(rows[i][1] for i in positions)


def test_each_class_is_split_70_to_30():
    rows = distinct(45, 10, 100)
    split = split_of(rows)

    # 0.7 x 45 = 31.5 -> 32 (halves up); 0.7 x 10 = 7; 0.7 x 100 = 70
    assert classes_of(rows, train(split)) == {"games": 32, "science": 7, "sports": 70}
    assert classes_of(rows, held_out(split)) == {"games": 13, "science": 3, "sports": 30}


def test_the_notebooks_class_shares_give_its_2100_and_900_rows():
    split = split_of(distinct(2172, 120, 708))  # 72.4, 4 and 23.6 % of 3,000

    assert (len(train(split)), len(held_out(split))) == (2100, 900)


def test_of_rows_with_one_text_and_label_the_first_stays():
    rows = [*distinct(5, 0, 5), ("games 3", "games"), ("games 3", "games")]
    split = split_of(rows)

    assert split.rows_of(Side.DUPLICATES).tolist() == [10, 11]
    assert split.counts["games"] == {
        "rows": 7,
        "empty": 0,
        "duplicates": 2,
        "train": 4,  # 0.7 x 5 = 3.5, halves up
        "test": 1,
    }


def test_a_text_with_two_labels_keeps_both_rows_on_one_side():
    rows = [("same", "games"), ("same", "sports"), *distinct(20, 0, 20)]

    for seed in range(20):
        split = split_of(rows, seed=seed)
        assert {0, 1} <= set(train(split)) or {0, 1} <= set(held_out(split))
        assert split.conflicting == 1
        # 0.7 x 21 = 14.7: the other rows make up for it, wherever the text went
        assert classes_of(rows, train(split)) == {"games": 15, "sports": 15}


def test_empty_texts_are_dropped_and_are_neither_duplicates_nor_conflicts():
    split = split_of([("", "games"), ("", "games"), ("", "sports"), *distinct(5, 0, 5)])

    assert split.rows_of(Side.EMPTY).tolist() == [0, 1, 2]
    assert Side.DUPLICATES not in split.side
    assert split.conflicting == 0


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    rows = distinct(30, 30, 30)
    first, again, other = split_of(rows), split_of(rows), split_of(rows, seed=35)

    assert train(first) == train(again)
    assert held_out(first) == held_out(again)
    assert set(train(first)) != set(train(other))


def test_training_rows_come_in_random_order():
    # The notebook's file is sorted by category; folds are cut from the rows as they come
    labels = [distinct(50, 0, 50)[i][1] for i in train(split_of(distinct(50, 0, 50)))]

    assert labels != sorted(labels)


@given(comments, fractions, seeds)
def test_no_text_stands_on_both_sides(rows, fraction, seed):
    split = split_of(rows, fraction, seed)

    assert not {rows[i][0] for i in train(split)} & {rows[i][0] for i in held_out(split)}


@given(comments, fractions, seeds)
def test_every_row_goes_to_exactly_one_side(rows, fraction, seed):
    split = split_of(rows, fraction, seed)
    sides = {side: split.rows_of(side).tolist() for side in Side}

    assert sorted(row for on_side in sides.values() for row in on_side) == list(range(len(rows)))
    for label, counts in split.counts.items():
        assert counts["rows"] == sum(rows_label == label for _, rows_label in rows)
        for side, positions in sides.items():
            assert counts[side.name.lower()] == classes_of(rows, positions)[label]


@given(comments, fractions, seeds)
def test_each_pair_of_text_and_label_stands_once(rows, fraction, seed):
    split = split_of(rows, fraction, seed)
    kept = [rows[i] for i in [*train(split), *held_out(split)]]

    assert sorted(kept) == sorted({row for row in rows if row[0]})


@given(st.lists(st.integers(0, 40), min_size=3, max_size=3), fractions, seeds)
def test_each_class_keeps_its_share_within_one_row(sizes, fraction, seed):
    rows = distinct(*sizes)
    in_train = classes_of(rows, train(split_of(rows, fraction, seed)))

    for label, n in zip(CLASSES, sizes, strict=True):
        assert abs(in_train[label] - Fraction(str(fraction)) * n) < 1


@given(comments, fractions, seeds)
def test_texts_with_several_labels_cost_a_class_at_most_half_a_row_for_each_set(
    rows, fraction, seed
):
    split = split_of(rows, fraction, seed)
    labels_of = {text: {label for t, label in rows if t == text} for text, _ in rows if text}
    labels_of = {text: labels for text, labels in labels_of.items() if len(labels) > 1}
    assert split.conflicting == len(labels_of)

    for label, counts in split.counts.items():
        n_sets = len({frozenset(labels) for labels in labels_of.values() if label in labels})
        expected = Fraction(str(fraction)) * (counts["train"] + counts["test"])
        assert abs(counts["train"] - expected) <= Fraction(1 + n_sets, 2)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 70])
def test_a_train_fraction_that_leaves_a_side_empty_is_refused(fraction):
    with pytest.raises(ValueError, match=r"train_fraction: expected .* between 0 and 1, got"):
        split_of(distinct(5, 5, 5), fraction)


def test_a_label_and_a_time_for_each_text_are_needed():
    with pytest.raises(ValueError, match="a label for each of 2 texts, got 1"):
        split_keys(keys_of(["a", "b"]), pd.Categorical(["games"]), 0.7, 34)
    with pytest.raises(ValueError, match="a time for each of 2 texts, got 1"):
        split_of([("a", "x"), ("b", "y")], times=[1])


def test_a_class_with_fewer_training_rows_than_folds_is_named():
    check_folds({"games": 5, "sports": 5}, folds=5)
    with pytest.raises(ValueError, match=r"at least 5 .* got \{'games': 4, 'science': 0\}"):
        check_folds({"games": 4, "sports": 5, "science": 0}, folds=5)


WORDED = ["goal", "x a", "\N{SOCCER BALL}", "x y", ""]  # two of them have a word


@pytest.mark.parametrize(
    ("check", "enough", "too_few", "message"),
    [
        (check_test_rows, (9, 1, True), (9, 0, True), "9 and none; the latest share one time"),
        (check_test_rows, (9, 1, False), (9, 0, False), "none; more rows .--sample., or a smaller"),
        # of 2 and 2 in two folds each holds out one of each: a third must have a word
        (check_words, (["tor"] * 3, {"a": 2, "b": 2}, 2), (WORDED, {"a": 2, "b": 2}, 2), "3 of 4"),
        (check_halving, (40, 4, 5), (39, 4, 5), "at least 40 .* got 39"),
    ],
)
def test_what_later_steps_need_is_asked_for_before_them(check, enough, too_few, message):
    check(*enough)
    with pytest.raises(ValidationError, match=message):
        check(*too_few)


def test_by_time_the_earliest_are_the_training_set_and_ties_stay_together():
    rows = [(f"text {i}", "ab"[i % 2]) for i in range(10)]
    split = split_of(rows, times=[9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    assert sorted(train(split)) == [3, 4, 5, 6, 7, 8, 9]
    assert sorted(held_out(split)) == [0, 1, 2]

    tied = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2]  # the 7th of 10 has time 1, and so have two more
    assert held_out(split_of(rows, times=tied)) == [9]


def test_by_time_the_earliest_duplicate_stays_and_a_text_has_one_side():
    rows = [("same", "a"), ("same", "a"), ("x", "a"), ("y", "b"), ("both", "a"), ("both", "b")]
    split = split_of(rows, 0.6, times=[5, 1, 2, 3, 4, 0])

    assert split.rows_of(Side.DUPLICATES).tolist() == [0]
    assert split.conflicting == 1
    # left are rows 1..5 with times 1, 2, 3, 4, 0; "both" stands where its row of time 0 does
    assert sorted(train(split)) == [1, 4, 5]
    assert sorted(held_out(split)) == [2, 3]
