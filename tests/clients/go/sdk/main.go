// Sends the known trace with OpenTelemetry's SDK for Go.
//
// Usage: `sdk OTLP_GRPC OTLP_HTTP`, both in the form `127.0.0.1:4317`, or `https://127.0.0.1:4317`
// over TLS. Prints one line for each trace that was sent: the way of export and the trace's id.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"
)

// send makes the trace, exports it and returns its id.
func send(ctx context.Context, spans sdktrace.SpanExporter, records sdklog.Exporter) trace.TraceID {
	about, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		attribute.String("service.name", "client-go"), attribute.String("service.version", "1.2.3")))
	must(err)
	traces := sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithBatcher(spans))
	logs := sdklog.NewLoggerProvider(
		sdklog.WithResource(about), sdklog.WithProcessor(sdklog.NewBatchProcessor(records)))
	tracer := traces.Tracer("checkout", trace.WithInstrumentationVersion("0.1.0"))

	traceID, err := trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")
	must(err)
	spanID, err := trace.SpanIDFromHex("b7ad6b7169203331")
	must(err)
	earlier := trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, Remote: true})
	inRoot, root := tracer.Start(ctx, "POST /checkout",
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithLinks(trace.Link{
			SpanContext: earlier,
			Attributes:  []attribute.KeyValue{attribute.String("reason", "retry")},
		}),
		trace.WithAttributes(
			attribute.String("text", "Grüße"),
			attribute.Bool("truth", true),
			attribute.Int64("number", 9007199254740991),
			attribute.Float64("ratio", 0.1),
			attribute.StringSlice("texts", []string{"a", "b"}),
			attribute.IntSlice("numbers", []int{1, 2}),
		))
	root.AddEvent("cart loaded", trace.WithAttributes(attribute.Int("items", 3)))
	inChild, child := tracer.Start(inRoot, "charge card", trace.WithSpanKind(trace.SpanKindClient))
	child.RecordError(errors.New("card refused"))
	child.SetStatus(codes.Error, "card refused")
	var record otellog.Record
	record.SetTimestamp(time.Now())
	record.SetSeverity(otellog.SeverityError)
	record.SetSeverityText("ERROR")
	record.SetBody(otellog.StringValue("card refused"))
	record.AddAttributes(otellog.Int("attempt", 2))
	logs.Logger("checkout", otellog.WithInstrumentationVersion("0.1.0")).Emit(inChild, record)
	child.End()
	root.End()
	must(traces.Shutdown(ctx))
	must(logs.Shutdown(ctx))
	return root.SpanContext().TraceID()
}

func main() {
	ctx := context.Background()
	overGrpc, overHTTP := url(os.Args[1]), url(os.Args[2])
	for _, compression := range []string{"none", "gzip"} {
		forSpans := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(overGrpc)}
		forLogs := []otlploggrpc.Option{otlploggrpc.WithEndpointURL(overGrpc)}
		if strings.HasPrefix(overGrpc, "https://") {
			// Unlike the span exporter, the log exporter does not read certificates from the environment.
			forLogs = append(forLogs, otlploggrpc.WithTLSCredentials(credentials.NewTLS(tlsOfEnvironment())))
		}
		if compression != "none" {
			forSpans = append(forSpans, otlptracegrpc.WithCompressor(compression))
			forLogs = append(forLogs, otlploggrpc.WithCompressor(compression))
		}
		spans, err := otlptracegrpc.New(ctx, forSpans...)
		must(err)
		records, err := otlploggrpc.New(ctx, forLogs...)
		must(err)
		fmt.Println("grpc", compression, send(ctx, spans, records))
	}
	for compression, name := range []string{"none", "gzip"} {
		spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(overHTTP+"/v1/traces"),
			otlptracehttp.WithCompression(otlptracehttp.Compression(compression)))
		must(err)
		records, err := otlploghttp.New(ctx, otlploghttp.WithEndpointURL(overHTTP+"/v1/logs"),
			otlploghttp.WithCompression(otlploghttp.Compression(compression)))
		must(err)
		fmt.Println("http/protobuf", name, send(ctx, spans, records))
	}
}

// url adds the scheme to an address that has none.
func url(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	return "http://" + address
}

// tlsOfEnvironment loads the authority and the client's certificate that the environment names.
func tlsOfEnvironment() *tls.Config {
	authority, err := os.ReadFile(os.Getenv("OTEL_EXPORTER_OTLP_CERTIFICATE"))
	must(err)
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authority)
	if path := os.Getenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"); path != "" {
		own, err := tls.LoadX509KeyPair(path, os.Getenv("OTEL_EXPORTER_OTLP_CLIENT_KEY"))
		must(err)
		config.Certificates = []tls.Certificate{own}
	}
	return config
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
