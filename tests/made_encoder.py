"""An encoder of two blocks and eight numbers, made for tests: its folder, and its texts."""

import json
from pathlib import Path

import numpy as np
from conftest import COMMON, WORDS
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LETTERS = [
    mark + letter for mark in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz0123456789"
]
PIECES = [*SPECIAL, *LETTERS, "!", *COMMON, *(w for words in WORDS.values() for w in words)]
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "vocab_size": len(dict.fromkeys(PIECES)),
    "layer_norm_eps": 1e-12,
    "architectures": ["BertModel"],
}


def arrays(seed: int = 1) -> dict[str, np.ndarray]:
    """Arrays under the names of the format, drawn at random; no bias is 0, every scale near 1."""
    width, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (CONFIG["vocab_size"], width),
        "embeddings.position_embeddings.weight": (CONFIG["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    norms, dense = ["embeddings.LayerNorm"], {}
    for n in range(CONFIG["num_hidden_layers"]):
        block = f"encoder.layer.{n}"
        for part in "attention.self.query attention.self.key attention.self.value".split():
            dense[f"{block}.{part}"] = (width, width)
        dense[f"{block}.attention.output.dense"] = (width, width)
        dense[f"{block}.intermediate.dense"] = (inner, width)
        dense[f"{block}.output.dense"] = (width, inner)
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
    for name, (n_out, n_in) in dense.items():
        shapes |= {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}
    for name in norms:
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(0, 0.5, shape) / 4 + 1).astype(np.float32)
        if name.endswith("LayerNorm.weight")
        else rng.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def tokenizer() -> Tokenizer:
    """Word pieces with padding and truncation switched on, as published ones have them."""
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys(PIECES))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(SPECIAL)
    ends = [(end, vocabulary[end]) for end in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    made.enable_truncation(16)
    made.enable_padding(length=16)
    return made


def made_encoder(folder: Path) -> Path:
    """A folder with the three files of an encoder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(arrays(), folder / "model.safetensors")
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder
