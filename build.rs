//! Embeds what `cargo xtask ui` built; without it the server explains how to build the UI.

use std::{env, fmt::Write as _, fs, io, path::Path};

fn main() -> io::Result<()> {
    let dist = Path::new("ui/dist");
    println!("cargo::rerun-if-changed=ui/dist");
    println!("cargo::rerun-if-changed=build.rs");
    let mut table = String::from("const ASSETS: &[Asset] = &[\n");
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
            let _ = writeln!(
                table,
                "    Asset {{ path: {path:?}, br: include_bytes!({:?}), gz: include_bytes!({:?}) }},",
                format!("{}.br", file.display()),
                format!("{}.gz", file.display()),
            );
        }
    }
    table.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    write(&Path::new(&out).join("assets.rs"), &table)
}

#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
}
