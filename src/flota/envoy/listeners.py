"""Plan listeners as Envoy listeners: one socket each, its chains chosen by server name."""

from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from flota.envoy.http import connection_manager
from flota.envoy.logs import access_log
from flota.envoy.options import Options
from flota.envoy.protos import Protos
from flota.envoy.routes import NO_BACKEND
from flota.envoy.tables import TableLink
from flota.envoy.udp import UDP_PROXY, udp_cluster
from flota.envoy.values import ADS, Fields, extension, ms, socket_address, wrapped
from flota.envoy.wire import CDS, LDS, SDS, Ref, Resource, field, resource
from flota.plan import ClientCheck, FilterChain, Listener, ServerTLS, WeightedBackend

_TLS = "envoy.extensions.transport_sockets.tls.v3."
_FILTER_CHAINS = 3
"""Number of the field filter_chains of a Listener."""
CONNECT_ATTEMPTS = 3
HANDSHAKE_MS = 10_000


class _Chain(NamedTuple):
    """All that a chain's encoding depends on, within one listener."""

    chain: FilterChain
    sharded: bool


class ListenerBuilder:
    """Listeners → envoy.config.listener.v3.Listener. Chains are kept as bytes: one of thousands comes or goes, the others stay."""

    def __init__(self, protos: Protos, options: Options) -> None:
        self._protos = protos
        self._options = options
        self._class = protos.message("envoy.config.listener.v3.Listener")
        self._chain_class = protos.message("envoy.config.listener.v3.FilterChain")
        self._chains: dict[str, dict[_Chain, bytes]] = {}
        """By listener."""

    def resource(self, listener: Listener, *tables: TableLink) -> Resource:
        """A listener with all it needs. `tables`: those of its chains."""
        needs: set[Ref] = set()
        for chain in listener.chains:
            needs |= _needs(listener, chain)
        for table in tables:
            needs |= table.refs
        body: bytes = self._socket(listener).SerializeToString(deterministic=True)
        if listener.protocol == "TCP":
            body += b"".join(field(_FILTER_CHAINS, each) for each in self._encoded(listener, {table.name: table for table in tables}))
        return resource(LDS, listener.name, body, needs)

    def forget_others(self, names: Container[str]) -> None:
        """Listeners that are no more."""
        for name in [each for each in self._chains if each not in names]:
            del self._chains[name]

    def _encoded(self, listener: Listener, links: Mapping[str, TableLink]) -> Iterable[bytes]:
        """Its chains, serialised."""
        before, fresh = self._chains.get(listener.name, {}), {}
        for chain in listener.chains:
            key = _Chain(chain, chain.table is not None and links[chain.table].sharded)
            kept = before.get(key)
            if kept is None:
                kept = self._chain_class(**self._chain(listener, chain, links)).SerializeToString(deterministic=True)
            fresh[key] = kept
        self._chains[listener.name] = fresh
        return fresh.values()

    def _socket(self, listener: Listener) -> Any:
        """envoy.config.listener.v3.Listener without its chains."""
        fields: Fields = {
            "name": listener.name,
            "address": socket_address(*(listener.bind or (listener.address, listener.port)), listener.protocol),
            "per_connection_buffer_limit_bytes": wrapped(max(self._options.settings.max_body_bytes, 1 << 15)),
        }
        if listener.protocol == "UDP":
            fields["udp_listener_config"] = {}
            fields["listener_filters"] = [self._udp_proxy(listener, listener.chains[0])]
        else:
            # Shared ports would let the Envoy of another cluster, or fleet, take every other connection in silence; so the second one
            # is refused with a reason. A hot restart hands the socket itself over. (UDP needs shared ports for its workers.)
            fields["enable_reuse_port"] = wrapped(False)
            if any(chain.server_names for chain in listener.chains):
                fields["listener_filters"] = [self._extension("envoy.filters.listener.tls_inspector",
                                              "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")]
        return self._class(**fields)

    def _chain(self, listener: Listener, chain: FilterChain, tables: Mapping[str, TableLink]) -> Fields:
        fields: Fields = {"name": chain.name}
        if chain.server_names:
            fields["filter_chain_match"] = {"server_names": chain.server_names}
        if chain.tls is not None:
            fields["transport_socket"] = self._server_tls(chain.tls)
            fields["transport_socket_connect_timeout"] = ms(HANDSHAKE_MS)
        if chain.table is not None:
            # A table the plan lacks would be a bug of the planner.
            fields["filters"] = [connection_manager(self._protos, self._options, chain, tables[chain.table])]
        else:
            fields["filters"] = [self._tcp_proxy(listener, chain)]
        return fields

    def _server_tls(self, tls: ServerTLS) -> Fields:
        required: Fields = {"require_client_certificate": wrapped(True)} if tls.clients is not None and tls.clients.required else {}
        return self._extension(
            "envoy.transport_sockets.tls", _TLS + "DownstreamTlsContext", **required,
            common_tls_context={
                "tls_params": {"tls_minimum_protocol_version": tls.minimum,
                               "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificate_sds_secret_configs": [{"name": name, "sds_config": ADS} for name in tls.certificates],
                "alpn_protocols": list(tls.alpn),
                **({} if tls.clients is None else _client_check(tls.clients)),
            })

    def _tcp_proxy(self, listener: Listener, chain: FilterChain) -> Fields:
        fields = _tcp_destination(chain.backends or ())
        if chain.idle_timeout_ms is not None:
            fields["idle_timeout"] = ms(chain.idle_timeout_ms)
        return self._extension(
            "envoy.filters.network.tcp_proxy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            stat_prefix=chain.name.replace(".", "_"),
            max_connect_attempts=wrapped(CONNECT_ATTEMPTS),
            access_log=access_log(self._protos, self._options.access_log, listener.name, http=False),
            **fields)

    def _udp_proxy(self, listener: Listener, chain: FilterChain) -> Fields:
        cluster = udp_cluster(listener, chain)
        route = extension(self._protos, "route", UDP_PROXY + "Route", cluster=cluster or NO_BACKEND)
        fields: Fields = {} if chain.idle_timeout_ms is None else {"idle_timeout": ms(chain.idle_timeout_ms)}
        return self._extension(
            "envoy.filters.udp_listener.udp_proxy", UDP_PROXY + "UdpProxyConfig",
            stat_prefix=listener.name.replace(".", "_"),
            matcher={"on_no_match": {"action": route}},
            access_log=access_log(self._protos, self._options.access_log, listener.name, http=False),
            **fields)

    def _extension(self, name: str, type_name: str, **fields: Any) -> Fields:
        return extension(self._protos, name, type_name, **fields)


def _client_check(clients: ClientCheck) -> Fields:
    """Who need not show a good certificate is asked for one all the same: the backend may look at it."""
    verification = "VERIFY_TRUST_CHAIN" if clients.required else "ACCEPT_UNTRUSTED"
    return {"combined_validation_context": {
        "default_validation_context": {"trust_chain_verification": verification},
        "validation_context_sds_secret_config": {"name": clients.roots, "sds_config": ADS}}}


def _needs(listener: Listener, chain: FilterChain) -> set[Ref]:
    if listener.protocol == "UDP":
        cluster = udp_cluster(listener, chain)
        return set() if cluster is None else {(CDS, cluster)}
    found: set[Ref] = {(CDS, one.backend) for one in chain.backends or () if one.backend is not None and one.weight > 0}
    return found | {(SDS, name) for name in (_secrets(chain.tls) if chain.tls else ())}


def _secrets(tls: ServerTLS) -> tuple[str, ...]:
    return tls.certificates if tls.clients is None else (*tls.certificates, tls.clients.roots)


def _tcp_destination(backends: tuple[WeightedBackend, ...]) -> Fields:
    """A share whose backend is missing is closed, as nobody could answer it."""
    shares = [one for one in backends if one.weight > 0]
    if len(shares) == 1:
        return {"cluster": shares[0].backend or NO_BACKEND}
    if not shares:
        return {"cluster": NO_BACKEND}
    return {"weighted_clusters": {"clusters": [{"name": one.backend or NO_BACKEND, "weight": one.weight} for one in shares]}}
