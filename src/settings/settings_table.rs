//! The table of settings. A line fills a field in the settings of a crate, and has that crate's
//! default. The addresses of receivers come from the list of receivers.

use tidings_collector::{RECEIVERS, RegisteredReceiver};

use super::{Settings, default_text, setting_value};

/// One setting.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    /// Its name on the command line, as `otlp-grpc`.
    pub(crate) name: &'static str,
    default: SettingDefault,
    /// Description with its unit.
    pub(crate) help: &'static str,
    /// Unit of its value; `None` for a setting that bounds nothing.
    pub(crate) unit: Option<&'static str>,
    /// Checks the text of the setting of this name and stores its value.
    pub(crate) set: fn(&mut Settings, &'static str, &str) -> Result<(), String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Setting {
    /// Returns its key in the file, as `otlp_grpc`.
    pub(crate) fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Returns its default, as a user would write it.
    pub(crate) fn default_text(&self) -> String {
        match self.default {
            SettingDefault::Text(text) => text.to_owned(),
            SettingDefault::OfCrate(text) => text(&Settings::default()),
        }
    }

    /// Returns its environment variable, as `TIDINGS_OTLP_GRPC`.
    pub(crate) fn variable(&self) -> String {
        format!("TIDINGS_{}", self.key().to_ascii_uppercase())
    }
}

/// Default of a setting.
#[derive(Clone, Copy)]
enum SettingDefault {
    /// The default as a user would write it.
    Text(&'static str),
    /// Returns the text of a field's value in the settings of the crate that owns it.
    OfCrate(fn(&Settings) -> String),
}

/// A setting whose default is a text, or `_` where its crate has the default. A function of
/// `setting_value` reads the text into the field.
macro_rules! setting {
    (@ $default:expr, $name:literal, $parse:ident, $($field:ident).+, $help:literal) => {
        Setting {
            name: $name,
            default: $default,
            help: $help,
            unit: unit($name, stringify!($parse)),
            set: |settings, _, text| {
                settings.$($field).+ = setting_value::$parse(text)?;
                Ok(())
            },
        }
    };
    ($name:literal, _, $parse:ident, $($field:ident).+, $help:literal) => {
        setting!(
            @ SettingDefault::OfCrate(|settings| default_text::$parse(&settings.$($field).+)),
            $name, $parse, $($field).+, $help
        )
    };
    ($name:literal, $default:literal, $parse:ident, $($field:ident).+, $help:literal) => {
        setting!(@ SettingDefault::Text($default), $name, $parse, $($field).+, $help)
    };
}

/// Returns the setting of a receiver's address.
const fn receiver(registered: &RegisteredReceiver) -> Setting {
    Setting {
        name: registered.setting,
        default: SettingDefault::Text(registered.address),
        help: registered.help,
        unit: None,
        set: |settings, name, text| {
            settings.collector.receivers.push((name, setting_value::address(text)?));
            Ok(())
        },
    }
}

/// Returns the unit of a setting, from its parser and its name.
const fn unit(name: &str, parse: &str) -> Option<&'static str> {
    match parse.as_bytes() {
        b"bytes" | b"limit" | b"rate" | b"budget" => Some("bytes"),
        b"age" | b"duration" => Some("age"),
        b"seconds" => Some("seconds"),
        b"count" | b"sql_queries" => Some(count_unit(name.as_bytes())),
        _ => None,
    }
}

const fn count_unit(name: &[u8]) -> &'static str {
    match name {
        [.., b'm', b'i', b'l', b'l', b'i', b's'] => "milliseconds",
        [.., b'r', b'o', b'w', b's', b'-', b'm', b'a', b'x'] => "rows",
        _ => "count",
    }
}

/// Every setting.
pub(crate) const SETTINGS: &[Setting] = &ALL;

const ALL: [Setting; FIRST.len() + RECEIVERS.len() + OTHERS.len()] = {
    let before = FIRST.len();
    let behind = before + RECEIVERS.len();
    let mut settings = [FIRST[0]; FIRST.len() + RECEIVERS.len() + OTHERS.len()];
    let mut at = 0;
    while at < settings.len() {
        settings[at] = if at < before {
            FIRST[at]
        } else if at < behind {
            receiver(&RECEIVERS[at - before])
        } else {
            OTHERS[at - behind]
        };
        at += 1;
    }
    settings
};

/// The settings before those of the receivers.
#[rustfmt::skip]
const FIRST: &[Setting] = &[
    setting!("data-dir", _, path, store.data_dir, "folder that holds the log and, unless they are elsewhere, the tables"),
    setting!("tables", "local", tables, store.tables, "where the tables are: local (in the data directory) or s3://bucket/prefix; credentials come from AWS's environment variables"),
    setting!("tables-endpoint", "", text, bucket.endpoint, "URL of the S3-compatible store, when it is not Amazon's"),
    setting!("tables-region", "", text, bucket.region, "region of the bucket (us-east-1 unless AWS_REGION says otherwise)"),
    setting!("tables-allow-http", "false", truth, bucket.allow_http, "reach a store on another machine unencrypted"),
    setting!("tables-cache-bytes-max", "10GiB", bytes, bucket.cache_bytes_max, "copies on the local disk of files of tables that are elsewhere"),
    setting!("http", _, address, http.address, "address of the UI and the API"),
];

/// The settings after those of the receivers.
#[rustfmt::skip]
const OTHERS: &[Setting] = &[
    setting!("insecure", "false", truth, insecure, "listen on addresses that other machines can reach, although nothing checks who sends and who reads; take an oidc-issuer without TLS, too"),
    setting!("require-keys", "false", truth, require_keys, "every request needs a key, made with `tidings keys create`, of a role that allows it"),
    setting!("keys-file", "", file, keys_file, "file with the digests of keys; keys.json in the data directory unless it is set"),
    setting!("oidc-issuer", "", issuer, oidc.issuer, "issuer of OpenID Connect, as https://login.example/realms/main: every request needs a key, a session of a person it knows, or a token of it"),
    setting!("oidc-client-id", "", text, oidc.client_id, "name by which the issuer knows this server: people sign in with it"),
    setting!("oidc-client-secret-file", "", file, oidc.client_secret_file, "file with the secret of that client, if it has one; or the variable TIDINGS_OIDC_CLIENT_SECRET, with the secret itself"),
    setting!("oidc-scopes", "openid,profile,email", list, oidc.scopes, "scopes that the issuer is asked for; offline_access, where the issuer has it, lets sessions outlast its tokens"),
    setting!("oidc-roles-claim", "roles", text, oidc.roles_claim, "claim of tokens that gives roles: groups, hd, or with dots between names of nested ones, as realm_access.roles"),
    setting!("oidc-roles", "admin=admin,read=read,ingest=ingest", text, oidc.roles, "values of that claim and the roles they give, with commas between them, as ops=admin,dev=read; * stands for whoever the issuer lets in"),
    setting!("oidc-tenant-claim", "", text, oidc.tenant_claim, "claim of tokens that names the tenants of a person or machine, its own first; all belong to the tenant `default` unless it is set"),
    setting!("oidc-audience", "", list, oidc.audience, "audiences (aud) of tokens with which machines send and read, with commas between them; none are taken unless it is set"),
    setting!("oidc-name", "", text, oidc.name, "name of the issuer on the button to sign in; its host unless it is set"),
    setting!("oidc-ca", "", file, oidc.ca, "PEM file with roots of the issuer's certificate, besides the system's"),
    setting!("public-url", "", origin, public_url, "address by which browsers reach the UI, as https://tidings.example, where a proxy is before it; the issuer sends them back there"),
    setting!("trusted-proxies", "", proxies, collector.proxies, "proxies before this server, as 10.0.0.0/8 or fd00::1 with commas between them: the client of a request from one of them is the last address of X-Forwarded-For that is no such proxy"),
    setting!("tenants-max", "16", count, tenants_max, "tenants that there can be, `default` among them; fewer where memory-bytes-max has no room for the largest request of each"),
    setting!("tls-certificate", "", file, tls_certificate, "PEM file with the certificate of every listener, followed by those that lead to its root; they speak TLS then, and nothing else"),
    setting!("tls-key", "", file, tls_key, "PEM file with the key of tls-certificate"),
    setting!("tls-client-ca", "", file, tls_client_ca, "PEM file with roots: every client needs a certificate that leads to one of them"),
    setting!("allowed-hosts", "", list, allowed_hosts, "names that requests may use for this host, besides localhost, the machine's own name and addresses"),
    setting!("allow-origins", "", origins, allow_origins, "origins whose pages may read the API from a browser, as https://dash.example or http://localhost:3000, with commas between them"),
    setting!("transaction-keys", _, list, query.transaction_keys, "attributes whose values name transactions"),
    setting!("redact", _, truth, collector.redaction.enabled, "replace secrets in what is received by [REDACTED] before anything is stored: authorization headers, cookies, passwords, keys and tokens in attributes, URLs and SQL"),
    setting!("redact-keys", _, list, collector.redaction.keys, "more attributes whose values are secret, with commas between them: whole keys or their last part behind a dot, as x-internal-pin"),
    setting!("audit-reads", "false", truth, audit_reads, "record in the audit log who reads, too, with path and query, besides changes and denied requests"),
    setting!("audit-age", "365d", age, audit_age, "days of the audit log are deleted at this age: days, hours or minutes as 365d, 12h; or forever"),
    setting!("log", "info,buoyant_kernel=warn,deltalake_core=warn", log_filter, log, "what the program logs: error, warn, info, debug, trace, or per module as in RUST_LOG"),
    setting!("own-telemetry", "off", records, own_telemetry.records, "which of the server's own traces and log lines are stored, as service tidings of the tenant default: off, errors (traces that failed or were slow, and log lines from warnings on) or all (every query to the HTTP address besides, and all log lines from information on)"),
    setting!("own-telemetry-slow-millis", "1000", count, own_telemetry.slow_millis, "duration from which queries, requests, flushes and maintenance count as slow for own-telemetry, in milliseconds"),
    setting!("metrics-endpoint", "", endpoint, metrics_push.endpoint, "OTLP/HTTP collector that gets the metrics of /metrics, as http://127.0.0.1:4318; /v1/metrics is its path unless it has one; none are sent unless it is set"),
    setting!("metrics-interval-seconds", "60", seconds, metrics_push.interval, "metrics are sent to metrics-endpoint this often"),
    setting!("metrics-ca", "", file, metrics_push.ca, "PEM file with roots of the certificate of metrics-endpoint, or the certificate itself; needed where that is https"),
    setting!("otlp-grpc-message-bytes-max", _, bytes, collector.limits.grpc_message_bytes_max, "largest OTLP/gRPC message, decompressed"),
    setting!("http-body-bytes-max", _, bytes, collector.limits.http_body_bytes_max, "largest body of an OTLP/HTTP or Zipkin request, decompressed"),
    setting!("memory", "auto", budget, memory, "memory budget that buffers, indexes and queries share, at least 192MiB; auto is a quarter of the memory of the machine, or of its control group. A setting with a share of memory in its description, as 6/32, is that share unless it is set, and at most its default"),
    setting!("in-flight-bytes-max", _, bytes, collector.limits.in_flight_bytes_max, "memory of all requests that are being received, bodies and decoded forms; further senders are told to try again (4/32 of memory)"),
    setting!("connections-max", _, count, collector.limits.connections_max, "connections of each listener; fewer where the system allows the process too few open files"),
    setting!("memory-flush-bytes", _, bytes, store.memory_flush_bytes, "size at which the memtable is flushed to data files (3/32 of memory)"),
    setting!("memory-flush-seconds", _, seconds, store.memory_flush_age, "age at which the memtable is flushed to data files"),
    setting!("memory-bytes-max", _, bytes, store.memory_bytes_max, "size of the memtable at which senders are told to try again (6/32 of memory)"),
    setting!("wal-segment-bytes", _, bytes, store.wal_segment_bytes, "size at which a segment of the write-ahead log is closed"),
    setting!("wal-bytes-max", _, bytes, store.wal_bytes_max, "size of the write-ahead log at which senders are told to try again"),
    setting!("index-memory-bytes-max", _, bytes, store.index_memory_bytes_max, "the indexes of data files take at most this much memory; beyond it they are read from the disk each time (4/32 of memory)"),
    setting!("metadata-memory-bytes-max", _, bytes, store.metadata_memory_bytes_max, "decoded metadata of data files takes at most this much memory; beyond it that of files read once is dropped before that of files read again, and is decoded anew when it is needed (3/32 of memory)"),
    setting!("disk-reserve-bytes", _, bytes, store.disk_reserve_bytes, "senders are told to try again when the disk has less than this free; merging leaves twice as much"),
    setting!("retention-age", "30d", age, store.retention.age, "spans and log records that no rule of retention-rules keeps are deleted at this age, counted from their own time or their arrival, whichever is later: days, hours or minutes as 30d, 12h, 45m; or forever"),
    setting!("retention-rules", "", rules, store.retention.rules, "traces and log records that are kept for longer, with commas between them: errors:30d, service=NAME:14d, trace=ID:forever, attribute=KEY=VALUE:90d"),
    setting!("retention-bytes-max", "none", limit, store.retention.bytes_max, "the oldest hours are deleted when the data files are larger than this together; or none"),
    setting!("removed-files-age", _, duration, store.removed_file_age, "files that were replaced by others are deleted after this time, in which other programs may still read them"),
    setting!("quarantine-age", _, age, store.quarantine_age, "damaged files that were set aside are deleted at this age, each with a line in the log: days, hours or minutes as 30d, 12h, 45m; or forever"),
    setting!("scrub-bytes-per-second", _, rate, store.scrub_bytes_per_second, "files at rest are read again and verified at this rate, a round a day; or none"),
    setting!("search-rows-max", _, count, query.search_rows_max, "rows a search looks at before it answers with a lower bound"),
    setting!("sql", "loopback", sql, sql, "where queries in SQL are answered: loopback (only while other machines cannot reach the HTTP address), on or off"),
    setting!("sql-seconds-max", _, seconds, sql_limits.deadline, "a query in SQL ends after this time"),
    setting!("sql-memory-bytes-max", _, bytes, sql_limits.memory_bytes_max, "a query in SQL keeps no more in memory (2/32 of memory)"),
    setting!("sql-running-max", _, sql_queries, sql_limits.running_max, "queries in SQL that run at once, at most 64 (one for each 256 MiB of memory); more are told to try again"),
];
