"""/auth/token: sign a program in with a password, keep it signed in, and sign it out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from flask import request
from pydantic import BaseModel, Field

from billtrack.accounts import access, login_attempts
from billtrack.accounts.credentials import access_tokens, tokens
from billtrack.accounts.sign_in.password_changes import VerifiedPassword
from billtrack.accounts.sign_in.second_factor import Proof, WrongCode
from billtrack.accounts.sign_in.sign_in import CodeDue, prove_code, prove_password
from billtrack.accounts.users.models import User
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.schemas import Body
from billtrack.core.errors import UnauthenticatedError
from billtrack.platform.db import transaction
from billtrack.platform.http import client_address
from billtrack.usage.ingest.fields import PlainText

REFRESH_EXAMPLE = "bt_refresh_kR0aXz5sVq7uJm2yTn4cWb9eGd1fHi3oLp6ASrDtEvFBhJ2xY9Q1"

Secret = Annotated[str, Field(min_length=1, max_length=256)]


class OtpRequired(UnauthenticatedError):
    """The password is right, and the account takes a code besides."""

    code = "otp_required"


class OtpRefused(UnauthenticatedError):
    """The code is wrong or was used before."""

    code = "otp_refused"


class SignIn(Body):
    """Who signs in; the same tries count here and on the page."""

    email: Annotated[
        PlainText, Field(min_length=3, max_length=254, examples=["admin@billtrack.example"])
    ]
    password: Annotated[Secret, Field(examples=["correct horse battery staple"])]
    otp: Annotated[
        PlainText | None,
        Field(
            max_length=40,
            examples=["123456"],
            description="Where the account has a second factor: its code, or a recovery code",
        ),
    ] = None


class RefreshTokenIn(Body):
    """The newest refresh token that the program has."""

    refresh_token: Annotated[Secret, Field(examples=[REFRESH_EXAMPLE])]


class TokensOut(BaseModel):
    """Tokens of a program: `access_token` for its calls, `refresh_token` for the next pair.

    `expires_in`: seconds until the access token ends; after `refresh_expires_at` nothing but
    signing in again helps.
    """

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str
    refresh_expires_at: datetime


class RevokedOut(BaseModel):
    """The refresh token is worthless now, whatever it was before."""

    status: Literal["revoked"]


@api.post("/auth/token")
@access.public
@api.input(SignIn)
@api.output(TokensOut)
@api.doc(
    responses={
        401: "They do not match an active account, or a code is missing (`otp_required`) or wrong",
        429: "Too many tries",
    }
)
def issue_token(json_data: SignIn) -> dict[str, Any]:
    """Sign in with e-mail and password. The access token may do what the account may.

    An account with a second factor takes its code, too: `otp`.
    """
    found = login_attempts.attempt_sign_in(json_data.email, json_data.password, _try)
    pair = _with_code(found, json_data.otp) if isinstance(found, CodeDue) else found
    return _tokens_json(pair)


@api.post("/auth/token/refresh")
@access.public
@api.input(RefreshTokenIn)
@api.output(TokensOut)
@api.doc(responses={401: "The token is unknown, used, expired or revoked", 429: "Too many calls"})
def refresh_token(json_data: RefreshTokenIn) -> dict[str, Any]:
    """Get the next tokens. A refresh token works once; used again, it ends all that came of it."""
    with transaction():
        pair = tokens.renew(json_data.refresh_token, actor=access.actor(), now=datetime.now(UTC))
    if pair is None:
        raise tokens.TokenRefused("This refresh token does not work any more. Sign in again.")
    return _tokens_json(pair)


@api.post("/auth/token/revoke")
@access.public
@api.input(RefreshTokenIn)
@api.output(RevokedOut)
@api.doc(responses={429: "Too many calls"})
def revoke_token(json_data: RefreshTokenIn) -> dict[str, Any]:
    """Sign out: the refresh token and all access tokens that came of it end at once."""
    with transaction():
        tokens.revoke(json_data.refresh_token, actor=access.actor(), now=datetime.now(UTC))
    return {"status": "revoked"}


def _try(verified: VerifiedPassword, now: datetime) -> tokens.TokenPair | CodeDue:
    found = prove_password(verified, now=now)
    return found if isinstance(found, CodeDue) else _start(found, None, now)


def _with_code(due: CodeDue, otp: str | None) -> tokens.TokenPair:
    if otp is None:
        raise OtpRequired("This account has a second factor: send a code of it as otp, too.")
    try:
        return login_attempts.attempt_code(due.user, partial(_try_code, due.token, otp), tries=2)
    except WrongCode as error:
        raise OtpRefused(error.detail) from error


def _try_code(half: str, otp: str, now: datetime) -> tokens.TokenPair:
    user, proof = prove_code(half, code=otp, actor=access.actor(), now=now)
    return _start(user, proof, now)


def _start(user: User, proof: Proof | None, now: datetime) -> tokens.TokenPair:
    return tokens.start_family(
        user,
        now=now,
        address=client_address(),
        user_agent=request.user_agent.string,
        second_factor=proof,
    )


def _tokens_json(pair: tokens.TokenPair) -> dict[str, Any]:
    return {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": int(access_tokens.LIFETIME.total_seconds()),
        "refresh_token": pair.refresh_token,
        "refresh_expires_at": pair.expires_at.isoformat(),
    }
