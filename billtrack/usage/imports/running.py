"""Run imports as jobs: block by block, each noted, so that a dead worker's successor goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import insert, select

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Permission, Role, granted
from billtrack.core.errors import BilltrackError, ConflictError, ForbiddenError
from billtrack.platform.db import after_commit, end_read, transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.operations import report_progress
from billtrack.platform.jobs.runner import Run
from billtrack.platform.storage.storage import DocumentGone, Storage
from billtrack.usage.imports.models import RefusedLine, UsageImport
from billtrack.usage.imports.operations import remove_file
from billtrack.usage.imports.taking import Block, Refusal, UsageFile
from billtrack.usage.ingest.intake import preview, submit
from billtrack.usage.records.outcomes import Outcome, Status
from billtrack.usage.records.queries import records_by_id
from billtrack.usage.records.submissions import Sent, terms_of

MAX_KEPT = 100_000
"""Refused lines that are kept of one import; more are only counted."""


class ImportSuperseded(ConflictError):
    """Another worker has taken up the import meanwhile."""

    code = "import_superseded"


class ImportCancelled(BilltrackError):
    """Somebody asked to stop."""

    code = "import_cancelled"


class ImportForbidden(ForbiddenError):
    """The account may not record usage any more."""

    code = "import_forbidden"


class UsageImporter:
    """Takes in what was asked for; a worker that dies is followed by one that goes on."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def run(self, run: Run) -> Callable[[], None]:
        """Take the file of the job in.

        Raises UnreadableFile, DocumentGone, ImportCancelled, ImportForbidden and ImportSuperseded.
        """
        wanted = db.session.scalars(
            select(UsageImport).where(UsageImport.job_id == run.job_id)
        ).one()
        path, door, notes = wanted.path, _Door(wanted, run), _Notes(wanted, run)
        if path is None:
            raise DocumentGone("This file is not kept any more. Send it again.")
        end_read()
        with closing(self._storage.open(path)) as file:
            source = UsageFile(file)
            for block in source.take_in(door):
                notes.add(block, source.columns, position=file.tell())
                door.is_resuming = door.is_resuming and not notes.is_new
        return partial(self._finish, path, is_dry_run=door.is_dry_run)

    def _finish(self, path: str, *, is_dry_run: bool) -> None:
        if not is_dry_run:  # what was checked can be imported from the page
            after_commit(partial(self._remove, path))

    def _remove(self, path: str) -> None:
        remove_file(self._storage, path)


class _Door:
    """Hands records in for the account that sent the file, while it may and nobody says stop."""

    def __init__(self, wanted: UsageImport, run: Run) -> None:
        self._import_id = wanted.id
        self._terms = terms_of(wanted.recorded_by_id, wanted.created_at)
        self.is_dry_run = wanted.is_dry_run
        self.is_resuming = run.attempt > 1

    def __call__(self, items: Sequence[Sent]) -> Sequence[Outcome]:
        self._require_welcome()
        if self.is_dry_run:
            return preview(items, terms=self._terms)
        outcomes = submit(items, terms=self._terms)
        return self._claimed(outcomes) if self.is_resuming else outcomes

    def _require_welcome(self) -> None:
        cancelled_at, role, deactivated_at = db.session.execute(
            select(UsageImport.cancelled_at, User.role, User.deactivated_at)
            .join(User, User.id == UsageImport.recorded_by_id)
            .where(UsageImport.id == self._import_id)
        ).one()
        end_read()
        if cancelled_at is not None:
            raise ImportCancelled("Cancelled. What was added before stays.")
        if deactivated_at is not None or granted(Role(role), Permission.USAGE_RECORD) is None:
            raise ImportForbidden("The account that sent the file may not record usage any more.")

    def _claimed(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Call accepted what the worker before stored of this import and died before noting it."""
        ids = [
            one.record_id for one in outcomes if one.status is Status.DUPLICATE and one.record_id
        ]
        found = records_by_id(ids)
        own = {id_ for id_, record in found.items() if record.created_at == self._terms.now}
        claimed = []
        for one in outcomes:
            is_own = one.status is Status.DUPLICATE and one.record_id in own
            own.discard(one.record_id or 0)  # a second line of the same key is known
            claimed.append(replace(one, status=Status.ACCEPTED) if is_own else one)
        end_read()
        return claimed


class _Notes:
    """Adds up what became of the blocks; those that an earlier attempt noted are passed over."""

    def __init__(self, wanted: UsageImport, run: Run) -> None:
        self._run = run
        self._import_id, self._size = wanted.id, wanted.size
        self._done, self._room = wanted.lines, MAX_KEPT - wanted.refused
        self._seen = 0
        self.is_new = False

    def add(self, block: Block, columns: Sequence[str], *, position: int) -> None:
        """Note a block and how far the file is read; raises ImportSuperseded."""
        self._seen += block.lines
        self.is_new = self._seen > self._done
        if self.is_new:
            percent = min(99, 100 * position // self._size)
            self._store(block, columns, percent)
            self._room -= len(block.refusals)

    def _store(self, block: Block, columns: Sequence[str], percent: int) -> None:
        run, import_id = self._run, self._import_id
        with transaction():
            held = select(Job.id).where(
                Job.id == run.job_id, Job.status == "running", Job.attempt == run.attempt
            )
            if db.session.scalar(held.with_for_update()) is None:
                raise ImportSuperseded("Another worker goes on with this import.")
            wanted = db.session.get_one(UsageImport, import_id)
            wanted.columns = list(columns)
            wanted.accepted += block.counts["accepted"]
            wanted.duplicate += block.counts["duplicate"]
            wanted.conflict += block.counts["conflict"]
            wanted.rejected += block.counts["rejected"]
            if kept := block.refusals[: max(0, self._room)]:
                db.session.execute(insert(RefusedLine), [_row(import_id, one) for one in kept])
            report_progress(run.job_id, run.attempt, percent)


def _row(import_id: int, refusal: Refusal) -> dict[str, Any]:
    return {
        "import_id": import_id,
        "number": refusal.number,
        "cells": list(refusal.cells),
        "code": refusal.code,
        "reason": refusal.reason,
    }
