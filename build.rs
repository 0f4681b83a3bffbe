//! Embeds what `cargo xtask ui` built, the description of the API, and the version with the commit it
//! was built from. Without the UI the server explains how to build it; without a commit the version
//! stands alone.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};

/// The commit of an archive: `git archive` writes it there (`.gitattributes`).
const ARCHIVED_COMMIT: &str = ".git-commit";
/// Hex digits of a commit in the version.
const COMMIT_DIGITS: usize = 12;
/// The UI's module, and the most bytes of one that ships, which `ui-package` checks.
const UI_MODULE: &str = "assets/tidings-ui_bg.wasm";
const UI_MODULE_BYTES_MAX: u64 = 1_200_000;
/// The description of the API. A test of `src/web/description.rs` writes it.
const DESCRIPTION: &str = "docs/openapi.json";

fn main() -> io::Result<()> {
    embed_version();
    embed_description()?;
    embed_ui()
}

/// Sets `VERSION_WITH_COMMIT`: `0.1.0 (0123456789ab)`, or the version alone where no commit is known.
/// Changes that are not committed are not told from the commit before them.
fn embed_version() {
    println!("cargo::rerun-if-changed={ARCHIVED_COMMIT}");
    let version = env!("CARGO_PKG_VERSION");
    let commit = checked_out_commit().or_else(archived_commit);
    let version = match commit.as_deref().and_then(|commit| commit.get(..COMMIT_DIGITS)) {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    };
    println!("cargo::rustc-env=VERSION_WITH_COMMIT={version}");
}

/// The commit of this checkout. A checkout around the folder of an archive is not this one.
fn checked_out_commit() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // Every commit and checkout appends to this log; it is absent where logs are switched off.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

/// The output of git, if git is there and succeeds.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The commit that an archive was made of.
fn archived_commit() -> Option<String> {
    let text = fs::read_to_string(ARCHIVED_COMMIT).ok()?;
    let commit = text.trim();
    commit.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| commit.to_owned())
}

/// Compresses the description of the API without its line breaks and indentation. A text in JSON
/// has no line break, so no line begins within one.
fn embed_description() -> io::Result<()> {
    println!("cargo::rerun-if-changed={DESCRIPTION}");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for line in fs::read_to_string(DESCRIPTION)?.lines() {
        encoder.write_all(line.trim_start().as_bytes())?;
    }
    write(&out_dir()?.join("openapi.json.gz"), &encoder.finish()?)
}

fn embed_ui() -> io::Result<()> {
    let dist = Path::new("ui/dist");
    println!("cargo::rerun-if-changed=ui/dist");
    println!("cargo::rerun-if-changed=build.rs");
    let mut count = 0;
    let mut rows = String::new();
    for folder in ["", "assets"] {
        let mut names = match fs::read_dir(dist.join(folder)) {
            Ok(entries) => {
                entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        names.sort();
        for name in names.iter().filter_map(|name| name.to_str()?.strip_suffix(".br")) {
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let file = dist
                .join(&path)
                .canonicalize()
                .or_else(|_| fs::canonicalize(dist).map(|dist| dist.join(&path)))?;
            count += 1;
            if path == UI_MODULE {
                warn_of_development_module(&format!("{}.br", file.display()))?;
            }
            let _ = writeln!(
                rows,
                "    Asset {{ path: {path:?}, br: include_bytes!({:?}), gz: OnceLock::new() }},",
                format!("{}.br", file.display()),
            );
        }
    }
    let table = format!("static ASSETS: [Asset; {count}] = [\n{rows}];\n");
    write(&out_dir()?.join("assets.rs"), table.as_bytes())
}

/// Warns where a program that ships gets the module that `cargo xtask run` compiled.
fn warn_of_development_module(path: &str) -> io::Result<()> {
    let is_release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    if is_release && fs::metadata(path)?.len() > UI_MODULE_BYTES_MAX {
        println!(
            "cargo::warning={path} is of `cargo xtask run`; `cargo xtask ui` makes what ships"
        );
    }
    Ok(())
}

fn out_dir() -> io::Result<PathBuf> {
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    Ok(PathBuf::from(out))
}

#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::write(path, content)
}
