"""/auth/token: sign a program in with a password, keep it signed in, and sign it out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from flask import request
from pydantic import BaseModel, Field

from billtrack import access
from billtrack.accounts import access_tokens, tokens
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.schemas import Body, PlainText
from billtrack.db import transaction
from billtrack.http import client_address

REFRESH_EXAMPLE = "bt_refresh_kR0aXz5sVq7uJm2yTn4cWb9eGd1fHi3oLp6ASrDtEvFBhJ2xY9Q1"

Secret = Annotated[str, Field(min_length=1, max_length=256)]


class SignIn(Body):
    """Who signs in; the same tries count here and on the page."""

    email: Annotated[
        PlainText, Field(min_length=3, max_length=254, examples=["admin@billtrack.example"])
    ]
    password: Annotated[Secret, Field(examples=["correct horse battery staple"])]


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
@api.doc(responses={401: "They do not match an active account", 429: "Too many tries"})
def issue_token(json_data: SignIn) -> dict[str, Any]:
    """Sign in with e-mail and password. The access token may do what the account may."""
    pair = access.attempt_sign_in(json_data.email, partial(_try, json_data))
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


def _try(asked: SignIn, now: datetime) -> tokens.TokenPair:
    return tokens.sign_in(
        email=asked.email,
        password=asked.password,
        now=now,
        address=client_address(),
        user_agent=request.user_agent.string,
    )


def _tokens_json(pair: tokens.TokenPair) -> dict[str, Any]:
    return {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": int(access_tokens.LIFETIME.total_seconds()),
        "refresh_token": pair.refresh_token,
        "refresh_expires_at": pair.expires_at.isoformat(),
    }
