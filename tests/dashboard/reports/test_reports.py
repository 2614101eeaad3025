"""Asking for reports, watching them, and downloading them."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from apiflask import APIFlask
from pypdf import PdfReader

from billtrack.core.errors import InvalidError
from billtrack.core.periods import Month
from billtrack.documents.reports.models import Report
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Run
from tests.cast import Cast, Member, create_record, create_user
from tests.dashboard.conftest import RunJobs
from tests.dashboard.page import Page, Visitor, count, text_of

pytestmark = pytest.mark.one_database

FRAGMENT = {"HX-Request": "true"}
PATH = "/reports"


def this_month() -> Month:
    return Month.of(current_calendar().today(datetime.now(UTC)))


def ask(visitor: Visitor, **typed: str) -> Page:
    fields = {name.rstrip("_"): text for name, text in typed.items()}
    return visitor.send(visitor.open(PATH), PATH, fields)


def reports() -> list[Report]:
    db.session.rollback()
    return list(db.session.query(Report).order_by(Report.id).populate_existing())


def job(page: Page, number: int = 0) -> str:
    rows = [li for li in page.all("li") if li.get("id", "").startswith("job-")]
    return text_of(rows[number])


def refuse(_run: Run) -> Callable[[], None]:
    raise InvalidError("The figures cannot be read. Ask the administrator.")


def test_it_asks_for_the_report_of_a_customer(app: APIFlask, cast: Cast) -> None:
    visitor, month = Visitor(app, cast.manager), this_month().previous
    page = visitor.follow(ask(visitor, customer=str(cast.customer.id), month=str(month)))
    assert job(page).startswith(f"Customer {month.first:%B %Y} · PDF")
    assert job(page).endswith("queued")
    (report,) = reports()
    assert (report.user_id, report.first_on, report.last_on) == (
        cast.customer.id,
        month.first,
        month.last,
    )


def test_it_asks_for_this_month_unless_told_otherwise(app: APIFlask, cast: Cast) -> None:
    ask(Visitor(app, cast.manager), customer=str(cast.customer.id))
    (report,) = reports()
    assert (report.first_on, report.last_on) == (this_month().first, this_month().last)


def test_it_asks_for_any_days(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    customer = str(cast.customer.id)
    for first, last in (("2026-10-05", "2026-10-05"), ("2025-12-31", "2026-01-01")):
        ask(visitor, customer=customer, month="", from_=first, to=last)
        report = reports()[-1]
        assert (str(report.first_on), str(report.last_on)) == (first, last)


def test_it_asks_for_all_customers_at_once(app: APIFlask, cast: Cast, run_jobs: RunJobs) -> None:
    visitor = Visitor(app, cast.manager)
    page = visitor.follow(ask(visitor, customer="all", month="2026-10"))
    assert count(Job) == 4
    assert [report.user_id for report in reports()] == [
        cast.customer.id,
        cast.other_customer.id,
        cast.stranger.id,
    ]
    assert job(page, 3).startswith("Reports for all customers October 2026 · PDF")
    run_jobs(refuse)
    page = visitor.open(PATH)
    assert job(page, 3) == ("Reports for all customers October 2026 · PDF: 3 of 3 failed. failed")
    retry = [e for e in page.all("form") if e.get("action", "").endswith("/retry")]
    assert len(retry) == 3
    for form in retry:
        assert visitor.send(page, form.attrib["action"]).status == 303
    run_jobs()
    page = visitor.open(PATH)
    assert "done" in job(page, 3)
    assert "expired" not in page.text
    assert page.text.count("Download") == 3
    parent = db.session.query(Job).filter_by(kind="group").one()
    assert visitor.open(f"/reports/jobs/{parent.id}").heading == "Reports for all customers"


def test_a_customer_asks_about_itself_only(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.customer)
    page = visitor.open(PATH)
    assert page.choices(PATH, "customer") == ["Customer"]
    for other in (str(cast.stranger.id), "all", "", "0", f"{cast.customer.id}\0"):
        page = visitor.send(visitor.open(PATH), PATH, {"customer": other})
        assert page.status == 422, other
        assert page.error(PATH, "customer")
    assert count(Job) == 0
    page = visitor.follow(ask(visitor, customer=str(cast.customer.id), month="2026-10"))
    assert job(page).startswith("October 2026 PDF")
    assert "No reports yet" in Visitor(app, cast.stranger).open(PATH).text


def test_it_says_what_is_wrong_beside_the_field(app: APIFlask, cast: Cast) -> None:
    visitor, customer = Visitor(app, cast.manager), str(cast.customer.id)
    days = {"month": "", "from": "2026-10-01", "to": "2026-10-15"}
    choose, day = "Choose one of the list.", "Write a day that exists, such as 2026-11-22."
    year = "Write a year from 2000 to 2999."
    form = visitor.open(PATH)
    for typed, field, error in (
        ({"customer": ""}, "customer", "Choose a customer."),
        ({"customer": "x"}, "customer", choose),
        ({"customer": "-1"}, "customer", choose),
        ({"customer": "1.5"}, "customer", choose),
        ({"customer": "999999"}, "customer", choose),
        ({"customer": str(cast.manager.id)}, "customer", choose),
        ({"customer": f"{customer}\0"}, "customer", choose),
        ({"customer": "9" * 5000}, "customer", choose),
        ({"month": "2026-13"}, "month", choose),
        ({"month": "x"}, "month", choose),
        ({"month": "2026-10\0"}, "month", choose),
        ({"month": "1999-01"}, "month", choose),
        ({"format": ""}, "format", "Choose a format."),
        ({"format": "exe"}, "format", choose),
        ({"format": "../pdf"}, "format", choose),
        ({**days, "from": ""}, "from", "Choose a day."),
        ({**days, "to": ""}, "to", "Choose a day."),
        ({**days, "from": "2026-02-29"}, "from", day),
        ({**days, "from": "01.10.2026"}, "from", day),
        ({**days, "to": "2026-10-15\0"}, "to", day),
        ({**days, "to": "-1"}, "to", day),
        ({**days, "to": "9" * 5000}, "to", day),
        ({**days, "from": "0001-01-01"}, "from", year),
        ({**days, "to": "9999-12-31"}, "to", year),
        ({**days, "to": "2026-09-30"}, "to", "Choose a day that is not before the first."),
        ({**days, "from": "2000-01-01"}, "to", "Choose at most 3,660 days."),
        (
            {"from": "2026-10-01"},
            "from",
            "Choose “A range of days” as the period, or clear this day.",
        ),
    ):
        page = visitor.send(form, PATH, {"customer": customer, **typed})
        assert page.status == 422, typed
        assert page.error(PATH, field) == error, typed
        assert page.values(PATH)["customer"] in {customer, "", "all"}
    assert page.values(PATH)["from"] == "2026-10-01"
    assert count(Job) == 0


def test_it_bears_fields_that_are_missing(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    data = {**visitor.open(PATH).values(PATH), "customer": str(cast.customer.id)}
    for name in ("customer", "format"):
        rest = {key: value for key, value in data.items() if key != name}
        page = visitor.request("POST", PATH, data=rest)
        assert (page.status, bool(page.error(PATH, name))) == (422, True)
    assert count(Job) == 0


def test_it_offers_nobody_while_there_is_no_customer(app: APIFlask) -> None:
    from billtrack.accounts.users.permissions import Role  # noqa: PLC0415

    visitor = Visitor(app, Member(create_user(role=Role.ADMIN), ""))
    page = visitor.open(PATH)
    assert page.choices(PATH, "customer") == []
    assert visitor.send(page, PATH, {"customer": "all"}).status == 422
    assert count(Job) == 0


def test_it_pages_through_the_reports(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    page = visitor.open(PATH)
    for _ in range(26):
        visitor.send(page, PATH, {"customer": str(cast.customer.id)})
    page = visitor.open(PATH)
    (older,) = page.all("a", rel="next")
    rest = visitor.open(older.attrib["href"])
    rows = [len([li for li in p.all("li") if li.get("id")]) for p in (page, rest)]
    assert rows == [25, 1]
    for text in ("x", "-1", "%00", "9" * 30):
        assert "Older" in visitor.open(f"{PATH}?cursor={text}").text


def test_a_queued_report_asks_for_itself_until_it_is_done(
    app: APIFlask, cast: Cast, run_jobs: RunJobs
) -> None:
    create_record(cast, quantity=500000)
    visitor = Visitor(app, cast.manager)
    ask(visitor, customer=str(cast.customer.id))
    (report,) = reports()
    path = f"{PATH}/jobs/{report.job_id}"
    fragment = visitor.request("GET", path, headers=FRAGMENT).source
    assert fragment.startswith("<li")
    assert f'hx-get="{path}"' in fragment
    assert 'hx-trigger="every 1s"' in fragment
    assert "Reload to see progress" in fragment
    assert visitor.open(path).heading == "Customer"
    run_jobs()
    fragment = visitor.request("GET", path, headers=FRAGMENT).source
    assert "hx-trigger" not in fragment
    assert f'href="{PATH}/{report.job_id}/user-' in fragment
    whole = visitor.open(path)
    assert "Download" in whole.text
    assert "hx-trigger" not in whole.source


def test_a_running_report_shows_its_progress(app: APIFlask, cast: Cast, run_jobs: RunJobs) -> None:
    visitor = Visitor(app, cast.customer)
    ask(visitor, customer=str(cast.customer.id))
    (report,) = reports()
    path = f"{PATH}/jobs/{report.job_id}"
    seen: list[Page] = []

    def half_way(run: Run) -> Callable[[], None]:
        run.report_progress(40)
        seen.append(visitor.open(path))
        raise InvalidError("enough")

    run_jobs(half_way)
    assert job(seen[0]).endswith("40 %")
    (bar,) = seen[0].all("progress")
    assert (bar.get("value"), bar.get("max")) == ("40", "100")
    assert "hx-trigger" in seen[0].source


def test_a_failed_report_says_why_and_can_be_retried(
    app: APIFlask, cast: Cast, run_jobs: RunJobs
) -> None:
    visitor = Visitor(app, cast.customer)
    ask(visitor, customer=str(cast.customer.id))
    run_jobs(refuse)
    (report,) = reports()
    path = f"{PATH}/jobs/{report.job_id}"
    page = visitor.open(PATH)
    assert "The figures cannot be read. Ask the administrator. failed" in job(page)
    assert 'hx-trigger="every' not in visitor.request("GET", path, headers=FRAGMENT).source
    stranger = Visitor(app, cast.stranger)
    token = stranger.open(PATH).values("/sign-out")["csrf_token"]
    refused = stranger.request("POST", f"{path}/retry", data={"csrf_token": token})
    assert refused.status == 404
    assert db.session.get_one(Job, report.job_id, populate_existing=True).status == "failed"
    data = page.values(f"{path}/retry")
    again = visitor.request("POST", f"{path}/retry", data=data, headers=FRAGMENT)
    assert (again.status, "queued" in again.source) == (200, True)
    assert "hx-trigger" in again.source
    assert visitor.send(page, f"{path}/retry").status == 409
    run_jobs()
    assert "Download" in visitor.open(PATH).text
    run_jobs(refuse)
    assert "Download" in visitor.open(PATH).text


def test_it_downloads_the_pdf_with_the_figures_of_the_page(
    app: APIFlask, cast: Cast, run_jobs: RunJobs
) -> None:
    create_record(cast, quantity=500000)
    visitor = Visitor(app, cast.customer)
    ask(visitor, customer=str(cast.customer.id))
    run_jobs()
    (link,) = (a for a in visitor.open(PATH).all("a") if "download" in a.attrib)
    name = f"user-{cast.customer.id}-{this_month()}.pdf"
    assert link.attrib["href"].endswith(f"/{name}")
    for member in (cast.customer, cast.manager, cast.admin):
        answer = Visitor(app, member).request("GET", link.attrib["href"]).answer
        assert answer.status_code == 200
        assert answer.mimetype == "application/pdf"
        assert answer.headers["Content-Disposition"] == f"attachment; filename={name}"
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.data)).pages)
    assert "$205.00" in text
    assert "customer@test.example" in text


def test_it_opens_a_file_to_a_key_that_may_read_reports(
    app: APIFlask, cast: Cast, run_jobs: RunJobs
) -> None:
    ask(Visitor(app, cast.manager), customer=str(cast.customer.id))
    run_jobs()
    (report,) = reports()
    path = f"{PATH}/{report.job_id}/user-{cast.customer.id}-{this_month()}.pdf"
    for member in (cast.customer, cast.admin):
        assert member.get(path, buffered=True).data.startswith(b"%PDF-")
    assert cast.stranger.get(path).status_code == 404
    assert cast.stranger.get(path).mimetype == "application/problem+json"
    assert cast.provider.get(path).status_code == 403
    broken = Visitor(app).request("GET", path, headers={"Authorization": "Bearer bt_live_x"})
    assert broken.status == 401


def test_it_sends_nothing_but_the_file_of_the_report(
    app: APIFlask, cast: Cast, run_jobs: RunJobs
) -> None:
    visitor = Visitor(app, cast.admin)
    ask(visitor, customer=str(cast.customer.id))
    ask(visitor, customer=str(cast.stranger.id), month="2026-10")
    run_jobs()
    first, second = reports()
    name = f"user-{cast.customer.id}-{this_month()}.pdf"
    assert visitor.request("GET", f"{PATH}/{first.job_id}/{name}").status == 200
    for path in (
        f"{PATH}/{second.job_id}/{name}",
        f"{PATH}/999/{name}",
        f"{PATH}/{first.job_id}/user-{cast.customer.id}-2026-01.pdf",
        f"{PATH}/{first.job_id}/{name}.bak",
        f"{PATH}/{first.job_id}/{name.upper()}",
        f"{PATH}/{first.job_id}/..%2F..%2Fbilltrack.db",
        f"{PATH}/{first.job_id}/../../billtrack.db",
        f"{PATH}/{first.job_id}/%2e%2e/{second.job_id}",
        f"{PATH}/{first.job_id}/%00",
        f"{PATH}/{first.job_id}/{name}%00.txt",
        f"{PATH}/0/{name}",
        f"{PATH}/-1/{name}",
    ):
        assert visitor.request("GET", path).status == 404, path


def test_it_says_when_a_file_is_not_there_or_not_kept_any_more(
    app: APIFlask, cast: Cast, run_jobs: RunJobs
) -> None:
    visitor = Visitor(app, cast.customer)
    ask(visitor, customer=str(cast.customer.id))
    (report,) = reports()
    path = f"{PATH}/{report.job_id}/user-{cast.customer.id}-{this_month()}.pdf"
    early = visitor.request("GET", path)
    assert (early.status, "Generate it again." in early.text) == (404, True)
    run_jobs()
    (report,) = reports()
    assert report.path is not None
    app.extensions["billtrack.storage"].remove(str(report.job_id))
    gone = visitor.request("GET", path)
    assert (gone.status, "Generate the report again." in gone.text) == (404, True)


def test_it_knows_no_other_jobs(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.admin)
    token = visitor.open(PATH).values("/sign-out")["csrf_token"]
    for number in ("1", "999", "0", "-1", "x", "9" * 19):
        assert visitor.request("GET", f"{PATH}/jobs/{number}").status == 404
        retry = visitor.request("POST", f"{PATH}/jobs/{number}/retry", data={"csrf_token": token})
        assert retry.status == 404
