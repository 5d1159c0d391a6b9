import random

import pytest

from neural_classifiers.comments import duplicates
from neural_classifiers.comments.duplicates import near_duplicates, rows_to_check

WORDS = [f"word{i}" for i in range(500)]


def text(rng, n=20):
    return " ".join(rng.choices(WORDS, k=n))


def found_in(train, test):
    return near_duplicates(iter(train), dict(enumerate(test)), len(test))


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
    found = found_in(train, test)

    assert found.pairs == [(7, 123, pytest.approx(18 / 19)), (31, 200, 1.0)]
    assert found.checked == 50
    assert found.share == found.interval[0] == found.interval[1] == 2 / 50
    assert similarity(test[7], train[123]) == pytest.approx(18 / 19)


def test_what_is_found_is_what_a_comparison_of_all_pairs_finds():
    rng = random.Random(2)
    train = [text(rng, 30) for _ in range(400)]
    test = []
    for original in train[:200]:
        words = original.split()
        for _ in range(rng.randrange(4)):
            words[rng.randrange(30)] = "changed"
        test.append(" ".join(words))
    found = {i: (j, likeness) for i, j, likeness in found_in(train, test).pairs}
    alike = {i: similarity(test[i], train[i]) for i in range(200)}

    assert found == {i: (i, likeness) for i, likeness in alike.items() if likeness >= 0.8}
    assert 60 < len(found) < 140


def test_short_texts_are_alike_only_when_equal():
    found = found_in(["goal", "great goal"], ["goal", "great save", "great goal"])

    assert [pair[:2] for pair in found.pairs] == [(0, 0), (2, 1)]


def test_of_many_texts_a_sample_is_checked_against_all_and_bounds_the_share(monkeypatch):
    monkeypatch.setattr(duplicates, "CHECKED_WHOLE", 1000)
    monkeypatch.setattr(duplicates, "CHECKED_ROWS", 200)
    rng = random.Random(3)
    train = [text(rng) for _ in range(600)]
    test = [train[i] if i % 4 == 0 else text(rng) for i in range(600)]  # a quarter repeats
    rows = rows_to_check(600, 600, 34).tolist()
    found = near_duplicates(train, {row: test[row] for row in rows}, 600)

    assert found.checked == 200
    assert found.interval[0] < 0.25 < found.interval[1]
    assert found.interval[0] < found.share < found.interval[1]
    assert {row for row, *_ in found.pairs} == {row for row in rows if row % 4 == 0}
    assert rows == rows_to_check(600, 600, 34).tolist()
    assert len(rows_to_check(400, 600, 34)) == 600


def test_without_test_texts_nothing_is_found():
    assert found_in(["a b c"], []).pairs == []
