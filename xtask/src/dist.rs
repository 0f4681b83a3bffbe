//! `cargo xtask dist`: builds the UI, and then the server that ships with it.
//!
//! The profile `dist` in the root manifest says which crates are compiled for size and which for
//! speed. This module owns the arguments that only the last compilation gets, which optimises and
//! links all crates as one program. Decision 0109 has the reasons.

use std::{
    fs,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{
    UI,
    steps::{StepReport, cargo, check, host, target_dir},
    ui,
};

/// Arguments of cargo, then those of the last compilation: a lower threshold of LLVM's inliner, for
/// the passes over the whole program.
const BUILD: [&str; 9] = [
    "rustc",
    "--locked",
    "--profile=dist",
    "--package",
    "tidings",
    "--bin",
    "tidings",
    "--",
    "-Cllvm-args=-inline-threshold=25",
];
/// The platform where Rust links with its own lld. Other linkers may refuse the arguments below.
const LLD_PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// Makes the linker keep one of several functions with the same machine code.
const MERGE_EQUAL_FUNCTIONS: &str = "-Clink-arg=-Wl,--icf=all";
/// Makes the linker pack the addresses that the loader adjusts, which saves 3 MB.
const PACK_RELOCATIONS: &str = "-Clink-arg=-Wl,-z,pack-relative-relocs";
/// First version of glibc whose loader reads packed addresses. A packed program does not start with
/// an older one, so the version of the machine that builds it decides.
const PACKED_SINCE: [u32; 2] = [2, 36];
/// Maximum bytes of the program. A dependency that makes it larger shows up here.
const PROGRAM_BYTES_MAX: u64 = 70_000_000;

/// Builds the UI and the server, and prints the path and the size of the program.
///
/// # Errors
/// Fails if a build does, or if the program has more than [`PROGRAM_BYTES_MAX`] bytes.
pub(crate) fn run() -> Result<ExitCode> {
    let host = host()?;
    let mut progress = StepReport::new(2);
    progress.step(UI, ui::build)?;
    progress.step("server that ships, with the UI", || {
        check(cargo().args(build_args(&host, glibc())))
    })?;
    let server = target_dir().join("dist/tidings");
    let bytes = fs::metadata(&server).with_context(|| server.display().to_string())?.len();
    eprintln!("{} has {:.1} MB", server.display(), bytes as f64 / 1e6);
    check_program_size(bytes)?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a program that is larger than its maximum.
fn check_program_size(bytes: u64) -> Result<()> {
    if bytes > PROGRAM_BYTES_MAX {
        bail!(
            "the program has {bytes} bytes, over its maximum of {PROGRAM_BYTES_MAX}: look for a \
             new dependency, or for a crate that the profile `dist` should compile for size"
        );
    }
    Ok(())
}

/// Returns the version of this machine's glibc. `None` where there is another C library.
fn glibc() -> Option<[u32; 2]> {
    let printed = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    version(str::from_utf8(&printed).ok()?)
}

/// Reads a version as `getconf` prints it: `glibc 2.36`.
fn version(printed: &str) -> Option<[u32; 2]> {
    let mut numbers = printed.trim().strip_prefix("glibc ")?.split('.').map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
}

/// Returns the arguments of cargo that build the server on a platform with a version of glibc.
fn build_args(host: &str, glibc: Option<[u32; 2]>) -> Vec<&'static str> {
    let mut args = BUILD.to_vec();
    if host == LLD_PLATFORM {
        args.push(MERGE_EQUAL_FUNCTIONS);
        if glibc.is_some_and(|version| version >= PACKED_SINCE) {
            args.push(PACK_RELOCATIONS);
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::{PROGRAM_BYTES_MAX, build_args, check_program_size, version};

    #[test]
    fn program_over_its_maximum_size_is_refused() {
        assert!(check_program_size(PROGRAM_BYTES_MAX).is_ok());
        assert!(check_program_size(PROGRAM_BYTES_MAX + 1).is_err());
    }

    #[test]
    fn equal_functions_are_merged_and_addresses_packed_where_lld_links_and_glibc_reads_them() {
        let plain = "rustc --locked --profile=dist --package tidings --bin tidings -- \
                     -Cllvm-args=-inline-threshold=25";
        let merged = format!("{plain} -Clink-arg=-Wl,--icf=all");
        let packed = format!("{merged} -Clink-arg=-Wl,-z,pack-relative-relocs");
        let cases = [
            ("x86_64-unknown-linux-gnu", "glibc 2.36\n", packed.as_str()),
            ("x86_64-unknown-linux-gnu", "glibc 2.41", packed.as_str()),
            ("x86_64-unknown-linux-gnu", "glibc 2.35", merged.as_str()),
            ("x86_64-unknown-linux-gnu", "", merged.as_str()),
            ("aarch64-unknown-linux-gnu", "glibc 2.36", plain),
            ("x86_64-unknown-linux-musl", "", plain),
            ("aarch64-apple-darwin", "", plain),
        ];
        for (host, printed, expected) in cases {
            assert_eq!(build_args(host, version(printed)).join(" "), expected, "{host} {printed}");
        }
    }
}
