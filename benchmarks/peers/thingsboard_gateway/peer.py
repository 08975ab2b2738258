"""thingsboard-gateway's Modbus connector on one serial line; started by the benchmark.

Everything between the line and the gateway's storage is theirs; the storage counts and drops, so
that nothing is charged for keeping a value. Prints one JSON object.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

# The package looks for its configuration folder where it is imported.
sys.argv, GIVEN = sys.argv[:1], sys.argv[1:]

from thingsboard_gateway.connectors.modbus.modbus_connector import (  # noqa: E402 — see above
    AsyncModbusConnector,
)

# Both sides' memory is read by one function.
sys.path.append(str(Path(__file__).parents[3]))

from benchmarks.processes import peak_rss_mb  # noqa: E402 — see above

WARM_UP_S = 4.0


class Storage:
    """What the connector asks of the gateway around it; every value handed over is counted."""

    def __init__(self, folder):
        self.folder = folder
        self.devices = {}
        self.values = 0
        self.remote_handler = logging.NullHandler()
        self.remote_handler.add_logger = lambda *_: None
        self.remote_handler.loggers = {}
        self.name = "benchmark"
        self.stopped = False

    def get_config_path(self):
        return self.folder

    def get_devices(self, *_):
        return self.devices

    def add_device(self, name, content, device_type=None):
        self.devices[name] = content
        return True

    def del_device(self, name):
        self.devices.pop(name, None)

    def send_to_storage(self, _connector, _number, data):
        self.values += data.telemetry_datapoints_count


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--line", required=True)
    options.add_argument("--baud", type=int, required=True)
    options.add_argument("--units", required=True, help="unit ids with commas between")
    options.add_argument("--registers", type=int, required=True)
    options.add_argument("--period-ms", type=int, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--ranges", action="store_true", help="one read a unit, not one a value")
    given = options.parse_args(GIVEN)
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where the connector's logs go
        storage = Storage(folder + "/")
        slaves = [slave(given, int(unit)) for unit in given.units.split(",")]
        config = {"name": "bus", "logLevel": "NONE", "master": {"slaves": slaves}, "id": "bus"}
        connector = AsyncModbusConnector(storage, config, "modbus")
        connector.open()
        time.sleep(WARM_UP_S)
        from_ms, wall, cpu, values = measure(storage)
        time.sleep(given.seconds)
        until_ms, wall_end, cpu_end, values_end = measure(storage)
        print(
            json.dumps(
                {
                    "wall_s": wall_end - wall,
                    "cpu_s": cpu_end - cpu,
                    "from_ms": from_ms,
                    "until_ms": until_ms,
                    "values": values_end - values,
                    "peak_rss_mb": peak_rss_mb(os.getpid()),
                }
            ),
            flush=True,
        )
        # Closing takes it five seconds, which nobody measures.
        os._exit(0)


def measure(storage):
    return time.time_ns() // 1_000_000, time.perf_counter(), time.process_time(), storage.values


def slave(given, unit):
    point = {"type": "16uint", "functionCode": 3, "objectsCount": 1}
    if given.ranges:
        points = [{**point, "tag": "value-${address}", "address": f"0-{given.registers - 1}"}]
    else:
        points = [
            {**point, "tag": f"value-{register}", "address": register}
            for register in range(given.registers)
        ]
    return {
        "type": "serial",
        "method": "rtu",
        "port": given.line,
        "baudrate": given.baud,
        "timeout": 1,
        "stopbits": 1,
        "bytesize": 8,
        "parity": "N",
        "byteOrder": "BIG",
        "wordOrder": "BIG",
        "retries": 0,
        "pollPeriod": given.period_ms,
        "unitId": unit,
        "deviceName": f"unit {unit}",
        "timeseries": points,
        "attributes": [],
    }


if __name__ == "__main__":
    threading.excepthook = lambda _: os._exit(1)
    main()
