"""create_app(): the one place where the parts meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apiflask import APIFlask
from flask.json.provider import DefaultJSONProvider
from pydantic_core import from_json

from billtrack import __version__
from billtrack.accounts import access
from billtrack.accounts.sign_in.sessions import LIFETIME
from billtrack.api.health import health
from billtrack.api.metrics import scrape
from billtrack.api.v1 import api, openapi
from billtrack.api.v1.reference import docs
from billtrack.dashboard import dashboard
from billtrack.entrypoints.server.concurrency import Places
from billtrack.notifications.mail.transport import open_transport
from billtrack.platform import http, limits
from billtrack.platform.config import WEB_CONNECTIONS, Settings, load_settings
from billtrack.platform.db import release_session
from billtrack.platform.engines import Use, engine_options, prepare_engine
from billtrack.platform.extensions import REPLICA, csrf, db, make_huey, migrate
from billtrack.platform.jobs import bell
from billtrack.platform.metrics import counting
from billtrack.platform.replica import reading
from billtrack.platform.storage.opening import open_storage
from billtrack.presentation.filters import register_filters

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


class StrictJson(DefaultJSONProvider):
    """JSON without NaN, infinities or nesting that exhausts the stack."""

    sort_keys = False

    def loads(self, s: str | bytes, **_options: Any) -> Any:
        """Parse JSON; raises ValueError for anything that is not."""
        return from_json(s, allow_inf_nan=False)


def create_app(
    settings: Settings | None = None,
    *,
    connections: int = WEB_CONNECTIONS,
    statement_seconds: int | None = None,
) -> APIFlask:
    """Return the web application, bound to its database and queue.

    Takes the settings from the environment when none are given; raises ConfigError. At most
    `connections` to the database are open at once; only the web server limits how long a
    statement may take, since nobody waits for a job or a command with a browser.
    """
    settings = settings or load_settings()
    use = Use(connections, statement_seconds, pgbouncer=settings.pgbouncer)
    app = APIFlask(
        "billtrack",
        title="billtrack",
        version=__version__,
        json_errors=False,
        docs_path=None,
        spec_path=None,
    )
    app.json = StrictJson(app)
    app.config.update(_flask_config(settings), **_database_config(settings, use))
    app.extensions["billtrack.settings"] = settings
    app.extensions["billtrack.storage"] = open_storage(
        settings.storage_url, folder=settings.data_dir / "reports"
    )
    app.extensions["billtrack.notifications.mail"] = open_transport(settings)
    db.init_app(app)
    app.teardown_appcontext(release_session)  # before the extension's own, which lets errors out
    with app.app_context():
        for engine in db.engines.values():
            prepare_engine(engine, use)
        if settings.replica_url is not None:
            reading.init_app(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS))
    counting.init_app(app, is_wanted=settings.metrics_token is not None)
    # First: every refusal has a request id.
    http.init_app(app, secure=settings.is_secure, known_hosts=settings.known_hosts)
    limits.init_app(app, settings)
    access.init_app(app)
    csrf.init_app(app)
    bell.bind(app, make_huey(settings))
    register_filters(app, timezone=settings.timezone)
    app.jinja_env.globals["public_url"] = settings.public_url  # what a request names is no base
    openapi.init_app(app)
    csrf.exempt(api)
    csrf.exempt(health)
    for blueprint in (api, health, scrape, docs, dashboard):
        app.register_blueprint(blueprint)
    app.wsgi_app = http.behind_proxies(  # type: ignore[method-assign,assignment]
        Places(app.wsgi_app), settings.proxy_hops
    )
    return app


def _flask_config(settings: Settings) -> dict[str, Any]:
    secret = settings.secret_key
    if secret is None:
        raise RuntimeError("load_settings() provides the secret key")
    return {
        "SECRET_KEY": secret.get_secret_value(),
        # By the prefix browsers take it only by https, for this host alone and from it.
        "SESSION_COOKIE_NAME": f"{'__Host-' if settings.is_secure else ''}billtrack_session",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.is_secure,
        "PERMANENT_SESSION_LIFETIME": LIFETIME,
        "WTF_CSRF_TIME_LIMIT": None,
        "WTF_CSRF_SSL_STRICT": settings.is_secure,
    }


def _database_config(settings: Settings, use: Use) -> dict[str, Any]:
    url, replica = settings.sqlalchemy_url, settings.sqlalchemy_replica_url
    binds = {REPLICA: {"url": replica, **engine_options(replica, use)}} if replica else {}
    return {
        "SQLALCHEMY_DATABASE_URI": url,
        "SQLALCHEMY_ENGINE_OPTIONS": engine_options(url, use),
        "SQLALCHEMY_BINDS": binds,
    }
