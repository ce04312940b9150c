"""The learner and the hang watch, fed by hand with time handed in."""

import math

from flota.observe.hangs import HangWatch
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


def test_few_answers_are_not_enough():
    learner, proxy = Learner(), Proxy()
    run(learner, proxy, 0, 20, 1, 5)
    assert learner.per_try_ms is None


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


def host(total: int, answered: int, active: int, failed: int = 0) -> HostSample:
    return HostSample("shop", "127.0.0.1:80", active, total, answered, "Healthy", "", answered - failed)


def stuck_watch() -> HangWatch:
    watch = HangWatch()
    for at, sample in ((0, host(10, 10, 0)), (0.5, host(21, 10, 11)), (1.6, host(40, 10, 30))):
        watch.step(at, [sample], {"shop": 250})
    return watch


def test_a_process_that_leaves_many_requests_without_an_answer_is_stuck_until_it_gives_a_good_one():
    watch = stuck_watch()
    assert watch.stuck == {SHOP}
    watch.step(20, [host(40, 40, 1, failed=30)], {"shop": 250})
    assert watch.stuck == {SHOP}, "given up by the proxy, not answered"
    watch.step(20.5, [host(40, 41, 1, failed=30)], {"shop": 250})
    assert watch.stuck == set()


def test_a_stuck_process_without_requests_is_tried_again_after_a_while():
    watch = stuck_watch()
    watch.step(2, [host(40, 40, 0, failed=30)], {"shop": 250})
    watch.step(5, [host(40, 40, 0, failed=30)], {"shop": 250})
    assert watch.stuck == {SHOP}
    watch.step(6.1, [host(40, 40, 0, failed=30)], {"shop": 250})
    assert watch.stuck == set()


def test_what_waits_no_longer_than_is_usual_there_is_not_stuck():
    watch = HangWatch()
    for at, sample in ((0, host(10, 10, 0)), (0.5, host(21, 10, 11)), (5.5, host(40, 10, 30))):
        watch.step(at, [sample], {"shop": 6000})
    assert watch.stuck == set()


def test_a_few_slow_requests_do_not_make_a_process_stuck():
    watch = HangWatch()
    for at in (0.5, 1.6, 3.0):
        watch.step(at, [host(15, 10, 5)], {"shop": 250})
    assert watch.stuck == set()


def test_a_request_sent_after_the_last_answer_that_stays_open_is_a_hang():
    watch = HangWatch()
    limits = {"shop": 250}
    assert watch.step(0, [host(10, 10, 0)], limits) == set()
    assert watch.step(0.5, [host(11, 10, 1)], limits) == set()
    assert watch.step(0.9, [host(12, 10, 2)], limits) == set()
    assert watch.step(1.1, [host(12, 10, 2)], limits) == {SHOP}
    assert watch.stuck == set()


def test_an_open_stream_that_was_answered_is_no_hang():
    watch = HangWatch()
    watch.step(0, [host(10, 10, 0)], {"shop": 250})
    watch.step(0.5, [host(11, 11, 1)], {"shop": 250})
    assert watch.step(9, [host(11, 11, 1)], {"shop": 250}) == set()


def test_nothing_is_judged_before_there_is_a_limit():
    watch = HangWatch()
    watch.step(0, [host(10, 10, 0)], {})
    watch.step(0.5, [host(11, 10, 1)], {})
    assert watch.step(9, [host(11, 10, 1)], {}) == set()


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
