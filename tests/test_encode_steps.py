"""The encoder and the vectors of a run's texts as records."""

import numpy as np
import pandas as pd
import pytest
from made_encoder import made_encoder

from neural_classifiers.comments.models.encoder import Encoder, EncoderError
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import body_of
from tasks.encode import encode_comments, keep_encoder
from tasks.encode_work import load_encoder
from tasks.references import Split
from tasks.sources import find_source

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = ["The goalie's GOAL!", "boss level quest", "a probe in orbit", "boss  level  quest"]


@pytest.fixture
def kept(home):
    (home / "kept").mkdir()
    found = find_source(str(made_encoder(home / "tiny")), "encoder")
    return body_of(keep_encoder)(found, home / "kept")


def split_of(home) -> Split:
    """Three training comments and a test comment, whose cleaned texts are of no use here."""
    for name, texts in {"train": TEXTS[:3], "test": TEXTS[3:]}.items():
        table = pd.DataFrame({"txt": texts, "cat": "sports", "clean": "-"})
        table.to_parquet(home / f"{name}.parquet")
    train, test = (File.of(home / f"{name}.parquet") for name in ("train", "test"))
    numbers = {"rows": 4, "rows_train": 3, "rows_test": 1, "conflicting": 0, "counts": {}}
    return Split(train=train, test=test, dropped_rows=test, **numbers)


def test_raw_texts_are_encoded_once_and_looked_up(home, kept):
    (home / "made").mkdir()

    encoded = body_of(encode_comments)(split_of(home), kept, home / "made")

    assert encoded.rows == 3  # two texts have the same word pieces
    assert np.load(encoded.vectors.path).shape == (3, kept.width)
    looked_up, computed = load_encoder(encoded), load_encoder(kept)
    assert looked_up.encode(TEXTS).tobytes() == computed.encode(TEXTS).tobytes()
    keys = looked_up.known.keys
    looked_up.known = looked_up.known._replace(vectors=np.zeros((3, kept.width), np.float32))
    assert not looked_up.encode(TEXTS).any(), keys  # nothing was computed


def test_an_encoder_is_kept_with_its_files_and_one_of_another_kind_is_not(home, kept):
    found = [file.path.read_bytes() for file in (kept.config, kept.weights, kept.tokenizer)]

    assert Encoder.from_bytes(*found).sha256 == kept.sha256
    # 113 pieces and 64 positions of 8 numbers are not all
    assert kept.parameters > (113 + 64) * kept.width
    (home / "tiny" / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(EncoderError, match="expected an encoder of BERT's architecture"):
        body_of(keep_encoder)(find_source(str(home / "tiny"), "encoder"), home / "made")
