//! Packs the UI for browsers: `ui-package [--quick] MODULE FOLDER [NOTICES]` writes `ui/dist`.
//!
//! Makes the JavaScript that loads the WebAssembly module, in `FOLDER`, and compresses it with all
//! other files. `NOTICES` is a text with the licences of the crates that ship. With `--quick` the
//! module may have any size and is compressed fast, for the computer that builds it. `xtask` builds
//! and calls this program. It is not part of `xtask`, so that `cargo xtask` starts without these
//! dependencies, and so that they are compiled once, with those of the server.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// The module, and the maximum of its bytes that a browser has to download.
const MODULE: &str = "assets/tidings-ui_bg.wasm";
const MODULE_BYTES_MAX: usize = 1_200_000;
/// The JavaScript as wasm-bindgen writes it, after the module.
const GLUE: &str = "tidings-ui.js";
/// Brotli's best quality.
const QUALITY_MAX: i32 = 11;
/// Licences of the crates in the module and in the server, which embeds and prints them.
const NOTICES: &str = "assets/third-party-notices.txt";

fn main() -> Result<()> {
    let args: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let (effort, args) = match &args[..] {
        [first, rest @ ..] if first.as_os_str() == "--quick" => (Effort::Quick, rest),
        args => (Effort::Full, args),
    };
    match args {
        [module, folder] => pack(module, folder, None, effort),
        [module, folder, notices] => pack(module, folder, Some(notices), effort),
        _ => bail!("usage: ui-package [--quick] MODULE FOLDER [NOTICES]"),
    }
}

/// Time that the compression of the module may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// For a browser on the same computer.
    Quick,
    /// For what ships.
    Full,
}

impl Effort {
    /// Returns Brotli's quality for the module.
    fn module_quality(self) -> i32 {
        match self {
            Self::Quick => 4,
            Self::Full => QUALITY_MAX,
        }
    }
}

/// Returns the folder of the UI in the checkout.
fn ui() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes everything that the browser loads into `ui/dist`.
fn pack(module: &Path, folder: &Path, notices: Option<&PathBuf>, effort: Effort) -> Result<()> {
    if !is_current(folder, module)? {
        make_glue(module, folder)?;
    }
    let dist = ui().join("dist");
    let mut files = vec![
        ("index.html".to_owned(), fs::read(ui().join("index.html"))?),
        ("assets/boot.js".to_owned(), fs::read(ui().join("boot.js"))?),
        ("assets/tidings.css".to_owned(), stylesheet()?),
        ("assets/trace-page.html".to_owned(), trace_page()?.into_bytes()),
    ];
    for name in [GLUE, "tidings-ui_bg.wasm"] {
        files.push((format!("assets/{name}"), fs::read(folder.join(name))?));
    }
    files.extend(fonts()?);
    if let Some(notices) = notices {
        let text = fs::read(notices).with_context(|| notices.display().to_string())?;
        files.push((NOTICES.to_owned(), text));
    }
    let mut total = 0;
    let mut module = 0;
    for (name, content) in &files {
        let quality = if name == MODULE { effort.module_quality() } else { QUALITY_MAX };
        let size = write_compressed(&dist.join(name), content, quality)?;
        if name != NOTICES {
            total += size;
        }
        if name == MODULE {
            module = size;
        }
    }
    remove_others(&dist, &files)?;
    if effort == Effort::Full {
        check_module_size(module)?;
    }
    eprintln!("ui/dist is ready: {} KiB to download", total.div_ceil(1024));
    Ok(())
}

/// Reports whether the glue in a folder was made from this module, by this program.
fn is_current(folder: &Path, module: &Path) -> Result<bool> {
    let modified = |path: &Path| fs::metadata(path)?.modified();
    let Ok(made) = modified(&folder.join(GLUE)) else { return Ok(false) };
    let newest = |path: &Path| modified(path).with_context(|| path.display().to_string());
    Ok(made > newest(module)? && made > newest(&env::current_exe()?)?)
}

/// Makes the JavaScript that loads the module, and the module that it loads.
fn make_glue(module: &Path, folder: &Path) -> Result<()> {
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(module)
        .web(true)
        .and_then(|bindgen| {
            bindgen
                .typescript(false)
                .remove_name_section(true)
                .remove_producers_section(true)
                .out_name("tidings-ui")
                .generate(folder)
        })
        .context("wasm-bindgen")
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

/// Joins the style sheets in the order of their names.
fn stylesheet() -> Result<Vec<u8>> {
    let folder = ui().join("style");
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
    let page = fs::read_to_string(ui().join("trace-page.html"))?;
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
    let folder = ui().join("fonts");
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
fn write_compressed(path: &Path, content: &[u8], quality: i32) -> Result<usize> {
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
    let params = brotli::enc::BrotliEncoderParams { quality, lgwin: 24, ..Default::default() };
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
