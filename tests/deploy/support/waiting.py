"""Waiting for what comes by itself."""

import time


def eventually(what, condition, within=60):
    """The first true value of condition(), which is asked again and again. Its time is generous: CI has little CPU."""
    until = time.monotonic() + within
    while True:
        last = condition()
        if last:
            return last
        if time.monotonic() > until:
            raise AssertionError(f"not within {within} s: {what}; last: {last!r}")
        time.sleep(0.1)
