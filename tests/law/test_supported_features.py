"""A feature that a GatewayClass claims is proven by a test, most of them on a real Envoy."""

import ast
from pathlib import Path

import pytest

from flota.routing.features import SUPPORTED

ROOT = Path(__file__).parents[1]
REAL = {
    "features/test_features.py": {
        "test_a_route_attaches_to_the_ports_that_it_names": ("HTTPRouteParentRefPort", "HTTPRouteDestinationPortMatching"),
        "test_redirects_have_their_status": tuple(f"HTTPRoute{code}RedirectStatusCode" for code in (303, 307, 308)),
        "test_rules_have_names": ("HTTPRouteNamedRouteRule", "GRPCRouteNamedRouteRule"),
        "test_tls_ends_for_one_host_and_passes_through_for_another_on_one_port": ("TLSRouteModeMixed", "TLSRouteModeTerminate"),
        "test_what_a_rule_says_is_tried_again": ("HTTPRouteRetry", "HTTPRouteRetryBackendTimeout", "HTTPRouteRetryConnectionError"),
        "test_a_share_of_the_requests_is_mirrored_and_several_mirrors_get_it": (
            "HTTPRouteRequestPercentageMirror", "HTTPRouteRequestMultipleMirrors",
        ),
    },
    "features/test_gateways.py": {
        "test_listener_sets_add_listeners_that_their_own_routes_are_on": ("ListenerSet",),
        "test_clients_are_let_in_by_their_certificates": ("GatewayFrontendClientCertificateValidation",),
        "test_insecure_fallback_lets_everybody_in_and_leaves_the_judgement_to_the_backend": (
            "GatewayFrontendClientCertificateValidationInsecureFallback",
        ),
        "test_backends_are_shown_the_certificate_of_the_gateway_the_request_came_to": ("GatewayBackendClientCertificate",),
        "test_requests_on_a_connection_for_another_listener_are_misdirected": ("GatewayHTTPSListenerDetectMisdirectedRequests",),
        "test_hosts_belong_to_the_most_specific_listener_alone": ("GatewayHTTPListenerIsolation",),
        "test_addresses_that_are_open_or_cannot_be_had": ("GatewayAddressEmpty", "GatewayStaticAddresses"),
    },
    "features/test_protocols.py": {
        "test_grpc_h2c_and_websocket": ("GRPCRoute", "HTTPRouteBackendProtocolH2C", "HTTPRouteBackendProtocolWebSocket"),
        "test_tls_routes_pass_through_and_terminate": ("TLSRoute",),
        "test_tcp_and_udp_by_weight_of_service_and_import": ("TCPRoute", "UDPRoute", "Gateway"),
        "test_backend_tls_policy_is_obeyed_and_never_fallen_back_from": ("BackendTLSPolicy",),
        "test_mirrors_reach_imports_and_change_no_answer": ("HTTPRouteRequestMirror",),
    },
    "features/test_encode_protocols.py": {"test_tls_towards_backends": ("BackendTLSPolicySANValidation",)},
    "features/test_encode_envoy.py": {
        "test_matches": ("HTTPRoute", "HTTPRouteMethodMatching", "HTTPRouteQueryParamMatching"),
        "test_whole_path_and_host": ("HTTPRouteHostRewrite",),
        "test_prefix_rewrite_and_redirect": ("HTTPRoutePathRewrite", "HTTPRoutePathRedirect"),
        "test_redirect": ("HTTPRoutePortRedirect", "HTTPRouteSchemeRedirect"),
        "test_header_changes": ("HTTPRouteResponseHeaderModification",),
        "test_timeouts": ("HTTPRouteRequestTimeout", "HTTPRouteBackendTimeout"),
    },
    "features/test_guards.py": {
        "test_cors_answers_preflights_and_says_who_may_use_the_answers": ("HTTPRouteCORS",),
        "test_filters_of_one_backend_are_for_its_share_only": ("HTTPRouteBackendRequestHeaderModification",),
    },
}
PLANNED = {
    "pure/test_routing_gateways.py": {"test_a_certificate_of_another_namespace_needs_a_grant": ("ReferenceGrant",)},
    "pure/test_writeback_proxies.py": {"test_everything_is_named_labelled_and_owned_alike": ("GatewayInfrastructurePropagation",)},
    "golden/test_routing.py": {"test_plan": ("GatewayPort8080",)},
}
PROOFS = [(path, test, names) for table in (REAL, PLANNED) for path, tests in table.items() for test, names in tests.items()]


def test_features_are_named_once_and_in_order():
    assert list(SUPPORTED) == sorted(set(SUPPORTED))
    assert f"all {len(SUPPORTED)} features" in (ROOT.parent / "docs" / "gateway-api.md").read_text()


def test_every_feature_has_a_proof_and_nothing_else_is_claimed():
    assert {name for _, _, names in PROOFS for name in names} == set(SUPPORTED)


@pytest.mark.parametrize(("path", "test"), [proof[:2] for proof in PROOFS])
def test_the_proof_is_there(path: str, test: str):
    tree = ast.parse((ROOT / path).read_text())
    found = {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in found
