"""Finding PJLink displays: the class 2 search, and asking one host who it is."""

import asyncio
from ipaddress import IPv4Address, IPv4Interface

from drivers.codecs import pjlink
from drivers.discovery.arp import mac_by_arp
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.discovery.refusals import Refusals
from drivers.displays.pjlink_link import DisplayAccess, PjlinkLink
from drivers.entities import NowMs
from drivers.errors import ProtocolError, RefusedError, UnreachableError
from drivers.transports.udp import Datagram, open_udp, sending_socket

PROFILE = "pjlink-projector"
GATHER_S = 2.0
SEARCHES = 2  # datagrams get lost
CONNECT_S = 1.0
ANSWER_S = 2.0
IN_FLIGHT_MAX = 64
DISPLAYS_MAX = 256
# The limited broadcast leaves by the interface whose address it is sent from, loopback included,
# and reaches displays whatever netmask they were given.
_BROADCAST = "255.255.255.255"


async def discover_displays(
    interface: IPv4Interface, now_ms: NowMs, *, gather_s: float = GATHER_S
) -> list[Candidate]:
    """Return the displays within ``interface.network`` that answer a search, ordered by address.

    Class 1 displays know no search. Nothing but questions is sent, and no password. Raises
    SetupError when the interface's address is not ours.
    """
    macs = await _search(interface, gather_s)
    slots = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def ask(host: IPv4Address) -> Candidate | None:
        async with slots:
            return await ask_display(host, macs[host], str(interface.ip), now_ms)

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(host)) for host in sorted(macs)]
    return [candidate for task in asked if (candidate := task.result()) is not None]


async def _search(interface: IPv4Interface, gather_s: float) -> dict[IPv4Address, str]:
    """Return the MAC address of each class 2 display that answers from the network."""
    macs: dict[IPv4Address, str] = {}
    refusals = Refusals("pjlink answer")
    request = pjlink.encode(pjlink.build_search())
    async with open_udp(sending_socket(interface.ip)) as searcher:
        for _repetition in range(SEARCHES):
            searcher.send(request, _BROADCAST, pjlink.PORT)
            try:
                async with asyncio.timeout(gather_s / SEARCHES):
                    while len(macs) < DISPLAYS_MAX:
                        answer = await searcher.receive()
                        try:
                            macs[answer.source] = _mac_told(interface, answer)
                        except (RefusedError, ProtocolError) as error:
                            refusals.tell(answer.source, error)
            except TimeoutError:
                continue
    return macs


def _mac_told(interface: IPv4Interface, answer: Datagram) -> str:
    """Return the MAC address in an answer; RefusedError or ProtocolError when it is not good."""
    if answer.source not in interface.network:
        raise RefusedError(f"not in {interface.network}; refused")
    lines = pjlink.Lines().receive(answer.data.removesuffix(b"\r") + b"\r")
    return pjlink.parse_acknowledgement(lines[0])


async def ask_display(
    host: IPv4Address, mac: str | None, local_host: str, now_ms: NowMs
) -> Candidate | None:
    """Ask a host who it is; None when no PJLink display answers there.

    ``mac`` is what it told in a search, None when it is asked without one.
    """
    evidence: list[Evidence] = []
    if mac is not None:
        evidence.append(Evidence(method="pjlink search", detail=f"MAC {mac}", observed_ms=now_ms()))
    facts: dict[str, str] = {}
    needs = Need.NOTHING
    try:
        link = await PjlinkLink.open(
            DisplayAccess(host=str(host)),
            timeout_s=CONNECT_S,
            answer_s=ANSWER_S,
            local_host=local_host,
        )
        try:
            if link.asks_for_password:
                needs = Need.PASSWORD
            else:
                facts = await _facts(link)
        finally:
            await link.close()
    except (UnreachableError, ProtocolError, RefusedError) as error:
        if mac is None:
            return None
        # It answered the search, so it is there, but its one link may be taken.
        needs = Need.PASSWORD if isinstance(error, RefusedError) else Need.NOTHING
        detail = str(error)
    else:
        told = ", ".join(f"{name}={value}" for name, value in facts.items())
        detail = "asks for a password" if needs is Need.PASSWORD else (told or "tells nothing")
    evidence.append(Evidence(method="pjlink greeting", detail=detail[:500], observed_ms=now_ms()))
    if mac is None:
        mac = await asyncio.to_thread(mac_by_arp, host)
    name = " ".join(filter(None, (facts.get("INF1"), facts.get("INF2")))) or "PJLink display"
    return Candidate(
        identity=_identity(mac, facts.get("SNUM"), host),
        kind=DeviceKind.BLACKBOARD,
        address=f"pjlink://{host}:{pjlink.PORT}",
        name=f"{name} ({facts['NAME']})" if facts.get("NAME") else name,
        profile=PROFILE,
        evidence=tuple(evidence),
        confidence=0.95 if facts or needs is Need.PASSWORD else 0.6,
        needs=needs,
    )


async def _facts(link: PjlinkLink) -> dict[str, str]:
    """Return what a display tells of itself; commands it lacks are left out."""
    facts: dict[str, str] = {}
    for name in ("CLSS", "NAME", "INF1", "INF2", "INST"):
        await _add_fact(link, facts, 1, name)
    if facts.get("CLSS") == "2":
        await _add_fact(link, facts, 2, "SNUM")
    return facts


async def _add_fact(
    link: PjlinkLink, facts: dict[str, str], pjlink_class: pjlink.PjlinkClass, name: str
) -> None:
    reply = await link.exchange(pjlink.Command(pjlink_class=pjlink_class, name=name, parameter="?"))
    value = "".join(character for character in reply.parameter if character.isprintable()).strip()
    if reply.error is None and value:
        facts[name] = value


def _identity(mac: str | None, serial: str | None, host: IPv4Address) -> str:
    if mac is not None:
        return f"pjlink:{mac}"
    if serial:
        return f"pjlink:serial:{serial}"
    return f"pjlink:address:{host}"
