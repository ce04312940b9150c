"""Regular expressions as the proxy has them: RE2 on bytes (Envoy, google_re2.cc: Latin-1), so that what is admitted is taken."""

from functools import cache, lru_cache

import re2


@cache
def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return options


def fault(pattern: str) -> str | None:
    """Why RE2 does not take the pattern, in its own words; None if it does."""
    try:
        re2.compile(pattern.encode(), _options())
    except re2.error as error:
        reason = error.args[0]
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> "re2._Regexp[bytes]":
    return re2.compile(pattern.encode(), _options())


def fits(pattern: str, text: str) -> bool:
    """Whether all of the text fits; the pattern must be one that RE2 takes."""
    return _compiled(pattern).fullmatch(text.encode(errors="surrogateescape")) is not None
