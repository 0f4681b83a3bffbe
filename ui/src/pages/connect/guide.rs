//! The setup of each kind of sender, with the actual addresses of this server's receivers.

use tidings_proto::api::{ReceiverStatus, StandardReceiver};

/// Addresses that senders send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    grpc: String,
    http: String,
    zipkin: String,
    /// True when they use TLS.
    tls: bool,
}

impl Addresses {
    /// Returns the addresses of these receivers, and the default ones of those that are off.
    pub(super) fn from_receivers(receivers: &[ReceiverStatus]) -> Self {
        let address = |standard: StandardReceiver| {
            let found = receivers.iter().find(|receiver| receiver.name == standard.name);
            found.map_or(standard.address.to_owned(), |receiver| reachable(&receiver.address))
        };
        Self {
            grpc: address(StandardReceiver::OTLP_GRPC),
            http: address(StandardReceiver::OTLP_HTTP),
            zipkin: address(StandardReceiver::ZIPKIN),
            tls: receivers.iter().any(|receiver| receiver.tls),
        }
    }
}

/// Returns an address that a sender on this machine can use. An unspecified address is one to
/// listen on, not to connect to.
fn reachable(address: &str) -> String {
    let any = ["0.0.0.0:", "[::]:"].iter().find_map(|any| address.strip_prefix(any));
    any.map_or_else(|| address.to_owned(), |port| format!("127.0.0.1:{port}"))
}

/// Returns the flags by which other machines reach the receivers, if all of them listen on this
/// machine only: `--otlp-grpc 0.0.0.0:4317`.
pub(super) fn opening_flags(receivers: &[ReceiverStatus]) -> Vec<String> {
    let is_local = |receiver: &ReceiverStatus| {
        ["127.", "[::1]:"].iter().any(|local| receiver.address.starts_with(local))
    };
    if !receivers.iter().all(is_local) {
        return Vec::new();
    }
    let flag = |receiver: &ReceiverStatus| {
        let (_, port) = receiver.address.rsplit_once(':')?;
        Some(format!("--{} 0.0.0.0:{port}", receiver.name.replace('/', "-")))
    };
    receivers.iter().filter_map(flag).collect()
}

/// Returns the command that starts the server with these flags and asks senders for keys.
pub(super) fn opening_command(flags: &[String]) -> String {
    format!("tidings serve {} --require-keys true", flags.join(" "))
}

/// The setup of one kind of sender.
#[derive(Debug)]
pub(super) struct Guide {
    /// The kind of sender.
    pub(super) name: &'static str,
    /// Instruction for the setup text.
    pub(super) words: &'static str,
    template: &'static str,
}

/// Texts of the setups without TLS, and their replacements with TLS and a root certificate file.
const OVER_TLS: [(&str, &str); 5] = [
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}",
        "OTEL_EXPORTER_OTLP_ENDPOINT=https://{http}\nexport OTEL_EXPORTER_OTLP_CERTIFICATE=ca.pem",
    ),
    ("http://{", "https://{"),
    (", otlptracegrpc.WithInsecure()", ""),
    ("insecure: true", "ca_file: ca.pem"),
    ("curl -i ", "curl -i --cacert ca.pem "),
];

impl Guide {
    /// Returns the setup text for these addresses.
    pub(super) fn text(&self, addresses: &Addresses) -> String {
        let over_tls = if addresses.tls { &OVER_TLS[..] } else { &[] };
        let template = self.template.to_owned();
        let template =
            over_tls.iter().fold(template, |text, (plain, secure)| text.replace(plain, secure));
        template
            .replace("{grpc}", &addresses.grpc)
            .replace("{http}", &addresses.http)
            .replace("{zipkin}", &addresses.zipkin)
    }
}

/// Every setup, in the order of the tabs.
pub(super) const GUIDES: [Guide; 11] = [
    Guide {
        name: "Java agent",
        words: "Start the program with the OpenTelemetry agent. No code changes.",
        template: "\
export OTEL_SERVICE_NAME=my-service
export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}
export OTEL_METRICS_EXPORTER=none
java -javaagent:opentelemetry-javaagent.jar -jar app.jar",
    },
    Guide {
        name: "Spring Boot 4",
        words: "Spring Boot 4 with spring-boot-starter-opentelemetry, in application.properties. \
                Logs need OpenTelemetry's appender for Logback besides.",
        template: "\
spring.application.name=my-service
management.tracing.sampling.probability=1.0
management.opentelemetry.tracing.export.otlp.endpoint=http://{http}/v1/traces
management.opentelemetry.logging.export.otlp.endpoint=http://{http}/v1/logs
management.otlp.metrics.export.enabled=false",
    },
    Guide {
        name: "Spring Boot 3",
        words: "Spring Boot 3 with Micrometer Tracing and its OTLP exporter \
                (micrometer-tracing-bridge-otel, opentelemetry-exporter-otlp), in \
                application.properties. Logs are sent from 3.4 on, and need OpenTelemetry's \
                appender for Logback besides.",
        template: "\
spring.application.name=my-service
management.tracing.sampling.probability=1.0
management.otlp.tracing.endpoint=http://{http}/v1/traces
management.otlp.logging.endpoint=http://{http}/v1/logs",
    },
    Guide {
        name: "Spring Cloud Sleuth",
        words: "Spring Boot 2 with Sleuth and its Zipkin reporter, in application.properties.",
        template: "\
spring.application.name=my-service
spring.sleuth.sampler.probability=1.0
spring.zipkin.sender.type=web
spring.zipkin.base-url=http://{zipkin}",
    },
    Guide {
        name: "Go",
        words: "Make a tracer provider at the start of main and shut it down at the end. It reads \
                the variables OTEL_SERVICE_NAME and OTEL_EXPORTER_OTLP_ENDPOINT, too.",
        template: "\
// go get go.opentelemetry.io/otel/sdk go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc
exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(\"{grpc}\"), otlptracegrpc.WithInsecure())
if err != nil { log.Fatal(err) }
provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
defer provider.Shutdown(ctx)
otel.SetTracerProvider(provider)
otel.SetTextMapPropagator(propagation.TraceContext{})",
    },
    Guide {
        name: "Python",
        words: "Start the program with the OpenTelemetry launcher. No code changes.",
        template: "\
pip install opentelemetry-distro opentelemetry-exporter-otlp
opentelemetry-bootstrap -a install
export OTEL_SERVICE_NAME=my-service
export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_METRICS_EXPORTER=none
export OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED=true
opentelemetry-instrument python app.py",
    },
    Guide {
        name: "Node",
        words: "Load the automatic instrumentation before the program. No code changes. Logs of \
                winston come with @opentelemetry/winston-transport, those of pino and bunyan by \
                themselves.",
        template: "\
npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node @opentelemetry/winston-transport
export OTEL_SERVICE_NAME=my-service
export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}
export OTEL_METRICS_EXPORTER=none
node --require @opentelemetry/auto-instrumentations-node/register app.js",
    },
    Guide {
        name: ".NET",
        words: "Add OpenTelemetry.Extensions.Hosting and its OTLP exporter, call \
                AddOpenTelemetry().UseOtlpExporter(), and set these variables.",
        template: "\
export OTEL_SERVICE_NAME=my-service
export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
dotnet run",
    },
    Guide {
        name: "Rust",
        words: "Programs with opentelemetry-otlp read these variables; tracing-opentelemetry joins \
                the tracing crate to it.",
        template: "\
export OTEL_SERVICE_NAME=my-service
export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}
cargo run",
    },
    Guide {
        name: "Collector",
        words: "Add an exporter to the OpenTelemetry Collector's configuration and name it in the \
                pipelines.",
        template: "\
exporters:
  otlp/tidings:
    endpoint: {grpc}
    tls:
      insecure: true

service:
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [otlp/tidings]
    logs:
      receivers: [otlp]
      exporters: [otlp/tidings]",
    },
    Guide {
        name: "Zipkin",
        words: "Point any Zipkin reporter here (Brave, zipkin-js, zipkin-go), or try it by hand.",
        template: "\
curl -i http://{zipkin}/api/v2/spans -H 'content-type: application/json' -d '[{
  \"traceId\": \"5b8efff798038103d269b633813fc60c\",
  \"id\": \"eee19b7ec3c1b174\",
  \"name\": \"get /hello\",
  \"kind\": \"SERVER\",
  \"timestamp\": '$(date +%s)'000000,
  \"duration\": 25000,
  \"localEndpoint\": {\"serviceName\": \"hello\"}
}]'",
    },
];

#[cfg(test)]
mod tests {
    use super::{
        Addresses, GUIDES, ReceiverStatus, StandardReceiver, opening_command, opening_flags,
    };

    fn receiver(name: &str, address: &str) -> ReceiverStatus {
        ReceiverStatus {
            name: name.to_owned(),
            address: address.to_owned(),
            tls: false,
            accepted_requests: 0,
            refused_requests: 0,
            accepted_last_minute: 0,
            refused_last_minute: 0,
            received_bytes: 0,
            bytes_last_minute: 0,
            refusals: Vec::new(),
        }
    }

    #[test]
    fn every_setup_names_a_real_address() {
        let addresses = Addresses::from_receivers(&[
            receiver("otlp/grpc", "127.0.0.1:40001"),
            receiver("otlp/http", "0.0.0.0:40002"),
            receiver("zipkin", "[::]:40003"),
        ]);
        for guide in &GUIDES {
            let text = guide.text(&addresses);
            let named = ["127.0.0.1:40001", "127.0.0.1:40002", "127.0.0.1:40003"];
            assert!(named.iter().any(|address| text.contains(address)), "{}", guide.name);
            assert!(!text.contains("{http}") && !text.contains("0.0.0.0"), "{}", guide.name);
        }
    }

    #[test]
    fn no_setup_for_a_server_with_tls_is_without_it() {
        let secure = ReceiverStatus { tls: true, ..receiver("otlp/http", "127.0.0.1:40002") };
        let addresses = Addresses::from_receivers(&[secure]);
        for guide in &GUIDES {
            let text = guide.text(&addresses).to_lowercase();
            assert!(!text.contains("http://") && !text.contains("insecure"), "{text}");
        }
        let python = GUIDES.iter().find(|guide| guide.name == "Python").unwrap();
        let text = python.text(&addresses);
        assert!(text.contains("ENDPOINT=https://127.0.0.1:40002\n"), "{text}");
        assert!(text.contains("export OTEL_EXPORTER_OTLP_CERTIFICATE=ca.pem\n"), "{text}");
    }

    #[test]
    fn the_readme_names_the_packages_that_the_guides_do() {
        let readme = include_str!("../../../../README.md");
        let addresses = Addresses::from_receivers(&[]);
        for (name, wanted) in [
            ("Node", "@opentelemetry/winston-transport"),
            ("Node", "@opentelemetry/auto-instrumentations-node"),
            ("Python", "opentelemetry-bootstrap -a install"),
            ("Spring Boot 4", "management.opentelemetry.tracing.export.otlp.endpoint"),
            ("Spring Boot 4", "spring-boot-starter-opentelemetry"),
            ("Spring Boot 3", "management.otlp.tracing.endpoint"),
            ("Go", "otlptracegrpc.WithEndpoint(\"127.0.0.1:4317\")"),
        ] {
            let guide = GUIDES.iter().find(|guide| guide.name == name).unwrap();
            let text = format!("{} {}", guide.words, guide.text(&addresses));
            assert!(text.contains(wanted), "{name}: {wanted} is not in the guide");
            assert!(readme.contains(wanted), "{name}: {wanted} is not in the README");
        }
    }

    /// Returns the settings of a setup: the lines of one name and one value. Names of services are
    /// left out, which are each reader's own.
    fn settings(text: &str) -> Vec<&str> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let lines = text.lines().map(|line| line.strip_prefix("export ").unwrap_or(line));
        let set = lines
            .filter(|line| line.split_once('=').is_some_and(|(name, _)| name.chars().all(is_name)));
        set.filter(|line| !line.ends_with("=my-service")).collect()
    }

    #[test]
    fn the_readme_has_every_setting_of_the_guides() {
        let readme = include_str!("../../../../README.md");
        let addresses = Addresses::from_receivers(&[]);
        // Java takes the variables as properties, too: `otel.metrics.exporter`.
        let properties = |text: &str| text.to_lowercase().replace('_', ".");
        for (name, sender) in [
            ("Java agent", "| **Java**, OpenTelemetry agent |"),
            ("Spring Boot 4", "| **Spring Boot 4** (Micrometer Tracing) |"),
            ("Spring Boot 3", "| **Spring Boot 3** (Micrometer Tracing) |"),
            ("Spring Cloud Sleuth", "| **Spring Boot 2** (Sleuth) |"),
            ("Python", "| **Python** |"),
            ("Node", "| **Node** |"),
        ] {
            let guide = GUIDES.iter().find(|guide| guide.name == name).unwrap();
            let row = readme.lines().find(|line| line.starts_with(sender)).unwrap();
            let text = guide.text(&addresses);
            let settings = settings(&text);
            assert!(settings.len() > 1, "{name}: {settings:?}");
            for setting in settings {
                let is_there = properties(row).contains(&properties(setting));
                assert!(is_there, "{name}: {setting} is not in the README");
            }
        }
    }

    #[test]
    fn a_server_on_the_loopback_names_the_flags_that_open_it() {
        let local = [
            receiver("otlp/grpc", "127.0.0.1:40001"),
            receiver("otlp/http", "[::1]:40002"),
            receiver("zipkin", "127.0.0.1:40003"),
        ];
        let flags =
            ["--otlp-grpc 0.0.0.0:40001", "--otlp-http 0.0.0.0:40002", "--zipkin 0.0.0.0:40003"];
        assert_eq!(opening_flags(&local), flags);
        assert_eq!(
            opening_command(&opening_flags(&local[2..])),
            "tidings serve --zipkin 0.0.0.0:40003 --require-keys true"
        );
        let open = [receiver("zipkin", "127.0.0.1:9411"), receiver("otlp/http", "0.0.0.0:4318")];
        assert!(opening_flags(&open).is_empty() && opening_flags(&[]).is_empty());
    }

    #[test]
    fn a_receiver_that_is_off_has_its_default_address() {
        let addresses = Addresses::from_receivers(&[]);
        assert_eq!(addresses.http, StandardReceiver::OTLP_HTTP.address);
    }
}
