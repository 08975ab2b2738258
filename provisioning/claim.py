"""The box's side of enrolment: from a join code to an identity."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from provisioning.box_keys import BoxKeys, new_box_keys, pack_keys, unpack_keys
from provisioning.certificates import (
    Binding,
    BoundKeys,
    milliseconds,
    read_certificate,
)
from provisioning.durable_file import (
    private_folder,
    read_private,
    remove_durably,
    write_private,
)
from provisioning.enrolment_wire import (
    AUTHORITY_PATH,
    REQUEST_PATH,
    EnrolmentAnswer,
    EnrolmentRequest,
    RenewalAnswer,
    build_key_request,
    decode,
    encode,
)
from provisioning.errors import IdentityMissingError, ProtocolError, SetupError
from provisioning.hub_call import CALL_DEADLINE_S, HubAddress, call_hub
from provisioning.identity import (
    Certified,
    Identity,
    IdentityRecord,
    load_identity,
    store_identity,
)
from provisioning.join_code import JoinCode, parse_join_code
from provisioning.tls import hub_client_context, unverified_context
from provisioning.trust import DistrictTrust, read_trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An enrolled box, and how far its clock is from the hub's.

    Add ``clock_offset_ms`` to this machine's wall clock to get the hub's. It is None when the box
    was already enrolled by this code and no hub was asked.
    """

    identity: Identity
    clock_offset_ms: int | None


async def claim(
    code: str | JoinCode,
    folder: Path,
    *,
    lan_names: Sequence[str],
    now_ms: Callable[[], int],
    deadline_s: float = CALL_DEADLINE_S,
) -> Claimed:
    """Enrol this box with a join code and store its identity in ``folder``.

    ``lan_names`` are the addresses and names of its pages on the school's LAN. Whatever goes
    wrong, the same call may be repeated: keys are on disk before the first request, so the code
    stays bound to this box. ``deadline_s`` bounds each of the two exchanges.

    Raises MistypedCodeError, UnreachableError, ImpostorError, RefusedError, ProtocolError or
    SetupError (already enrolled as another box).
    """
    code = parse_join_code(code) if isinstance(code, str) else code
    enrolled = _enrolled(folder)
    if enrolled is not None:
        if enrolled.box != code.box or enrolled.trust.root_pin() != code.root_pin:
            raise SetupError(
                f"this box is already box {enrolled.box} of {enrolled.school_name}; "
                f"to claim it anew, stop it and move {folder} away first"
            )
        _forget_pending(folder)
        return Claimed(identity=enrolled, clock_offset_ms=None)
    keys = _pending_keys(folder, code.box)
    address = HubAddress(host=code.host, port=code.port)
    bundle = await call_hub(address, AUTHORITY_PATH, unverified_context(), deadline_s=deadline_s)
    trust = read_trust(bundle, root_pin=code.root_pin)
    request = EnrolmentRequest(
        box=code.box, secret=code.secret, keys=build_key_request(keys, lan_names)
    )
    asked_ms = now_ms()
    body = await call_hub(
        address,
        REQUEST_PATH,
        hub_client_context(trust, now_ms),
        body=encode(request),
        deadline_s=deadline_s,
    )
    answered_ms = now_ms()
    answer = decode(body, EnrolmentAnswer)
    certified, box = read_certificates(answer.certificates, trust, keys)
    if (box.box, box.school) != (code.box, answer.school):
        raise ProtocolError("the hub certified another box than the one it invited")
    record = IdentityRecord(school_name=answer.school_name, hub_host=code.host, hub_port=code.port)
    identity = store_identity(folder, keys, certified, record)
    _forget_pending(folder)
    return Claimed(
        identity=identity,
        clock_offset_ms=answer.certificates.now_ms - (asked_ms + answered_ms) // 2,
    )


def read_certificates(
    answer: RenewalAnswer, trust: DistrictTrust, keys: BoxKeys
) -> tuple[Certified, Binding]:
    """Return the certificates of an answer and what the box's own one binds.

    Raises ImpostorError or ProtocolError unless each is the district's, for these keys, and good
    at the time the hub states.
    """
    certified = Certified(
        trust=trust,
        box=read_certificate(answer.box_certificate),
        page=read_certificate(answer.page_certificate),
        hub=read_certificate(answer.hub_certificate),
    )
    box = trust.box_binding(certified.box)
    trust.hub_binding(certified.hub)
    trust.require_server(certified.page)
    _require_own(certified, box.keys, keys)
    for certificate in (certified.box, certified.page, certified.hub):
        starts_ms = milliseconds(certificate.not_valid_before_utc)
        if not starts_ms <= answer.now_ms < milliseconds(certificate.not_valid_after_utc):
            raise ProtocolError("the hub's time is outside its own certificates; tell the district")
    return certified, box


def _require_own(certified: Certified, bound: BoundKeys, keys: BoxKeys) -> None:
    def holds(certified_key: object, key: ec.EllipticCurvePrivateKey) -> bool:
        return certified_key == key.public_key()

    if (
        bound != keys.bound()
        or not holds(certified.box.public_key(), keys.tls)
        or not holds(certified.page.public_key(), keys.page)
    ):
        raise ProtocolError("the hub certified other keys than this box's")


def _enrolled(folder: Path) -> Identity | None:
    try:
        return load_identity(folder)
    except IdentityMissingError:
        return None


def _pending_keys(folder: Path, box: str) -> BoxKeys:
    """Return the keys of the unfinished claim of this code, made and on disk before first use."""
    private_folder(folder)
    pending = folder / f"pending-{box}.json"
    if pending.exists():
        return unpack_keys(read_private(pending))
    keys = new_box_keys()
    write_private(pending, pack_keys(keys))
    return keys


def _forget_pending(folder: Path) -> None:
    for path in folder.iterdir():
        if re.fullmatch(r"pending-[0-9a-f]{8}\.json", path.name):
            remove_durably(path)
