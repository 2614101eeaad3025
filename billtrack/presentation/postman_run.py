"""Rules of a collection run: the objects it makes, the order that takes them back.

The OpenAPI document does not say which answer brings an id, or which request undoes another.
These tables do. Every variable of a run begins with "run" and is empty in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SET_UP = "create_user"
"""The operation that starts a run."""

EMAIL = "{{runId}}@kiln.example"
RUN_SECONDS = 3600
"""Lifetime of the API keys that a run makes."""

GIVES: Mapping[str, Mapping[str, str]] = {
    SET_UP: {"runUserId": "answer.id"},
    "show_me": {"runSourceId": "answer.id"},
    "create_api_key": {"runKeyId": "answer.id", "runKey": "answer.key"},
    "rotate_api_key": {"runSuccessorKeyId": "answer.id", "runKey": "answer.key"},
    "issue_token": {"runRefreshToken": "answer.refresh_token"},
    "refresh_token": {"runRefreshToken": "answer.refresh_token"},
    "record_usage": {"runRecordId": "answer.id"},
    "record_batch": {"runBatchRecordId": "answer.results?.[0]?.id"},
    "create_reports": {"runJobId": "answer.jobId"},
    "create_report": {"runReportJobId": "answer.jobId"},
    "list_rejected_records": {
        "runRejectedId": (
            "answer.data?.find((one) => "
            'one.item?.idempotency_key === run.get("runId") + "/rejected")?.id'
        ),
    },
    "replay_rejected_record": {"runReplayedRecordId": "answer.id"},
}
"""Variables that an answer fills, with the JavaScript that reads each."""

TAKES_BACK: Mapping[str, tuple[str, ...]] = {
    "show_user": ("runUserId",),
    "revoke_token": ("runRefreshToken",),
    "revoke_api_key": ("runKeyId", "runSuccessorKeyId"),
    "reverse_record": ("runRecordId", "runBatchRecordId", "runReplayedRecordId"),
    "deactivate_user": ("runUserId",),
    "erase_user": ("runUserId",),
}
"""Operations that clean up, in their order, with the variables of what each takes back.

The first one makes sure that the account is still the one of the run.
"""

FORGETS = {
    "show_user": (
        "[200, 404].includes(pm.response.code) && "
        f'answer.email !== pm.variables.replaceIn("{EMAIL}")'
    ),
    "erase_user": "pm.response.code === 200",
}
"""Conditions on which the run is over, and all of its variables become empty."""

NEEDS = {
    "list_rejected_records": "runBatchRecordId",
    "list_source_hours": "runRejectedId",
    "show_source": "runRejectedId",
}
"""Variables that a request needs without naming them: they tell that its object is stored."""

VARIABLES = {"show_report_status": {"job_id": "runReportJobId"}}
"""Path parameters that do not take the variable of their name."""

STATUSES = {"retry_job": (409,), "invite_user": (409,)}
"""Refusals that are right: the job has not failed, and the account has a password."""

READY: Mapping[str, str] = {
    "list_rejected_records": 'run.get("runRejectedId") !== ""',
    "show_job": 'answer.status === "completed"',
    "show_report_status": 'answer.status === "completed"',
}
"""Conditions that take a moment to come true; the request is repeated until then."""

BY_THE_ACCOUNT = {
    "list_api_keys": "api-keys:read",
    "list_jobs": "jobs:read",
    "list_usage": "usage:read",
    "list_users": "users:read",
    "summarize_usage": "usage:read",
}
"""Lists that are read with the key of the run's account, which sees only its own; their scopes."""

QUERIES: Mapping[str, Mapping[str, str]] = {
    "list_audit_entries": {"object_type": "user", "object_id": "{{runUserId}}"},
    "list_rejected_records": {"source_id": "{{runSourceId}}", "code": "unknown_event"},
    "list_sources": {"limit": "1"},
}
"""Filters that are switched on."""

_RECORD = {"user_id": "{{runUserId}}", "event": "api_calls", "quantity": 500000}
FIELDS: Mapping[str, Any] = {
    "email": EMAIL,
    "idempotency_key": "{{runId}}",
    "refresh_token": "{{runRefreshToken}}",
    "user_id": "{{runUserId}}",
}
"""Values of fields, whichever body they are in."""

BODIES: Mapping[str, Mapping[str, Any]] = {
    SET_UP: {"email": EMAIL, "name": "Kiln Ceramics", "password": "{{runPassword}}"},
    "issue_token": {"email": EMAIL, "password": "{{runPassword}}"},
    "create_api_key": {
        "name": "Gateway in Oslo",
        "user_id": "{{runUserId}}",
        "scopes": sorted(set(BY_THE_ACCOUNT.values())),
        "expires_at": "{{runUntil}}",
    },
    "record_batch": {
        "records": [
            {**_RECORD, "idempotency_key": "{{runId}}/batch"},
            # This one is rejected, for its event, and replayed later.
            {**_RECORD, "event": "api_call", "idempotency_key": "{{runId}}/rejected"},
        ]
    },
    "create_reports": {"user_ids": ["{{runUserId}}"], "format": "pdf"},
    "create_report": {"format": "pdf"},
}
"""Bodies that differ from the example of the document."""

START = {
    "runAt": 'pm.variables.get("baseUrl")',
    "runId": 'pm.variables.replaceIn("{{$guid}}")',
    "runPassword": 'pm.variables.replaceIn("{{$guid}}")',
    "runUntil": f"new Date(Date.now() + {RUN_SECONDS * 1000}).toISOString()",
}
"""Variables that a new run begins with. Ids mean nothing at another address than `runAt`."""

TRIES = "runTries"
RUN_VARIABLES = tuple(
    dict.fromkeys([*START, *(name for given in GIVES.values() for name in given), TRIES])
)
