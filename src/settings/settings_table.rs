//! The table of settings.

use super::{Settings, own_signals, setting_value};

/// One setting.
pub(crate) struct Setting {
    /// Its name on the command line, as `otlp-grpc`.
    pub(crate) name: &'static str,
    /// Its default, as a user would write it.
    pub(crate) default: &'static str,
    /// Description with its unit.
    pub(crate) help: &'static str,
    /// Unit of its value; `None` for a setting that bounds nothing.
    pub(crate) unit: Option<&'static str>,
    /// Checks a text and takes it over.
    pub(crate) set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Setting {
    /// Its key in the file, as `otlp_grpc`.
    pub(crate) fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Its environment variable, as `TIDINGS_OTLP_GRPC`.
    pub(crate) fn variable(&self) -> String {
        format!("TIDINGS_{}", self.key().to_ascii_uppercase())
    }
}

macro_rules! setting {
    ($name:literal, $default:literal, $parse:path, $($field:ident).+, $help:literal) => {
        Setting {
            name: $name,
            default: $default,
            help: $help,
            unit: unit($name, stringify!($parse)),
            set: |settings, text| {
                settings.$($field).+ = $parse(text)?;
                Ok(())
            },
        }
    };
}

/// The address of the receiver of this name, which has `/` where the setting has a hyphen.
macro_rules! receiver {
    ($name:literal, $default:literal, $help:literal) => {
        Setting {
            name: $name,
            default: $default,
            help: $help,
            unit: None,
            set: |settings, text| {
                settings.receivers.push(($name, setting_value::address(text)?));
                Ok(())
            },
        }
    };
}

/// Returns the unit of a setting, by what reads it and by its name.
const fn unit(name: &str, parse: &str) -> Option<&'static str> {
    match parse.as_bytes() {
        b"setting_value::bytes" | b"setting_value::limit" | b"setting_value::budget" => {
            Some("bytes")
        }
        b"setting_value::age" => Some("age"),
        b"setting_value::count" => Some(count_unit(name.as_bytes())),
        _ => None,
    }
}

const fn count_unit(name: &[u8]) -> &'static str {
    match name {
        [.., b'm', b'i', b'l', b'l', b'i', b's'] => "milliseconds",
        [.., b's', b'e', b'c', b'o', b'n', b'd', b's']
        | [.., b's', b'e', b'c', b'o', b'n', b'd', b's', b'-', b'm', b'a', b'x'] => "seconds",
        [.., b'r', b'o', b'w', b's', b'-', b'm', b'a', b'x'] => "rows",
        _ => "count",
    }
}

/// Every setting.
#[rustfmt::skip]
pub(crate) const SETTINGS: &[Setting] = &[
    setting!("data-dir", "./data", setting_value::path, data_dir, "folder that holds the log and, unless they are elsewhere, the tables"),
    setting!("tables", "local", setting_value::tables, tables, "where the tables are: local (in the data directory) or s3://bucket/prefix; credentials come from AWS's environment variables"),
    setting!("tables-endpoint", "", setting_value::text, tables_endpoint, "URL of the S3-compatible store, when it is not Amazon's"),
    setting!("tables-region", "", setting_value::text, tables_region, "region of the bucket (us-east-1 unless AWS_REGION says otherwise)"),
    setting!("tables-allow-http", "false", setting_value::truth, tables_allow_http, "reach a store on another machine unencrypted"),
    setting!("tables-cache-bytes-max", "10GiB", setting_value::bytes, tables_cache_bytes_max, "copies on the local disk of files of tables that are elsewhere"),
    setting!("http", "127.0.0.1:8434", setting_value::address, http, "address of the UI and the API"),
    receiver!("otlp-grpc", "127.0.0.1:4317", "address of the OTLP/gRPC receiver"),
    receiver!("otlp-http", "127.0.0.1:4318", "address of the OTLP/HTTP receiver"),
    receiver!("zipkin", "127.0.0.1:9411", "address of the Zipkin receiver"),
    setting!("insecure", "false", setting_value::truth, insecure, "listen on addresses that other machines can reach, although nothing checks who sends and who reads"),
    setting!("require-keys", "false", setting_value::truth, require_keys, "every request needs a key, made with `tidings keys create`, of a role that allows it"),
    setting!("keys-file", "", setting_value::file, keys_file, "file with the digests of keys; keys.json in the data directory unless it is set"),
    setting!("oidc-issuer", "", setting_value::issuer, oidc.issuer, "issuer of OpenID Connect, as https://login.example/realms/main: every request needs a key, a session of a person it knows, or a token of it"),
    setting!("oidc-client-id", "", setting_value::text, oidc.client_id, "name by which the issuer knows this server: people sign in with it"),
    setting!("oidc-client-secret-file", "", setting_value::file, oidc.client_secret_file, "file with the secret of that client, if it has one; or the variable TIDINGS_OIDC_CLIENT_SECRET, with the secret itself"),
    setting!("oidc-scopes", "openid,profile,email", setting_value::list, oidc.scopes, "scopes that the issuer is asked for; offline_access, where the issuer has it, lets sessions outlast its tokens"),
    setting!("oidc-roles-claim", "roles", setting_value::text, oidc.roles_claim, "claim of tokens that gives roles: groups, hd, or with dots between names of nested ones, as realm_access.roles"),
    setting!("oidc-roles", "admin=admin,read=read,ingest=ingest", setting_value::text, oidc.roles, "values of that claim and the roles they give, with commas between them, as ops=admin,dev=read; * stands for whoever the issuer lets in"),
    setting!("oidc-tenant-claim", "", setting_value::text, oidc.tenant_claim, "claim of tokens that names the tenants of a person or machine, its own first; all belong to the tenant `default` unless it is set"),
    setting!("oidc-audience", "", setting_value::list, oidc.audience, "audiences (aud) of tokens with which machines send and read, with commas between them; none are taken unless it is set"),
    setting!("oidc-name", "", setting_value::text, oidc.name, "name of the issuer on the button to sign in; its host unless it is set"),
    setting!("oidc-ca", "", setting_value::file, oidc.ca, "PEM file with roots of the issuer's certificate, besides the system's"),
    setting!("public-url", "", setting_value::origin, public_url, "address by which browsers reach the UI, as https://tidings.example, where a proxy is before it; the issuer sends them back there"),
    setting!("trusted-proxies", "", setting_value::proxies, trusted_proxies, "proxies before this server, as 10.0.0.0/8 or fd00::1 with commas between them: the client of a request from one of them is the last address of X-Forwarded-For that is no such proxy"),
    setting!("tenants-max", "16", setting_value::count, tenants_max, "tenants that there can be, `default` among them; fewer where memory-bytes-max has no room for the largest request of each"),
    setting!("tls-certificate", "", setting_value::file, tls_certificate, "PEM file with the certificate of every listener, followed by those that lead to its root; they speak TLS then, and nothing else"),
    setting!("tls-key", "", setting_value::file, tls_key, "PEM file with the key of tls-certificate"),
    setting!("tls-client-ca", "", setting_value::file, tls_client_ca, "PEM file with roots: every client needs a certificate that leads to one of them"),
    setting!("allowed-hosts", "", setting_value::list, allowed_hosts, "names that requests may use for this host, besides localhost, the machine's own name and addresses"),
    setting!("allow-origins", "", setting_value::origins, allow_origins, "origins whose pages may read the API from a browser, as https://dash.example or http://localhost:3000, with commas between them"),
    setting!("transaction-keys", "tid,transaction.id,order.id,request.id,x-request-id,http.request.header.x-request-id,correlation.id,correlation_id,messaging.message.id", setting_value::list, transaction_keys, "attributes whose values name transactions"),
    setting!("redact", "true", setting_value::truth, redact, "replace secrets in what is received by [REDACTED] before anything is stored: authorization headers, cookies, passwords, keys and tokens in attributes, URLs and SQL"),
    setting!("redact-keys", "", setting_value::list, redact_keys, "more attributes whose values are secret, with commas between them: whole keys or their last part behind a dot, as x-internal-pin"),
    setting!("audit-reads", "false", setting_value::truth, audit_reads, "record in the audit log who reads, too, with path and query, besides changes and denied requests"),
    setting!("audit-age", "365d", setting_value::age, audit_age, "days of the audit log are deleted at this age: days, hours or minutes as 365d, 12h; or forever"),
    setting!("log", "info,buoyant_kernel=warn,deltalake_core=warn", setting_value::log_filter, log, "what the program logs: error, warn, info, debug, trace, or per module as in RUST_LOG"),
    setting!("own-telemetry", "off", own_signals::records, own_telemetry.records, "which of the server's own traces and log lines are stored, as service tidings of the tenant default: off, errors (what failed or was slow, and log lines from warnings on) or all (every question to the HTTP address besides, and all log lines from information on)"),
    setting!("own-telemetry-slow-millis", "1000", setting_value::count, own_telemetry.slow_millis, "questions, requests, flushes and upkeep that take this many milliseconds are slow, for own-telemetry"),
    setting!("metrics-endpoint", "", own_signals::endpoint, metrics_push.endpoint, "OTLP/HTTP collector that gets the metrics of /metrics, as http://127.0.0.1:4318; /v1/metrics is its path unless it has one; none are sent unless it is set"),
    setting!("metrics-interval-seconds", "60", setting_value::count, metrics_push.interval_seconds, "metrics are sent to metrics-endpoint this often"),
    setting!("metrics-ca", "", setting_value::file, metrics_push.ca, "PEM file with roots of the certificate of metrics-endpoint, or the certificate itself"),
    setting!("otlp-grpc-message-bytes-max", "4MiB", setting_value::bytes, otlp_grpc_message_bytes_max, "largest OTLP/gRPC message, decompressed"),
    setting!("http-body-bytes-max", "20MiB", setting_value::bytes, http_body_bytes_max, "largest body of an OTLP/HTTP or Zipkin request, decompressed"),
    setting!("memory", "auto", setting_value::budget, memory, "memory that is divided among what takes much of it, at least 192MiB; auto is a quarter of the machine's memory, or of its control group's. The six settings whose names have `memory` or `in-flight` in them are shares of it unless they are set, and at most their defaults"),
    setting!("in-flight-bytes-max", "256MiB", setting_value::bytes, in_flight_bytes_max, "memory of all requests that are being received, bodies and decoded forms; more are told to try again (4/32 of memory)"),
    setting!("connections-max", "2000", setting_value::count, connections_max, "connections of each listener; fewer where the system allows the process too few open files"),
    setting!("memory-flush-bytes", "320MiB", setting_value::bytes, memory_flush_bytes, "the memory table is written to files at this size (3/32 of memory)"),
    setting!("memory-flush-seconds", "60", setting_value::count, memory_flush_seconds, "the memory table is written to files at this age"),
    setting!("memory-bytes-max", "560MiB", setting_value::bytes, memory_bytes_max, "senders are told to try again when the memory table has this size (6/32 of memory)"),
    setting!("wal-segment-bytes", "64MiB", setting_value::bytes, wal_segment_bytes, "size at which a segment of the write-ahead log is closed"),
    setting!("wal-bytes-max", "2GiB", setting_value::bytes, wal_bytes_max, "senders are told to try again when the write-ahead log has this size"),
    setting!("index-memory-bytes-max", "256MiB", setting_value::bytes, index_memory_bytes_max, "the indexes of data files take at most this much memory; beyond it they are read from the disk each time (4/32 of memory)"),
    setting!("metadata-memory-bytes-max", "256MiB", setting_value::bytes, metadata_memory_bytes_max, "decoded metadata of data files takes at most this much memory; beyond it that of files read long ago is decoded again (3/32 of memory)"),
    setting!("disk-reserve-bytes", "320MiB", setting_value::bytes, disk_reserve_bytes, "senders are told to try again when the disk has less than this free; merging leaves twice as much"),
    setting!("retention-age", "30d", setting_value::age, retention.age, "what no rule keeps is deleted at this age, counted from when it happened or came in, whichever is later: days, hours or minutes as 30d, 12h, 45m; or forever"),
    setting!("retention-rules", "", setting_value::rules, retention.rules, "traces and log records that are kept for longer, with commas between them: errors:30d, service=NAME:14d, trace=ID:forever, attribute=KEY=VALUE:90d"),
    setting!("retention-bytes-max", "none", setting_value::limit, retention.bytes_max, "the oldest hours are deleted when the data files are larger than this together; or none"),
    setting!("removed-files-age", "60m", setting_value::age, removed_files_age, "files that were replaced by others are deleted after this time, in which other programs may still read them"),
    setting!("quarantine-age", "30d", setting_value::age, quarantine_age, "damaged files that were set aside are deleted at this age, each with a line in the log: days, hours or minutes as 30d, 12h, 45m; or forever"),
    setting!("scrub-bytes-per-second", "8MiB", setting_value::limit, scrub_bytes_per_second, "files at rest are read again and verified at this rate, a round a day; or none"),
    setting!("search-rows-max", "20000000", setting_value::count, search_rows_max, "rows a search looks at before it answers with a lower bound"),
    setting!("sql", "loopback", setting_value::sql, sql, "where queries in SQL are answered: loopback (only while other machines cannot reach the HTTP address), on or off"),
    setting!("sql-seconds-max", "30", setting_value::count, sql_seconds_max, "a query in SQL ends after this time"),
    setting!("sql-memory-bytes-max", "256MiB", setting_value::bytes, sql_memory_bytes_max, "a query in SQL keeps no more in memory (2/32 of memory)"),
    setting!("sql-running-max", "4", setting_value::count, sql_running_max, "queries in SQL that run at once, at most 64 (one for each 256 MiB of memory); more are told to try again"),
];
