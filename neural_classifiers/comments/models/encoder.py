"""A pretrained encoder of texts: word pieces in, one vector a text out, to the same bits anywhere.

An encoder is data: numbers of its architecture, arrays, word pieces. The architecture is BERT's and
is built here, of plain Keras layers; any folder of that kind will do whose files say so. TensorFlow
is imported when the first text is encoded, not to cut texts into word pieces.

A text of the same pieces has the same vector, to the bit, whatever texts stand beside it: every
batch has `ROWS` rows, a length rounded up to `LENGTH_STEP`, and empty rows where texts are short.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError
from sklearn.base import BaseEstimator, TransformerMixin

from neural_classifiers.errors import RefusedError
from neural_classifiers.values import Values

if TYPE_CHECKING:
    import keras

MAX_TOKENS = 64  # of a text, the first; docs/log.md has what that costs
ROWS = 4  # of a batch that is encoded: 10 ms a text, as with more, and 35 ms for one alone
LENGTH_STEP = 8
ABSENT = -1  # where a text has no more word pieces
REMEMBERED = 20_000  # texts, of which the frozen blocks' outputs are held: some 43 kB each

Tokens = NDArray[np.int32]  # (n_texts, MAX_TOKENS)
Arrays = dict[str, NDArray[np.float32]]


class EncoderError(RefusedError):
    """Files that are no encoder of the kind that can be built; says what was expected."""

    code = "NC22"


class EncoderConfig(Values):
    """The numbers of an encoder, under the names of its ``config.json``."""

    model_config = ConfigDict(extra="ignore")

    model_type: str = Field(pattern="^bert$")
    hidden_act: str = Field(pattern="^gelu$")
    position_embedding_type: str = Field("absolute", pattern="^absolute$")
    hidden_size: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    max_position_embeddings: int = Field(ge=MAX_TOKENS)
    type_vocab_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    layer_norm_eps: float = Field(1e-12, gt=0)


class KnownVectors(NamedTuple):
    """Vectors that were computed before: rising `keys` of their texts, and a row for each."""

    keys: NDArray[np.uint64]
    vectors: NDArray[np.float32]


class Encoder:
    """An encoder with its word pieces; `from_bytes` makes one.

    Attributes
    ----------
    config : EncoderConfig
    weights : dict of str to ndarray
        By layer of the network and number, as `build_network` names them.
    sha256 : str
        Of the contents of the three files.
    known : KnownVectors or None
        Looked up before a text is encoded.
    checkpoints : mutable mapping of str to bytes
        Of the fine-tuning under way, against a kill; see `comments.models.pretrained`.
    """

    def __init__(self, config: EncoderConfig, weights: Arrays, tokenizer: Any, sha256: str) -> None:
        self.config, self.weights, self.sha256 = config, weights, sha256
        self.known: KnownVectors | None = None
        self.checkpoints: MutableMapping[str, bytes] = {}
        self._tokenizer = tokenizer
        self._networks: dict[tuple[int, bool], Callable[..., Any]] = {}
        self._states: dict[tuple[int, bytes], NDArray[np.float32]] = {}

    @classmethod
    def from_bytes(cls, config: bytes, weights: bytes, tokenizer: bytes) -> Self:
        """The encoder out of ``config.json``, ``model.safetensors`` and ``tokenizer.json``.

        Raises
        ------
        EncoderError
            If they are of another architecture, or do not belong together.
        """
        numbers = _read_config(config)
        sha256 = hashlib.sha256()
        for content in (config, weights, tokenizer):
            sha256.update(hashlib.sha256(content).digest())
        arrays = _to_layers(numbers, _read_arrays(numbers, weights))
        return cls(numbers, arrays, _read_tokenizer(numbers, tokenizer), sha256.hexdigest())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What tells this encoder from others, for searches (`search.equivalence`)."""
        return {"sha256": self.sha256}

    def __repr__(self) -> str:
        return f"Encoder({self.sha256[:16]})"

    def __sklearn_clone__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without what another process computes or keeps for itself."""
        return vars(self) | {"_networks": {}, "_states": {}, "checkpoints": {}, "known": None}

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """The first `MAX_TOKENS` word pieces of each text, `ABSENT` behind its last."""
        tokens = np.full((len(texts), MAX_TOKENS), ABSENT, np.int32)
        for start in range(0, len(texts), 1024):
            pieces = self._tokenizer.encode_batch_fast(texts[start : start + 1024])
            for row, found in enumerate(pieces, start):
                tokens[row, : len(found.ids)] = found.ids
        return tokens

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, of shape (n_texts, width); see `vectors`."""
        return self.vectors(self.tokens(texts))

    def vectors(self, tokens: Tokens) -> NDArray[np.float32]:
        """Means over the word pieces of each text, of length 1, of shape (n_texts, width)."""
        found = np.empty((len(tokens), self.config.hidden_size), np.float32)
        missing = np.ones(len(tokens), bool)
        if self.known is not None and len(self.known.keys):
            keys = keys_of_tokens(tokens)
            at = np.minimum(np.searchsorted(self.known.keys, keys), len(self.known.keys) - 1)
            missing = self.known.keys[at] != keys
            found[~missing] = self.known.vectors[at[~missing]]
        left = np.flatnonzero(missing)
        network = self._network(self.config.num_hidden_layers, is_pooled=True)
        for rows, batch in fixed_batches(tokens[left]):
            found[left[rows]] = network(batch).numpy()[: len(rows)]
        return found

    def states(self, tokens: Tokens, n_blocks: int) -> list[NDArray[np.float32]]:
        """What the first blocks make of each text: (length, width), a row a word piece.

        Those of `REMEMBERED` texts are held, so that each is computed once.
        """
        keys = [(n_blocks, row.tobytes()) for row in tokens]
        left = [row for row, key in enumerate(keys) if key not in self._states]
        if len(self._states) + len(left) > REMEMBERED:
            self._states.clear()
            left = list(range(len(keys)))
        found = {}
        network = self._network(n_blocks, is_pooled=False)
        for rows, batch in fixed_batches(tokens[left]):
            lengths = (batch != ABSENT).sum(axis=1)
            for row, length, state in zip(rows, lengths, network(batch).numpy(), strict=False):
                found[keys[left[row]]] = state[:length].copy()
        if len(found) <= REMEMBERED:
            self._states |= found
            found = self._states
        return [found[key] for key in keys]

    def _network(self, n_blocks: int, is_pooled: bool) -> Callable[..., Any]:
        """The embeddings and the first blocks, compiled: (rows, length) word pieces in."""
        if (n_blocks, is_pooled) not in self._networks:
            network = build_network(self.config, range(n_blocks), is_pooled=is_pooled)
            assign(network, self.weights)
            self._networks[n_blocks, is_pooled] = compiled(network)
        return self._networks[n_blocks, is_pooled]


class EncodeTexts(TransformerMixin, BaseEstimator):
    """First step of a pipeline: raw texts to an encoder's vectors, or to its word pieces only."""

    def __init__(self, encoder: Encoder, pieces_only: bool = False) -> None:
        self.encoder = encoder
        self.pieces_only = pieces_only

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Sequence[str], y: Any = None) -> Self:
        """Fit nothing."""
        return self

    def transform(self, X: Sequence[str]) -> NDArray[Any]:
        """Vectors of shape (n_texts, width), or word pieces of shape (n_texts, `MAX_TOKENS`)."""
        tokens = self.encoder.tokens(X)
        return tokens if self.pieces_only else self.encoder.vectors(tokens)


def keys_of_tokens(tokens: Tokens) -> NDArray[np.uint64]:
    """64 bits for the word pieces of each text, shape (n_texts,); the same in every process."""
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in tokens)
    return np.fromiter((int.from_bytes(each, "big") for each in digests), np.uint64, len(tokens))


def lengths_of(tokens: Tokens) -> NDArray[np.intp]:
    """Word pieces of each text, rounded up to `LENGTH_STEP`; shape (n_texts,)."""
    n = (tokens != ABSENT).sum(axis=1)
    return -(-np.maximum(n, 1) // LENGTH_STEP) * LENGTH_STEP


def fixed_batches(tokens: Tokens) -> Iterator[tuple[NDArray[np.intp], Tokens]]:
    """Rows of texts of like length, and their pieces of shape (`ROWS`, length), empty rows last."""
    lengths = lengths_of(tokens)
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        for start in range(0, len(alike), ROWS):
            rows = alike[start : start + ROWS]
            batch = np.full((ROWS, length), ABSENT, np.int32)
            batch[: len(rows)] = tokens[rows, :length]
            yield rows, batch


# --- the network --------------------------------------------------------------------------


def build_network(
    config: EncoderConfig,
    blocks: range,
    is_pooled: bool,
    takes_states: bool = False,
    n_classes: int | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> "keras.Model":
    """Some blocks of an encoder, of plain layers; weights are to be assigned.

    Parameters
    ----------
    config : EncoderConfig
    blocks : range
        Numbers of the blocks, from 0.
    is_pooled : bool
        Whether the mean over the word pieces is taken, and brought to length 1.
    takes_states : bool
        Whether the inputs are states before the first block, of shape (batch, length, width), and
        word pieces; else they are word pieces, int32 of shape (batch, length), to be embedded.
    n_classes : int, optional
        Units of a last layer over the vectors, which are stretched to the length that the numbers
        of a block's output have: its outputs are logits.
    dropout : float
        Share left out in training: of attention, and of what each half of a block adds.
    seed : int
        Of dropout.
    """
    import keras
    from keras import layers, ops

    width = config.hidden_size
    tokens = layers.Input((None,), dtype="int32", name="tokens")
    inputs: Any = tokens
    is_there = ops.not_equal(tokens, ABSENT)
    if takes_states:
        x = layers.Input((None, width), name="states")
        inputs = [x, tokens]
    else:
        x = _embed(config, tokens)
    for number in blocks:
        x = _block(config, number, x, is_there, dropout, seed + 3 * number)
    if is_pooled:
        weights = ops.expand_dims(ops.cast(is_there, "float32"), -1)  # (batch, length, 1)
        mean = ops.sum(x * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1.0)
        x = mean / ops.maximum(ops.sqrt(ops.sum(mean * mean, axis=-1, keepdims=True)), 1e-12)
    if n_classes:
        x = layers.Dense(n_classes, name="classes")(x * width**0.5)
    return keras.Model(inputs, x)


def _embed(config: EncoderConfig, tokens: Any) -> Any:
    """Sum of what stands for the word piece (with the type of text) and for its position."""
    from keras import layers, ops

    position = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
    pieces = layers.Embedding(config.vocab_size, config.hidden_size, name="pieces")
    positions = layers.Embedding(
        config.max_position_embeddings, config.hidden_size, name="positions"
    )
    x = pieces(ops.maximum(tokens, 0)) + positions(position)
    return _normalised(config, "embeddings_norm", x)


def _block(
    config: EncoderConfig, number: int, x: Any, is_there: Any, dropout: float, seed: int
) -> Any:
    """Attention over the texts' own word pieces, then two layers on each of them."""
    from keras import activations, layers, ops

    name, width = f"block_{number}", config.hidden_size
    n_heads = config.num_attention_heads
    attention = layers.MultiHeadAttention(
        n_heads, width // n_heads, dropout=dropout, seed=seed, name=f"{name}_attention"
    )
    found = attention(x, x, attention_mask=ops.expand_dims(is_there, 1))
    found = layers.Dropout(dropout, seed=seed + 1)(found)
    x = _normalised(config, f"{name}_attention_norm", x + found)
    # exact GELU, by the error function: the approximation moves vectors by 3e-4
    gelu = layers.Activation(activations.gelu)
    found = gelu(layers.Dense(config.intermediate_size, name=f"{name}_inner")(x))
    found = layers.Dense(width, name=f"{name}_outer")(found)
    found = layers.Dropout(dropout, seed=seed + 2)(found)
    return _normalised(config, f"{name}_norm", x + found)


def _normalised(config: EncoderConfig, name: str, x: Any) -> Any:
    from keras import layers

    return layers.LayerNormalization(epsilon=config.layer_norm_eps, name=name)(x)


def compiled(network: "keras.Model") -> Callable[..., Any]:
    """A function of the network's inputs, without dropout; traced once for all shapes."""
    import tensorflow as tf

    inputs = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in network.inputs]

    @tf.function(input_signature=inputs)
    def call(*given: Any) -> Any:
        return network(given if len(given) > 1 else given[0], training=False)

    return call


def variables_of(network: "keras.Model") -> dict[str, "keras.Variable"]:
    """The weights of a network, by layer and number."""
    return {
        f"{layer.name}.{number}": variable
        for layer in network.layers
        for number, variable in enumerate(layer.trainable_weights)
    }


def assign(network: "keras.Model", weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Set the weights of a network, of which there may be more; KeyError where one is missing."""
    for name, variable in variables_of(network).items():
        variable.assign(weights[name])


# --- its files ----------------------------------------------------------------------------


def _read_config(content: bytes) -> EncoderConfig:
    try:
        config = EncoderConfig.model_validate(json.loads(content))
    except ValidationError as error:
        first = error.errors()[0]
        raise EncoderError(
            f"config.json, {'.'.join(map(str, first['loc']))}: {first['msg']}, got "
            f"{str(first.get('input'))[:200]!r}; expected an encoder of BERT's architecture, with "
            "exact GELU and absolute positions"
        ) from None
    except ValueError as error:
        raise EncoderError(f"config.json: expected JSON, got {error}") from None
    if config.hidden_size % config.num_attention_heads:
        raise EncoderError(
            f"config.json: expected a hidden_size that num_attention_heads divides, got "
            f"{config.hidden_size} and {config.num_attention_heads}"
        )
    return config


def _shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """The arrays that ``model.safetensors`` must hold, and their shapes."""
    width, inner = config.hidden_size, config.intermediate_size

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.LayerNorm.weight": (width,), f"{name}.LayerNorm.bias": (width,)}

    def dense(name: str, n_in: int, n_out: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}

    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, width),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, width),
        "embeddings.token_type_embeddings.weight": (config.type_vocab_size, width),
        **norm("embeddings"),
    }
    for number in range(config.num_hidden_layers):
        name = f"encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= dense(f"{name}.attention.{part}", width, width)
        shapes |= norm(f"{name}.attention.output")
        shapes |= dense(f"{name}.intermediate.dense", width, inner)
        shapes |= dense(f"{name}.output.dense", inner, width) | norm(f"{name}.output")
    return shapes


def _read_arrays(config: EncoderConfig, content: bytes) -> Arrays:
    """The arrays by the names of `_shapes`, in float32."""
    import safetensors
    import safetensors.numpy

    try:
        arrays = safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise EncoderError(
            f"model.safetensors: expected arrays of 16 or 32 bits in the format safetensors, "
            f"got {str(error)[:200]!r}"
        ) from None
    arrays = {name.removeprefix("bert."): array for name, array in arrays.items()}
    for name, shape in _shapes(config).items():
        got = arrays[name].shape if name in arrays else "none of that name"
        if got != shape:
            raise EncoderError(
                f"model.safetensors: expected {name} of shape {shape}, as config.json says, "
                f"got {got}"
            )
    return {name: arrays[name].astype(np.float32) for name in _shapes(config)}


def _to_layers(config: EncoderConfig, arrays: Arrays) -> Arrays:
    """The arrays of the file as the layers of `build_network` take them."""
    heads = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    pieces = arrays["embeddings.word_embeddings.weight"]
    weights = {
        # every text is of the first type
        "pieces.0": pieces + arrays["embeddings.token_type_embeddings.weight"][0],
        "positions.0": arrays["embeddings.position_embeddings.weight"],
        "embeddings_norm.0": arrays["embeddings.LayerNorm.weight"],
        "embeddings_norm.1": arrays["embeddings.LayerNorm.bias"],
    }
    for number in range(config.num_hidden_layers):
        theirs, ours = f"encoder.layer.{number}", f"block_{number}"
        for i, part in enumerate(("query", "key", "value")):
            kernel = arrays[f"{theirs}.attention.self.{part}.weight"].T
            weights[f"{ours}_attention.{2 * i}"] = kernel.reshape(-1, *heads)
            bias = arrays[f"{theirs}.attention.self.{part}.bias"]
            weights[f"{ours}_attention.{2 * i + 1}"] = bias.reshape(heads)
        kernel = arrays[f"{theirs}.attention.output.dense.weight"].T
        weights[f"{ours}_attention.6"] = kernel.reshape(*heads, -1)
        weights[f"{ours}_attention.7"] = arrays[f"{theirs}.attention.output.dense.bias"]
        dense = {"intermediate.dense": "inner", "output.dense": "outer"}
        norms = {"attention.output.LayerNorm": "attention_norm", "output.LayerNorm": "norm"}
        for theirs_part, part in (dense | norms).items():
            kernel = arrays[f"{theirs}.{theirs_part}.weight"]
            weights[f"{ours}_{part}.0"] = kernel.T if theirs_part in dense else kernel
            weights[f"{ours}_{part}.1"] = arrays[f"{theirs}.{theirs_part}.bias"]
    return weights


def _read_tokenizer(config: EncoderConfig, content: bytes) -> Any:
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing narrower
        raise EncoderError(
            f"tokenizer.json: expected word pieces as the library tokenizers writes them, got "
            f"{str(error)[:200]!r}"
        ) from None
    if (got := tokenizer.get_vocab_size()) != config.vocab_size:
        raise EncoderError(
            f"tokenizer.json: expected the {config.vocab_size:,} word pieces of config.json, got "
            f"{got:,}: these files do not belong together"
        )
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer
