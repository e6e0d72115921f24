"""The exporter of OpenTelemetry for Python, as it comes, against a running server.

    python python_otlp.py http://127.0.0.1:8080 otlp-1 '{}'

The arguments are the server, the device that is reported, and headers as a JSON object. Ends with 0 if all
was taken.
"""

import json
import logging
import sys

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

SERVER, DEVICE, HEADERS = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
RESOURCE = Resource.create({"service.name": "till", "service.instance.id": DEVICE})
OPTIONS = {"headers": HEADERS, "timeout": 30}


class Watched(OTLPMetricExporter):
    """The exporter, and what became of what it sent."""

    results = []

    def export(self, *args, **kwargs):
        result = super().export(*args, **kwargs)
        self.results.append(result)
        return result


def cpu(_):
    for core, busy in ((0, 0.25), (1, 0.75)):
        yield Observation(busy, {"cpu.logical_number": core, "cpu.mode": "user"})
        yield Observation(1 - busy, {"cpu.logical_number": core, "cpu.mode": "idle"})


def memory(_):
    yield Observation(0.5, {"system.memory.state": "used"})
    yield Observation(0.5, {"system.memory.state": "free"})


def metrics(compression):
    exporter = Watched(endpoint=f"{SERVER}/v1/metrics", compression=compression, **OPTIONS)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(metric_readers=[reader], resource=RESOURCE)
    meter = provider.get_meter("till")
    meter.create_observable_gauge("system.cpu.utilization", [cpu], unit="1")
    meter.create_observable_gauge("system.memory.utilization", [memory], unit="1")
    meter.create_counter("homepot.transaction.count").add(7)
    meter.create_gauge("homepot.network.latency", unit="ms").set(12.5)
    provider.force_flush()
    provider.shutdown()


def logs():
    exporter = OTLPLogExporter(endpoint=f"{SERVER}/v1/logs", **OPTIONS)
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = logging.getLogger("till")
    logger.setLevel(logging.INFO)
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.warning("paper is low")
    try:
        raise ValueError("card not read")
    except ValueError:
        logger.exception("a sale failed")
    provider.force_flush()
    provider.shutdown()


metrics(Compression.NoCompression)
metrics(Compression.Gzip)
logs()
if not Watched.results or set(Watched.results) != {MetricExportResult.SUCCESS}:
    raise AssertionError(f"{Watched.results}")
