"""How many processor cores TensorFlow may use.

TensorFlow fixes its threads when its first operation runs and keeps them until the process
ends, and it takes no notice of threadpoolctl. So the number is set before, once for a process:
here, or by whoever starts the process, in the variables ``TF_NUM_INTRAOP_THREADS`` and
``TF_NUM_INTEROP_THREADS``, which TensorFlow reads then. The number also decides how sums are split,
hence the last bits of every weight: a training that shall be had again names its threads as it
names its seed.
"""

import os


def set_tensorflow_threads(n: int) -> None:
    """Hold TensorFlow to `n` threads in this process; call it before TensorFlow computes.

    Parameters
    ----------
    n : int
        Threads that share the work of one operation, at least 1. Operations run one after
        another, so `n` is also the number of cores that are busy at once.

    Raises
    ------
    ValueError
        If `n` is below 1: TensorFlow would take 0 for "every core".
    RuntimeError
        If TensorFlow has already started with another number. The same number again is fine.
    """
    if n < 1:
        raise ValueError(f"expected at least 1 thread for TensorFlow, got {n}")
    import tensorflow as tf

    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(n)
        threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        variables = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
        set_here = (
            threading.get_intra_op_parallelism_threads(),
            threading.get_inter_op_parallelism_threads(),
        )
        started_with = [
            str(here or os.environ.get(variable, "every core"))
            for here, variable in zip(set_here, variables, strict=True)
        ]
        if started_with == [str(n), "1"]:
            return
        raise RuntimeError(
            f"expected TensorFlow to run on {n} threads, one operation at a time, but it has "
            f"already started in this process with {started_with[0]} (operations at a time: "
            f"{started_with[1]}): set the threads before its first operation, or use a new process"
        ) from error
