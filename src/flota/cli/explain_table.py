"""`flota explain` for people: the decision first, then the reasons."""

from collections.abc import Iterable, Iterator

from flota.cli.output import paint, table
from flota.cli.status_table import place, problem_lines
from flota.report.explain_object import ObjectExplanation, ObjectRow
from flota.report.explain_request import RequestExplanation
from flota.report.services import EndpointRow
from flota.report.tiers import TierRow


def object_text(explained: ObjectExplanation, wide: bool) -> str:
    """One block for each cluster that has the object."""
    return "\n\n".join("\n".join(_object(each, wide)) for each in explained.objects)


def request_text(explained: RequestExplanation, wide: bool) -> str:
    """What the proxy does with the request, and why."""
    return "\n".join(_request(explained, wide))


def _request(it: RequestExplanation, wide: bool) -> Iterator[str]:
    yield f"{it.method} {it.url} from {it.source}"
    yield f"  answer     {it.status if it.status is not None else 'of the backend'}"
    yield f"  gateway    {it.gateway or '-'}   listener {it.listener or '-'}   host {it.host or '-'}"
    if it.route is not None:
        named = f" ({it.rule_name})" if it.rule_name else ""
        yield f"  route      {it.route.kind} {it.route.namespace}/{it.route.name}, rules[{it.rule}]{named}, matches[{it.match}]"
    if it.location:
        yield f"  redirect   {it.location}"
    for each in it.filters:
        yield f"  filter     {each}"
    for share in it.backends:
        yield f"  backend    {share.backend or 'none: its reference does not resolve'}" + (
            f"  {share.share:.0%}" if len(it.backends) > 1 else ""
        )
    yield from _tiers(it.tiers, wide)
    yield from _why(it.why)


def _object(it: ObjectRow, wide: bool) -> Iterator[str]:
    yield paint(place(it.cluster, it.kind, it.namespace, it.name), "bold")
    if it.file:
        yield f"  file       {it.file}" + (f":{it.line}" if it.line else "")
    if it.addresses:
        yield f"  addresses  {', '.join(it.addresses)}"
    for each in it.conditions:
        about = f" of {each.about}" if each.about else ""
        message = f": {each.message}" if each.message else ""
        yield f"  {each.type}{about} is {each.status} ({each.reason}){message}"
    yield from _tiers(it.tiers, wide)
    if it.endpoints and (wide or not it.tiers):
        yield from _endpoints(it.endpoints)
    yield from _why(it.why)
    if it.problems:
        yield problem_lines(it.problems)


def _tiers(tiers: Iterable[TierRow], wide: bool) -> Iterator[str]:
    for tier in tiers:
        yield f"  tier {tier.tier}     {tier.why}" if tier.why else f"  tier {tier.tier}"
        for each in tier.localities:
            bad = [one for one in each.endpoints if one.state not in ("Healthy", "Unknown")]
            where = ", ".join(part for part in (each.region, each.zone) if part)
            weight = f", weight {each.weight}" if each.weight is not None else ""
            states = f", {len(bad)} not healthy" if bad else ""
            yield f"             {each.cluster} ({where}): {len(each.endpoints)} endpoints{weight}{states}"
            yield from _endpoints(each.endpoints if wide else bad)


def _endpoints(endpoints: Iterable[EndpointRow]) -> Iterator[str]:
    rows = [(f"{each.address}:{each.port}", each.cluster, each.state, each.cause or "-") for each in endpoints]
    if rows:
        lines = table(("ENDPOINT", "IN", "STATE", "CAUSE"), rows).splitlines()
        yield from (f"               {line}" for line in lines)


def _why(why: Iterable[str]) -> Iterator[str]:
    for each in why:
        yield f"  why        {each}"
