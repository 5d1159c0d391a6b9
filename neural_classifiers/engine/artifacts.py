"""The only way to Prefect's artifacts, whose every text the UI renders as Markdown with HTML in it.

Whatever is not `Markup`, made by templates that escape what they write out, is escaped here.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from markupsafe import Markup
from prefect import artifacts  # noqa: TID251 (here is the way)

from neural_classifiers.plain_text import plain


def show_table(rows: Sequence[Mapping[str, Any]], key: str, description: str) -> None:
    """Show a table, a mapping a row; numbers and None stay what they are."""
    cells = [{plain(name): _cell(value) for name, value in row.items()} for row in rows]
    artifacts.create_table_artifact(cells, key=key, description=plain(description))


def show_markdown(markdown: Markup, key: str, description: str) -> None:
    """Show a page of Markdown."""
    text = markdown if isinstance(markdown, Markup) else plain(markdown)
    artifacts.create_markdown_artifact(str(text), key=key, description=plain(description))


def show_progress(percent: float, key: str, description: str, there: UUID | None) -> UUID | None:
    """Show how far something is: in the artifact that is there, else in a new one; its id."""
    if there is None:
        return artifacts.create_progress_artifact(percent, key, plain(description))  # type: ignore[return-value]
    artifacts.update_progress_artifact(there, percent, plain(description))
    return there


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float) else plain(value)
