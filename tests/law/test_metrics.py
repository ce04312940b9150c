"""docs/metrics.md lists exactly the metrics that there are."""

import re
from pathlib import Path
from types import SimpleNamespace

from flota.app.engine import EMPTY
from flota.app.metrics import render_metrics
from flota.app.servemetrics import render_serving
from flota.fleet.signals import Signals
from flota.latest import Latest

ROOT = Path(__file__).parents[2]


def engine() -> SimpleNamespace:
    deliveries = SimpleNamespace(acknowledgements=1, refusals=0, overdue=0, connected=lambda _: True)
    return SimpleNamespace(
        plan=Latest(EMPTY), planned=None, source=SimpleNamespace(problems=Latest(())),
        drains=SimpleNamespace(latest=Latest(())), plans=1, plan_seconds=0.1,
        proxies=SimpleNamespace(states=Latest({})), deliveries=deliveries, signals=Latest(Signals()),
        pods=SimpleNamespace(states=Latest(())), trials=SimpleNamespace(problems=lambda: ()),
    )


def serving() -> tuple[SimpleNamespace, SimpleNamespace]:
    counts = SimpleNamespace(events=1, lists=1, restored=0)
    reader = SimpleNamespace(reflectors=lambda: [("Service", SimpleNamespace(state=SimpleNamespace(live=True), counts=counts))])
    it = SimpleNamespace(
        plan=Latest(EMPTY), plans=1, plan_seconds=0.1, election=SimpleNamespace(leads=lambda: True), client=SimpleNamespace(requests=1),
        statuses=SimpleNamespace(writes=1),
        proxies=SimpleNamespace(connected=lambda: 1, acknowledgements=1, refusals=0, overdue=0),
    )  # fmt: skip
    return it, SimpleNamespace(problems=Latest(()), readers={"us": reader})


def test_every_metric_is_documented_and_every_documented_one_exists():
    text = render_metrics(engine()).decode() + render_serving(*serving()).decode()  # type: ignore[arg-type]
    families = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    documented = set(re.findall(r"^\| `(flota_\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert families == documented
