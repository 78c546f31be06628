"""A small Hub on the loopback address, for huggingface_hub, datasets and transformers as they are.

It speaks the part of the Hub's protocol that these use to read and to push models and datasets, keeps
everything in memory, and stops with the fixture that started it. It has two ports: the Hub, and the storage
of large files behind signed URLs, which is another origin for a client, as on the real Hub.

    from .loopback_hub import LoopbackHub, fixtures

    hub = fixtures.hub

    def test_a_push_is_read_back(hub: LoopbackHub) -> None:
        run = hub.run_client("...", token=hub.user.write_token)

Modules: `wire` (requests, answers, refusals), `storage` (repositories), `accounts` (who may do what), `cards`
(metadata of a README), `reading`, `files` and `pushing` (the endpoints), `faults` (failures on demand),
`server` (the sockets), `client` (a client process), `warm` (many of them, imports done once), `hub` (all of
it together), `fixtures` (for pytest).

Not spoken: Xet, pull requests, multi-part uploads, pages of long lists, spaces, deletion of repositories.
"""

from .accounts import Account
from .client import ClientRun
from .faults import Fault
from .hub import LoopbackHub
from .server import Seen
from .warm import WarmClients

__all__ = ["Account", "ClientRun", "Fault", "LoopbackHub", "Seen", "WarmClients"]
