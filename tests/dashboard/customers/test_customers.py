"""The list of customers: search, sort, page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apiflask import APIFlask

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.platform.db import transaction
from tests.cast import Cast, create_record
from tests.dashboard.page import Page, Visitor

CAPTION = "Customers and what their usage costs"


def names(page: Page) -> list[str]:
    if "Nobody matches" in page.text:
        return []
    # A name, then the e-mail address in the same cell.
    return [row[0].rpartition(" ")[0] for row in page.table(CAPTION)]


def create_customers(*wanted: str) -> None:
    """Bare accounts: neither password nor subscription."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with transaction() as session:
        session.add_all(
            User(
                email=f"user-{number}@many.example",
                name=name,
                role=Role.CUSTOMER,
                created_at=start + timedelta(days=number),
            )
            for number, name in enumerate(wanted)
        )


def test_it_lists_customers_with_what_their_month_costs(app: APIFlask, cast: Cast) -> None:
    create_customers("Unpriced")
    create_record(cast, quantity=500000)
    now = datetime.now(UTC)
    today = f"{now:%-d %b %Y}"
    page = Visitor(app, cast.manager).open("/customers")
    assert page.table(CAPTION) == [
        ["Customer customer@test.example", "Standard", today, today, "$205.00"],
        ["Other customer other-customer@test.example", "Standard", today, "never", "$0.00"],
        ["Stranger stranger@test.example", "Standard", today, "never", "$0.00"],
        ["Unpriced user-0@many.example", "none", "1 Jan 2026", "never", "no price"],
    ]
    assert "1–4 of 4 customers" in page.text


def test_it_finds_by_name_and_address_literally(app: APIFlask, cast: Cast) -> None:
    create_customers("100% Pure", "100 Pure", "a_b", "aXb", r"back\slash", "backslash", "O'Neil")
    visitor = Visitor(app, cast.manager)
    for typed, expected in {
        "100%": ["100% Pure"],
        "%": ["100% Pure"],
        "a_b": ["a_b"],
        "_": ["a_b"],
        "\\": [r"back\slash"],
        "O'Neil": ["O'Neil"],
        "pURE": ["100 Pure", "100% Pure"],
        "user-3@MANY": ["aXb"],
        "  a_b  ": ["a_b"],
        "nobody": [],
        "a\0_b": ["a_b"],
        "'; DROP TABLE users; --": [],
        "<script>": [],
    }.items():
        page = visitor.open("/customers", query_string={"q": typed})
        assert sorted(names(page)) == expected, typed
        assert page.values("/customers")["q"] == typed.replace("\0", "").strip()
    assert "Nobody matches “<script>”" in page.text


def test_it_sorts_by_name_and_by_age(app: APIFlask, cast: Cast) -> None:
    create_customers("B", "C", "A")
    visitor = Visitor(app, cast.manager)
    for sort, direction, expected in (
        ("name", "asc", ["A", "B", "C"]),
        ("name", "desc", ["C", "B", "A"]),
        ("created_at", "asc", ["B", "C", "A"]),
        ("created_at", "desc", ["A", "C", "B"]),
    ):
        page = visitor.open(f"/customers?q=many&sort={sort}&dir={direction}")
        assert names(page) == expected
        (marked,) = (th for th in page.all("th") if th.get("aria-sort"))
        assert marked.get("aria-sort") == f"{direction}ending"
        assert f"/customers?q=many&sort={sort}&dir={'desc' if direction == 'asc' else 'asc'}" in (
            link.replace("q=many&sort=", "q=many&sort=") for link in page.links
        )
        kept = {"q": "many", "role": "customer", "state": "", "sort": sort, "dir": direction}
        assert page.values("/customers") == kept


def test_it_pages_and_keeps_search_and_sort(app: APIFlask, cast: Cast) -> None:
    create_customers(*(f"Customer {number:02}" for number in range(60)))
    visitor = Visitor(app, cast.manager)
    page = visitor.open("/customers?q=many&sort=name&dir=desc")
    seen = names(page)
    assert "1–25 of 60 customers" in page.text
    while following := page.all("a", rel="next"):
        page = visitor.open(following[0].attrib["href"])
        seen += names(page)
    assert seen == [f"Customer {number:02}" for number in reversed(range(60))]
    assert "51–60 of 60 customers" in page.text
    (back,) = page.all("a", rel="prev")
    assert "26–50 of 60" in visitor.open(back.attrib["href"]).text


def test_it_goes_to_the_last_page_from_beyond_it(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    page = visitor.follow(visitor.request("GET", "/customers?sort=created_at&page=7"))
    assert "1–3 of 3 customers" in page.text
    assert page.values("/customers")["sort"] == "created_at"


def test_it_bears_any_query(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    for query in (
        "page=0",
        "page=-1",
        "page=1.5",
        "page=x",
        "page=",
        "page=%D9%A3",
        "page=%00",
        "sort=password_hash",
        "sort=name;drop",
        "sort=&dir=",
        "sort=email&dir=sideways",
        "dir=%00&sort=%00",
        "q=" + "x" * 5000,
        "q=%FF%FE",
        "q=%F0%9F%92%A9",
        "q[]=1&unknown=%5B%5D",
        "q=1&q=2&page=1&page=2",
    ):
        assert visitor.request("GET", f"/customers?{query}").status == 200, query
    for page in ("99999999999999999999", "999999999999999999", "10001", "7"):
        assert visitor.request("GET", f"/customers?page={page}").status in {200, 303}, page


def test_it_says_what_to_do_when_there_is_none(app: APIFlask) -> None:
    from tests.cast import Member, create_user  # noqa: PLC0415

    page = Visitor(app, Member(create_user(role=Role.ADMIN), "")).open("/customers")
    assert "No customers yet" in page.text
    assert "0 customers" in page.text


def test_it_shows_customers_only_and_says_who_is_deactivated(app: APIFlask, cast: Cast) -> None:
    cast.admin.post(f"/api/v1/users/{cast.stranger.id}/deactivate")
    page = Visitor(app, cast.manager).open("/customers")
    first = [row[0] for row in page.table(CAPTION)]
    assert first[2] == "Stranger deactivated stranger@test.example"
    assert len(first) == 3


def test_it_answers_htmx_with_the_list_that_is_selected_from(app: APIFlask, cast: Cast) -> None:
    page = Visitor(app, cast.manager).open("/customers?q=other")
    search = page.form("/customers")
    assert search.get("hx-select") == search.get("hx-target") == "#customer-list"
    assert names(page) == ["Other customer"]


def test_it_sorts_by_cost_and_by_last_use(app: APIFlask, cast: Cast) -> None:
    create_customers("Unused")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    create_record(cast, quantity=600000, user=cast.other_customer)
    create_record(cast, quantity=500000, occurred_at=yesterday)
    visitor = Visitor(app, cast.manager)
    used = visitor.open("/customers?sort=used&dir=desc")
    assert names(used) == ["Other customer", "Customer", "Stranger", "Unused"]
    assert names(visitor.open("/customers?sort=used&dir=asc")) == [
        "Customer",
        "Other customer",
        "Stranger",
        "Unused",
    ]
    assert names(visitor.open("/customers?sort=cost&dir=desc"))[0] == "Other customer"
    assert names(visitor.open("/customers?sort=cost&dir=asc"))[-1] == "Other customer"


def test_it_pages_through_what_is_sorted_by_cost(app: APIFlask, cast: Cast) -> None:
    create_customers(*(f"Customer {number:02}" for number in range(30)))
    visitor = Visitor(app, cast.manager)
    first = visitor.open("/customers?q=many&sort=cost&dir=desc")
    (following,) = first.all("a", rel="next")
    both = names(first) + names(visitor.open(following.attrib["href"]))
    assert sorted(both) == [f"Customer {number:02}" for number in range(30)]
    assert visitor.request("GET", "/customers?sort=cost&page=9").status == 303


def test_it_filters_by_state_and_keeps_it_in_every_address(app: APIFlask, cast: Cast) -> None:
    cast.admin.post(f"/api/v1/users/{cast.stranger.id}/deactivate")
    visitor = Visitor(app, cast.manager)
    gone = visitor.open("/customers?state=deactivated")
    assert [row[0].split()[0] for row in gone.table(CAPTION)] == ["Stranger"]
    assert "/customers?state=deactivated&sort=cost&dir=desc" in gone.links
    assert gone.values("/customers")["state"] == "deactivated"
    assert names(visitor.open("/customers?state=active")) == ["Customer", "Other customer"]


def test_it_offers_the_roles_within_reach(app: APIFlask, cast: Cast) -> None:
    manager, admin = Visitor(app, cast.manager), Visitor(app, cast.admin)
    page = manager.open("/customers?role=provider")
    assert page.choices("/customers", "role") == ["Customers", "Providers", "All accounts"]
    assert [row[0].split(" provider")[0] for row in page.table(CAPTION)] == [
        "Other",
        "Provider",
    ]
    assert "2 providers" in page.text
    assert page.values("/customers")["role"] == "provider"
    # Not a role that a manager may ask for: as if nothing had been said.
    assert "3 customers" in manager.open("/customers?role=admin").text
    assert "Admin" not in manager.open("/customers?role=all").text.replace("Administrators", "")
    assert "1 administrator" in admin.open("/customers?role=admin").text
    assert len(admin.open("/customers?role=all").table(CAPTION)) == 7
