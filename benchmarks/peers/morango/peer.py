"""Morango as a peer of the benchmarks: its own database and its own network sync.

``peer.py init-server``, then ``peer.py serve`` at the hub's end; ``peer.py init-client`` once and
``peer.py push`` at the box's end. PEER_DATABASE names the SQLite file. Rows are a JSON list in a
file. ``push`` prints one JSON object; with ``--resume-for`` it takes up a broken session again.
"""

import argparse
import json
import os
import sys
import time
from itertools import islice
from pathlib import Path

import django

# Both sides' memory is read by one function.
sys.path.append(str(Path(__file__).parents[3]))

from benchmarks.processes import peak_rss_mb  # noqa: E402 — see above

ROWS_A_TRANSACTION = 1000
RETRY_S = 1.0


def main():
    options = argparse.ArgumentParser(description=__doc__)
    commands = options.add_subparsers(dest="command", required=True)
    made = commands.add_parser("init-server")
    made.add_argument("--identity", type=Path, required=True, help="written for the client")
    made = commands.add_parser("init-client")
    made.add_argument("--identity", type=Path, required=True)
    made = commands.add_parser("serve")
    made.add_argument("--address", required=True)
    made.add_argument("--port", type=int, required=True)
    made = commands.add_parser("push")
    made.add_argument("--url", required=True)
    made.add_argument("--table", choices=("tap", "slot"), required=True)
    made.add_argument("--rows", type=Path, required=True)
    made.add_argument("--chunk", type=int, default=500)
    made.add_argument("--no-sleep", action="store_true", help="remove the polling sleeps")
    made.add_argument("--resume-for", type=float, default=0.0, help="seconds")
    given = options.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    os.environ.setdefault("MORANGO_SYSTEM_ID", os.environ["PEER_DATABASE"])
    django.setup()
    {
        "init-server": init_server,
        "init-client": init_client,
        "serve": serve,
        "push": push,
    }[given.command](given)


def init_server(given):
    """Make the database, the root certificate and one for the client."""
    from morango.models.certificates import Certificate, Key

    _make_database()
    root_scope, school_scope = _make_scopes()
    root = Certificate.generate_root_certificate(root_scope.id)
    key = Key()
    school = Certificate(
        parent=root,
        profile=root.profile,
        scope_definition=school_scope,
        scope_version=school_scope.version,
        scope_params=json.dumps({"dataset": root.id}),
        private_key=key,
    )
    root.sign_certificate(school)
    school.save()
    chain = [
        {"id": each.id, "serialized": each.serialized, "signature": each.signature}
        for each in (root, school)
    ]
    given.identity.write_text(
        json.dumps({"chain": chain, "key": key.get_private_key_string(), "dataset": root.id})
    )


def init_client(given):
    """Make the database and take over the certificate."""
    from morango.models.certificates import Certificate, Key

    _make_database()
    _make_scopes()
    identity = json.loads(given.identity.read_text())
    school = Certificate.save_certificate_chain(identity["chain"])
    school.private_key = Key(private_key_string=identity["key"])
    school.save()


def serve(given):
    """Serve as Kolibri does: Django under cheroot, until stopped."""
    from cheroot.wsgi import Server
    from django.core.wsgi import get_wsgi_application

    server = Server((given.address, given.port), get_wsgi_application())
    try:
        server.start()
    except KeyboardInterrupt:
        server.stop()


def push(given):
    """Write the rows and push them; time runs from the first write until the server has them.

    The connection and its session are made before, and told apart (``connect_s``); with
    ``--resume-for`` they are made after the rows are written, and are a part of the time.
    """
    from django.db import transaction
    from morango.errors import MorangoError
    from morango.models.certificates import Certificate, Filter
    from morango.sync import controller
    from morango.sync.controller import MorangoProfileController
    from requests.exceptions import RequestException
    from taps.models import PROFILE

    if given.no_sleep:
        controller.sleep = lambda _seconds: None
    school = Certificate.objects.exclude(parent=None).get()
    dataset = school.parent_id
    rows = json.loads(given.rows.read_text())
    write = {"tap": _write_taps, "slot": _write_slots}[given.table]
    profile = MorangoProfileController(PROFILE)
    connection, session_id, connect_s = None, None, 0.0
    if not given.resume_for:
        began = time.perf_counter()
        connection = profile.create_network_connection(given.url, chunk_size=given.chunk)
        session = connection.create_sync_session(school, school.parent)
        session_id = session.sync_session.id
        client = session.get_push_client()
        connect_s = time.perf_counter() - began
    began, cpu_began = time.perf_counter(), time.process_time()
    remaining = iter(rows)
    while batch := list(islice(remaining, ROWS_A_TRANSACTION)):
        with transaction.atomic():
            write(dataset, batch)
    captured = time.perf_counter()
    failures, sent, received, error = 0, 0, 0, None
    while True:
        try:
            if connection is None:
                connection = profile.create_network_connection(given.url, chunk_size=given.chunk)
                if session_id is None:
                    session = connection.create_sync_session(school, school.parent)
                    session_id = session.sync_session.id
                else:
                    session = connection.resume_sync_session(
                        session_id, ignore_existing_process=True
                    )
                client = session.get_push_client()
            client.initialize(Filter(dataset))
            client.run()
            client.finalize()
            arrived, cpu_arrived = time.perf_counter(), time.process_time()
            connection.close_sync_session(session.sync_session)
            error = None
        except (MorangoError, RequestException) as failed:
            arrived, cpu_arrived = time.perf_counter(), time.process_time()
            failures += 1
            error = repr(failed)[:300]
        if connection is not None:
            sent += connection.bytes_sent
            received += connection.bytes_received
            connection.close()
            connection = None
        if error is None or time.perf_counter() - captured > given.resume_for:
            break
        time.sleep(RETRY_S)
    sys.stdout.write(
        json.dumps(
            {
                "wall_s": arrived - began,
                "capture_s": captured - began,
                "connect_s": connect_s,
                "cpu_s": cpu_arrived - cpu_began,
                "peak_rss_mb": peak_rss_mb(os.getpid()),
                "sent_bytes": sent,
                "received_bytes": received,
                "failures": failures,
                "error": error,
            }
        )
        + "\n"
    )


def _make_database():
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


def _make_scopes():
    from morango.models.certificates import ScopeDefinition
    from taps.models import PROFILE

    about = {
        "profile": PROFILE,
        "version": 1,
        "read_filter_template": "",
        "write_filter_template": "",
        "read_write_filter_template": "${dataset}",
    }
    return (
        ScopeDefinition.objects.create(
            id="district", primary_scope_param_key="dataset", description="all", **about
        ),
        ScopeDefinition.objects.create(
            id="school", primary_scope_param_key="", description="all", **about
        ),
    )


def _write_taps(dataset, rows):
    from taps.models import Tap

    taps = [Tap(dataset=dataset, **row) for row in rows]
    for tap in taps:
        tap.id = tap.calculate_uuid()  # what save() does; bulk_create does not
    Tap.objects.bulk_create(taps)


def _write_slots(dataset, rows):
    from taps.models import Slot

    for row in rows:
        changes = {name: value for name, value in row.items() if name != "slot"}
        if not Slot.objects.filter(dataset=dataset, slot=row["slot"]).update(**changes):
            Slot(dataset=dataset, **row).save()


if __name__ == "__main__":
    main()
