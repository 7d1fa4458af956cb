"""One way to say that the input is wrong: what, where, how to mend it, in one line."""

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path


class InputError(Exception):
    """The user's input (params, files, arguments) cannot be used; the message is one line that says how to mend it."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of valid names when nothing is close."""
    names = [str(v) for v in valid]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(sorted(names))}"


def exit_with_one_line(main: Callable[..., None], *args: str) -> None:
    """Run an entry point. What the user can mend becomes one line on stderr and exit status 1, anything else stays a traceback."""
    try:
        _check_arguments(main, args)
        main(*args)
    except InputError as error:
        print(f"thaw: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except FileNotFoundError as error:
        missing = error.filename or " ".join(str(error).split())  # some libraries name the file in the message alone
        print(f"thaw: missing: {missing}; `dvc repro` makes what the pipeline makes", file=sys.stderr)
        raise SystemExit(1) from None


def _check_arguments(main: Callable[..., None], args: tuple[str, ...]) -> None:
    try:
        inspect.signature(main).bind(*args)
    except TypeError:
        names = " ".join(name.upper() for name in inspect.signature(main).parameters)
        raise InputError(f"{Path(sys.argv[0]).stem}: takes {names or 'no arguments'}, got {' '.join(args) or 'nothing'}") from None
