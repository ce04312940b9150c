"""What a request must look like: plan matches as Envoy route matches and header changes as Envoy has them."""

from flota.envoy.retries import Variant
from flota.envoy.values import Fields
from flota.plan import HeaderChanges, Match, PathMatch, ValueMatch

MILLION = 1_000_000
EMPTY = "(?:)"
"""Envoy takes no empty expression; this one fits the same."""


def route_match(match: Match, variant: Variant, start: int = 0, stop: int = MILLION) -> Fields:
    """envoy.config.route.v3.RouteMatch of one variant of a rule, for requests of which Envoy drew a number below `stop` of a million;
    those below `start` were taken before."""
    fields = path_match(match.path)
    headers = [{"name": header.name, **_string_match(header)} for header in match.headers]
    if match.method is not None:
        headers.append({"name": ":method", "string_match": {"exact": match.method}})
    elif variant.methods is not None:
        headers.append({"name": ":method", "string_match": {"safe_regex": {"regex": variant.methods}}})
    if headers:
        fields["headers"] = headers
    if match.query:
        fields["query_parameters"] = [{"name": param.name, **_string_match(param)} for param in match.query]
    if match.grpc:
        fields["grpc"] = {}
    if variant.percent is not None:
        stop = start + (stop - start) * variant.percent // 100
    if stop < MILLION:
        fields["runtime_fraction"] = share(stop, MILLION)
    return fields


def path_match(path: PathMatch) -> Fields:
    """The path part. A prefix matches whole elements, and a trailing slash of it says nothing (HTTPPathMatch PathPrefix)."""
    if path.kind == "Exact":
        return {"path": path.value}
    if path.kind == "Regex":
        return {"safe_regex": {"regex": path.value or EMPTY}}
    prefix = path.value.rstrip("/")
    return {"path_separated_prefix": prefix} if prefix else {"prefix": "/"}


def _string_match(match: ValueMatch) -> Fields:
    if match.kind == "Regex":
        return {"string_match": {"safe_regex": {"regex": match.value or EMPTY}}}
    return {"string_match": {"exact": match.value}}


def header_changes(request: HeaderChanges | None = None, response: HeaderChanges | None = None) -> Fields:
    """`request_headers_to_add`, `…_remove` and the same for responses, as routes and weighted clusters have them.

    Envoy removes first and adds then. It refuses changes of the Host header here: `host_header` gives what was asked for.
    """
    fields: Fields = {}
    for side, changes in (("request", request), ("response", response)):
        if changes is None:
            continue
        added = [_header(name, value, "OVERWRITE_IF_EXISTS_OR_ADD") for name, value in changes.set if _allowed(name)]
        added += [_header(name, value, "APPEND_IF_EXISTS_OR_ADD") for name, value in changes.add if _allowed(name)]
        removed = [name for name in changes.remove if _allowed(name)]
        if added:
            fields[f"{side}_headers_to_add"] = added
        if removed:
            fields[f"{side}_headers_to_remove"] = removed
    return fields


def one_after_other(first: HeaderChanges | None, second: HeaderChanges | None) -> HeaderChanges | None:
    """Both changes as one."""
    if first is None or second is None:
        return first or second
    undone = {name.lower() for name in (*second.remove, *(name for name, _ in second.set))}
    return HeaderChanges(
        set=tuple(pair for pair in first.set if pair[0].lower() not in undone) + second.set,
        add=tuple(pair for pair in first.add if pair[0].lower() not in undone) + second.add,
        remove=first.remove + second.remove,
    )


def host_header(changes: HeaderChanges | None) -> str | None:
    """The Host that a header filter sets, None where it doesn't."""
    if changes is None:
        return None
    return next((value for name, value in changes.set if name.lower() == "host"), None)


def _allowed(name: str) -> bool:
    return name.lower() != "host" and not name.startswith(":")


def _header(name: str, value: str, action: str) -> Fields:
    # "%" starts a command in Envoy's values.
    return {"header": {"key": name, "value": value.replace("%", "%%")}, "append_action": action, "keep_empty_value": True}


def share(numerator: int, denominator: int) -> Fields:
    """RuntimeFractionalPercent of numerator/denominator, in millionths."""
    millionths = min(1_000_000, numerator * 1_000_000 // max(1, denominator))
    return {"default_value": {"numerator": millionths, "denominator": "MILLION"}}
