import pytest

from neural_classifiers.threads import set_tensorflow_threads


def test_no_thread_at_all_is_refused():
    with pytest.raises(ValueError, match="expected at least 1 thread for TensorFlow, got 0"):
        set_tensorflow_threads(0)


def test_tensorflow_started_with_one_thread_keeps_to_it_and_says_so():
    set_tensorflow_threads(1)
    import tensorflow as tf

    tf.constant(1.0) + 1.0  # the first operation fixes the threads

    assert tf.config.threading.get_intra_op_parallelism_threads() == 1
    set_tensorflow_threads(1)  # the same again is no change
    with pytest.raises(RuntimeError, match=r"on 2 threads, but it has already started .* with 1"):
        set_tensorflow_threads(2)
    assert tf.config.threading.get_intra_op_parallelism_threads() == 1
