//! Builds the UI: Rust to WebAssembly, JavaScript glue, compressed files in `ui/dist`.
//!
//! The server embeds `ui/dist` when it is built after this. The WebAssembly target comes from
//! rustup where it can be had, and otherwise from Debian's `rustc-web`, whose standard library is
//! built from source.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::{
    notices::third_party_notices,
    steps::{apt_install, cargo, check, host, output, root, target_dir, works},
};

const TARGET: &str = "wasm32-unknown-unknown";
/// Gives views of components one type each, not one for every place of use: less to compile and to
/// download.
const ERASED_VIEWS: &str = "--cfg erase_components";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The module, and the maximum of its bytes that a browser has to download.
const MODULE: &str = "assets/tidings-ui_bg.wasm";
const MODULE_BYTES_MAX: usize = 1_200_000;
/// Licences of the crates in the module and in the server, which embeds and prints them.
const NOTICES: &str = "assets/third-party-notices.txt";

/// Builds everything that the browser loads into `ui/dist`.
pub(crate) fn build() -> Result<()> {
    let wasm = compile()?;
    let glue = target_dir().join("ui-glue");
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(&wasm)
        .web(true)
        .and_then(|bindgen| {
            bindgen
                .typescript(false)
                .remove_name_section(true)
                .remove_producers_section(true)
                .out_name("tidings-ui")
                .generate(&glue)
        })
        .context("wasm-bindgen")?;
    let dist = root().join("ui/dist");
    let mut files = vec![
        ("index.html".to_owned(), fs::read(root().join("ui/index.html"))?),
        ("assets/boot.js".to_owned(), fs::read(root().join("ui/boot.js"))?),
        ("assets/tidings.css".to_owned(), stylesheet()?),
        ("assets/trace-page.html".to_owned(), trace_page()?.into_bytes()),
    ];
    for name in ["tidings-ui.js", "tidings-ui_bg.wasm"] {
        files.push((format!("assets/{name}"), fs::read(glue.join(name))?));
    }
    files.extend(fonts()?);
    // The sources of crates for other platforms may be missing, and offline they cannot be fetched.
    match third_party_notices() {
        Ok(text) => files.push((NOTICES.to_owned(), text.into_bytes())),
        Err(error) => eprintln!("left out: third-party notices: {error:#}"),
    }
    let mut total = 0;
    let mut module = 0;
    for (name, content) in &files {
        let size = write_compressed(&dist.join(name), content)?;
        if name != NOTICES {
            total += size;
        }
        if name == MODULE {
            module = size;
        }
    }
    remove_others(&dist, &files)?;
    check_module_size(module)?;
    eprintln!("ui/dist is ready: {} KiB to download", total.div_ceil(1024));
    Ok(())
}

/// Builds the UI while other work is done. The module is optimised as one unit on one core, so that
/// another core is free.
///
/// # Errors
/// Fails if the build or the other work does.
pub(crate) fn build_beside(work: impl FnOnce() -> Result<()>) -> Result<()> {
    let ui = thread::spawn(build);
    let done = work();
    ui.join().unwrap_or_else(|_| bail!("the build of the UI panicked"))?;
    done
}

/// Refuses a compressed module that is larger than the maximum download.
fn check_module_size(size: usize) -> Result<()> {
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    if size > MODULE_BYTES_MAX {
        bail!(
            "{MODULE}.br has {:.3} MB ({size} bytes), and {:.1} MB is the most",
            megabytes(size),
            megabytes(MODULE_BYTES_MAX)
        );
    }
    Ok(())
}

/// Compiles the crate `tidings-ui` and returns the path of the WebAssembly module.
fn compile() -> Result<PathBuf> {
    let target_dir = target_dir().join("ui");
    let mut command = if has_rustup_target() { cargo() } else { debian_cargo()? };
    command
        .args(["build", "--package", "tidings-ui", "--bin", "tidings-ui", "--features", "module"])
        .args(["--profile", "wasm", "--target", TARGET])
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", ERASED_VIEWS)
        .current_dir(root());
    check(&mut command)?;
    Ok(target_dir.join(TARGET).join("wasm/tidings-ui.wasm"))
}

fn has_rustup_target() -> bool {
    let installed = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .output()
        .is_ok_and(|out| String::from_utf8_lossy(&out.stdout).lines().any(|line| line == TARGET));
    installed || works("rustup", &["target", "add", TARGET])
}

/// Returns Debian's cargo and compiler with the standard library's source, linking with the
/// `rust-lld` of the installed toolchain.
fn debian_cargo() -> Result<Command> {
    let std_source = Path::new("/usr/lib/rustlib/src/rust/library").exists();
    if !(works(DEBIAN_CARGO, &["--version"]) && works(DEBIAN_RUSTC, &["--version"]) && std_source) {
        eprintln!("rustup cannot add {TARGET}: installing Debian's rustc-web");
        apt_install(&["rustc-web", "cargo-web", "rust-web-src"])
            .context("the UI needs `rustup target add wasm32-unknown-unknown` or rustc-web")?;
    }
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let host = host()?;
    let linker = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/rust-lld");
    if !linker.exists() {
        bail!("no rust-lld at {}", linker.display());
    }
    let mut command = Command::new(DEBIAN_CARGO);
    command
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTFLAGS")
        .args(["-Z", "build-std=std,panic_abort"]);
    Ok(command)
}

/// Joins the style sheets in the order of their names.
fn stylesheet() -> Result<Vec<u8>> {
    let folder = root().join("ui/style");
    let mut paths = fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "css"));
    paths.sort();
    let mut css = Vec::new();
    for path in paths {
        css.extend(fs::read(path)?);
        css.push(b'\n');
    }
    Ok(css)
}

/// Builds the page of a trace that opens without a server. Its policy allows only its own style and
/// script, by their hashes.
fn trace_page() -> Result<String> {
    let page = fs::read_to_string(root().join("ui/trace-page.html"))?;
    let hash = |element: &str| -> Result<String> {
        let (_, after) = page.split_once(&format!("<{element}>")).context(element.to_owned())?;
        let (content, _) =
            after.split_once(&format!("</{element}>")).context(element.to_owned())?;
        Ok(format!("'sha256-{}'", STANDARD.encode(Sha256::digest(content))))
    };
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash("style")?,
        hash("script")?
    );
    Ok(page.replace("{{policy}}", &policy))
}

/// Returns the fonts and their licences.
fn fonts() -> Result<Vec<(String, Vec<u8>)>> {
    let folder = root().join("ui/fonts");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push((format!("assets/{name}"), fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}

/// Writes `path.br`, unless it exists with the same content, and returns its size.
fn write_compressed(path: &Path, content: &[u8]) -> Result<usize> {
    let mut br = path.as_os_str().to_owned();
    br.push(".br");
    let br = PathBuf::from(br);
    if let Ok(old) = fs::read(&br) {
        let mut old_content = Vec::new();
        let is_whole = brotli::BrotliDecompress(&mut &old[..], &mut old_content).is_ok();
        if is_whole && old_content == content {
            return Ok(old.len());
        }
    }
    fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    let mut compressed = Vec::new();
    let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, ..Default::default() };
    brotli::BrotliCompress(&mut &content[..], &mut compressed, &params)?;
    write(&br, &compressed)?;
    Ok(compressed.len())
}

#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| path.display().to_string())
}

/// Removes files of an earlier build that this build does not have.
#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn remove_others(dist: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for folder in [dist.to_owned(), dist.join("assets")] {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let kept = files.iter().any(|(name, _)| path == dist.join(format!("{name}.br")));
            if path.is_file() && !kept {
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MODULE_BYTES_MAX, check_module_size};

    #[test]
    fn a_module_that_is_too_large_is_refused_with_its_size() {
        assert!(check_module_size(MODULE_BYTES_MAX).is_ok());
        let error = check_module_size(1_234_567).unwrap_err().to_string();
        assert!(error.contains("1.235 MB (1234567 bytes)"), "{error}");
    }
}
