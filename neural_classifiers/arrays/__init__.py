"""Arrays and models as bytes that can be had again to the bit, and the threads that compute them.

- `weights`: named arrays as ``.npz`` bytes, and their digest.
- `skops_bytes`: scikit-learn models as skops' bytes, and what makes two of them the same.
- `unpacking`: bounds on what a packed file may unpack to.
- `threads`: `set_tensorflow_threads`, how many cores TensorFlow may use.
"""
