"""Typed settings from the environment; a bad value refuses to start.

Secrets need not stand in the environment: NAME_FILE is the path of a file that holds the value.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from email.headerregistry import Address
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from billtrack.core.errors import BilltrackError, InvalidError
from billtrack.core.hosts import parse_hosts
from billtrack.core.mail_servers import MailServer, parse_sender
from billtrack.core.money import minor_unit_places
from billtrack.core.rates import parse_rate
from billtrack.platform.database_url import POSTGRESQL, is_postgresql, with_driver
from billtrack.platform.secrets import parse_keys, read_or_make, require_random

MIN_SECRET_LENGTH, MIN_TOKEN_LENGTH = 32, 16

WORKING_THREADS = 16
"""Requests that one process of the web server works on at once, see `server.concurrency`."""

WEB_CONNECTIONS, LOOP_CONNECTIONS = WORKING_THREADS + 2, 1
"""Connections to the database for its threads, with some to spare, and for its event loop."""


class ConfigError(BilltrackError):
    """A setting is missing or wrong; the message names it and what to write."""

    code = "config"


def _env(name: str) -> AliasChoices:
    """Accept a setting by its environment name only."""
    return AliasChoices(name)


def _web_workers(given: dict[str, Any]) -> int:
    # On SQLite one writes at a time: a second process would only wait for the first.
    url = given.get("database_url")
    return 2 if url and is_postgresql(url.get_secret_value()) else 1


class Settings(BaseSettings):
    """All settings, checked. Names and defaults are listed in the README."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    host: str = Field("127.0.0.1", validation_alias=_env("BILLTRACK_HOST"))
    port: int = Field(6009, ge=1, le=65535, validation_alias=_env("BILLTRACK_PORT"))
    data_dir: Path = Field(Path("instance"), validation_alias=_env("BILLTRACK_DATA_DIR"))
    database_url: SecretStr | None = Field(None, validation_alias=_env("DATABASE_URL"))
    replica_url: SecretStr | None = Field(None, validation_alias=_env("DATABASE_REPLICA_URL"))
    pgbouncer: bool = Field(False, validation_alias=_env("BILLTRACK_PGBOUNCER"))
    statement_seconds: int = Field(
        30, ge=1, le=3600, validation_alias=_env("BILLTRACK_STATEMENT_SECONDS")
    )
    redis_url: SecretStr | None = Field(None, validation_alias=_env("REDIS_URL"))
    storage_url: str | None = Field(None, validation_alias=_env("BILLTRACK_STORAGE_URL"))
    secret_key: SecretStr | None = Field(None, validation_alias=_env("BILLTRACK_SECRET_KEY"))
    jwt_keys: SecretStr | None = Field(None, validation_alias=_env("BILLTRACK_JWT_KEYS"))
    old_keys: SecretStr | None = Field(None, validation_alias=_env("BILLTRACK_OLD_SECRET_KEYS"))
    public_url: str = Field("http://localhost:6009", validation_alias=_env("BILLTRACK_PUBLIC_URL"))
    timezone: str = Field("UTC", validation_alias=_env("BILLTRACK_TIMEZONE"))
    currency: str = Field("USD", validation_alias=_env("BILLTRACK_CURRENCY"))
    demo: bool = Field(False, validation_alias=_env("BILLTRACK_DEMO"))
    workers: int = Field(2, ge=1, le=64, validation_alias=_env("BILLTRACK_WORKERS"))
    web_workers: int = Field(
        default_factory=_web_workers, ge=1, le=64, validation_alias=_env("BILLTRACK_WEB_WORKERS")
    )
    backfill_days: int = Field(
        400, ge=1, le=36500, validation_alias=_env("BILLTRACK_BACKFILL_DAYS")
    )
    report_days: int = Field(30, ge=1, le=36500, validation_alias=_env("BILLTRACK_REPORT_DAYS"))
    log_format: Literal["text", "json"] = Field(
        "text", validation_alias=_env("BILLTRACK_LOG_FORMAT")
    )
    metrics_token: SecretStr | None = Field(None, validation_alias=_env("BILLTRACK_METRICS_TOKEN"))
    worker_port: int | None = Field(
        None, ge=1, le=65535, validation_alias=_env("BILLTRACK_WORKER_PORT")
    )
    proxy_hops: int = Field(0, ge=0, le=9, validation_alias=_env("BILLTRACK_PROXY_HOPS"))
    body_memory: int = Field(256, ge=32, le=65536, validation_alias=_env("BILLTRACK_BODY_MEMORY"))
    trusted_hosts: str = Field("", validation_alias=_env("BILLTRACK_TRUSTED_HOSTS"))
    rate_usage: str = Field("off", validation_alias=_env("BILLTRACK_RATE_USAGE"))
    rate_api: str = Field("18000/minute", validation_alias=_env("BILLTRACK_RATE_API"))
    rate_reports: str = Field("600/minute", validation_alias=_env("BILLTRACK_RATE_REPORTS"))
    rate_address: str = Field("1200/minute", validation_alias=_env("BILLTRACK_RATE_ADDRESS"))
    smtp_url: SecretStr | None = Field(None, validation_alias=_env("BILLTRACK_SMTP_URL"))
    mail_from: str | None = Field(None, validation_alias=_env("BILLTRACK_MAIL_FROM"))

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("write an IANA name such as Europe/Berlin") from error
        return value

    @field_validator("storage_url")
    @classmethod
    def _object_store(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("s3://"):
            raise ValueError("write an address such as s3://bucket/prefix")
        return value

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, value: str) -> str:
        minor_unit_places(value)
        return value

    @field_validator("public_url")
    @classmethod
    def _absolute_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("write an absolute URL such as https://billing.example.com")
        return value.rstrip("/")

    @field_validator("trusted_hosts")
    @classmethod
    def _names_of_hosts(cls, value: str) -> str:
        _as_value_error(parse_hosts, value)
        return value

    @field_validator("rate_usage", "rate_api", "rate_reports", "rate_address")
    @classmethod
    def _readable_rate(cls, value: str) -> str:
        _as_value_error(parse_rate, value)
        return value

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _as_value_error(MailServer.parse, value.get_secret_value())
        return value

    @field_validator("mail_from")
    @classmethod
    def _mail_sender(cls, value: str | None) -> str | None:
        if value is not None:
            _as_value_error(parse_sender, value)
        return value

    @field_validator("secret_key")
    @classmethod
    def _real_secret(cls, value: SecretStr | None) -> SecretStr | None:
        return _random(value, MIN_SECRET_LENGTH)

    @field_validator("jwt_keys")
    @classmethod
    def _named_secrets(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_keys(value.get_secret_value())
        return value

    @field_validator("metrics_token")
    @classmethod
    def _real_token(cls, value: SecretStr | None) -> SecretStr | None:
        return _random(value, MIN_TOKEN_LENGTH)

    @model_validator(mode="after")
    def _replica_of_postgresql(self) -> Self:
        addresses = (self.sqlalchemy_url, self.sqlalchemy_replica_url or POSTGRESQL)
        if self.replica_url and not all(url.startswith(POSTGRESQL) for url in addresses):
            raise ValueError(
                "DATABASE_REPLICA_URL: a replica is a PostgreSQL that follows the PostgreSQL "
                "of DATABASE_URL; write postgresql:// in both"
            )
        return self

    @model_validator(mode="after")
    def _named_sender(self) -> Self:
        if self.smtp_url is not None and self.mail_from is None:
            raise ValueError(
                "BILLTRACK_MAIL_FROM: say who sends the letters, such as "
                "Billing <billing@example.com>"
            )
        return self

    @property
    def sqlalchemy_url(self) -> str:
        """The database address with the driver that billtrack uses."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir.resolve() / 'billtrack.db'}"
        return with_driver(self.database_url.get_secret_value())

    @property
    def sqlalchemy_replica_url(self) -> str | None:
        """The address of the replica, if there is one, with the driver that billtrack uses."""
        return with_driver(self.replica_url.get_secret_value()) if self.replica_url else None

    @property
    def worker_connections(self) -> int:
        """How many connections a worker may need at once: threads, four keepers, metrics."""
        return self.workers + 5

    @property
    def queue_file(self) -> Path:
        """The embedded queue, in a file of its own beside the database."""
        return self.data_dir.resolve() / "queue.db"

    @property
    def smtp_server(self) -> MailServer | None:
        """The mail server that takes letters, if there is one."""
        return MailServer.parse(self.smtp_url.get_secret_value()) if self.smtp_url else None

    @property
    def sender(self) -> Address:
        """Who letters are from."""
        return parse_sender(self.mail_from or "billtrack <billtrack@localhost>")

    @property
    def public_host(self) -> str:
        """The name by which people reach billtrack."""
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def known_hosts(self) -> frozenset[str]:
        """The names under which billtrack answers, in lower case."""
        return parse_hosts(self.trusted_hosts) | {self.public_host}

    @property
    def is_secure(self) -> bool:
        """Whether people reach billtrack by https, so that cookies must be secure."""
        return self.public_url.startswith("https://")


def _as_value_error(check: Callable[[str], object], value: str) -> None:
    try:
        check(value)
    except InvalidError as error:
        raise ValueError(error.detail) from error


def _random(value: SecretStr | None, length: int) -> SecretStr | None:
    if value is not None:
        require_random(value.get_secret_value(), length)
    return value


def load_settings() -> Settings:
    """Return the settings of this process, with a secret key and a data folder.

    Raises ConfigError naming the first setting that is wrong, or the folder that cannot be used.
    """
    try:
        settings = Settings(**_values_from_files())
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise ConfigError(f"{name}: {first['msg']}") from error
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if settings.secret_key is not None:
            return settings
        key = SecretStr(read_or_make(settings.data_dir / "secret_key"))
    except OSError as error:
        raise ConfigError(
            f"BILLTRACK_DATA_DIR: cannot write to {settings.data_dir.resolve()} "
            f"({error.strerror}): give the folder to user {os.geteuid()}, or name another one"
        ) from error
    return settings.model_copy(update={"secret_key": key})


def _values_from_files() -> dict[str, Any]:
    """Read NAME_FILE for every setting NAME that is not set itself."""
    values: dict[str, Any] = {}
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        name = str(alias.choices[0]) if isinstance(alias, AliasChoices) else field
        path = os.environ.get(f"{name}_FILE")
        if not path or os.environ.get(name):
            continue
        try:
            values[field] = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{name}_FILE: cannot read {path}: {error.strerror}") from error
    return values
