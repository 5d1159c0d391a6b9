import re
import subprocess
import sys

import pytest

from neural_classifiers.arrays.threads import set_tensorflow_threads


def test_no_thread_at_all_is_refused():
    with pytest.raises(ValueError, match="expected at least 1 thread for TensorFlow, got 0"):
        set_tensorflow_threads(0)


SCRIPT = """
from neural_classifiers.arrays.threads import set_tensorflow_threads
set_tensorflow_threads(1)
import tensorflow as tf
tf.constant(1.0) + 1.0  # the first operation fixes the threads
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
set_tensorflow_threads(1)  # the same again is no change
try:
    set_tensorflow_threads(2)
except RuntimeError as error:
    print(error)
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
"""


STARTED_BY_VARIABLES = """
import os
os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
import tensorflow as tf
tf.constant(1.0) + 1.0
from neural_classifiers.arrays.threads import set_tensorflow_threads
set_tensorflow_threads(1)  # the same again is no change
try:
    set_tensorflow_threads(2)
except RuntimeError as error:
    print(error)
"""


STARTED_BY_ONE_VARIABLE = """
import os
os.environ["TF_NUM_INTRAOP_THREADS"] = "1"  # several operations may still run at once
import tensorflow as tf
tf.constant(1.0) + 1.0
from neural_classifiers.arrays.threads import set_tensorflow_threads
try:
    set_tensorflow_threads(1)
except RuntimeError as error:
    print(error)
"""


def test_tensorflow_that_runs_operations_side_by_side_is_refused():
    command = [sys.executable, "-c", STARTED_BY_ONE_VARIABLE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (
        "has already started in this process with 1 (operations at a time: every core)"
        in done.stdout
    )


@pytest.mark.parametrize("script", [SCRIPT, STARTED_BY_VARIABLES])
def test_tensorflow_started_with_one_thread_keeps_to_it_and_says_so(script):
    command = [sys.executable, "-c", script]  # in this process, it may have started already
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"on 2 threads, .* already started .* with 1", done.stdout)
