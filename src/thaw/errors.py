"""One way to say that the input is wrong: what, where, how to mend it, in one line."""

import difflib
import sys
from collections.abc import Callable, Iterable


class InputError(Exception):
    """The user's input (params, files, arguments) cannot be used; the message is one line that says how to mend it."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of valid names when nothing is close."""
    names = [str(v) for v in valid]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(sorted(names))}"


def exit_with_one_line(main: Callable[..., None], *args: str) -> None:
    """Run an entry point; an `InputError` becomes one line on stderr and exit status 1, anything else stays a traceback."""
    try:
        main(*args)
    except InputError as error:
        print(f"thaw: {error}", file=sys.stderr)
        raise SystemExit(1) from None
