"""Sends the known trace with the Zipkin exporters of OpenTelemetry's SDK for Python.

`client.py ZIPKIN`, as `127.0.0.1:9411`, or `https://127.0.0.1:9411` over TLS. Prints one line for each trace that was sent: how, and the
trace's id. Apart from the OTLP client because the two need different versions of protobuf.
"""

import sys

from opentelemetry.exporter.zipkin.json import ZipkinExporter as Json
from opentelemetry.exporter.zipkin.proto.http import ZipkinExporter as Protobuf
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id


def send(exporter):
    """Makes the trace, exports it and gives its id."""
    resource = Resource.create({"service.name": "client-python", "service.version": "1.2.3"})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(exporter))
    tracer = traces.get_tracer("checkout", "0.1.0")
    attributes = {"text": "Grüße", "truth": True, "number": 9007199254740991}
    with tracer.start_as_current_span(
        "POST /checkout", kind=SpanKind.SERVER, attributes=attributes
    ) as root:
        root.add_event("cart loaded", {"items": 3})
        with tracer.start_as_current_span("charge card", kind=SpanKind.CLIENT) as child:
            child.set_status(Status(StatusCode.ERROR, "card refused"))
    traces.shutdown()
    return format_trace_id(root.get_span_context().trace_id)


def main(zipkin):
    address = zipkin if "://" in zipkin else f"http://{zipkin}"
    endpoint = f"{address}/api/v2/spans"
    print("zipkin/protobuf", send(Protobuf(endpoint=endpoint)))
    print("zipkin/json", send(Json(endpoint=endpoint)))


main(*sys.argv[1:])
