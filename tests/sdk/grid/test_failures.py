"""What goes wrong, in each cell: the provider refuses, breaks off, or the client leaves."""

import time

import pytest
from clients import Ask

streaming = pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])


@streaming
def test_unknown_model(row, column, stream):
    with pytest.raises(row.not_found if column.unknown_status == 404 else row.any_error) as error:
        row.ask(column, row.user("Hello"), model=column.unknown, stream=stream)
    status, word, _ = row.error_says(error.value)
    assert status == column.unknown_status
    if status == 404 and row.dialect not in column.native:
        assert word == row.unknown_word


@streaming
def test_too_many_requests(row, column, stream):
    with pytest.raises(row.rate_limited) as error:
        row.ask(column, row.user("Hello"), fault="status=429; retry-after=7", stream=stream)
    status, word, retry_after = row.error_says(error.value)
    assert (status, retry_after) == (429, "7")
    if row.dialect not in column.native:
        assert word == row.limited_word


@pytest.mark.parametrize("status", [400, 500, 503])
def test_other_errors(row, column, status):
    with pytest.raises(row.any_error) as error:
        row.ask(column, row.user("Hello"), fault=f"status={status}")
    status_seen = row.error_says(error.value)[0]
    # Anthropic has a status of its own for overload.
    assert status_seen == status or (status, status_seen, row.dialect) == (503, 529, "messages")


def test_error_within_a_stream(row, column):
    with pytest.raises(row.any_error):
        for _ in row.events(asked(row, column, "error-after=4"))[0]:
            pass


def test_a_stream_that_is_cut_is_no_clean_end(row, column):
    with pytest.raises(Exception):
        row.ask(column, row.user("Say: one two three four five six"), stream=True, fault="cut=4; event-delay=5ms")


def test_the_client_leaves(row, column, exchanges, simulator_requests):
    before = simulator_requests()["cancelled"]
    events, close, _ = row.events(asked(row, column, "events=200; event-delay=100ms"))
    next(iter(events))
    close()
    deadline = time.monotonic() + 10
    while not exchanges()[-1]["left"] or simulator_requests()["cancelled"] == before:
        assert time.monotonic() < deadline, "the provider did not see the client leave"
        time.sleep(0.05)


def asked(row, column, fault):
    return Ask(column, row.user("Say: one two three four five six"), stream=True, fault=fault)
