"""How the PDF of a report is laid out: nothing clipped, overlapping or left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import delete

from billtrack.accounts.users.models import User
from billtrack.billing.plans.models import Subscription
from billtrack.billing.plans.operations import (
    create_plan,
    create_version,
    publish_version,
    subscribe,
)
from billtrack.billing.pricing.charges import parse_charge
from billtrack.core.periods import DateRange
from billtrack.documents.reports.catalog import read_usage_report
from billtrack.documents.reports.operations import request_report
from billtrack.documents.reports.page import report_page
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_settings
from billtrack.presentation.pdf.rendering import _looks, _page
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.submissions import UsageInput
from tests.cast import SYSTEM, Cast, terms

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

USUAL = {"api_calls": 40_000, "vm_uptime": 90_000, "cpu_time": 30_000, "data_storage": 2_400}
MANY_TIERS: list[dict[str, Any]] = [
    {
        "meter": "api_calls",
        "model": "graduated",
        "per": 1000,
        "included": 5000,
        "tiers": [
            {"up_to": 1000 * 10**n if n < 9 else None, "unit_price": f"0.{90 - 9 * n:02d}"}
            for n in range(10)
        ],
    },
    {
        "meter": "vm_uptime",
        "model": "volume",
        "per": 3600,
        "tiers": [
            {"up_to": 36_000 * 2**n if n < 11 else None, "unit_price": "0.05", "flat_fee": "5"}
            for n in range(12)
        ],
    },
    {"meter": "cpu_time", "model": "package", "per": 36_000, "unit_price": "1.25"},
    {"meter": "data_storage", "model": "per_unit", "unit_price": "0.000123456789", "minimum": "9"},
]


@dataclass(frozen=True)
class Laid:
    """A text that stands somewhere on a page, in CSS pixels."""

    text: str
    tag: str
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Document:
    """The texts of every page, without its margins, and where the pages' contents may stand."""

    pages: list[list[Laid]]
    left: float
    right: float

    @property
    def text(self) -> str:
        return " ".join(" ".join(one.text for page in self.pages for one in page).split())


@pytest.fixture
def lay(cast: Cast) -> Callable[..., Document]:
    """Return a function that lays out the report of the customer over these days."""

    def lay(first: date, last: date) -> Document:
        with transaction() as session:
            user = session.get_one(User, cast.customer.id)
            asked: dict[str, Any] = {"file_format": "pdf", "actor": SYSTEM, "now": now()}
            report = request_report(user, DateRange(first, last), **asked)
        html = report_page(read_usage_report(report, user, current_settings()))
        looks = _looks()
        rendered = _page(html).render(stylesheets=looks.style_sheets, font_config=looks.fonts)
        box = rendered.pages[0]._page_box
        return Document(
            [list(_texts(page._page_box, "")) for page in rendered.pages],
            box.content_box_x(),
            box.content_box_x() + box.width,
        )

    return lay


def _texts(box: Any, tag: str) -> Iterator[Laid]:
    if type(box).__name__ == "MarginBox":
        return
    tag = box.element_tag or tag
    if type(box).__name__ == "TextBox" and box.text.strip():
        middle, size = box.position_y + box.margin_height() / 2, box.style["font_size"]
        right = box.position_x + box.width
        yield Laid(box.text, tag, box.position_x, right, middle - size / 3, middle + size / 3)
    for child in getattr(box, "children", ()):
        yield from _texts(child, tag)


def assert_neat(document: Document) -> None:
    for page in document.pages:
        for one in page:
            assert document.left - 1 <= one.left, one
            assert one.right <= document.right + 1, one
        for one, other in combinations(page, 2):
            is_beside = one.right <= other.left + 1 or other.right <= one.left + 1
            assert is_beside or one.bottom <= other.top or other.bottom <= one.top, (one, other)
        lowest = max(page, key=lambda one: one.bottom)
        assert lowest.tag not in {"h1", "h2", "h3"}, f"{lowest} has nothing under it"


def now() -> datetime:
    return datetime.now(UTC)


def month() -> tuple[date, date]:
    last = now().date().replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last


def use(cast: Cast, first: date, last: date, usage: dict[str, int]) -> None:
    days = list(DateRange(first, last))
    items = [
        UsageInput(cast.customer.id, event, quantity - 7 * number, _at_night(day), None)
        for number, day in enumerate(days)
        for event, quantity in usage.items()
    ]
    outcomes = submit(items, terms=terms(cast.provider))
    assert len(outcomes) == len(items)


def _at_night(day: date) -> datetime:
    return datetime.combine(day, time(0, 1), UTC)


def put_on_plan(
    cast: Cast,
    charges: list[dict[str, Any]],
    *,
    currency: str = "USD",
    fee: int = 0,
    least: int = 0,
) -> None:
    start = now().date().replace(day=1) - timedelta(days=500)
    asked: dict[str, Any] = {"actor": SYSTEM, "now": now()}
    with transaction() as session:
        session.execute(delete(Subscription).where(Subscription.user_id == cast.customer.id))
        create_plan(**asked, code="special", name="Special", currency=currency)
        version = create_version(
            "special",
            **asked,
            charges=[parse_charge(charge) for charge in charges],
            base_fee=Fraction(fee),
            minimum_commitment=Fraction(least),
        )
        publish_version("special", version.number, **asked, effective_from=start)
        subscribe(cast.customer.id, **asked, plan_code="special", starts_on=start.replace(day=1))


def rename(cast: Cast, name: str, email: str = "someone@test.example") -> None:
    with transaction() as session:
        user = session.get_one(User, cast.customer.id)
        user.name, user.email = name, email


def test_nothing_used_is_one_page(lay: Callable[..., Document]) -> None:
    document = lay(*month())
    assert len(document.pages) == 1
    assert_neat(document)


def test_one_record_is_one_page_with_one_day(cast: Cast, lay: Callable[..., Document]) -> None:
    first, last = month()
    use(cast, first, first, {"vm_uptime": 1})
    document = lay(first, last)
    assert len(document.pages) == 1
    assert "Days on which nothing was used are left out." in document.text
    assert_neat(document)


def test_a_month_is_two_pages(cast: Cast, lay: Callable[..., Document]) -> None:
    use(cast, *month(), USUAL)
    document = lay(*month())
    assert len(document.pages) == 2
    assert "left out" not in document.text
    assert_neat(document)


def test_a_year_by_days_begins_with_its_sum(cast: Cast, lay: Callable[..., Document]) -> None:
    last = now().date()
    first = last - timedelta(days=364)
    use(cast, first, last, USUAL)
    document = lay(first, last)
    assert 10 <= len(document.pages) <= 15
    head = [one.text for one in document.pages[0]]
    assert [head.count(name) for name in ("API calls", "VM uptime", "Total so far")] == [2, 2, 2]
    assert_neat(document)
    for page in document.pages:  # figures say on each page what they are
        if any(one.tag in {"td", "pre"} for one in page):
            assert any(one.text == "API calls" for one in page)
            assert any(one.text.startswith("Amount,") for one in page)


def test_figures_stand_right_under_each_other(cast: Cast, lay: Callable[..., Document]) -> None:
    first, last = month()
    use(cast, first, last, {"api_calls": 1_234_567})
    use(cast, first, first, {"cpu_time": 9, "vm_uptime": 7_777_777_777})
    texts = [one for page in lay(first, last).pages for one in page]
    ends = [one.right for one in texts if one.tag == "pre"]
    assert len(ends) == last.day
    assert max(ends) - min(ends) < 0.1
    head = [one for one in texts if one.text.startswith("Amount,")][-1]
    assert head.right == pytest.approx(ends[0], abs=1)


@pytest.mark.parametrize("name", ["W" * 200, "Universal Exports " * 11, "شركة الاختبار " * 14])
def test_a_long_name_stays_in_its_place(
    cast: Cast, lay: Callable[..., Document], name: str
) -> None:
    rename(cast, name.strip(), f"{'x' * 60}@{'verylong' * 7}.example")
    use(cast, *month(), USUAL)
    document = lay(*month())
    assert_neat(document)
    period = next(one for one in document.pages[0] if one.text == "Period")
    address = [one for one in document.pages[0] if "xxx" in one.text or "verylong" in one.text]
    assert max(one.right for one in address) < period.left
    total = next(one for one in document.pages[0] if one.text.startswith("$"))
    assert total.right == pytest.approx(document.right, abs=1)


@pytest.mark.parametrize(("currency", "price"), [("JPY", "¥"), ("USD", "$"), ("KWD", "KWD")])
def test_amounts_fit_in_every_currency(
    cast: Cast, lay: Callable[..., Document], currency: str, price: str
) -> None:
    put_on_plan(cast, [{"meter": "api_calls", "model": "per_unit", "unit_price": "3"}],
                currency=currency, fee=12)  # fmt: skip
    use(cast, *month(), USUAL)
    document = lay(*month())
    assert price in document.text
    assert_neat(document)


def test_huge_amounts_fit(cast: Cast, lay: Callable[..., Document]) -> None:
    use(cast, *month(), dict.fromkeys(USUAL, 10**15))
    assert_neat(lay(*month()))


def test_the_hugest_amounts_fit(cast: Cast, lay: Callable[..., Document]) -> None:
    prices = [{"meter": meter, "model": "per_unit", "unit_price": "999999"} for meter in USUAL]
    put_on_plan(cast, prices, currency="KWD")
    use(cast, *month(), dict.fromkeys(USUAL, 10**15))
    assert_neat(lay(*month()))


def test_many_tiers_fee_and_commitment_are_explained(
    cast: Cast, lay: Callable[..., Document]
) -> None:
    put_on_plan(cast, MANY_TIERS, fee=49, least=50_000)
    use(cast, *month(), USUAL)
    document = lay(*month())
    for words in ("included in the plan", "Base fee", "Minimum commitment", "$50,000.00"):
        assert words in document.text
    assert "Amounts of days are for usage alone" in document.text
    assert_neat(document)


def test_days_that_cost_less_than_nothing_are_shown(
    cast: Cast, lay: Callable[..., Document]
) -> None:
    charge = {
        "meter": "vm_uptime",
        "model": "volume",
        "tiers": [{"up_to": 1000, "unit_price": "1"}, {"up_to": None, "unit_price": "0.1"}],
    }
    put_on_plan(cast, [charge])
    first, _ = month()
    use(cast, first, first + timedelta(days=4), {"vm_uptime": 700})
    document = lay(first, first + timedelta(days=4))
    assert "−" in document.text
    assert_neat(document)


def test_a_name_from_the_right_stands_under_its_label(
    app: APIFlask, cast: Cast, lay: Callable[..., Document]
) -> None:
    rename(cast, "שלום (בע״מ) 7", "דוגמה@דוגמה.example")
    page = lay(*month()).pages[0]
    label = next(one for one in page if one.text == "Customer")
    name = next(one for one in page if "שלום" in one.text)
    assert name.left == pytest.approx(label.left, abs=1)
    sides = [one for one in page if "דוגמה" in one.text]
    assert [one.text for one in sides] == ["דוגמה", "דוגמה.example"]
    assert sides[0].right < sides[1].left  # the @ lies between them
