import io

import numpy as np
import pytest

from neural_classifiers.arrays.weights import weights_digest, weights_from_bytes, weights_to_bytes

WEIGHTS = {
    "dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "dense/bias": np.array([np.nan, -0.0, np.inf]),
    "step": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.float32),
}


def test_weights_come_back_to_the_bit():
    back = weights_from_bytes(weights_to_bytes(WEIGHTS))

    assert back.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()


def test_equal_weights_give_equal_bytes_and_digests_whatever_their_order():
    other_way = {
        name: np.asfortranarray(array) if array.ndim > 1 else array
        for name, array in reversed(WEIGHTS.items())
    }

    assert weights_to_bytes(other_way) == weights_to_bytes(WEIGHTS)
    assert weights_digest(other_way) == weights_digest(WEIGHTS)


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.array([1, 3])},
        {"b": np.array([1, 2])},
        {"a": np.array([[1, 2]])},
        {"a": np.array([1, 2], np.int32)},
        {"a": np.array([1, 2]), "b": np.array([])},
        {},
    ],
    ids=["number", "name", "shape", "type", "one more", "none"],
)
def test_any_difference_changes_the_digest(other):
    assert weights_digest(other) != weights_digest({"a": np.array([1, 2])})


def test_a_zero_with_another_sign_changes_the_digest():
    assert weights_digest({"a": np.array([0.0])}) != weights_digest({"a": np.array([-0.0])})


def test_numpy_alone_opens_the_bytes():
    with np.load(io.BytesIO(weights_to_bytes(WEIGHTS)), allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(WEIGHTS)
        np.testing.assert_array_equal(archive["dense/kernel"], WEIGHTS["dense/kernel"])


def test_python_objects_are_refused_both_ways():
    with pytest.raises(TypeError, match="a: expected an array of numbers, got Python objects"):
        weights_to_bytes({"a": np.array([print])})

    pickled = io.BytesIO()
    np.savez(pickled, a=np.array([{"any": "object"}]))
    with pytest.raises(ValueError, match=r"model\.npz: expected weights"):
        weights_from_bytes(pickled.getvalue(), "model.npz")


def test_no_damage_to_a_single_bit_is_believed():
    data = weights_to_bytes(WEIGHTS)
    n_refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        try:
            back = weights_from_bytes(bytes(damaged))
        except ValueError:
            n_refused += 1
        else:  # a bit that means nothing, such as one of a date
            assert weights_digest(back) == weights_digest(WEIGHTS)
    assert n_refused > len(data) / 2


def test_a_file_cut_off_anywhere_is_refused():
    data = weights_to_bytes(WEIGHTS)
    for length in range(len(data)):
        with pytest.raises(ValueError, match="w: expected weights"):
            weights_from_bytes(data[:length], "w")
