"""Rollouts and Jobs step by step: a little simulator obeys the moves, and the promises must hold at every step."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flota.fleet.fleet import Cluster
from flota.fleet.pods import Deployment, Job, Pod
from flota.local.jobs import JobRecord, ended, job_moves, judged, time_left
from flota.local.podplan import PodPlan, Workload, pod_plan, workloads
from flota.local.rollout import PodView, bare, limits, rollout


def deployment(replicas: int, word: str = "a", **spec: Any) -> Workload:
    template = {
        "metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "c", "command": ["run", word]}]},
    }
    whole = {"replicas": replicas, "selector": {"matchLabels": {"app": "w"}}, "template": template, **spec}
    made = msgspec.convert({"metadata": {"name": "w"}, "spec": whole}, Deployment)
    return only(Cluster("us", "us-east", deployments={("default", "w"): made}))


def job(**spec: Any) -> Workload:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "command": ["run"]}]}}
    made = msgspec.convert({"metadata": {"name": "j"}, "spec": {"template": template, **spec}}, Job)
    return only(Cluster("us", "us-east", jobs={("default", "j"): made}))


def only(cluster: Cluster) -> Workload:
    found, problems = workloads(cluster)
    assert problems == ()
    return found[0]


amounts = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda number: f"{number}%"))


@given(
    before=st.integers(0, 8),
    after=st.integers(0, 8),
    surge=amounts,
    unavailable=amounts,
    strategy=st.sampled_from(["RollingUpdate", "Recreate"]),
    order=st.randoms(use_true_random=False),
    data=st.data(),
)
def test_a_rollout_arrives_and_keeps_its_limits(
    before: int, after: int, surge: Any, unavailable: Any, strategy: str, order: Any, data: st.DataObject
) -> None:
    how: dict[str, Any] = {"type": strategy}
    if strategy == "RollingUpdate":
        how["rollingUpdate"] = {"maxSurge": surge, "maxUnavailable": unavailable}
    old, new = deployment(before, "a"), deployment(after, "b", strategy=how)
    pods = {plan.name: PodView(plan, 0.0) for plan in rollout(old, (), 0.0).start}
    assert len(pods) == before
    assert new.deployment is not None
    extra, missing = limits(new.deployment)
    for now in range(400):
        moves = rollout(new, tuple(pods.values()), float(now))
        assert len({plan.name for plan in moves.start}) == len(moves.start)
        for plan in moves.start:
            assert plan.name not in pods, "a name that is in use"
            pods[plan.name] = PodView(plan, None)
        for plan in moves.stop:
            pods[plan.name] = msgspec.structs.replace(pods[plan.name], terminating=True)
        alive = [pod for pod in pods.values() if not pod.terminating]
        if strategy == "RollingUpdate" and before == after:
            assert len(alive) <= after + extra
            assert sum(pod.ready_since is not None for pod in alive) >= after - missing
        busy = [name for name, pod in pods.items() if pod.terminating or pod.ready_since is None]
        if not busy and not moves.start and not moves.stop:
            break
        if busy:
            name = data.draw(st.sampled_from(sorted(busy)))
            if pods[name].terminating:
                del pods[name]
            else:
                pods[name] = msgspec.structs.replace(pods[name], ready_since=float(now))
    assert {pod.plan.hash for pod in pods.values()} <= {new.hash}
    assert len(pods) == after


def test_new_pods_that_never_come_up_stop_a_rollout() -> None:
    old, new = deployment(4, "a"), deployment(4, "b")
    pods = {plan.name: PodView(plan, 0.0) for plan in rollout(old, (), 0.0).start}
    for _ in range(20):
        moves = rollout(new, tuple(pods.values()), 1.0)
        for plan in moves.start:
            pods[plan.name] = PodView(plan, None)
        for plan in moves.stop:
            del pods[plan.name]
    assert sum(pod.plan.hash == old.hash for pod in pods.values()) == 3, "one may be unavailable (25 % of 4), no more"


def test_min_ready_seconds_hold_the_old_ones() -> None:
    old, new = deployment(1, "a"), deployment(1, "b", minReadySeconds=5)
    pods = (PodView(pod_plan(old, "0"), 0.0), PodView(pod_plan(new, "0"), 10.0))
    early, late = rollout(new, pods, 12.0), rollout(new, pods, 15.0)
    assert (early.stop, early.again) == ((), 15.0)
    assert [plan.hash for plan in late.stop] == [old.hash]


def test_recreate_waits_for_the_last_old_one_to_be_gone() -> None:
    old, new = deployment(1, "a"), deployment(1, "b", strategy={"type": "Recreate"})
    leaving = PodView(pod_plan(old, "0"), None, terminating=True)
    assert rollout(new, (PodView(pod_plan(old, "0"), 0.0),), 1.0).start == ()
    assert rollout(new, (leaving,), 1.0).start == ()
    assert len(rollout(new, (), 1.0).start) == 1


def test_paused_changes_nothing() -> None:
    old, new = deployment(2, "a"), deployment(2, "b", paused=True)
    pods = tuple(PodView(plan, 0.0) for plan in rollout(old, (), 0.0).start)
    moves = rollout(new, pods, 1.0)
    assert (moves.start, moves.stop) == ((), ())


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "means"),
    [(2, "25%", "25%", (1, 0)), (4, "25%", "25%", (1, 1)), (10, 0, 0, (0, 1)), (3, "50%", "50%", (2, 1)), (0, "25%", "25%", (0, 1))],
)
def test_limits_round_as_kubernetes_does(replicas: int, surge: Any, unavailable: Any, means: tuple[int, int]) -> None:
    rolling = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    spec = deployment(replicas, strategy=rolling).deployment
    assert spec is not None
    assert limits(spec) == means


def test_names_tell_template_and_number_and_only_the_template_counts() -> None:
    one = rollout(deployment(2, "a"), (), 0.0).start
    assert [plan.name for plan in one] == [f"w-{one[0].hash}-0", f"w-{one[0].hash}-1"]
    assert rollout(deployment(9, "a"), (), 0.0).start[0].name == one[0].name
    assert rollout(deployment(2, "b"), (), 0.0).start[0].name != one[0].name


def test_a_changed_bare_pod_ends_before_the_new_one_starts() -> None:
    def pod(word: str) -> Workload:
        raw = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "command": [word]}]}}
        return only(Cluster("us", "us-east", pods={("default", "p"): msgspec.convert(raw, Pod)}))

    plan = bare(pod("a"), ()).start[0]
    assert plan.name == "p"
    moves = bare(pod("b"), (PodView(plan, 0.0),))
    assert (moves.start, moves.stop) == ((), (plan,))
    assert bare(pod("a"), (PodView(plan, 0.0),)).stop == ()


@given(
    completions=st.one_of(st.none(), st.integers(0, 6)),
    parallelism=st.integers(1, 4),
    indexed=st.booleans(),
    failing=st.lists(st.booleans(), max_size=40),
    limit=st.integers(0, 5),
)
def test_a_job_ends_and_never_runs_more_than_allowed(
    completions: int | None, parallelism: int, indexed: bool, failing: list[bool], limit: int
) -> None:
    spec: dict[str, Any] = {"parallelism": parallelism, "backoffLimit": limit}
    spec |= {"completions": completions} if completions is not None else {}
    spec |= {"completionMode": "Indexed"} if indexed and completions is not None else {}
    work = job(**spec)
    record, pods = JobRecord(work.hash), list[PodPlan]()
    outcomes = iter(failing)
    seen: set[str] = set()
    for _ in range(100):
        moves = job_moves(work, record, tuple(PodView(plan, None) for plan in pods), 0.0, 0.0)
        for plan in moves.start:
            assert plan.name not in seen, "a name twice"
            seen.add(plan.name)
            record = msgspec.structs.replace(record, next_number=record.next_number + 1)
        pods += moves.start
        assert len(pods) <= parallelism
        for plan in moves.stop:
            pods.remove(plan)
        if not pods:
            break
        plan = pods.pop(0)
        record = ended(work, record, plan, succeeded=not next(outcomes, False), active=len(pods))
    assert record.over in {"Complete", "Failed"} or completions == 0
    assert record.failed <= limit + 1
    if record.over == "Complete" and completions:
        assert record.succeeded == completions
        assert not indexed or sorted(record.indexes) == list(range(completions))


def test_a_pod_of_a_job_is_counted_once() -> None:
    work = job(completions=2)
    plan = job_moves(work, JobRecord(work.hash), (), 0.0, 0.0).start[0]
    once = ended(work, JobRecord(work.hash), plan, succeeded=True, active=0)
    assert ended(work, once, plan, succeeded=True, active=0) == once


def test_a_job_waits_before_it_tries_again_and_can_be_suspended() -> None:
    work = job()
    moves = job_moves(work, JobRecord(work.hash), (), 5.0, 9.0)
    assert (moves.start, moves.again) == ((), 9.0)
    suspended = job(suspend=True)
    plan = pod_plan(suspended, "0")
    assert job_moves(suspended, JobRecord(suspended.hash), (PodView(plan, None),), 0.0, 0.0).stop == (plan,)


def test_a_job_begins_is_over_in_time_and_forgets_the_time_it_was_suspended() -> None:
    timed = job(activeDeadlineSeconds=10)
    begun = judged(timed, JobRecord(timed.hash), (), 100.0)
    assert (begun.started, begun.over, time_left(timed, begun, 104.0)) == (100.0, "", 6.0)
    assert judged(timed, begun, (), 109.0) == begun
    over = judged(timed, begun, (), 110.0)
    assert (over.over, over.reason) == ("Failed", "DeadlineExceeded")
    assert judged(timed, over, (), 111.0) is over
    assert judged(job(activeDeadlineSeconds=10, suspend=True), begun, (), 120.0).started is None
    assert time_left(job(), begun, 1e9) is None


@pytest.mark.parametrize(("limit", "restarts", "over"), [(2, 1, ""), (2, 2, "Failed"), (0, 0, ""), (0, 1, "Failed"), (None, 6, "Failed")])
def test_restarts_in_place_count_against_the_limit(limit: int | None, restarts: int, over: str) -> None:
    given_limit = {} if limit is None else {"backoffLimit": limit}
    never = job(**given_limit)
    retried = msgspec.structs.replace(never, pod=msgspec.structs.replace(never.pod, restart_policy="OnFailure"))
    for workload, expected in ((retried, over), (never, "")):
        pod = PodView(pod_plan(workload, "0"), None, restarts=restarts)
        assert judged(workload, JobRecord(workload.hash), (pod,), 1.0).over == expected


REFUSED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({"command": []}, {}, {}, "ImageNotSupported"),
    ({"restartPolicyRules": [{}]}, {}, {}, "NotSupported"),
    ({"volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}, {}, {}, "NotSupported"),
    ({"volumeMounts": [{"name": "v", "mountPath": "/x"}]}, {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}, {}, "NotSupported"),
    ({}, {"readinessGates": [{"conditionType": "x"}]}, {}, "NotSupported"),
    ({}, {"schedulingGates": [{"name": "x"}]}, {}, "SchedulingGated"),
    ({}, {}, {"managedBy": "example.com/queue"}, "ManagedByOther"),
    ({}, {}, {"podFailurePolicy": {}}, "NotSupported"),
    ({}, {}, {"successPolicy": {}}, "NotSupported"),
    ({}, {}, {"backoffLimitPerIndex": 1}, "NotSupported"),
    ({}, {}, {"maxFailedIndexes": 1}, "NotSupported"),
    ({"volumeMounts": [{"name": "v", "mountPath": "/x"}]}, {"volumes": [{"name": "v", "emptyDir": {}}]}, {}, ""),
    ({"volumeMounts": [{"name": "v", "mountPath": "/x"}]}, {"volumes": [{"name": "v"}]}, {}, ""),
    ({"resources": {"limits": {"cpu": "1"}}}, {"tolerations": [{}]}, {"managedBy": "kubernetes.io/job-controller"}, ""),
]


@pytest.mark.parametrize(("of_container", "of_pod", "of_job", "reason"), REFUSED)
def test_what_cannot_run_here_is_refused_with_a_reason(
    of_container: dict[str, Any], of_pod: dict[str, Any], of_job: dict[str, Any], reason: str
) -> None:
    container = {"name": "c", "command": ["run"], **of_container}
    template = {"spec": {"restartPolicy": "Never", "containers": [container], **of_pod}}
    made = msgspec.convert({"metadata": {"name": "j"}, "spec": {"template": template, **of_job}}, Job)
    found, problems = workloads(Cluster("us", "us-east", jobs={("default", "j"): made}))
    assert [each.reason for each in problems] == ([reason] if reason else [])
    assert len(found) == (0 if reason else 1)
