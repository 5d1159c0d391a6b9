"""Settings of whoever operates this: in the environment or, one a line, in ``.env`` at the root.

``NEURAL_CLASSIFIERS_WEBHOOK=https://chat.example.org/hook`` is such a line. The environment wins. A
line in ``.env`` that names none of them is refused. The root itself can only be set in the
environment (`engine.paths`).
"""

from typing import Annotated

from pydantic import Field, HttpUrl, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

from neural_classifiers.engine import paths
from neural_classifiers.errors import RefusedError

PREFIX, POSTGRESQL = "NEURAL_CLASSIFIERS_", "postgresql+asyncpg://"


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
    database : str or None
        Address of a PostgreSQL for the Prefect server, ``postgresql+asyncpg://user:password@host/name``;
        by default it has a file of SQLite.
    keep_days : float
        Days for which the Prefect server keeps a run that ended; its folder and records stay.
    dask : str or None
        Address of a Dask scheduler, ``tcp://host:8786``, whose workers make the fits of a search.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    port: Annotated[int, Field(ge=1, le=65535)] = 4200
    auth: SecretStr | None = None
    token: SecretStr | None = None
    webhook: HttpUrl | None = None
    step_limit_s: Annotated[float, Field(gt=0)] = 2 * 3600
    run_limit_s: Annotated[float, Field(gt=0)] = 12 * 3600
    database: SecretStr | None = None
    keep_days: Annotated[float, Field(ge=1)] = 90
    dask: str | None = None

    @field_validator("auth")
    @classmethod
    def _of_two_parts(cls, auth: SecretStr | None) -> SecretStr | None:
        if auth and not all(auth.get_secret_value().partition(":")):
            raise ValueError("expected user:password")
        return auth

    @field_validator("database")
    @classmethod
    def _of_postgresql(cls, database: SecretStr | None) -> SecretStr | None:
        if database and not database.get_secret_value().startswith(POSTGRESQL):
            raise ValueError(f"expected {POSTGRESQL}user:password@host/name")
        return database

    @field_validator("webhook")
    @classmethod
    def _without_password(cls, webhook: HttpUrl | None) -> HttpUrl | None:
        if webhook and (webhook.username or webhook.password):
            raise ValueError("expected no user:password in it, a token goes into path or query")
        return webhook

    @field_validator("dask")
    @classmethod
    def _an_address(cls, dask: str | None) -> str | None:
        if dask and "://" not in dask:
            raise ValueError(
                f"expected the address of a Dask scheduler such as tcp://host:8786, got {dask!r}"
            )
        return dask


class SettingsError(RefusedError):
    """A setting cannot be used: says which, what was expected and what came."""

    code = "NC51"


def read_settings() -> Settings:
    """The settings as they are now.

    Raises
    ------
    SettingsError
    """
    file = paths.root() / ".env"
    try:
        settings = Settings(_env_file=file)
    except ValidationError as error:
        faults = [f"{PREFIX}{str(f['loc'][0]).upper()}: {f['msg']}" for f in error.errors()]
        raise SettingsError(f"environment or {file}: {'; '.join(faults)}") from None
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    lines = [name.upper() for name in DotEnvSettingsSource(Settings, file).env_vars]
    if unknown := [name for name in lines if name.startswith(PREFIX) and name not in known]:
        raise SettingsError(f"{file}: expected {', '.join(known)}, got {', '.join(unknown)}")
    return settings
