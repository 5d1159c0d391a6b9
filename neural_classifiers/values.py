"""Small frozen values that JSON can hold, and bounds of the values that people give."""

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from neural_classifiers.errors import ParameterError


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


def checked(check: Callable[[Any], object]) -> AfterValidator:
    """A check of a parameter that raises ValueError: the flow then refuses to begin, in its words.

    None is let through: it means the default.
    """

    def passed(value: Any) -> Any:
        try:
            if value is not None:
                check(value)
        except ValueError as error:
            why = {"why": str(ParameterError(str(error)))}
            raise PydanticCustomError("refused", "{why}", why) from None
        return value

    return AfterValidator(passed)


def within(least: float, most: float = math.inf, *, is_open: bool = False) -> AfterValidator:
    """Bounds of a number, which may reach them unless they are open; texts are let through."""
    bounds = f"from {least:.0f} to {most:.0f}" if most < math.inf else f"{least:.0f} or more"
    if is_open:
        bounds = f"a number between {least:.0f} and {most:.0f}"

    def check(value: Any) -> None:
        if not isinstance(value, str):
            is_met = least < value < most if is_open else least <= value <= most
            if not is_met:
                raise ValueError(f"expected {bounds}, got {value}")

    return checked(check)


Seed = Annotated[int, within(0, 2**32 - 1)]
Fraction = Annotated[float, within(0, 1, is_open=True)]
Folds = Annotated[int, within(2)]
Count = Annotated[int, within(1)]
