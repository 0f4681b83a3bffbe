// Sends the known trace with OpenTelemetry's SDK for Node.
//
// Usage: `client.js OTLP_GRPC OTLP_HTTP ZIPKIN`, each in the form `127.0.0.1:4317`, or
// `https://127.0.0.1:4317` over TLS. Prints one line for each trace that was sent: the way of
// export and the trace's id.

const { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } = require("@opentelemetry/api");
const { SeverityNumber } = require("@opentelemetry/api-logs");
const { CompressionAlgorithm } = require("@opentelemetry/otlp-exporter-base");
const { defaultResource, resourceFromAttributes } = require("@opentelemetry/resources");
const { BatchLogRecordProcessor, LoggerProvider } = require("@opentelemetry/sdk-logs");
const { BasicTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { ZipkinExporter } = require("@opentelemetry/exporter-zipkin");

const exporters = {
  grpc: {
    Spans: require("@opentelemetry/exporter-trace-otlp-grpc").OTLPTraceExporter,
    Logs: require("@opentelemetry/exporter-logs-otlp-grpc").OTLPLogExporter,
  },
  "http/protobuf": {
    Spans: require("@opentelemetry/exporter-trace-otlp-proto").OTLPTraceExporter,
    Logs: require("@opentelemetry/exporter-logs-otlp-proto").OTLPLogExporter,
  },
  "http/json": {
    Spans: require("@opentelemetry/exporter-trace-otlp-http").OTLPTraceExporter,
    Logs: require("@opentelemetry/exporter-logs-otlp-http").OTLPLogExporter,
  },
};

class CardRefused extends Error {
  name = "CardRefused";
}

/** Makes the trace, exports it and returns its id. Zipkin has no log records. */
async function send(spanExporter, logExporter) {
  const about = { "service.name": "client-node", "service.version": "1.2.3" };
  const resource = defaultResource().merge(resourceFromAttributes(about));
  const spanProcessors = [new BatchSpanProcessor(spanExporter)];
  const traces = new BasicTracerProvider({ resource, spanProcessors });
  const processors = logExporter ? [new BatchLogRecordProcessor({ exporter: logExporter })] : [];
  const logs = new LoggerProvider({ resource, processors });
  const tracer = traces.getTracer("checkout", "0.1.0");

  const earlier = {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    traceFlags: 1,
  };
  const root = tracer.startSpan(
    "POST /checkout",
    {
      kind: SpanKind.SERVER,
      links: [{ context: earlier, attributes: { reason: "retry" } }],
      attributes: {
        text: "Grüße",
        truth: true,
        number: 9007199254740991,
        ratio: 0.1,
        texts: ["a", "b"],
        numbers: [1, 2],
      },
    },
    ROOT_CONTEXT,
  );
  root.addEvent("cart loaded", { items: 3 });
  const inRoot = trace.setSpan(ROOT_CONTEXT, root);
  const child = tracer.startSpan("charge card", { kind: SpanKind.CLIENT }, inRoot);
  child.recordException(new CardRefused("card refused"));
  child.setStatus({ code: SpanStatusCode.ERROR, message: "card refused" });
  logs.getLogger("checkout", "0.1.0").emit({
    context: trace.setSpan(inRoot, child),
    severityNumber: SeverityNumber.ERROR,
    severityText: "ERROR",
    body: "card refused",
    attributes: { attempt: 2 },
  });
  child.end();
  root.end();
  await traces.shutdown();
  await logs.shutdown();
  return root.spanContext().traceId;
}

async function main(...addresses) {
  const url = (address) => (address.includes("://") ? address : `http://${address}`);
  const [otlpGrpc, otlpHttp, zipkin] = addresses.map(url);
  for (const [protocol, { Spans, Logs }] of Object.entries(exporters)) {
    const grpc = protocol === "grpc";
    for (const compression of [CompressionAlgorithm.NONE, CompressionAlgorithm.GZIP]) {
      const settings = (path) => ({
        url: grpc ? otlpGrpc : `${otlpHttp}${path}`,
        compression,
      });
      const id = await send(new Spans(settings("/v1/traces")), new Logs(settings("/v1/logs")));
      console.log(`${protocol} ${compression} ${id}`);
    }
  }
  const exporter = new ZipkinExporter({ url: `${zipkin}/api/v2/spans` });
  console.log(`zipkin ${await send(exporter)}`);
}

main(...process.argv.slice(2));
