"""What is served: `served` by Granian (ASGI), `app` by any WSGI server, as `flask --app wsgi`."""

from billtrack.platform.process import die_with_parent, settle

die_with_parent()

from billtrack.accounts.credentials import recent_keys  # noqa: E402 (a server's workers tie themselves first)
from billtrack.entrypoints.app import create_app  # noqa: E402
from billtrack.entrypoints.server.adapter import ServerAdapter  # noqa: E402
from billtrack.entrypoints.server.bodies import MIB  # noqa: E402
from billtrack.entrypoints.server.fast_path.fast_path import loop_lane  # noqa: E402
from billtrack.entrypoints.server.gate import AppGate  # noqa: E402
from billtrack.platform.config import load_settings  # noqa: E402
from billtrack.platform.logs import configure_logs  # noqa: E402
from billtrack.usage.sources.writing import keep_writing  # noqa: E402

settings = load_settings()
configure_logs(settings.log_format)
app = create_app(settings, statement_seconds=settings.statement_seconds)
fast_path = loop_lane(app, statement_seconds=settings.statement_seconds)
served = ServerAdapter(
    app.wsgi_app, AppGate(app), fast_path, body_memory=settings.body_memory * MIB
)
keep_writing(app)
recent_keys.keep_refreshing(app)
settle()
