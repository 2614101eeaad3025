"""The WSGI entry point: `granian --interface wsgi wsgi:app`, or `flask --app wsgi`."""

from billtrack.process import die_with_parent

die_with_parent()

from billtrack.app import create_app  # noqa: E402 (a server's workers tie themselves first)
from billtrack.logs import configure_logs  # noqa: E402

configure_logs()
app = create_app()
