"""What whoever operates this may set: in the environment or, one a line, in ``.env`` at the root.

``NEURAL_CLASSIFIERS_WEBHOOK=https://chat.example.org/hook`` is such a line. The environment wins.
"""

from typing import Annotated

from pydantic import Field, HttpUrl, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from neural_classifiers.engine import paths
from neural_classifiers.errors import RefusedError

PREFIX = "NEURAL_CLASSIFIERS_"


class Settings(BaseSettings):
    """The settings, each with what holds when nothing is set.

    Attributes
    ----------
    port : int
        Of the Prefect server that ``up`` starts, and of its UI.
    auth : str or None
        ``user:password`` that the server then asks everyone for.
    webhook : str or None
        Address that is told of failures; see `engine.alerts`.
    step_limit_s : float
        Longest that a step may compute in its worker process, in seconds: two hours.
    run_limit_s : float
        Longest that a run may take in all, in seconds: twelve hours.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    port: Annotated[int, Field(ge=1, le=65535)] = 4200
    auth: SecretStr | None = None
    webhook: HttpUrl | None = None
    step_limit_s: Annotated[float, Field(gt=0)] = 2 * 3600
    run_limit_s: Annotated[float, Field(gt=0)] = 12 * 3600

    @field_validator("auth")
    @classmethod
    def _of_two_parts(cls, auth: SecretStr | None) -> SecretStr | None:
        if auth and not all(auth.get_secret_value().partition(":")):
            raise ValueError("expected user:password")
        return auth


class SettingsError(RefusedError):
    """A setting cannot be used: says which, what was expected and what came."""


def read_settings() -> Settings:
    """The settings as they are now.

    Raises
    ------
    SettingsError
    """
    file = paths.root() / ".env"
    try:
        return Settings(_env_file=file)
    except ValueError as error:
        raise SettingsError(f"environment or {file}: {_in_words(error)}") from None


def _in_words(error: ValueError) -> str:
    told = error.errors() if isinstance(error, ValidationError) else []
    faults = [
        f"{PREFIX}{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in told if fault["loc"]
    ]
    return "; ".join(faults) or str(error)
