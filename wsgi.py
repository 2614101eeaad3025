"""The WSGI entry point: `granian --interface wsgi wsgi:app`, or `flask --app wsgi`."""

from billtrack.process import die_with_parent, settle

die_with_parent()

from billtrack.app import create_app  # noqa: E402 (a server's workers tie themselves first)
from billtrack.config import load_settings  # noqa: E402
from billtrack.logs import configure_logs  # noqa: E402
from billtrack.usage.journal.writing import keep_writing  # noqa: E402
from billtrack.waiting import BodyFirst  # noqa: E402

settings = load_settings()
configure_logs(settings.log_format)
app = create_app(settings, statement_seconds=settings.statement_seconds)
app.wsgi_app = BodyFirst(app.wsgi_app)  # type: ignore[method-assign]  # Flask's own way to wrap
keep_writing(app)
settle()
