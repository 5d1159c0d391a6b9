"""The encoder, the vectors of a run's texts and the model on top of them, from step to version."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from conftest import COMMON, WORDS
from made_encoder import made_encoder
from sklearn.linear_model import LogisticRegression

import neural_classifiers
from neural_classifiers.comments.models.encoder import Encoder, EncoderError
from neural_classifiers.comments.text import CLEANINGS
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import body_of
from neural_classifiers.serving import registry
from neural_classifiers.serving.model import NotPromotedError, examples_to_bytes
from tasks.encode import encode_comments, keep_encoder
from tasks.encode_work import load_encoder
from tasks.model_files import load_pipeline
from tasks.references import Split
from tasks.search_models import search_pretrained, search_probe
from tasks.sources import find_source

pytestmark = pytest.mark.usefixtures("one_thread")

RNG = np.random.default_rng(0)
CATS = ["sports", "video_games"] * 20
TEXTS = [
    f"{' '.join(RNG.choice(COMMON, 3))} {RNG.choice(WORDS[cat])} {n}!" for n, cat in enumerate(CATS)
]
TEXTS[-1] = TEXTS[0].upper()  # the same word pieces


@pytest.fixture
def kept(home):
    (home / "kept").mkdir()
    found = find_source(str(made_encoder(home / "tiny")), "encoder")
    return body_of(keep_encoder)(found, home / "kept")


@pytest.fixture
def split(home) -> Split:
    """30 training and 10 test comments; their cleaned texts are of no use here."""
    for name, rows in {"train": slice(30), "test": slice(30, 40)}.items():
        table = pd.DataFrame({"txt": TEXTS[rows], "cat": CATS[rows], "clean": "-"})
        table.to_parquet(home / f"{name}.parquet")
    train, test = (File.of(home / f"{name}.parquet") for name in ("train", "test"))
    numbers = {"rows": 40, "rows_train": 30, "rows_test": 10, "conflicting": 0, "counts": {}}
    return Split(train=train, test=test, dropped_rows=test, **numbers)


@pytest.fixture
def encoded(home, kept, split):
    (home / "encoded").mkdir()
    return body_of(encode_comments)(split, kept, home / "encoded")


def test_raw_texts_are_encoded_once_and_looked_up(kept, encoded):
    assert encoded.rows == 39  # two texts have the same word pieces
    assert np.load(encoded.vectors.path).shape == (39, kept.width)
    looked_up, computed = load_encoder(encoded), load_encoder(kept)
    assert looked_up.encode(TEXTS).tobytes() == computed.encode(TEXTS).tobytes()
    looked_up.known = looked_up.known._replace(vectors=np.zeros((39, kept.width), np.float32))
    assert not looked_up.encode(TEXTS).any()  # nothing was computed


def test_an_encoder_is_kept_with_its_files_and_one_of_another_kind_is_not(home, kept):
    assert Encoder.from_bytes(*(f.path.read_bytes() for f in kept.files)).sha256 == kept.sha256
    # word pieces and 64 positions, of 8 numbers each, are not all
    assert kept.parameters > 64 * kept.width
    (home / "tiny" / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(EncoderError, match="expected an encoder of BERT's architecture"):
        body_of(keep_encoder)(find_source(str(home / "tiny"), "encoder"), home / "made")


def test_a_model_is_searched_on_raw_texts_and_serves_with_its_encoder(home, split, encoded):
    (home / "model").mkdir()
    grid = {"tuned_blocks": [1, 0]}

    model = body_of(search_pretrained)(
        split, encoded, grid, 2, 34, "accuracy", None, home / "model"
    )

    assert (model.text, model.encoder, model.name) == ("txt", encoded.encoder, "pretrained")
    recipe = json.loads(model.recipe.path.read_bytes())
    assert recipe["encoder"]["sha256"] == encoded.encoder.sha256
    expected = load_pipeline(model).predict_proba(TEXTS)
    assert load_pipeline(model, encoded).predict_proba(TEXTS).tobytes() == expected.tobytes()
    version = add_version(model, recipe, expected)
    folder = registry.version_folder(version)
    served = neural_classifiers.load(version).predict_proba(TEXTS)
    np.testing.assert_allclose(served, expected, atol=1e-6)
    assert model.weights.size < 9_000 < sum(file.size for file in model.encoder.files)
    assert registry.fault_of(version) is None
    [home_of_encoder] = (folder.parent / "encoders").iterdir()
    weights = home_of_encoder / "model.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(NotPromotedError, match=r"model.safetensors: expected sha256"):
        neural_classifiers.load(version)
    home_of_encoder.rename(home / "elsewhere")
    with pytest.raises(NotPromotedError, match=r"expected its encoder tiny in .*: copy it"):
        neural_classifiers.load(version)


def test_the_probe_is_a_regression_on_vectors_that_nothing_has_tuned(home, split, encoded):
    (home / "probe").mkdir()

    model = body_of(search_probe)(split, encoded, 2, 34, "accuracy", None, home / "probe")

    vectors = load_encoder(encoded).encode(TEXTS)
    regression = LogisticRegression(**model.best_params).fit(vectors[:30], CATS[:30])
    assert load_pipeline(model).predict(TEXTS).tolist() == regression.predict(vectors).tolist()
    assert set(pd.read_parquet(model.held_out.path)["predicted"]) <= set(CATS)
    assert (model.text, model.encoder, model.weights) == ("txt", encoded.encoder, None)


def add_version(model, recipe, probabilities) -> str:
    """A version of a model, without the gates."""
    files = {
        file.path.name: file.path.read_bytes()
        for file in (model.pipeline, model.recipe, model.weights)
    }
    files["examples.json"] = examples_to_bytes(np.array(CATS), TEXTS, probabilities)
    manifest = {
        "format": 2,
        "kind": "comments",
        "model": model.name,
        "classes": sorted(set(CATS)),
        "parameters_sha256": recipe["parameters_sha256"],
        "libraries": recipe["libraries"],
        "cleaning": asdict(CLEANINGS["default"]),
        "text": model.text,
        "encoder": model.encoder.about(),
    }
    encoder = {file.path.name: file.path.read_bytes() for file in model.encoder.files}
    with registry.one_at_a_time():
        return registry.add_version(manifest, files, encoder=encoder)
