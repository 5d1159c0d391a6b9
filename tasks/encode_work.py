"""Encoders loaded from their records, and the work on one batch of texts; knows no Prefect."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from neural_classifiers.arrays.threads import set_tensorflow_threads
from neural_classifiers.engine.rows.batches import Result
from tasks.references import Encoded, PretrainedEncoder

if TYPE_CHECKING:
    from neural_classifiers.comments.models.encoder import Encoder, Tokens


def load_encoder(about: PretrainedEncoder | Encoded) -> "Encoder":
    """The encoder of a record; with the vectors that were computed, if given."""
    from neural_classifiers.comments.models.encoder import Encoder, KnownVectors

    files = about.encoder if isinstance(about, Encoded) else about
    encoder = Encoder.from_bytes(*(file.path.read_bytes() for file in files.files))
    if isinstance(about, Encoded):
        vectors = np.load(about.vectors.path, mmap_mode="r")
        encoder.known = KnownVectors(np.load(about.text_keys.path), vectors)
    return encoder


def encode_batch(encoder: PretrainedEncoder, tokens: "Tokens") -> Result:
    """Vectors of texts, given as word pieces."""
    set_tensorflow_threads(1)
    vectors = _loaded(encoder).vectors(tokens)
    column = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    return Result(len(tokens), {"vectors": [pa.record_batch({"vector": column})]})


@lru_cache(1)
def _loaded(encoder: PretrainedEncoder) -> "Encoder":
    """The encoder, loaded once a process."""
    return load_encoder(encoder)
