"""What the customers of the demo use on any day: 25 shapes of business, the same every time.

Pure: standard library and billtrack.core only; no clock, no storage. Quantities are drawn
from the customer, the event and the day alone, so whoever asks again gets the same answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

from billtrack.core.periods import Month

MONTHS = 13
"""How far the usage reaches back, the newest month included."""

HOUR = 3600
SATURDAY = 5
YEAR_DAYS = 365
PERCENT = 100
PER_MILLE = 1000

Year = tuple[int, int, int, int, int, int, int, int, int, int, int, int]
"""Percent of the ordinary level at the first of each month, January first."""

EVEN: Year = (100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100)
RETAIL: Year = (85, 80, 85, 90, 95, 95, 90, 90, 100, 115, 150, 185)
TRAVEL: Year = (80, 80, 90, 105, 125, 150, 170, 160, 120, 95, 80, 85)
SCHOOL: Year = (105, 115, 115, 110, 105, 75, 35, 35, 105, 120, 120, 95)
HEATING: Year = (160, 150, 130, 100, 75, 60, 55, 55, 75, 105, 130, 150)


@dataclass(frozen=True, slots=True)
class Shape:
    """How use differs from an ordinary day's.

    `yearly_change` is percent of the starting level, won or lost evenly over a year; `weekend`
    percent of a weekday; `spread` the percent by which days of chance differ at most. On
    `spikes` days in 1,000 the use is `spike_height` percent. `batch_weekdays` are the only
    days with CPU time (Monday 0), `closing_percent` the use on the first three days of a month.
    """

    yearly_change: int = 0
    weekend: int = 45
    year: Year = EVEN
    spread: int = 15
    spikes: int = 0
    spike_height: int = 400
    batch_weekdays: tuple[int, ...] = ()
    closing_percent: int = 100
    storage_change: int = 20


@dataclass(frozen=True, slots=True)
class DemoCustomer:
    """A customer, what it uses on an ordinary day, and its inclusive days of business.

    `ends_on` None: still a customer. `storage_gb` is held all day.
    """

    email: str
    name: str
    api_calls: int
    vm_hours: int
    cpu_seconds: int
    storage_gb: int
    shape: Shape
    starts_on: date
    ends_on: date | None


@dataclass(frozen=True, slots=True)
class _Profile:
    """A customer with its days of business counted from the first day of the demo."""

    email: str
    name: str
    ordinary: tuple[int, int, int, int]
    shape: Shape = Shape()
    first: int = 0
    last: int | None = None


# The ordinary day: API calls, hours of VMs, CPU-seconds, gigabytes held.
_PROFILES = (
    _Profile("billing@northwind.example", "Northwind Analytics", (310_000, 1_300, 900_000, 9_000)),
    _Profile("ops@hexa.example", "Hexa Robotics", (84_000, 2_400, 660_000, 4_200),
             Shape(weekend=60, yearly_change=25)),
    _Profile("ops@kiln.example", "Kiln & Sons", (52_000, 720, 241_000, 2_100),
             Shape(year=RETAIL, weekend=55)),
    _Profile("team@aster.example", "Aster Genomics", (9_000, 480, 3_700_000, 24_000),
             Shape(weekend=90, spread=30, spikes=25, spike_height=300)),
    _Profile("hello@bluefjord.example", "Blue Fjord Media", (21_000, 240, 120_000, 52_000),
             Shape(weekend=120, storage_change=260)),
    _Profile("it@tallow.example", "Tallow Games", (940_000, 1_500, 80_000, 3_000),
             Shape(weekend=165, spikes=15, spike_height=260, yearly_change=30)),
    _Profile("office@quiet.example", "Quiet Harbour", (0, 0, 0, 0)),
    _Profile("cloud@meridian.example", "Meridian Freight", (1_600_000, 12_000, 6_000_000, 60_000),
             Shape(weekend=65, spread=8, yearly_change=15)),
    _Profile("dev@lumen.example", "Lumen Labs", (30_000, 300, 90_000, 700),
             Shape(yearly_change=420, weekend=35)),
    _Profile("accounts@harrow.example", "Harrow Textiles", (140_000, 1_900, 420_000, 6_000),
             Shape(yearly_change=-62)),
    _Profile("it@saltmarsh.example", "Saltmarsh Travel", (180_000, 1_100, 150_000, 2_500),
             Shape(year=TRAVEL, weekend=130)),
    _Profile("systems@alder.example", "Alder University", (75_000, 1_700, 900_000, 15_000),
             Shape(year=SCHOOL, weekend=30)),
    _Profile("ops@emberheat.example", "Ember Heating", (60_000, 800, 210_000, 1_800),
             Shape(year=HEATING, weekend=85)),
    _Profile("batch@quarry.example", "Quarry Insurance", (6_000, 200, 5_200_000, 3_600),
             Shape(batch_weekdays=(1, 3, 5), weekend=100, spread=10)),
    _Profile("payroll@fennel.example", "Fennel Payroll", (48_000, 650, 380_000, 2_900),
             Shape(closing_percent=450, weekend=25)),
    _Profile("launch@sparrow.example", "Sparrow Tickets", (110_000, 420, 60_000, 400),
             Shape(spikes=60, spike_height=900, weekend=110, spread=30)),
    _Profile("archive@vellum.example", "Vellum Archive", (1_500, 48, 9_000, 68_000),
             Shape(storage_change=180, weekend=20)),
    _Profile("hello@pebblepay.example", "Pebble Pay", (420_000, 1_300, 260_000, 1_100),
             Shape(yearly_change=160, weekend=90), first=150),
    _Profile("founders@nimbus.example", "Nimbus Notes", (64_000, 380, 70_000, 350),
             Shape(yearly_change=300, weekend=60), first=318),
    _Profile("team@larkspur.example", "Larkspur Health", (95_000, 900, 240_000, 5_500),
             Shape(weekend=40), first=350),
    _Profile("it@oldmill.example", "Old Mill Foods", (70_000, 1_000, 180_000, 2_200),
             Shape(weekend=50), last=262),
    _Profile("admin@drift.example", "Drift Surf Club", (38_000, 300, 30_000, 300),
             Shape(weekend=150, yearly_change=-30), last=338),
    _Profile("ops@cobalt.example", "Cobalt Foundry", (18_000, 2_900, 130_000, 900),
             Shape(weekend=100, spread=4)),
    _Profile("lab@tern.example", "Tern Observatory", (4_000, 150, 1_400_000, 12_000),
             Shape(weekend=100, spread=60, spikes=90, spike_height=350)),
    _Profile("web@juniper.example", "Juniper Press", (88_000, 360, 45_000, 1_300),
             Shape(weekend=70, spread=25)),
)  # fmt: skip


def demo_customers(newest: Month) -> Sequence[DemoCustomer]:
    """Return the customers of the 13 months that end with `newest`, always in one order.

    Growth, starts and ends are counted from the first of those months: ask again with the same
    month for the same usage.
    """
    first = demo_first_day(newest)
    return [
        DemoCustomer(
            profile.email,
            profile.name,
            *profile.ordinary,
            profile.shape,
            first + timedelta(days=profile.first),
            None if profile.last is None else first + timedelta(days=profile.last),
        )
        for profile in _PROFILES
    ]


def demo_first_day(newest: Month) -> date:
    """Return the first day of the 13 months that end with `newest`."""
    month = newest
    for _ in range(MONTHS - 1):
        month = month.previous
    return month.first


def usage_on(customer: DemoCustomer, day: date) -> Mapping[str, int]:
    """Return what the customer uses on a billing day, base units by event; 0 is left out."""
    if day < customer.starts_on or (customer.ends_on is not None and day > customer.ends_on):
        return {}
    age = (day - customer.starts_on).days
    level = max(0, PER_MILLE + customer.shape.yearly_change * 10 * age // YEAR_DAYS)
    active = level * _season(customer.shape, day) * _week_of(customer, day) // PERCENT**2
    stored = PER_MILLE + customer.shape.storage_change * 10 * age // YEAR_DAYS
    cpu_seconds = customer.cpu_seconds
    if customer.shape.batch_weekdays:
        cpu_seconds *= day.weekday() in customer.shape.batch_weekdays
    quantities = {
        "api_calls": customer.api_calls * active * _chance(customer, "api_calls", day),
        "vm_uptime": customer.vm_hours * HOUR * active * _chance(customer, "vm_uptime", day),
        "cpu_time": cpu_seconds * active * _chance(customer, "cpu_time", day),
        "data_storage": customer.storage_gb * 24 * stored * PER_MILLE,
    }
    shares = ((event, quantity // PER_MILLE**2) for event, quantity in quantities.items())
    return {event: quantity for event, quantity in shares if quantity > 0}


def _season(shape: Shape, day: date) -> int:
    """Return the percent of this day in its year, week and month."""
    month = Month.of(day)
    here, there = shape.year[day.month - 1], shape.year[day.month % 12]
    percent = (here * (month.days - day.day + 1) + there * (day.day - 1)) // month.days
    if day.weekday() >= SATURDAY:
        percent = percent * shape.weekend // PERCENT
    if day.day <= 3:  # noqa: PLR2004 (the days on which books are closed)
        percent = percent * shape.closing_percent // PERCENT
    return percent


def _week_of(customer: DemoCustomer, day: date) -> int:
    """Return the percent of this week: some weeks are better than others, all days of them."""
    if not customer.shape.spread:
        return PERCENT
    return _week_percent(customer.email, day.toordinal() // 7, customer.shape.spread // 2)


@cache
def _week_percent(email: str, week: int, spread: int) -> int:
    chance = random.Random(f"{email}/week/{week}")  # noqa: S311 (no secret)
    return PERCENT + chance.randint(-spread, spread)


def _chance(customer: DemoCustomer, event: str, day: date) -> int:
    """Return the per mille of this day's ordinary use that chance gives it."""
    chance = random.Random(f"{customer.email}/{event}/{day}")  # noqa: S311 (no secret)
    shape = customer.shape
    share = PER_MILLE + chance.randint(-shape.spread * 10, shape.spread * 10)
    is_spike = shape.spikes > 0 and chance.randrange(PER_MILLE) < shape.spikes
    return share * shape.spike_height // PERCENT if is_spike else share
