"""Small frozen values that JSON can hold."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Values(BaseModel):
    """A frozen record of plain values that can be written as JSON and read back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers, ready for a JSON file."""
        return self.model_dump(mode="json")


class Finding(Values):
    """What came of one expectation.

    Attributes
    ----------
    expectation : str
        Its kind, by the name that Great Expectations has for it.
    kwargs : dict
        What it expects, and of which column.
    success : bool
    unexpected : int
        Values that break it.
    observed : object
        Plain JSON: what came, where the expectation is not about each value.
    fault : str
        What the message of the run that it stops says of it; not in `as_dict`.
    """

    expectation: str
    kwargs: dict[str, Any]
    success: bool
    unexpected: int
    observed: Any
    fault: str = Field(exclude=True)
