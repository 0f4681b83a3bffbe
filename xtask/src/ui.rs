//! Builds the UI: Rust to WebAssembly, then the files in `ui/dist`, by the program `ui-package`.
//!
//! The server embeds `ui/dist` when it is built after this. The WebAssembly target comes from
//! rustup where it can be had, and otherwise from Debian's `rustc-web`, whose standard library is
//! built from source.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    notices::write_notices,
    steps::{apt_install, cargo, check, host, output, root, target_dir, with_niceness, works},
};

const TARGET: &str = "wasm32-unknown-unknown";
/// Gives views of components one type each, not one for every place of use: less to compile and to
/// download.
const ERASED_VIEWS: &str = "--cfg erase_components";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Arguments of cargo that build the program which packs the module, with the test of it: with a test
/// of the workspace, dependencies have the features that all tests need.
pub(crate) const PACKAGER: [&str; 4] = ["build", "--workspace", "--test", "command"];
/// Folder of the programs of the development profile, in the target directory.
pub(crate) const DEV: &str = "debug";

/// Build of the UI's module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    /// Compiled in a third of the time, for a browser on the same computer.
    Development,
    /// Small, as it ships.
    Shipped,
}

impl Module {
    /// Returns the profile of cargo.
    fn profile(self) -> &'static str {
        match self {
            Self::Development => "wasm-dev",
            Self::Shipped => "wasm",
        }
    }
}

/// Builds everything that the browser loads into `ui/dist`.
pub(crate) fn build() -> Result<()> {
    build_beside(Module::Shipped, DEV, || check(cargo().args(PACKAGER)), || Ok(()))
}

/// Builds the UI while other work is done. `packager` builds [`PACKAGER`] into this folder of
/// programs, before the other work begins. The module is optimised as one unit on one core, so that
/// another core is free.
///
/// # Errors
/// Fails if the build or the other work does.
pub(crate) fn build_beside(
    module: Module,
    programs: &str,
    packager: impl FnOnce() -> Result<()>,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let compiled = scope.spawn(move || compile(module, 0));
        packager()?;
        let packed = scope.spawn(move || {
            pack(programs, module, &compiled.join().unwrap_or_else(|_| panicked())?)
        });
        let done = work();
        packed.join().unwrap_or_else(|_| panicked())?;
        done
    })
}

/// Returns the error of a build of the UI whose thread panicked.
pub(crate) fn panicked<T>() -> Result<T> {
    bail!("the build of the UI panicked")
}

/// Writes the files that the browser loads, with the packager in this folder of programs.
pub(crate) fn pack(programs: &str, module: Module, path: &Path) -> Result<()> {
    let mut packager = Command::new(target_dir().join(programs).join("ui-package"));
    if module == Module::Development {
        packager.arg("--quick");
    }
    packager.arg(path).arg(target_dir().join("ui-glue").join(module.profile()));
    // The sources of crates for other platforms may be missing, and offline they cannot be fetched.
    match write_notices() {
        Ok(notices) => drop(packager.arg(notices)),
        Err(error) => eprintln!("left out: third-party notices: {error:#}"),
    }
    check(&mut packager)
}

/// Compiles the crate `tidings-ui` with this niceness, and returns the path of the WebAssembly module.
pub(crate) fn compile(module: Module, niceness: u8) -> Result<PathBuf> {
    let target_dir = target_dir().join("ui");
    let mut command = if has_rustup_target() { cargo() } else { debian_cargo()? };
    command
        .args(["build", "--package", "tidings-ui", "--bin", "tidings-ui", "--features", "module"])
        .args(["--profile", module.profile(), "--target", TARGET])
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", ERASED_VIEWS)
        .current_dir(root());
    check(&mut with_niceness(&command, niceness))?;
    Ok(target_dir.join(TARGET).join(module.profile()).join("tidings-ui.wasm"))
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
