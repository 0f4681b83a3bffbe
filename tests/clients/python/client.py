"""Sends the known trace with OpenTelemetry's SDK for Python.

`client.py OTLP_GRPC OTLP_HTTP`, both as `127.0.0.1:4317`. With `CA` after them it sends over TLS, and
with `CA KEY CERTIFICATE` it has a certificate of its own. Prints one line for each trace that was
sent: how, and the trace's id.
"""

import sys

import grpc
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, format_trace_id


class CardRefused(Exception):
    pass


def send(span_exporter, log_exporter):
    """Makes the trace, exports it and gives its id."""
    resource = Resource.create({"service.name": "client-python", "service.version": "1.2.3"})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(span_exporter))
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    tracer = traces.get_tracer("checkout", "0.1.0")

    earlier = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, is_remote=True)
    with tracer.start_as_current_span(
        "POST /checkout",
        kind=SpanKind.SERVER,
        links=[Link(earlier, {"reason": "retry"})],
        attributes={
            "text": "Grüße",
            "truth": True,
            "number": 9007199254740991,
            "ratio": 0.1,
            "texts": ["a", "b"],
            "numbers": [1, 2],
        },
    ) as root:
        root.add_event("cart loaded", {"items": 3})
        with tracer.start_as_current_span("charge card", kind=SpanKind.CLIENT) as child:
            child.record_exception(CardRefused("card refused"))
            child.set_status(Status(StatusCode.ERROR, "card refused"))
            logs.get_logger("checkout", "0.1.0").emit(
                severity_number=SeverityNumber.ERROR,
                severity_text="ERROR",
                body="card refused",
                attributes={"attempt": 2},
            )
    traces.shutdown()
    logs.shutdown()
    return format_trace_id(root.get_span_context().trace_id)


def read(path):
    return open(path, "rb").read() if path else None


def main(otlp_grpc, otlp_http, ca=None, key=None, certificate=None):
    security = {"insecure": True}
    if ca:
        security = {
            "credentials": grpc.ssl_channel_credentials(read(ca), read(key), read(certificate))
        }
    for compression in [grpc.Compression.NoCompression, grpc.Compression.Gzip]:
        settings = {"endpoint": otlp_grpc, "compression": compression, **security}
        print(f"grpc {compression.name}", send(GrpcSpans(**settings), GrpcLogs(**settings)))
    for compression in [Compression.NoCompression, Compression.Gzip]:
        url = f"{'https' if ca else 'http'}://{otlp_http}/v1"
        settings = {"compression": compression}
        if ca:
            settings["certificate_file"] = ca
        if key:
            settings |= {"client_key_file": key, "client_certificate_file": certificate}
        spans = HttpSpans(endpoint=f"{url}/traces", **settings)
        logs = HttpLogs(endpoint=f"{url}/logs", **settings)
        print(f"http/protobuf {compression.name}", send(spans, logs))


main(*sys.argv[1:])
