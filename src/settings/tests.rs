use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tidings_storage::{StoreSettings, TablesAt};

use super::{Origin, SETTINGS, Settings, SettingsError, Sources};

fn read(
    file: Option<&str>,
    env: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Sources, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = file.map(|text| {
        let path = folder.path().join("tidings.toml");
        #[expect(clippy::disallowed_methods, reason = "a fixture")]
        fs::write(&path, text).unwrap();
        path
    });
    Sources::read(
        path,
        env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))),
        flags.iter().map(|(name, value)| (*name, (*value).to_owned())),
    )
}

fn error(file: Option<&str>, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> String {
    read(file, env, flags).and_then(|sources| sources.settings()).unwrap_err().to_string()
}

#[test]
fn defaults_are_the_documented_ones() {
    let settings = read(None, &[], &[]).unwrap().settings().unwrap();
    assert_eq!(settings.store.data_dir, PathBuf::from("./data"));
    assert_eq!(settings.http.address.to_string(), "127.0.0.1:8434");
    let rows = include_str!("../../docs/receiving.md").lines();
    let rows = rows.skip_while(|line| !line.starts_with("| Receiver | Address | Setting |"));
    let rows = rows.skip(2).take_while(|line| !line.is_empty()).map(|row| {
        let mut cells = row.split('|').skip(2).map(|cell| cell.trim().trim_matches('`'));
        let address = cells.next().unwrap().trim_start_matches("http://");
        (cells.next().unwrap(), address.to_owned())
    });
    let documented: Vec<_> = rows.collect();
    let receivers = settings.collector.receivers.iter();
    let receivers: Vec<_> = receivers.map(|(name, at)| (*name, at.to_string())).collect();
    assert_eq!(receivers, documented);
    assert!(receivers.contains(&("zipkin", "127.0.0.1:9411".to_owned())), "{receivers:?}");
    assert_eq!(settings.collector.limits.grpc_message_bytes_max, 4 << 20);
    assert!(settings.query.transaction_keys.contains(&"order.id".to_owned()));
}

/// The defaults that users see are those of the crates, which tests and benchmarks use.
#[test]
fn defaults_of_crates_are_shown_as_users_write_them() {
    let settings = read(None, &[], &[]).unwrap().settings().unwrap();
    let crates = Settings::default();
    // A store without the program keeps everything.
    let retention = settings.store.retention.clone();
    assert_eq!(settings.store, StoreSettings { retention, ..crates.store });
    assert_eq!(settings.collector.limits, crates.collector.limits);
    assert_eq!(settings.collector.redaction, crates.collector.redaction);
    assert_eq!(settings.query, crates.query);
    assert_eq!(settings.sql_limits, crates.sql_limits);
    for (name, default, unit) in [
        ("data-dir", "./data", None),
        ("http", "127.0.0.1:8434", None),
        ("redact", "true", None),
        ("redact-keys", "", None),
        ("otlp-grpc-message-bytes-max", "4MiB", Some("bytes")),
        ("connections-max", "2000", Some("count")),
        ("memory-flush-seconds", "60", Some("seconds")),
        ("memory-bytes-max", "560MiB", Some("bytes")),
        ("wal-bytes-max", "2GiB", Some("bytes")),
        ("removed-files-age", "60m", Some("age")),
        ("quarantine-age", "30d", Some("age")),
        ("scrub-bytes-per-second", "8MiB", Some("bytes")),
        ("search-rows-max", "20000000", Some("rows")),
        ("sql-seconds-max", "30", Some("seconds")),
        ("sql-running-max", "4", Some("count")),
        ("metrics-interval-seconds", "60", Some("seconds")),
        ("own-telemetry-slow-millis", "1000", Some("milliseconds")),
    ] {
        let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
        assert_eq!((setting.default_text().as_str(), setting.unit), (default, unit), "{name}");
    }
}

#[test]
fn ages_and_rates_without_an_end_reach_the_store() {
    let flags = [("removed-files-age", "forever"), ("scrub-bytes-per-second", "none")];
    let store = read(None, &[], &flags).unwrap().settings().unwrap().store;
    assert_eq!((store.removed_file_age, store.scrub_bytes_per_second), (Duration::MAX, 0));
    let store = read(None, &[], &[("removed-files-age", "0m")]).unwrap().settings().unwrap().store;
    assert_eq!(store.removed_file_age, Duration::ZERO);
}

#[test]
fn the_bucket_of_the_tables_is_reached_by_settings_and_variables() {
    let env = [("AWS_ACCESS_KEY_ID", "id"), ("TIDINGS_TABLES_REGION", "eu-1")];
    let flags = [("tables", "s3://bucket/a"), ("tables-cache-bytes-max", "1GiB")];
    let store = read(None, &env, &flags).unwrap().settings().unwrap().store;
    let TablesAt::ObjectStore(tables) = store.tables else { panic!() };
    assert_eq!(
        (tables.address.to_string().as_str(), tables.cache_bytes_max),
        ("s3://bucket/a", 1 << 30)
    );
    let options = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_REGION", "eu-1")];
    assert_eq!(tables.options, options.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let local = read(None, &env, &[]).unwrap().settings().unwrap().store;
    assert_eq!(local.tables, TablesAt::DataDirectory);
}

#[test]
fn a_later_source_wins_and_is_named() {
    let file = "http = \"127.0.0.1:1\"\nzipkin = \"127.0.0.1:1\"\notlp_http = \"127.0.0.1:1\"\n\
                transaction_keys = [\"a\", \"b\"]\n";
    let env =
        [("TIDINGS_ZIPKIN", "127.0.0.1:2"), ("TIDINGS_OTLP_HTTP", "127.0.0.1:2"), ("HOME", "/")];
    let sources = read(Some(file), &env, &[("otlp-http", "localhost:3")]).unwrap();
    let settings: Settings = sources.settings().unwrap();
    let port = |name: &str| {
        let receiver = settings.collector.receivers.iter().find(|(receiver, _)| *receiver == name);
        receiver.unwrap().1.port()
    };
    assert_eq!([settings.http.address.port(), port("zipkin"), port("otlp-http")], [1, 2, 3]);
    assert_eq!(settings.query.transaction_keys, ["a", "b"]);
    let origin =
        |name| sources.lines().find(|(setting, ..)| setting.name == name).unwrap().2.clone();
    assert!(matches!(origin("http"), Origin::File(_)));
    assert_eq!(origin("zipkin"), Origin::Environment("TIDINGS_ZIPKIN".to_owned()));
    assert_eq!(origin("otlp-http"), Origin::CommandLine);
    assert_eq!(origin("otlp-grpc"), Origin::Default);
}

#[test]
fn origins_are_exact_and_as_browsers_send_them() {
    let origins = |text: &str| read(None, &[], &[("allow-origins", text)]).unwrap().settings();
    assert!(origins("").unwrap().allow_origins.is_empty());
    let two = origins("http://localhost:3000, https://Dash.example").unwrap().allow_origins;
    assert_eq!(two, ["http://localhost:3000", "https://dash.example"]);
    for wrong in [
        "*",
        "null",
        "dash.example",
        "https://dash.example/",
        "https://dash.example:443",
        "https://*.example",
        "https://me@dash.example",
        "https://",
        "ftp://dash.example",
    ] {
        assert!(origins(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn queries_in_sql_are_answered_on_loopback_unless_the_setting_says_otherwise() {
    let answered = |sql: Option<&str>, address: &str| {
        let flags: Vec<_> = sql.into_iter().map(|sql| ("sql", sql)).collect();
        let settings = read(None, &[], &flags).unwrap().settings().unwrap();
        settings.sql.includes(address.parse().unwrap())
    };
    for (sql, loopback, network) in [
        (None, true, false),
        (Some("loopback"), true, false),
        (Some("on"), true, true),
        (Some("off"), false, false),
    ] {
        for local in ["127.0.0.1:8434", "[::1]:8434"] {
            assert_eq!(answered(sql, local), loopback, "{sql:?} {local}");
        }
        for far in ["0.0.0.0:8434", "[::]:8434", "192.0.2.1:8434"] {
            assert_eq!(answered(sql, far), network, "{sql:?} {far}");
        }
    }
    assert!(error(None, &[], &[("sql", "maybe")]).contains("loopback, on or off"));
}

#[test]
fn tls_needs_a_certificate_and_its_key() {
    let (certificate, key) = (("tls-certificate", "a.pem"), ("tls-key", "b.pem"));
    for (flags, given, missing) in [
        (&[certificate][..], "tls-certificate is set", "tls-key is not"),
        (&[key], "tls-key is set", "tls-certificate is not"),
        (&[("tls-client-ca", "c.pem")], "tls-client-ca is set", "tls-certificate is not"),
    ] {
        let text = error(None, &[], flags);
        assert!(text.contains(given) && text.contains(missing), "{text}");
    }
    let tls = |file, env: &[(&str, &str)], flags: &[(&'static str, &str)]| {
        read(file, env, flags).unwrap().settings().unwrap().tls()
    };
    assert_eq!(tls(None, &[], &[]), None);
    // Each from a key of the file, a variable and a flag.
    let files = tls(
        Some("tls_certificate = \"a.pem\""),
        &[("TIDINGS_TLS_KEY", "b.pem")],
        &[("tls-client-ca", "c.pem")],
    );
    let files = files.unwrap();
    assert_eq!((files.certificate, files.key), ("a.pem".into(), "b.pem".into()));
    assert_eq!(files.client_ca, Some("c.pem".into()));
}

#[test]
fn tls_does_not_make_a_server_that_others_reach_secure() {
    let tls = [("tls-certificate", "a.pem"), ("tls-key", "b.pem"), ("tls-client-ca", "c.pem")];
    let reached = [("http", "0.0.0.0:8434")];
    for count in [2, 3] {
        let text = error(None, &[], &[&tls[..count], &reached].concat());
        assert!(text.contains("insecure"), "{text}");
    }
    let insecure = [("insecure", "true")];
    let exposure = |count: usize| {
        let flags = [&tls[..count], &reached, &insecure].concat();
        read(None, &[], &flags).unwrap().settings().unwrap().exposure().unwrap()
    };
    assert!(exposure(2).contains("nothing checks who sends"), "{}", exposure(2));
    assert!(exposure(3).contains("every client with a certificate"), "{}", exposure(3));
}

#[test]
fn unknown_keys_of_the_file_are_errors_with_a_suggestion() {
    assert!(error(Some("htp = \"127.0.0.1:1\""), &[], &[]).contains("did you mean `http`?"));
    assert!(error(Some("nonsense_at_all = 1"), &[], &[]).contains("tidings config"));
}

#[test]
fn setting_in_a_wrong_form_is_distinguished_from_an_unknown_one() {
    for key in ["data-dir", "DATA_DIR", "TIDINGS_DATA_DIR"] {
        let text = error(Some(&format!("{key} = \"x\"")), &[], &[]);
        assert!(text.contains(&format!("`{key}`; it is written `data_dir` here")), "{text}");
    }
    for file in ["[storage]\ndata-dir = \"x\"", "storage.data-dir = \"x\""] {
        let text = error(Some(file), &[], &[]);
        assert!(text.contains("is a section or the first part of a dotted key"), "{text}");
        assert!(text.contains("`data_dir = …` above all sections"), "{text}");
    }
    let sources = read(None, &[("TIDINGS_data_dir", "x")], &[]).unwrap();
    let [warning] = sources.warnings() else { panic!("{:?}", sources.warnings()) };
    assert!(warning.contains("it is written `TIDINGS_DATA_DIR` here"), "{warning}");
}

#[test]
fn unknown_variables_are_warnings_with_a_suggestion() {
    let warnings = |env: &[(&str, &str)]| {
        let sources = read(None, env, &[]).unwrap();
        sources.settings().unwrap();
        sources.warnings().to_vec()
    };
    let misspelt = warnings(&[("TIDINGS_OTLP_GRCP", "x")]);
    assert!(misspelt[0].contains("TIDINGS_OTLP_GRCP"), "{misspelt:?}");
    assert!(misspelt[0].contains("did you mean `TIDINGS_OTLP_GRPC`?"), "{misspelt:?}");
    for unlike_any in ["TIDINGS_NONSENSE_AT_ALL", "TIDINGS_BOGUS"] {
        let [warning] = &warnings(&[(unlike_any, "x")])[..] else { panic!("{unlike_any}") };
        assert!(warning.contains(unlike_any) && warning.contains("tidings config"), "{warning}");
    }
    assert!(warnings(&[("TIDINGS_HTTP", "127.0.0.1:1"), ("HOME", "/"), ("PORT", "x")]).is_empty());
}

#[test]
fn a_service_of_kubernetes_with_this_name_changes_no_setting() {
    let env = [
        ("TIDINGS_SERVICE_HOST", "10.43.0.7"),
        ("TIDINGS_SERVICE_PORT", "8434"),
        ("TIDINGS_SERVICE_PORT_OTLP_GRPC", "4317"),
        ("TIDINGS_PORT", "tcp://10.43.0.7:8434"),
        ("TIDINGS_PORT_4317_TCP", "tcp://10.43.0.7:4317"),
        ("TIDINGS_PORT_4317_TCP_ADDR", "10.43.0.7"),
        ("TIDINGS_PORT_4317_TCP_PORT", "4317"),
        ("TIDINGS_PORT_4317_TCP_PROTO", "tcp"),
        ("TIDINGS_HTTP_PORT", "tcp://10.43.0.8:80"),
    ];
    let sources = read(None, &env, &[]).unwrap();
    sources.settings().unwrap();
    assert!(sources.lines().all(|(_, _, origin)| *origin == Origin::Default));
    let [warning] = sources.warnings() else { panic!("{:?}", sources.warnings()) };
    assert!(warning.contains("TIDINGS_PORT,") && warning.contains("Kubernetes"), "{warning}");
    assert!(warning.contains(" and 1 more"), "{warning}");
}

#[test]
fn insecure_is_warned_of_with_the_listeners_that_others_reach() {
    let exposure = |flags: &[(&'static str, &str)]| {
        read(None, &[], flags).unwrap().settings().unwrap().exposure()
    };
    assert_eq!(exposure(&[]), None);
    let insecure = ("insecure", "true");
    let open = exposure(&[insecure, ("zipkin", "0.0.0.0:9411"), ("http", "[::]:8434")]).unwrap();
    assert!(open.contains("http, zipkin"), "{open}");
    assert!(exposure(&[insecure]).unwrap().contains("none needs it"));
}

#[test]
fn wrong_values_name_the_setting_and_the_source() {
    for (name, value, reason) in [
        ("http", "8434", "an address and a port"),
        ("memory-flush-bytes", "1GB", "a number of bytes"),
        ("memory-flush-bytes", "0", "a number of bytes"),
        ("wal-bytes-max", "99999999999GiB", "a number of bytes"),
        ("memory-flush-seconds", "-1", "above 0"),
        ("retention-age", "0d", "above 0"),
        ("retention-rules", "errors:0h", "above 0"),
        ("quarantine-age", "0m", "above 0"),
        ("sql-running-max", "0", "from 1 to 64"),
        ("sql-running-max", "65", "from 1 to 64"),
        ("insecure", "yes", "true or false"),
        ("data-dir", "", "a path"),
    ] {
        let text = error(None, &[], &[(name, value)]);
        assert!(text.contains(name) && text.contains(reason), "{text}");
        assert!(text.contains("command line"), "{text}");
    }
}

#[test]
fn addresses_that_others_can_reach_need_keys_or_insecure() {
    let text = error(None, &[], &[("zipkin", "0.0.0.0:9411")]);
    assert!(text.contains("zipkin") && text.contains("insecure"), "{text}");
    for flags in
        [&[("zipkin", "0.0.0.0:9411"), ("insecure", "true")][..], &[("zipkin", "[::1]:9411")][..]]
    {
        assert!(read(None, &[], flags).unwrap().settings().is_ok());
    }
}

#[test]
fn a_broken_file_is_named() {
    assert!(error(Some("http = "), &[], &[]).contains("tidings.toml"));
    assert!(error(Some("http = 1.5"), &[], &[]).contains("`http` must be"));
}

#[test]
fn the_reserve_holds_a_flush() {
    let text = error(None, &[], &[("disk-reserve-bytes", "1MiB")]);
    assert!(text.contains("memory-flush-bytes"), "{text}");
    let flags = [("disk-reserve-bytes", "1MiB"), ("memory-flush-bytes", "1MiB")];
    assert!(read(None, &[], &flags).unwrap().settings().is_ok());
}

#[test]
fn sizes_that_cannot_work_together_are_errors_that_name_both() {
    for (flag, value, other) in [
        ("memory-bytes-max", "1MiB", "memory-flush-bytes"),
        ("wal-bytes-max", "1MiB", "wal-segment-bytes"),
        ("in-flight-bytes-max", "1MiB", "http-body-bytes-max"),
        ("http-body-bytes-max", "99999GiB", "in-flight-bytes-max"),
        ("otlp-grpc-message-bytes-max", "1GiB", "in-flight-bytes-max"),
    ] {
        let text = error(None, &[], &[(flag, value)]);
        assert!(text.contains(flag) && text.contains(other), "{text}");
    }
}

#[test]
fn two_listeners_at_one_address_are_an_error_that_names_both() {
    let insecure = ("insecure", "true");
    for (http, zipkin, clash) in [
        ("127.0.0.1:5000", "127.0.0.1:5000", true),
        ("127.0.0.1:5000", "0.0.0.0:5000", true),
        ("127.0.0.1:5000", "127.0.0.2:5000", false),
        ("127.0.0.1:5000", "127.0.0.1:5001", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
    ] {
        let read = read(None, &[], &[("http", http), ("zipkin", zipkin), insecure]).unwrap();
        match read.settings() {
            Ok(_) => assert!(!clash, "{http} {zipkin}"),
            Err(error) => {
                let text = error.to_string();
                assert!(clash && text.contains("http and zipkin"), "{http} {zipkin}: {text}");
            }
        }
    }
}

#[test]
fn a_log_filter_that_cannot_be_read_is_an_error() {
    let text = error(None, &[], &[("log", "foo=bar=baz")]);
    assert!(text.contains("log"), "{text}");
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SETTINGS.len());
}

/// Returns the rows of the page of settings.
fn page_rows() -> String {
    let rows = SETTINGS.iter().map(|setting| {
        let (name, unit, help) = (setting.name, setting.unit.unwrap_or_default(), setting.help);
        assert!(!help.contains(['\n', '|', '\\']), "{name}");
        let default = match setting.default_text() {
            text if text.is_empty() => text,
            text => format!("`{text}`"),
        };
        format!("| `{name}` | {default} | {unit} | {help} |\n")
    });
    rows.collect()
}

#[test]
fn the_page_of_settings_has_each_as_the_table_does() {
    const FILE: &str = "docs/settings.md";
    /// Environment variable with which the test writes the rows of the page.
    const WRITE: &str = "TIDINGS_WRITE_SETTINGS";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let page = fs::read_to_string(&path).unwrap();
    let (above, table) = page.split_once("|---|---|---|---|\n").unwrap();
    let end = table.find("\n\n").map_or(table.len(), |end| end + 1);
    let (rows, below) = table.split_at(end);
    let expected = page_rows();
    if std::env::var_os(WRITE).is_some() {
        let page = format!("{above}|---|---|---|---|\n{expected}{below}");
        #[expect(clippy::disallowed_methods, reason = "a file of the sources, not of a store")]
        fs::write(&path, page).unwrap();
        return;
    }
    assert_eq!(
        rows, expected,
        "{WRITE}=1 cargo test --bin tidings page_of_settings writes the rows of {FILE}"
    );
}

#[test]
fn retention_is_read() {
    use tidings_storage::RetentionCondition;

    let day = Duration::from_secs(24 * 3600);
    let settings = read(None, &[], &[]).unwrap().settings().unwrap();
    let retention = settings.store.retention;
    assert_eq!(retention.age, Some(30 * day));
    assert_eq!((retention.rules.len(), retention.bytes_max), (0, None));
    let rules = "errors:30d, service=pay:12h,trace=0af7651916cd43dd8448eb211c80319c:forever,\
                 attribute=url=http://a:8080/:45m";
    let flags =
        [("retention-age", "forever"), ("retention-rules", rules), ("retention-bytes-max", "2GiB")];
    let retention = read(None, &[], &flags).unwrap().settings().unwrap().store.retention;
    assert_eq!((retention.age, retention.bytes_max), (None, Some(2 << 30)));
    let ages: Vec<_> = retention.rules.iter().map(|rule| rule.age).collect();
    assert_eq!(ages, [Some(30 * day), Some(day / 2), None, Some(Duration::from_secs(45 * 60))]);
    assert_eq!(retention.rules[0].condition, RetentionCondition::Errors);
    let RetentionCondition::Attribute(attribute) = &retention.rules[3].condition else { panic!() };
    assert_eq!(
        (attribute.key.as_str(), attribute.value.as_deref()),
        ("url", Some("http://a:8080/"))
    );
    for wrong in
        ["errors", "errors:3", "service=:3d", "trace=1:3d", "3d", "attribute=:3d", "x=y:3d"]
    {
        let said = error(None, &[], &[("retention-rules", wrong)]);
        assert!(said.contains(wrong), "{said}");
    }
}

#[test]
fn an_issuer_lets_a_server_listen_where_others_reach_it() {
    let issuer = [("oidc-issuer", "https://login.example"), ("oidc-client-id", "tidings")];
    let reached = [("http", "0.0.0.0:8434")];
    let text = error(None, &[], &reached);
    assert!(text.contains("oidc-issuer"), "{text}");
    let settings = read(None, &[], &[&issuer[..], &reached].concat()).unwrap().settings().unwrap();
    assert!(settings.asks_who() && !settings.require_keys);
    assert!(settings.exposure().unwrap().contains("without TLS"));
    let public = [("public-url", "https://Tidings.example:8443"), ("allowed-hosts", "a.example")];
    let settings = read(None, &[], &public).unwrap().settings().unwrap();
    assert_eq!(settings.configured_hosts(), ["a.example", "tidings.example"]);
}

#[test]
fn the_secret_of_a_client_is_never_shown() {
    let secret = [("TIDINGS_OIDC_CLIENT_SECRET", " hush-hush\n")];
    let issuer = [("oidc-issuer", "https://login.example"), ("oidc-client-id", "tidings")];
    let sources = read(None, &secret, &issuer).unwrap();
    assert!(sources.warnings().is_empty());
    let settings = sources.settings().unwrap();
    let oidc = settings.oidc.read().unwrap().unwrap();
    assert_eq!(oidc.client_secret, Some(tidings_access::ClientSecret::new("hush-hush".to_owned())));
    let printed = format!("{settings:?} {oidc:?} {sources:?}");
    assert!(!printed.contains("hush"), "{printed}");
    let both = [&issuer[..], &[("oidc-client-secret-file", "secret")]].concat();
    assert!(error(None, &secret, &both).contains("one is needed"));
}

/// Values of a file that few settings take, and ends of ranges.
const ODD_VALUES: [&str; 24] = [
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"é\\n\"",
    "\"-1\"",
    "\"0\"",
    "\"18446744073709551615\"",
    "\"18446744073709551616\"",
    "\"16777216TiB\"",
    "\"1.5GiB\"",
    "\"99999999999999d\"",
    "\"127.0.0.1:65536\"",
    "\"[::1]\"",
    "\"https://\"",
    "\"../../etc/passwd\"",
    "\",,,\"",
    "-9223372036854775808",
    "9223372036854775807",
    "0",
    "inf",
    "true",
    "2026-11-20",
    "[1, [2]]",
    "{ a = 1 }",
];

#[test]
fn refused_values_name_their_setting() {
    for setting in SETTINGS {
        for value in ODD_VALUES {
            let file = format!("{} = {value}\n", setting.key());
            if let Err(error) = read(Some(&file), &[], &[]).and_then(|sources| sources.settings()) {
                let text = error.to_string();
                let is_named = text.contains(setting.name) || text.contains(&setting.key());
                assert!(is_named, "{file}{text}");
            }
        }
    }
}

#[test]
fn broken_files_are_read_or_refused_with_the_name_of_the_file_or_of_a_setting() {
    let sound: String = SETTINGS
        .iter()
        .map(|setting| (setting.key(), setting.default_text()))
        .filter(|(_, default)| !default.is_empty())
        .map(|(key, default)| format!("{key} = \"{default}\"\n"))
        .collect();
    read(Some(&sound), &[], &[]).and_then(|sources| sources.settings()).unwrap();
    let mut random = fastrand::Rng::with_seed(20);
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut broken: Vec<char> = sound.chars().collect();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..broken.len());
            match random.u8(..4) {
                0 => drop(broken.remove(at)),
                1 => broken.insert(
                    at,
                    random
                        .choice(['"', '\'', '[', '}', '=', '#', '.', '\n', '0', '-', 'é'])
                        .unwrap(),
                ),
                2 => broken.truncate(at.max(8)),
                _ => broken.swap(at, 0),
            }
        }
        let broken: String = broken.into_iter().collect();
        if let Err(error) = read(Some(&broken), &[], &[]).and_then(|sources| sources.settings()) {
            refused += 1;
            let text = error.to_string();
            let is_named = text.contains("tidings.toml")
                || SETTINGS.iter().any(|setting| text.contains(setting.name));
            assert!(is_named, "{broken}\n{text}");
        }
    }
    assert!(refused > 1_000, "{refused} of 2000 files are refused");
}
