"""A classifier on a pretrained encoder: frozen, fine-tuned, killed between two epochs."""

import numpy as np
import pytest
from conftest import COMMON, WORDS
from made_encoder import made_encoder
from sklearn.linear_model import LogisticRegression

from neural_classifiers.comments.models import pretrained
from neural_classifiers.comments.models.encoder import Encoder

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = ["sports", "video_games"]
RNG = np.random.default_rng(0)
Y = np.array(LABELS * 20)
X = [" ".join([*RNG.choice(COMMON, 3), *RNG.choice(WORDS[label], 2)]) for label in Y]


@pytest.fixture
def encoder(tmp_path):
    folder = made_encoder(tmp_path / "tiny")
    files = ("config.json", "model.safetensors", "tokenizer.json")
    return Encoder.from_bytes(*((folder / name).read_bytes() for name in files))


@pytest.fixture
def two_epochs(monkeypatch):
    monkeypatch.setattr(pretrained, "EPOCHS", ((300, 2),))


def fitted(encoder, tuned_blocks=1, rows=slice(None)):
    classifier = pretrained.PretrainedClassifier(encoder, tuned_blocks, random_state=34)
    return classifier.fit(encoder.tokens(X[rows]), Y[rows])


def same_weights(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in one | other)


@pytest.mark.parametrize("labels", [LABELS, [*LABELS, "science_and_technology"]])
def test_a_frozen_encoder_is_logistic_regression_over_its_vectors(encoder, labels):
    y = np.resize(labels, len(X))
    tokens = encoder.tokens(X)

    ours = pretrained.PretrainedClassifier(encoder, tuned_blocks=0).fit(tokens, y)

    vectors = encoder.vectors(tokens)
    peer = LogisticRegression().fit(vectors, y)
    np.testing.assert_allclose(ours.predict_proba(tokens), peer.predict_proba(vectors), atol=1e-5)


def test_fine_tuning_moves_the_last_blocks_and_fits_better(encoder, monkeypatch):
    monkeypatch.setattr(pretrained, "LEARNING_RATE", 0.02)
    monkeypatch.setattr(pretrained, "EPOCHS", ((300, 30),))
    frozen, tuned = fitted(encoder, 0), fitted(encoder)

    parts = ("attention", "attention_norm", "inner", "outer", "norm")
    of_blocks = {n for n in tuned.weights_ if n.startswith("block")}
    assert {n.partition(".")[0] for n in of_blocks} == {f"block_1_{part}" for part in parts}
    assert all((tuned.weights_[n] != encoder.weights[n]).any() for n in of_blocks)
    assert loss_of(tuned, encoder) < loss_of(frozen, encoder) - 0.1


def loss_of(classifier, encoder):
    right = (Y[:, None] == classifier.classes_).nonzero()[1]
    return -np.log(classifier.predict_proba(encoder.tokens(X))[np.arange(len(Y)), right]).mean()


def test_a_training_that_was_killed_goes_on_to_the_same_bits(encoder, two_epochs, monkeypatch):
    undisturbed = fitted(encoder).weights_
    kept = dict(encoder.checkpoints)
    encoder.checkpoints.clear()
    keep = pretrained._keep

    def killed(checkpoints, *args):
        keep(checkpoints, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "_keep", killed)
        with pytest.raises(KeyboardInterrupt):
            fitted(encoder)
    assert len(encoder.checkpoints) == len(kept) == 1
    monkeypatch.setattr(pretrained, "order_batches", only_second_epoch(pretrained.order_batches))

    assert same_weights(fitted(encoder).weights_, undisturbed)


def only_second_epoch(order):
    def ordered(lengths, seed):
        assert seed == [34, 1], "the first epoch was kept"
        return order(lengths, seed)

    return ordered


def test_a_damaged_checkpoint_costs_time_and_no_bit(encoder, two_epochs):
    undisturbed = fitted(encoder).weights_
    [name] = encoder.checkpoints
    encoder.checkpoints[name] = encoder.checkpoints[name][:-100]

    assert same_weights(fitted(encoder).weights_, undisturbed)


def test_what_is_held_in_memory_decides_no_bit(encoder, two_epochs, monkeypatch):
    tokens = encoder.tokens(X)
    held = fitted(encoder)
    monkeypatch.setattr(pretrained, "REMEMBERED", 10)

    again = fitted(encoder)

    assert same_weights(again.weights_, held.weights_)
    assert again.predict_proba(tokens).tobytes() == held.predict_proba(tokens).tobytes()


@pytest.mark.parametrize("tuned_blocks", [0, 2])
def test_a_rebuilt_classifier_predicts_the_bits_of_the_one_that_was_saved(encoder, tuned_blocks):
    saved, tokens = fitted(encoder, tuned_blocks), encoder.tokens(X)

    rebuilt = pretrained.rebuild(encoder, saved.weights_, LABELS, tuned_blocks)

    assert rebuilt.predict_proba(tokens).tobytes() == saved.predict_proba(tokens).tobytes()
    with pytest.raises(ValueError, match="expected those of 1 tuned blocks"):
        pretrained.rebuild(encoder, saved.weights_, LABELS, 1)
    with pytest.raises(ValueError, match=r"expected 0 to 2.*got 3"):
        fitted(encoder, 3)


@pytest.mark.parametrize(
    ("rows", "epochs"), [(168, 6), (700, 4), (2_100, 3), (21_000, 2), (105_000, 1)]
)
def test_many_rows_take_fewer_epochs(rows, epochs):
    assert pretrained.epochs_of(rows) == epochs


def test_every_row_is_in_one_batch_beside_texts_of_like_length():
    lengths = np.random.default_rng(1).choice([8, 16, 24], 100)

    batches = pretrained.order_batches(lengths, [34, 0])

    assert sorted(np.concatenate(batches)) == list(range(100))
    assert sorted(map(len, batches)) == [4, 32, 32, 32]
    # sorted by length, four batches mix at most two lengths each where three begin
    assert sum(len(set(lengths[batch])) for batch in batches) <= 4 + 2
