import random

import pytest

from neural_classifiers.duplicates import near_duplicates

WORDS = [f"word{i}" for i in range(500)]


def text(rng, n=20):
    return " ".join(rng.choices(WORDS, k=n))


def similarity(one, other):
    """Jaccard of three-word sequences, told in other words."""
    sets = [
        set(zip(words, words[1:], words[2:], strict=False))
        for words in (one.split(), other.split())
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_what_nearly_repeats_a_training_text_is_found_with_its_likeness():
    rng = random.Random(1)
    train = [text(rng) for _ in range(300)]
    test = [text(rng) for _ in range(50)]
    test[7] = train[123] + " more"  # 18 of 19 sequences are the same
    test[20] = " ".join(reversed(train[5].split()))  # the same words, no sequence
    test[31] = train[200]
    found = near_duplicates(train, test, 34)

    assert found.pairs == [(7, 123, pytest.approx(18 / 19)), (31, 200, 1.0)]
    assert found.checked == 50
    assert found.share == found.interval[0] == found.interval[1] == 2 / 50
    assert similarity(test[7], train[123]) == pytest.approx(18 / 19)


def test_nothing_below_the_threshold_is_counted_and_little_above_it_is_missed():
    rng = random.Random(2)
    train = [text(rng, 30) for _ in range(400)]
    test = []
    for original in train[:200]:
        words = original.split()
        for _ in range(rng.randrange(4)):
            words[rng.randrange(30)] = "changed"
        test.append(" ".join(words))
    found = {i: likeness for i, _, likeness in near_duplicates(train, test, 34).pairs}
    alike = {i for i in range(200) if similarity(test[i], train[i]) >= 0.8}

    assert set(found) <= alike
    assert len(found) >= 0.95 * len(alike) > 60


def test_short_texts_are_alike_only_when_equal():
    found = near_duplicates(["goal", "great goal"], ["goal", "great save", "great goal"], 34)

    assert [pair[:2] for pair in found.pairs] == [(0, 0), (2, 1)]


def test_of_many_texts_a_sample_is_checked_against_all_and_bounds_the_share():
    rng = random.Random(3)
    train = [text(rng) for _ in range(600)]
    test = [train[i] if i % 4 == 0 else text(rng) for i in range(600)]  # a quarter repeats
    found = near_duplicates(train, test, 34, whole=1000, sample=200)

    assert found.checked == 200
    assert found.interval[0] < 0.25 < found.interval[1]
    assert found.interval[0] < found.share < found.interval[1]
    assert found == near_duplicates(train, test, 34, whole=1000, sample=200)


def test_without_test_texts_nothing_is_found():
    assert near_duplicates(["a b c"], [], 34).pairs == []
