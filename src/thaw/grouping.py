"""Groups from paths: what a regular expression finds in each."""

import re

from thaw.errors import InputError


def group_pattern(pattern: str, where: str) -> re.Pattern[str]:
    """The pattern, compiled. Raises `InputError` unless it has a part ``(?P<group>...)``; ``where`` names the dial."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"{where} {pattern!r} is not a regular expression: {error}") from None
    if "group" not in compiled.groupindex:
        raise InputError(f"{where} {pattern!r} names no group; mark it so: '(?P<group>patient[0-9]+)'")
    return compiled


def group_names(paths: list[str], pattern: str, where: str) -> list[str]:
    """What ``(?P<group>...)`` matches in each path. Raises `InputError` where it matches nothing."""
    compiled = group_pattern(pattern, where)
    found = [compiled.search(path) for path in paths]
    missed = [path for path, match in zip(paths, found, strict=True) if match is None or not match["group"]]
    if missed:
        raise InputError(f"{where} {pattern!r} matches {len(paths) - len(missed)} of {len(paths)} paths, not {missed[0]!r}")
    return [match["group"] for match in found if match is not None]
