"""Small frozen values that JSON can hold."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Values(BaseModel):
    """A frozen record of plain values that can be written as JSON and read back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers, ready for a JSON file."""
        return self.model_dump(mode="json")
