"""Waiting for a state, with a limit."""

import time

POLL_S = 0.1


def eventually(look, *, limit_s: float, what: str):
    """Calls `look` until it gives something true, and gives that. Fails when it has not within the limit.

    An AssertionError inside `look` means "not yet"; the last one is shown when time is up.
    """
    deadline = time.monotonic() + limit_s
    while True:
        last, why = None, ""
        try:
            last = look()
        except AssertionError as error:
            why = f": {error}"
        if last:
            return last
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s} s for {what}{why}")
        time.sleep(POLL_S)
