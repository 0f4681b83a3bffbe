// Sends the known trace with OpenTelemetry's SDK for Java, and its spans with Zipkin's Brave.
//
// Usage: `java Client.java OTLP_GRPC OTLP_HTTP ZIPKIN`, each in the form `127.0.0.1:4317`, or
// `https://127.0.0.1:4317` over TLS. Prints one line for each trace that was sent: the way of
// export and the trace's id.

import static io.opentelemetry.api.common.AttributeKey.*;

import brave.Tracing;
import brave.sampler.Sampler;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.trace.*;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.*;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.*;
import java.io.IOException;
import java.util.concurrent.TimeUnit;
import zipkin2.reporter.BytesMessageSender;
import zipkin2.reporter.brave.AsyncZipkinSpanHandler;
import zipkin2.reporter.urlconnection.URLConnectionSender;

class Client {
  static class CardRefused extends RuntimeException {
    CardRefused() {
      super("card refused");
    }
  }

  /** Makes the trace, exports it and returns its id. */
  static String send(SpanExporter spanExporter, LogRecordExporter logExporter) {
    var resource = Resource.getDefault().merge(Resource.create(Attributes.of(
        stringKey("service.name"), "client-java", stringKey("service.version"), "1.2.3")));
    var traces = SdkTracerProvider.builder().setResource(resource)
        .addSpanProcessor(BatchSpanProcessor.builder(spanExporter).build()).build();
    var logs = SdkLoggerProvider.builder().setResource(resource)
        .addLogRecordProcessor(BatchLogRecordProcessor.builder(logExporter).build()).build();
    var tracer = traces.tracerBuilder("checkout").setInstrumentationVersion("0.1.0").build();
    var logger = logs.loggerBuilder("checkout").setInstrumentationVersion("0.1.0").build();

    var earlier = SpanContext.createFromRemoteParent("0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331", TraceFlags.getSampled(), TraceState.getDefault());
    var root = tracer.spanBuilder("POST /checkout")
        .setSpanKind(SpanKind.SERVER)
        .addLink(earlier, Attributes.of(stringKey("reason"), "retry"))
        .setAttribute("text", "Gr\u00fc\u00dfe")
        .setAttribute("truth", true)
        .setAttribute("number", 9007199254740991L)
        .setAttribute("ratio", 0.1)
        .setAttribute(stringArrayKey("texts"), java.util.List.of("a", "b"))
        .setAttribute(longArrayKey("numbers"), java.util.List.of(1L, 2L))
        .startSpan();
    root.addEvent("cart loaded", Attributes.of(longKey("items"), 3L));
    var inRoot = Context.root().with(root);
    var child = tracer.spanBuilder("charge card").setSpanKind(SpanKind.CLIENT)
        .setParent(inRoot).startSpan();
    child.recordException(new CardRefused());
    child.setStatus(StatusCode.ERROR, "card refused");
    logger.logRecordBuilder().setContext(inRoot.with(child)).setSeverity(Severity.ERROR)
        .setSeverityText("ERROR").setBody("card refused").setAttribute(longKey("attempt"), 2L).emit();
    child.end();
    root.end();
    traces.shutdown().join(20, TimeUnit.SECONDS);
    logs.shutdown().join(20, TimeUnit.SECONDS);
    return root.getSpanContext().getTraceId();
  }

  /** Sends the trace in Zipkin's terms: text tags, an annotation, an error, and a shared span. */
  static String sendZipkin(String url) throws IOException {
    BytesMessageSender sender = URLConnectionSender.create(url);
    var handler = AsyncZipkinSpanHandler.create(sender);
    var front = Tracing.newBuilder().localServiceName("client-brave").traceId128Bit(true)
        .sampler(Sampler.ALWAYS_SAMPLE).addSpanHandler(handler).build();
    var back = Tracing.newBuilder().localServiceName("client-brave-card")
        .sampler(Sampler.ALWAYS_SAMPLE).addSpanHandler(handler).build();
    var root = front.tracer().newTrace().name("POST /checkout")
        .kind(brave.Span.Kind.SERVER).tag("text", "Gr\u00fc\u00dfe").start();
    root.annotate("cart loaded");
    var client = front.tracer().newChild(root.context()).name("charge card")
        .kind(brave.Span.Kind.CLIENT).remoteServiceName("card").start();
    var server = back.tracer().joinSpan(client.context()).name("charge card")
        .kind(brave.Span.Kind.SERVER).start();
    server.finish();
    client.error(new CardRefused());
    client.finish();
    root.finish();
    handler.flush();
    handler.close();
    sender.close();
    return root.context().traceIdString();
  }

  static String url(String address) {
    return address.contains("://") ? address : "http://" + address;
  }

  public static void main(String[] addresses) throws IOException {
    String grpc = url(addresses[0]), http = url(addresses[1]) + "/v1/";
    for (var compression : new String[] {"none", "gzip"}) {
      System.out.println("grpc " + compression + " " + send(
          OtlpGrpcSpanExporter.builder().setEndpoint(grpc).setCompression(compression).build(),
          OtlpGrpcLogRecordExporter.builder().setEndpoint(grpc).setCompression(compression).build()));
      System.out.println("http/protobuf " + compression + " " + send(
          OtlpHttpSpanExporter.builder().setEndpoint(http + "traces").setCompression(compression).build(),
          OtlpHttpLogRecordExporter.builder().setEndpoint(http + "logs").setCompression(compression).build()));
    }
    System.out.println("zipkin " + sendZipkin(url(addresses[2]) + "/api/v2/spans"));
    // OkHttp's idle threads would keep the program running for a minute.
    System.exit(0);
  }
}
