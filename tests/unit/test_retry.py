"""Backoff: when and how long to wait, by a clock that the test holds."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiforge import AuthenticationFailed, ConfigurationError, InvalidObject, Permanent, Transient, conceal
from tiforge.config.model import RetrySettings
from tiforge.engine.retry import Backoff, retrying


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def settings(**changes: Any) -> RetrySettings:
    return RetrySettings.model_validate(
        {"attempts": 100, "wait_initial": "1s", "wait_max": "60s", "give_up_after": "10d", **changes}
    )


def quiet(attempt: int, wait: float, reason: str) -> None:
    """Tell nobody."""


@given(
    st.integers(1, 60_000),
    st.integers(1, 600_000),
    st.integers(1, 99),
    st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1)),
)
def test_full_jitter_is_drawn_below_the_ceiling(initial: int, most: int, failures: int, drawn: float) -> None:
    """The n-th wait lies between 0 and the doubled ceiling, and takes in both ends; never above the maximum."""
    backoff = Backoff(settings(wait_initial=f"{initial}ms", wait_max=f"{most}ms"), quiet, clock=Clock())
    uniform = random.uniform
    waits = []
    try:
        random.uniform = lambda low, high: low + drawn * (high - low)
        waits = [backoff(Transient("x")) for _ in range(failures)]
    finally:
        random.uniform = uniform
    for number, wait in enumerate(waits):
        ceiling = min(initial / 1000 * 2**number, most / 1000)
        assert wait is not False
        assert wait == pytest.approx(drawn * ceiling)


def test_jitter_is_drawn_anew_each_time() -> None:
    """Many instances that fail together do not come back together."""
    waits = {Backoff(settings(wait_initial="60s"), quiet)(Transient("x")) for _ in range(20)}
    assert len(waits) == 20


@pytest.mark.parametrize("asked", [0, 0.25, 7, 60])
def test_a_time_that_the_api_names_is_obeyed_exactly(asked: float) -> None:
    """No jitter, no doubling: it said when."""
    told: list[tuple[int, float, str]] = []
    backoff = Backoff(settings(), lambda *seen: told.append(seen), clock=Clock())
    for _ in range(5):
        wait = backoff(Transient("busy", retry_after=asked))
        assert wait is not False
        assert wait == asked
    assert told == [(number, asked, "busy") for number in range(1, 6)]


def test_a_longer_time_than_is_waited_gives_up_at_once() -> None:
    """Nobody sits it out, and nobody is told of a wait that there is not."""
    told: list[tuple[int, float, str]] = []
    backoff = Backoff(settings(), lambda *seen: told.append(seen), clock=Clock())
    assert backoff(Transient("busy", retry_after=60.001)) is False
    assert told == []


@pytest.mark.parametrize(
    "error",
    [Permanent("x"), AuthenticationFailed("x"), ConfigurationError("x"), InvalidObject("x"), ValueError("x")],
)
def test_only_what_is_transient_is_repeated(error: Exception) -> None:
    """Whatever else is raised goes up at once."""
    assert Backoff(settings(), quiet)(error) is False


@pytest.mark.parametrize("attempts", [1, 2, 6])
def test_attempts_are_counted(attempts: int) -> None:
    """The call is made so often, the first one included."""
    backoff = Backoff(settings(attempts=attempts), quiet, clock=Clock())
    results = [backoff(Transient("x", retry_after=1)) for _ in range(attempts)]
    assert results == [1] * (attempts - 1) + [False]


def test_time_is_counted_with_the_wait_ahead() -> None:
    """A wait that would end too late is not begun."""
    clock = Clock()
    backoff = Backoff(settings(give_up_after="100s"), quiet, clock=clock)
    clock.now += 70
    assert backoff(Transient("x", retry_after=30)) == 30
    assert backoff(Transient("x", retry_after=30.5)) is False
    clock.now += 31
    assert backoff(Transient("x", retry_after=0)) is False


def test_progress_begins_the_limits_anew() -> None:
    """Attempts, time and the doubling start again after each page or part of a batch."""
    clock = Clock()
    backoff = Backoff(settings(attempts=3, give_up_after="100s", wait_initial="1s"), quiet, clock=clock)
    for _ in range(5):
        for _ in range(2):
            clock.now += 49
            wait = backoff(Transient("x"))
            assert wait is not False
            assert wait <= 2
        backoff.progressed()
    clock.now += 101
    assert backoff(Transient("x")) is False


def test_the_reason_is_redacted() -> None:
    """Whoever watches sees no secret."""
    conceal("marked-secret-in-a-reason")
    told: list[str] = []
    backoff = Backoff(settings(), lambda attempt, wait, reason: told.append(reason))
    backoff(Transient("refused marked-secret-in-a-reason"))
    assert told == ["refused **********"]


@pytest.mark.parametrize("asked", [0, 0.0, None])
def test_attempts_end_with_the_first_that_does_well(asked: float | None) -> None:
    """The work is done as often as it fails and once more; a wait of nothing is a wait all the same."""
    tries = 0

    async def go() -> None:
        nonlocal tries
        async for attempt in retrying(Backoff(settings(wait_initial="0s"), quiet)):
            with attempt:
                tries += 1
                if tries < 4:
                    raise Transient("x", retry_after=asked)

    asyncio.run(go())
    assert tries == 4


def test_the_last_error_goes_up_as_it_is() -> None:
    """The engine sees what the plugin raised, with the time that it asked for."""
    error = Transient("x", retry_after=3600)

    async def go() -> None:
        async for attempt in retrying(Backoff(settings(), quiet)):
            with attempt:
                raise error

    with pytest.raises(Transient) as caught:
        asyncio.run(go())
    assert caught.value is error
