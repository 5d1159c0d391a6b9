"""Read comments: one row for each line that was drawn, whatever the line holds."""

from io import BytesIO
from pathlib import Path

from neural_classifiers.comments import read_json_lines, vader_to_json_lines
from tasks.records import File, Reference
from tasks.sources import Source
from tasks.steps import step


class Ingested(Reference):
    """Rows as they came: ``line``, ``raw``, ``cat``, ``txt`` and the types of what came."""

    table: File
    rows: int
    rows_in_file: int
    blank_lines: int

    def in_words(self) -> str:
        """Rows drawn, of how many."""
        return f"{self.rows:,} of {self.rows_in_file:,} rows drawn, {self.blank_lines} blank lines"


@step()
def ingest_comments(
    raw: Source, sample: int | None, seed: int, text_column: str, label_column: str, folder: Path
) -> Ingested:
    """Rows drawn from a source, before anything is known of them, as in the notebook.

    Raises
    ------
    CommentFileError
        If a file is empty, no UTF-8, no JSON Lines, lacks a column or has fewer rows than
        `sample`.
    """
    if raw.format == "ground-truth-tsv":
        contents = {
            raw.file_categories[name]: file.verified().read_bytes()
            for name, file in raw.files.items()
        }
        lines, text_column, label_column = vader_to_json_lines(contents), "txt", "cat"
    else:
        contents = {name: file.verified().read_bytes() for name, file in raw.files.items()}
        lines = b"".join(_ended(content) for content in contents.values())
    read = read_json_lines(BytesIO(lines), raw.name, sample, seed, text_column, label_column)
    path = folder / "rows.parquet"
    read.rows.to_parquet(path, index=False)
    return Ingested(
        table=File.of(path),
        rows=len(read.rows),
        rows_in_file=read.n_rows,
        blank_lines=read.n_blank,
    )


def _ended(content: bytes) -> bytes:
    """Lines that end in a newline, so that the next file begins one of its own."""
    return content if not content or content.endswith(b"\n") else content + b"\n"
