"""Make a pretrained encoder ready, and what it says of texts a record: each is encoded once."""

from pathlib import Path

import numpy as np

from neural_classifiers.engine import workers
from neural_classifiers.engine.folder_store import unfinished
from neural_classifiers.engine.progress import reporter_for_rows
from neural_classifiers.engine.records import File
from neural_classifiers.engine.rows.batches import work_batches
from neural_classifiers.engine.rows.parquet import check_rows, read_groups, slices
from neural_classifiers.engine.step import step
from tasks.encode_work import encode_batch, load_encoder
from tasks.references import Encoded, PretrainedEncoder, Source, Split

TEXTS = 512  # of a batch: what a kill costs, some five seconds of work


@step(threads=1)
def keep_encoder(encoder: Source, folder: Path) -> PretrainedEncoder:
    """The encoder's files as a record, found to be of an architecture that can be built.

    Raises
    ------
    EncoderError
        If they are not; says what was expected.
    """
    from neural_classifiers.comments.models.encoder import Encoder

    names = {"config": "config.json", "weights": "model.safetensors", "tokenizer": "tokenizer.json"}
    contents = {part: encoder.files[name].path.read_bytes() for part, name in names.items()}
    built = Encoder.from_bytes(**contents)
    for part, name in names.items():
        (folder / name).write_bytes(contents[part])
    return PretrainedEncoder(
        name=encoder.name,
        sha256=built.sha256,
        parameters=sum(array.size for array in built.weights.values()),
        width=built.config.hidden_size,
        languages=tuple(encoder.languages),
        pretrained_on=encoder.pretrained_on,
        licence=encoder.licence,
        **{part: File.of(folder / name) for part, name in names.items()},
    )


@step()
def encode_comments(split: Split, encoder: PretrainedEncoder, folder: Path) -> Encoded:
    """Vectors of the raw texts of both sets, in batches of texts of like length.

    A kill costs the batches under way. Bits depend on nothing but a text's own word pieces.
    """
    from neural_classifiers.comments.models.encoder import keys_of_tokens, lengths_of

    loaded = load_encoder(encoder)
    tokens = np.concatenate(
        [
            loaded.tokens(group["txt"].to_pylist())
            for side in (split.train, split.test)
            for group in read_groups(side.path, ["txt"])
        ]
    )
    keys, firsts = np.unique(keys_of_tokens(tokens), return_index=True)  # rising
    order = np.argsort(lengths_of(tokens[firsts]), kind="stable")
    path = folder / "vectors.npy"
    shape = len(keys), encoder.width
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    parts = slices(len(keys), TEXTS)
    done = 0
    for batch, (start, stop) in zip(
        work_batches(
            encode_batch,
            batches=((encoder, tokens[firsts[order[start:stop]]]) for start, stop in parts),
            unfinished=unfinished(folder),
            n_workers=max(1, min(workers.cores(), len(parts) // 2)),
            advance=reporter_for_rows(len(keys)),
        ),
        parts,
        strict=True,
    ):
        found = batch.read("vectors")["vector"].combine_chunks()
        vectors[order[start:stop]] = found.flatten().to_numpy().reshape(stop - start, -1)
        done += batch.rows
    check_rows("texts encoded", done, len(keys))
    vectors.flush()
    np.save(folder / "keys.npy", keys)
    return Encoded(
        encoder=encoder,
        vectors=File.of(path),
        text_keys=File.of(folder / "keys.npy"),
        rows=len(keys),
    )
