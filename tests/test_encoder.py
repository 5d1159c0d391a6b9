"""A pretrained encoder: the vectors of its files, the same bits anywhere, others refused."""

import json
import math

import made_encoder
import numpy as np
import pytest
from conftest import WORDS
from safetensors.numpy import load_file, save

from neural_classifiers.comments.models.encoder import (
    MAX_TOKENS,
    Encoder,
    EncoderError,
    KnownVectors,
    keys_of_tokens,
)

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = [
    "The goalie's goal!",
    "boss level quest",
    "",
    "🙂🙂",
    "Ελληνικά κείμενα",
    " ".join(WORDS["sports"] * 9),
    "neuron " * 100_000,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_encoder.made_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def contents(folder):
    files = {"config": "config.json", "weights": "model.safetensors", "tokenizer": "tokenizer.json"}
    return {part: (folder / name).read_bytes() for part, name in files.items()}


@pytest.fixture
def encoder(folder):
    return Encoder.from_bytes(**contents(folder))


def forward(weights, ids):
    """BERT as its paper describes it, for one text; mean over its pieces, brought to length 1."""

    def dense(name, x):
        return x @ weights[f"{name}.weight"].T.astype(float) + weights[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    gelu = np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)
    x = weights["embeddings.word_embeddings.weight"][ids].astype(float)
    x += weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + weights["embeddings.token_type_embeddings.weight"][0])
    for n in range(2):
        block, heads = f"encoder.layer.{n}", []
        query, key, value = (
            dense(f"{block}.attention.self.{part}", x) for part in ("query", "key", "value")
        )
        for head in (slice(0, 4), slice(4, 8)):
            scores = np.exp(query[:, head] @ key[:, head].T / 2)  # of 4 numbers: square root 2
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, head])
        found = dense(f"{block}.attention.output.dense", np.hstack(heads))
        x = norm(f"{block}.attention.output.LayerNorm", x + found)
        found = dense(f"{block}.output.dense", gelu(dense(f"{block}.intermediate.dense", x)))
        x = norm(f"{block}.output.LayerNorm", x + found)
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_vectors_are_those_of_the_published_architecture(folder, encoder):
    weights = load_file(folder / "model.safetensors")
    pieces = made_encoder.tokenizer()
    pieces.no_padding()
    pieces.enable_truncation(MAX_TOKENS)

    expected = [forward(weights, pieces.encode(text).ids) for text in TEXTS]

    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=2e-6)


def test_a_text_has_the_same_bits_alone_and_among_any_others(encoder):
    together = encoder.encode(TEXTS)

    order = np.random.default_rng(0).permutation(len(TEXTS) * 3) % len(TEXTS)
    among = encoder.encode([TEXTS[i] for i in order])
    alone = [encoder.encode([text])[0] for text in TEXTS]

    assert among.tobytes() == together[order].tobytes()
    assert np.array(alone).tobytes() == together.tobytes()
    assert not np.array_equal(together[0], together[1])


def test_known_vectors_are_looked_up_and_the_others_computed(encoder):
    computed = encoder.encode(TEXTS[:2])
    keys = keys_of_tokens(encoder.tokens(TEXTS[1:2]))
    encoder.known = KnownVectors(keys, np.full((1, 8), 7, np.float32))

    found = encoder.encode(TEXTS[:2])

    np.testing.assert_array_equal(found[0], computed[0])
    np.testing.assert_array_equal(found[1], np.full(8, 7))


def config(**changes):
    return {"config": json.dumps(made_encoder.CONFIG | changes).encode()}


def weights(**changes):
    arrays = made_encoder.arrays() | changes
    return {"weights": save({name: array for name, array in arrays.items() if array is not None})}


BIAS = "encoder.layer.1.output.dense.bias"
REFUSED = {
    "another architecture": (config(model_type="roberta"), "model_type.*'roberta'"),
    "another activation": (config(hidden_act="relu"), "hidden_act.*'relu'"),
    "heads that do not fit": (config(num_attention_heads=3), "hidden_size.*8 and 3"),
    "no JSON": ({"config": b"{"}, "config.json: expected JSON"),
    "a block less": (config(num_hidden_layers=3), "expected encoder.layer.2.*none of that name"),
    "an array missing": (weights(**{BIAS: None}), f"expected {BIAS} of shape .8,."),
    "another shape": (weights(**{BIAS: np.zeros(9, np.float32)}), "8,.*got .9,."),
    "no arrays": ({"weights": b"PK\3\4" + bytes(90)}, "model.safetensors: expected arrays"),
    "no word pieces": ({"tokenizer": b"{}"}, "tokenizer.json: expected word pieces"),
    "fewer word pieces": (
        {"tokenizer": made_encoder.tokenizer().to_str().replace('"##z"', '"a"').encode()},
        "do not belong together",
    ),
}


@pytest.mark.parametrize(("changed", "message"), REFUSED.values(), ids=list(REFUSED))
def test_files_of_another_kind_are_refused_with_what_was_expected(folder, changed, message):
    with pytest.raises(EncoderError, match=message):
        Encoder.from_bytes(**contents(folder) | changed)
