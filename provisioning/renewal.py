"""A new certificate for an enrolled box, under its old one, at a third of its life."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from provisioning.box_keys import BoxKeys, new_tls_key
from provisioning.claim import read_certificates
from provisioning.durable_file import rename_durably, write_private
from provisioning.enrolment_wire import (
    RENEWAL_PATH,
    SELF_PATH,
    RenewalAnswer,
    build_key_request,
    decode,
    encode,
)
from provisioning.errors import ProtocolError
from provisioning.hub_call import CALL_DEADLINE_S, HubAddress, call_hub
from provisioning.identity import Identity, key_and_chain, load_identity, renewal_due
from provisioning.tls import box_client_context
from provisioning.trust import pem


def is_renewal_due(identity: Identity, now_ms: int) -> bool:
    """Return whether a third of the life of the box's or its pages' certificate is over."""
    return renewal_due(
        identity.binding.not_before_ms, identity.binding.not_after_ms, now_ms
    ) or renewal_due(identity.page_not_before_ms, identity.page_not_after_ms, now_ms)


async def renew(
    identity: Identity,
    *,
    lan_names: Sequence[str],
    now_ms: Callable[[], int],
    deadline_s: float = CALL_DEADLINE_S,
) -> Identity:
    """Return the identity with new TLS keys and certificates, for the LAN names of today.

    The old files stay in place until the new certificate has made a real handshake with the hub.
    Contexts made from the old identity have to be made anew or reloaded by the caller.
    Raises UnreachableError, ImpostorError, RefusedError or ProtocolError; the old identity then
    stands as it was.
    """
    address = HubAddress(host=identity.hub_host, port=identity.hub_port)
    keys = BoxKeys(
        tls=new_tls_key(), page=new_tls_key(), signing=identity.signing, sealing=identity.sealing
    )
    body = await call_hub(
        address,
        RENEWAL_PATH,
        box_client_context(identity, now_ms),
        body=encode(build_key_request(keys, lan_names)),
        deadline_s=deadline_s,
    )
    answer = decode(body, RenewalAnswer)
    certified, binding = read_certificates(answer, identity.trust, keys)
    if (binding.box, binding.school) != (identity.box, identity.school):
        raise ProtocolError("the hub renewed the certificate of another box")
    trial = identity.folder / "box.next.pem"
    write_private(trial, key_and_chain(keys.tls, certified.box, identity.trust.boxes))
    trial_context = box_client_context(replace(identity, tls_pem=trial), now_ms)
    name = await call_hub(address, SELF_PATH, trial_context, deadline_s=deadline_s)
    if name != identity.box.encode():
        raise ProtocolError("the hub takes the renewed certificate for another box")
    write_private(
        identity.folder / "page.pem",
        key_and_chain(keys.page, certified.page, identity.trust.servers),
    )
    write_private(identity.folder / "hub.pem", pem(certified.hub))
    rename_durably(trial, identity.tls_pem)
    return load_identity(identity.folder)
