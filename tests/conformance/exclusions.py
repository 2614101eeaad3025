"""Cells that are not tested, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping

SIGNED_IN = (
    "key_revoked",
    "key_expired",
    "key_narrowed",
    "sender_deactivated",
    "sender_demoted",
    "budget_spent",
)
METADATA = (
    "metadata_kinds",
    "metadata_empty",
    "metadata_text",
    "metadata_list",
    "metadata_too_big",
    "metadata_nested",
    "metadata_null",
    "metadata_line_break",
    "metadata_nul",
    "metadata_half_pair",
)
REPLAYED = {
    "a key that cannot be used is replaced": (
        "key_empty",
        "key_too_long",
        "key_line_break",
        "key_nul",
        "key_number",
    ),
    "a body that cannot be read is not kept": ("metadata_half_pair",),
    "what the credential refuses is not kept": (*SIGNED_IN, "key_of_customer"),
}
FILES = {
    "a line needs its time": (
        "without_time",
        "nulls",
        "repeated_without_time",
        "conflict_time",
    ),
    "a file with an unknown column is refused as a whole": ("extra_field",),
    "cells are texts, also where they are numbers": (
        "quantity_text",
        "user_text",
        "key_number",
    ),
    "an empty cell is a field that is not sent": ("key_empty",),
    "a file is UTF-8, which has no halves of pairs": ("metadata_half_pair",),
    "who is signed in needs no API key": SIGNED_IN,
}

EXCLUDED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "CloudEvents": {
        "an event always has an id, which is its key": ("without_key", "nulls"),
        "other attributes of an event are its extensions": ("extra_field",),
        "the subject of an event is a text, also where it is a number": ("user_text",),
        "all of data but the quantity is metadata: it is an object": (
            "metadata_text",
            "metadata_list",
        ),
    },
    "CSV import": FILES,
    "usage import": FILES,
    "form": {
        "fields are texts, also where they are numbers": (
            "quantity_text",
            "user_text",
            "key_number",
        ),
        "the form brings its own key": ("without_key", "nulls"),
        "the form has no such field": (
            "extra_field",
            "repeated_in_other_words",
            "conflict_metadata",
            *METADATA,
        ),
        "a local time without zone or fraction is how a time is typed": (
            "offset",
            "nanoseconds",
            "small_letters",
            "without_zone",
            "without_t",
        ),
        "only active customers and known events are offered": (
            "user_manager",
            "repeated_after_end",
            "conflict_unknown_event",
        ),
        "who is signed in needs no API key": SIGNED_IN,
    },
    "Python client": {
        "the client always sends an instant": ("repeated_without_time", "conflict_time"),
        "the client takes instants as Python has them": (
            "nanoseconds",
            "small_letters",
            "without_t",
            "no_such_day",
        ),
        "the client waits until its key is good": (*SIGNED_IN, "key_of_customer"),
    },
    "replay": REPLAYED,
    "replay page": {
        **REPLAYED,
        "fields are texts, also where they are numbers": ("quantity_text", "user_text"),
        "the form has no such field": ("extra_field",),
        "only active customers and known events are offered": (
            "user_manager",
            "repeated_after_end",
            "conflict_unknown_event",
        ),
    },
}
"""By way in and reason, the names of records that the way cannot carry."""
