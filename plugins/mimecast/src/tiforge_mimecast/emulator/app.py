"""The emulator's endpoints."""

from __future__ import annotations

import asyncio
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tiforge_mimecast.emulator import credentials
from tiforge_mimecast.emulator.access import Bindings, Denied, Tokens
from tiforge_mimecast.emulator.faults import Fault
from tiforge_mimecast.emulator.files import csv_file, stix_file, zip_bomb, zipped
from tiforge_mimecast.emulator.rows import Rows

_PATH: Final = "/api/ttp/threat-intel/get-feed"
_NEXT_TOKEN: Final = "x-mc-threat-feed-next-token"  # noqa: S105 - the name of a header
_FEEDS: Final = ("malware_grid", "malware_customer")
_KEPT_FILES: Final = 32
_NO_RESULT: Final = ("err_threat_intel_feed_no_result_found", "No results found for threat intel feed.")
_NO_ARCHIVE: Final = ("err_threat_intel_feed_compress", "Unable to compress feeds.")


class Ending(Enum):
    """How the feed says that a page is the last; clients of the real one have seen all three."""

    ABSENT = "the last page has no token"
    REPEATED = "the last page repeats the token that was sent"
    NO_RESULT = "the page after the last is the no-result failure"


class _CutShort(Response):
    """Announces more than it sends, and closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(
            {"type": "http.response.body", "body": bytes(self.body)[: len(self.body) // 2], "more_body": True}
        )


class Emulator:
    """A local Mimecast.

    Args:
        rows: The content of the feeds: the same for both, or by name.
        page_size: Rows an answer.
        ending: How the last page is told.
        members: Over how many zip members the rows of one answer are spread.
        quota: Requests a minute for the feed; `None` for no limit.
        token_lifetime: Seconds that an access token is good for.
        path: The feed's path.
        now: The clock.
    """

    def __init__(
        self,
        rows: Rows | Mapping[str, Rows],
        *,
        page_size: int = 5000,
        ending: Ending = Ending.ABSENT,
        members: int = 1,
        quota: int | None = None,
        token_lifetime: int = 1799,
        path: str = _PATH,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.rows: Mapping[str, Rows] = rows if isinstance(rows, Mapping) else dict.fromkeys(_FEEDS, rows)
        self.page_size = page_size
        self.ending = ending
        self.members = members
        self.quota = quota
        self.stuck = False
        """Whether every answer names the same token, and is never the last."""
        self.slow_for = 30.0
        """Seconds that a slow answer takes, unless the client hangs up before."""
        self.requests = 0
        """Feed requests, whatever their answer."""
        self.token_requests = 0
        self.logins = 0
        self.asked: deque[dict[str, Any]] = deque(maxlen=1000)
        """What the last feed requests asked for."""
        self.now = now or (lambda: datetime.now(UTC))
        self.tokens = Tokens(token_lifetime, self.now)
        self.bindings = Bindings(self.now)
        self._faults: deque[Fault] = deque()
        self._files: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._generation = 0
        self._quota_used: deque[datetime] = deque()
        self.app = Starlette(
            routes=[
                Route("/oauth/token", self._token, methods=["POST"]),
                Route("/api/login/login", self._login, methods=["POST"]),
                Route(path, self._feed, methods=["POST"]),
            ],
            exception_handlers={Denied: _denied},
        )
        # A body that is cut short on purpose is no news.
        logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())

    def inject(self, *faults: Fault) -> None:
        """Let the next feed requests go wrong, one fault each, in this order."""
        self._faults.extend(faults)

    def clear_faults(self) -> None:
        """Let everything go right again."""
        self._faults.clear()

    @property
    def faults_left(self) -> int:
        """How many of the injected faults have not happened yet."""
        return len(self._faults)

    def forget_page_tokens(self) -> None:
        """Refuse every page token that was handed out so far."""
        self._generation += 1

    async def _token(self, request: Request) -> Response:
        self.token_requests += 1
        if request.headers.get("content-type", "").split(";")[0] != "application/x-www-form-urlencoded":
            raise Denied(415, "unsupported_media_type", "A form is expected.")
        form = dict(_form(await request.body()))
        if form.get("grant_type") != "client_credentials":
            raise Denied(400, "unsupported_grant_type", "grant_type must be client_credentials.")
        if (form.get("client_id"), form.get("client_secret")) != (
            credentials.CLIENT_ID,
            credentials.CLIENT_SECRET,
        ):
            return _fail_2_0(401, "invalid_client", "Invalid client id or secret.")
        token = self.tokens.issue()
        return _json(
            200, {"access_token": token, "token_type": "Bearer", "expires_in": self.tokens.lifetime, "scope": ""}
        )

    async def _login(self, request: Request) -> Response:
        self.logins += 1
        asked = _question(await request.body())
        access, secret = self.bindings.login(request.headers, asked.get("userName"), asked.get("accessKey"))
        entry = {"accessKey": access, "secretKey": secret, "duration": 31536000, "bindingType": "one_step"}
        return _json(200, {"meta": {"status": 200}, "data": [entry], "fail": []})

    async def _feed(self, request: Request) -> Response:
        self.requests += 1
        body = await request.body()
        fault = self._next_fault(request)
        if fault is Fault.EXPIRED_TOKEN:
            self.tokens.revoke_all()
        if fault is Fault.KEY_EXPIRED:
            self.bindings.expire_all()
        if response := await self._instead(fault, request):
            return response
        authorization = request.headers.get("authorization", "")
        if authorization.startswith("Bearer "):
            try:
                self.tokens.check(authorization)
            except Denied as denied:
                return _fail_2_0(denied.status, denied.code, str(denied))
        else:
            self.bindings.check(request.headers, request.url.path)
        if limited := self._limited():
            return limited
        asked = _question(body)
        self.asked.append(asked)
        return self._page(asked, fault)

    def _next_fault(self, request: Request) -> Fault:
        if not self._faults:
            return Fault.NONE
        if self._faults[0] is Fault.EXPIRED_TOKEN and not self.tokens.was_used(
            request.headers.get("authorization", "")
        ):
            return Fault.NONE  # a token that was never good cannot end early
        return self._faults.popleft()

    async def _instead(self, fault: Fault, request: Request) -> Response | None:
        match fault:
            case Fault.RATE_LIMITED:
                return _rate_limited(limit=100, reset=timedelta(milliseconds=250))
            case Fault.RATE_LIMITED_BARE:
                return _fail_2_0(429, "too_many_requests", "Rate limit exceeded.")
            case Fault.SERVER_ERROR:
                return _fail(500, "err_internal", "Internal server error.")
            case Fault.FORBIDDEN:
                return _fail(403, "err_forbidden", "The user lacks a permission.")
            case Fault.FAIL_IN_200:
                return _fail(200, "err_threat_intel_feed_failed", "The feed cannot be made.", meta=200)
            case Fault.HTML:
                return HTMLResponse("<!DOCTYPE html><html><body><h1>We'll be back soon</h1></body></html>")
            case Fault.BARE_JSON:
                return _json(200, {"meta": {"status": 200}, "data": []})
            case Fault.SLOW:
                await self._hang(request)
                return _fail(503, "err_unavailable", "Too slow.")
            case Fault.ZIP_BOMB:
                return Response(zip_bomb(), media_type="application/octet-stream")
            case _:
                return None

    async def _hang(self, request: Request) -> None:
        async def hung_up() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                continue

        try:
            await asyncio.wait_for(hung_up(), self.slow_for)
        except TimeoutError:
            return

    def _limited(self) -> Response | None:
        if self.quota is None:
            return None
        now, minute = self.now(), timedelta(minutes=1)
        while self._quota_used and now - self._quota_used[0] >= minute:
            self._quota_used.popleft()
        if len(self._quota_used) < self.quota:
            self._quota_used.append(now)
            return None
        return _rate_limited(limit=self.quota, reset=minute - (now - self._quota_used[0]))

    def _page(self, asked: dict[str, Any], fault: Fault) -> Response:
        feed, form, compress = asked.get("feedType"), asked.get("fileType", "csv"), asked.get("compress", False)
        if (
            not isinstance(feed, str)
            or feed not in self.rows
            or form not in ("csv", "stix")
            or not isinstance(compress, bool)
        ):
            raise Denied(400, "err_validation", "feedType, fileType or compress is invalid.")
        rows, token = self.rows[feed], asked.get("token")
        if token is None:
            first, last = rows.between(_moment(asked.get("start"), self.now() - timedelta(days=7)),
                                       _moment(asked.get("end"), self.now()))  # fmt: skip
        else:
            first, last = self._read_token(token, feed)
        stop = min(first + self.page_size, last)
        if first >= stop and not (token is not None and self.ending is Ending.REPEATED):
            return _no_result(compress)
        headers = {}
        if next_token := self._next_token(token, feed, stop, last):
            headers[_NEXT_TOKEN] = next_token
        return self._file(rows, feed, form, compress, (first, stop), headers, fault)

    def _next_token(self, sent: str | None, feed: str, stop: int, last: int) -> str | None:
        if self.stuck:
            return self._make_token(feed, 0, last)
        if stop < last or self.ending is Ending.NO_RESULT:
            return self._make_token(feed, stop, last)
        if self.ending is Ending.REPEATED:
            return sent or self._make_token(feed, stop, last)
        return None

    def _file(
        self,
        rows: Rows,
        feed: str,
        form: str,
        compress: bool,
        span: tuple[int, int],
        headers: dict[str, str],
        fault: Fault,
    ) -> Response:
        key = (feed, form, compress, span, self.members)
        name = f"{feed}_{form}_{20260101000000000 + span[0]}"
        if fault is Fault.EVIL_MEMBER:
            body = zipped([("../../x", self._write(rows, form, span))])
        elif key in self._files:
            body = self._files[key]
            self._files.move_to_end(key)
        else:
            ending = "csv" if form == "csv" else "stix"
            if compress:
                parts = enumerate(_split(*span, self.members))
                body = zipped(
                    [(f"{name}_{part}.{ending}", self._write(rows, form, piece)) for part, piece in parts]
                )
            else:
                body = self._write(rows, form, span)
            self._files[key] = body
            if len(self._files) > _KEPT_FILES:
                self._files.popitem(last=False)
        headers["Content-Disposition"] = f'attachment; filename="{name}.{"zip" if compress else form}"'
        if fault is Fault.CUT_CSV:
            body = body[: len(body) // 2]
        kind = _CutShort if fault is Fault.CUT_SHORT else Response
        return kind(body, headers=headers, media_type="application/octet-stream")

    def _write(self, rows: Rows, form: str, span: tuple[int, int]) -> bytes:
        return csv_file(rows, *span) if form == "csv" else stix_file(rows, *span)

    def _make_token(self, feed: str, first: int, last: int) -> str:
        said = f"{self._generation}:{feed}:{first}:{last}"
        return urlsafe_b64encode(f"{said}:{_seal(said)}".encode()).decode()

    def _read_token(self, token: object, feed: str) -> tuple[int, int]:
        try:
            generation, of, first, last, seal = urlsafe_b64decode(str(token)).decode().split(":")
        except ValueError:
            generation = of = first = last = seal = ""
        said = f"{generation}:{of}:{first}:{last}"
        if seal != _seal(said) or of != feed or generation != str(self._generation):
            raise Denied(400, "err_threat_intel_feed_invalid_token", "The token is invalid or has expired.")
        return int(first), int(last)


def create_app(rows: Rows | Mapping[str, Rows], **options: Any) -> Starlette:
    """Return an emulator's application; `options` are those of `Emulator`."""
    return Emulator(rows, **options).app


def _seal(text: str) -> str:
    return blake2b(text.encode(), digest_size=6, key=b"emulator").hexdigest()


def _split(first: int, last: int, parts: int) -> list[tuple[int, int]]:
    bounds = [first + (last - first) * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))


def _question(body: bytes) -> dict[str, Any]:
    try:
        asked = orjson.loads(body)["data"][0]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        raise Denied(400, "err_malformed_request", "The body is not JSON with a list `data`.") from None
    if not isinstance(asked, dict):
        raise Denied(400, "err_malformed_request", "`data` holds no object.")
    return asked


def _moment(text: object, otherwise: datetime) -> datetime:
    if text is None:
        return otherwise
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise Denied(400, "err_validation", "start or end is no timestamp.") from None
    if moment.tzinfo is None:
        raise Denied(400, "err_validation", "start or end has no offset.")
    return moment


def _form(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("utf-8", "replace"))


def _json(status: int, data: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(data), status, headers, "application/json")


def _fail(status: int, *errors: str, meta: int | None = None) -> Response:
    pairs = zip(errors[::2], errors[1::2], strict=True)
    listed = [{"code": code, "message": message, "retryable": False} for code, message in pairs]
    fail = [{"key": {}, "errors": listed}]
    return _json(status, {"meta": {"status": meta or status}, "data": [], "fail": fail})


def _fail_2_0(status: int, code: str, message: str) -> Response:
    return _json(status, {"fail": [{"code": code, "message": message}]})


def _no_result(compress: bool) -> Response:
    return _fail(200, *_NO_RESULT, *(_NO_ARCHIVE if compress else ()))


def _rate_limited(*, limit: int, reset: timedelta) -> Response:
    headers = {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(reset // timedelta(milliseconds=1)),
    }
    fail = {"fail": [{"code": "too_many_requests", "message": "Rate limit exceeded."}]}
    return _json(429, fail, headers)


async def _denied(request: Request, denied: Exception) -> Response:
    if not isinstance(denied, Denied):
        raise denied
    return _fail(denied.status, denied.code, str(denied))
