"""The learner, fed by hand with time handed in, and the admin answers that it reads."""

import math

from flota.observe.learner import Learner
from flota.observe.observer import ProxyWatch
from flota.observe.samples import Counters, HostSample, counters, hosts

EDGES = (10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, math.inf)


class Proxy:
    """Counts like a proxy does; `serve` adds answers of one speed."""

    def __init__(self) -> None:
        self.total = self.retry = self.success = 0
        self.by_edge = dict.fromkeys(EDGES, 0)

    def serve(self, count: int, ms: float, retries: int = 0, successes: int | None = None) -> Counters:
        self.total += count + retries
        self.retry += retries
        self.success += retries if successes is None else successes
        self.by_edge[next(edge for edge in EDGES if ms <= edge)] += count
        running, buckets = 0, []
        for edge in EDGES:
            running += self.by_edge[edge]
            buckets.append((edge, running))
        return Counters(self.total, self.retry, self.success, tuple(buckets))


def run(learner: Learner, proxy: Proxy, start: float, seconds: float, count: int, ms: float, **more: int) -> float:
    now = start
    while now < start + seconds:
        now += 0.5
        learner.step(now, proxy.serve(count, ms, **more))
    return now


def test_nothing_is_known_before_six_seconds_and_a_hundred_answers():
    learner, proxy = Learner(), Proxy()
    now = run(learner, proxy, 0, 6, 150, 5)
    assert learner.per_try_ms is None
    run(learner, proxy, now, 1, 150, 5)
    assert learner.per_try_ms == 250


def test_of_few_answers_the_slowest_counts_and_the_limit_is_long():
    learner, proxy = Learner(), Proxy()
    now = run(learner, proxy, 0, 4, 1, 5)
    assert learner.per_try_ms is None
    now = run(learner, proxy, now, 8, 1, 5)
    assert learner.per_try_ms == 1000
    run(learner, proxy, now, 2, 1, 400)
    assert learner.per_try_ms == 1500


def test_one_slow_answer_is_enough_to_wait_longer():
    learner, proxy = Learner(), Proxy()
    run(learner, proxy, 0, 1, 1, 2400)
    assert learner.per_try_ms == 7500


def test_answers_beyond_the_histogram_are_waited_for_too():
    learner, proxy = Learner(), Proxy()
    run(learner, proxy, 0, 1, 1, 100_000)
    assert learner.per_try_ms == 600_000


def test_a_slow_backend_gets_three_times_its_p99():
    learner, proxy = Learner(), Proxy()
    run(learner, proxy, 0, 10, 150, 300)
    assert learner.per_try_ms == 1500


def test_a_short_hang_does_not_teach():
    learner, proxy = Learner(), Proxy()
    now = run(learner, proxy, 0, 10, 150, 5)
    now = run(learner, proxy, now, 2, 150, 400, retries=60)
    run(learner, proxy, now, 10, 150, 5)
    assert learner.per_try_ms == 250


def test_a_lasting_change_of_the_backend_does_teach():
    learner, proxy = Learner(), Proxy()
    now = run(learner, proxy, 0, 10, 150, 5)
    run(learner, proxy, now, 8, 150, 300, retries=150)
    assert learner.per_try_ms == 1500


def test_sick_needs_failing_second_attempts_twice_and_well_the_opposite():
    learner, proxy = Learner(), Proxy()
    now = run(learner, proxy, 0, 1, 150, 5)
    now = run(learner, proxy, now, 0.5, 150, 5, retries=100, successes=0)
    assert not learner.sick
    now = run(learner, proxy, now, 0.5, 150, 5, retries=100, successes=0)
    assert learner.sick
    now = run(learner, proxy, now, 0.5, 150, 5)
    assert learner.sick
    run(learner, proxy, now, 0.5, 150, 5)
    assert not learner.sick


def test_a_proxy_that_starts_afresh_is_a_new_beginning_not_negative_traffic():
    learner, proxy = Learner(), Proxy()
    run(learner, proxy, 0, 10, 150, 5)
    learner.step(20, Proxy().serve(10, 5))
    assert learner.per_try_ms == 250


def test_counters_are_read_from_prometheus_text():
    text = """# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="serviceimport/default/shop/80"} 12
envoy_cluster_upstream_rq_retry{envoy_cluster_name="serviceimport/default/shop/80"} 2
envoy_cluster_upstream_rq_retry_success{envoy_cluster_name="serviceimport/default/shop/80"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="serviceimport/default/shop/80",le="10"} 7
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="serviceimport/default/shop/80",le="+Inf"} 10
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="serviceimport/default/shop/80"} 70.5
"""
    assert counters(text) == {"serviceimport/default/shop/80": Counters(12, 2, 1, ((10.0, 7), (math.inf, 10)))}


SHOP = ("shop", "127.0.0.1:80")


def host(total: int, answered: int, active: int) -> HostSample:
    return HostSample("shop", "127.0.0.1:80", active, total, answered, "Healthy", "", answered)


def test_hosts_are_read_with_state_and_cause():
    body = b"""{"cluster_statuses":[{"name":"c","observability_name":"shop","host_statuses":[
      {"address":{"socket_address":{"address":"127.0.0.1","port_value":80}},"stats":[{"name":"rq_total","value":"3"},{"name":"rq_error"}],
       "health_status":{"failed_active_health_check":true,"eds_health_status":"HEALTHY"}},
      {"address":{"socket_address":{"address":"::1","port_value":81}},"health_status":{"eds_health_status":"DRAINING"}}]}]}"""
    first, second = hosts(body)
    assert (first.label, first.address, first.total, first.state) == ("shop", "127.0.0.1:80", 3, "Dead")
    assert (second.address, second.state) == ("[::1]:81", "Draining")


def test_an_ejection_is_judged_once():
    watch = ProxyWatch("us")
    left_out = HostSample("shop", "127.0.0.1:80", 0, 10, 10, "Dead", "", ejected=True)
    assert watch.newly_ejected([left_out]) == {SHOP}
    assert watch.newly_ejected([left_out]) == set()
    assert watch.newly_ejected([host(10, 10, 0)]) == set()
    assert watch.newly_ejected([left_out]) == {SHOP}
