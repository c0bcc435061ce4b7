"""How a gateway's server is set up."""

from orchestrator.gateway import configuration
from orchestrator.settings import Settings
from tests.fakes.api_world import ApiWorld


def test_a_gateway_believes_no_forwarded_address_and_compresses_no_socket() -> None:
    chosen = configuration(ApiWorld().app, Settings(_env_file=None))
    chosen.load()
    assert not chosen.proxy_headers
    assert not chosen.ws_per_message_deflate
    assert chosen.loaded_app is chosen.app, "nothing stands between the server and the edge"
