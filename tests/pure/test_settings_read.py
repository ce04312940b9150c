"""Settings from the environment: what fits is taken, what doesn't is refused before anything starts."""

import msgspec
import pytest

from flota.settings import Settings, read


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:9000", "localhost:65535", "0.0.0.0:1"])
def test_addresses(address: str) -> None:
    assert read({"FLOTA_METRICS_ADDRESS": address, "HOME": "/"}) == Settings(metrics_address=address)


@pytest.mark.parametrize(
    ("name", "value"),
    [("METRICS_ADDRESS", "nonsense"), ("METRICS_ADDRESS", "127.0.0.1"), ("METRICS_ADDRESS", "::1:9000"), ("METRICS_ADDRESS", "a:123456"),
     ("TRUSTED_HOPS", "x"), ("TRUSTED_HOPS", "-1"), ("ENVOY_LOG_LEVEL", "loud"), ("MAX_HEADER_KIB", "0"), ("RETRIES", "perhaps")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(name: str, value: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read({f"FLOTA_{name}": value})
