//! Third-party notices and the bill of materials of what ships: the server and the UI.
//!
//! Both are made from `cargo metadata`: the crates that `tidings` (on this machine's platform) and
//! `tidings-ui` (in WebAssembly) are built from. Crates that only tests and build scripts use are
//! left out, and crates of this workspace are no third party. The list of allowed licences is
//! `deny.toml`, not here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};

use crate::steps::{cargo, host, output, root, target_dir};

/// Packages that ship, with the platform that each is built for; `None` is this machine's.
const SHIPPED: [(&str, Option<&str>); 2] =
    [("tidings", None), ("tidings-ui", Some("wasm32-unknown-unknown"))];
/// Beginnings of the names of files with licences and notices, in lower case.
const LICENCE_FILES: [&str; 5] = ["licen", "copying", "notice", "unlicense", "copyright"];

/// A crate, as `cargo metadata` describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    /// SPDX expression.
    licence: String,
    repository: String,
    folder: PathBuf,
    is_ours: bool,
    /// Package URLs of its dependencies.
    uses: BTreeSet<String>,
}

impl Package {
    /// Reads a package without its dependencies.
    fn read(package: &Json) -> Self {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let folder = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let licence = text("license").replace('/', " OR ");
        Self {
            name: text("name"),
            version: text("version"),
            licence: if licence.is_empty() { "see its files".to_owned() } else { licence },
            repository: text("repository"),
            folder: folder.parent().unwrap_or(folder).to_owned(),
            is_ours: package["source"].is_null(),
            uses: BTreeSet::new(),
        }
    }

    /// Package URL (<https://github.com/package-url/purl-spec>).
    fn url(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// Writes the licences and notices of all third-party crates, and returns the path of the file.
pub(crate) fn write_notices() -> Result<PathBuf> {
    write("THIRD-PARTY-NOTICES.txt", &third_party_notices()?)
}

/// Returns the licences and notices of all third-party crates, equal texts once.
fn third_party_notices() -> Result<String> {
    let packages = shipped()?;
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut list = String::new();
    for package in packages.values().filter(|package| !package.is_ours) {
        let name = format!("{} {}", package.name, package.version);
        let _ = writeln!(list, "{name}: {} {}", package.licence, package.repository);
        for text in licence_texts(&package.folder)? {
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    let mut notices = format!("Tidings is built from these crates:\n\n{list}");
    for (text, names) in texts {
        let names: Vec<String> = names.into_iter().collect();
        let line = "-".repeat(80);
        let _ = write!(notices, "\n{line}\n{}\n{line}\n\n{text}\n", names.join(", "));
    }
    Ok(notices)
}

/// Writes a bill of materials in CycloneDX's JSON, version 1.5, and returns the path of the file.
pub(crate) fn write_bill_of_materials() -> Result<PathBuf> {
    let packages = shipped()?;
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let bill = bill_of_materials(&packages, &checksums(&lock));
    write("tidings.cdx.json", &format!("{bill:#}\n"))
}

fn bill_of_materials(
    packages: &BTreeMap<String, Package>,
    checksums: &BTreeMap<(&str, &str), &str>,
) -> Json {
    let server = packages.values().find(|package| package.name == SHIPPED[0].0);
    let components = packages.iter().filter(|(_, package)| package.name != SHIPPED[0].0);
    let components = components.map(|(url, package)| {
        let checksum = checksums.get(&(package.name.as_str(), package.version.as_str()));
        let hashes = checksum.map(|sum| json!({ "alg": "SHA-256", "content": sum }));
        json!({
            "type": "library", "bom-ref": url, "purl": url,
            "name": package.name, "version": package.version,
            "licenses": [{ "expression": package.licence }],
            "hashes": hashes.into_iter().collect::<Vec<Json>>(),
        })
    });
    let dependencies = packages.iter();
    let dependencies =
        dependencies.map(|(url, package)| json!({ "ref": url, "dependsOn": package.uses }));
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "component": {
            "type": "application",
            "bom-ref": server.map(Package::url),
            "name": server.map(|package| &package.name),
            "version": server.map(|package| &package.version),
        } },
        "components": components.collect::<Vec<Json>>(),
        "dependencies": dependencies.collect::<Vec<Json>>(),
    })
}

/// Returns the checksums of `Cargo.lock` by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let value = |package: &str, key: &str| -> Option<(usize, usize)> {
        let begin = package.find(&format!("\n{key} = \""))? + key.len() + 5;
        Some((begin, begin + package[begin..].find('"')?))
    };
    let read = |package| {
        let [name, version, sum] = ["name", "version", "checksum"].map(|key| value(package, key));
        let text = |(begin, end): (usize, usize)| &package[begin..end];
        Some(((text(name?), text(version?)), text(sum?)))
    };
    lock.split("[[package]]").skip(1).filter_map(read).collect()
}

/// Returns the crates that ship, by package URL, including those of the workspace.
fn shipped() -> Result<BTreeMap<String, Package>> {
    let mut all = BTreeMap::new();
    for (name, platform) in SHIPPED {
        let platform = platform.map_or_else(host, |platform| Ok(platform.to_owned()))?;
        let metadata = output(cargo().args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            &platform,
        ]))?;
        let metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
        all.extend(reachable(&metadata, name)?);
    }
    Ok(all)
}

/// Returns the packages that this one is built from, itself included. Edges of kind `null` in
/// `cargo metadata` are dependencies; other kinds are for tests and build scripts.
fn reachable(metadata: &Json, name: &str) -> Result<BTreeMap<String, Package>> {
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let id_of = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Package> = list(&metadata["packages"])
        .iter()
        .map(|package| (id_of(&package["id"]), Package::read(package)))
        .collect();
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let needed = list(&node["deps"])
            .into_iter()
            .filter(|edge| list(&edge["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()));
        edges.insert(id_of(&node["id"]), needed.map(|edge| id_of(&edge["pkg"])).collect());
    }
    let begin = packages.iter().find(|(_, package)| package.is_ours && package.name == name);
    let begin = begin.with_context(|| format!("the workspace has no package {name}"))?.0.clone();
    let (mut found, mut waiting) = (BTreeMap::new(), vec![begin]);
    while let Some(id) = waiting.pop() {
        let needed = edges.get(&id).cloned().unwrap_or_default();
        let Some(package) = packages.get(&id) else { continue };
        let uses = needed.iter().filter_map(|id| Some(packages.get(id)?.url())).collect();
        let package = Package { uses, ..package.clone() };
        if found.insert(package.url(), package).is_none() {
            waiting.extend(needed);
        }
    }
    Ok(found)
}

/// Returns the texts of the licence and notice files in a crate's folder.
fn licence_texts(folder: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && LICENCE_FILES.iter().any(|begin| name.starts_with(begin)) {
            paths.push(path);
        }
    }
    paths.sort();
    let text = |path: PathBuf| Ok(String::from_utf8_lossy(&fs::read(path)?).trim().to_owned());
    paths.into_iter().map(text).collect()
}

#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn write(name: &str, text: &str) -> Result<PathBuf> {
    let path = target_dir().join("dist").join(name);
    fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    eprintln!("{} has {} KiB", path.display(), text.len().div_ceil(1024));
    Ok(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{bill_of_materials, checksums, reachable};

    #[test]
    fn dependencies_of_tests_and_build_scripts_do_not_ship() {
        let package = |name: &str, source: Option<&str>| {
            json!({
                "id": name, "name": name, "version": "1.0.0", "source": source,
                "license": "MIT/Apache-2.0", "manifest_path": format!("/{name}/Cargo.toml"),
            })
        };
        let edge =
            |to: &str, kind: Option<&str>| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] });
        let registry = Some("registry");
        let metadata = json!({
            "packages": [
                package("tidings", None), package("axum", registry), package("http", registry),
                package("insta", registry), package("cc", registry),
            ],
            "resolve": { "nodes": [
                { "id": "tidings", "deps": [edge("axum", None), edge("insta", Some("dev"))] },
                { "id": "axum", "deps": [edge("http", None), edge("cc", Some("build"))] },
                { "id": "http", "deps": [] },
            ] },
        });
        let found = reachable(&metadata, "tidings").unwrap();
        let urls: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(
            urls,
            ["pkg:cargo/axum@1.0.0", "pkg:cargo/http@1.0.0", "pkg:cargo/tidings@1.0.0"]
        );
        let lock = "\n[[package]]\nname = \"http\"\nversion = \"1.0.0\"\nchecksum = \"ab12\"\n";
        let bill = bill_of_materials(&found, &checksums(lock));
        let http = &bill["components"][1];
        assert_eq!(http["name"], "http");
        assert_eq!(http["hashes"][0]["content"], "ab12");
        assert_eq!(http["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["components"].as_array().unwrap().len(), 2);
        assert_eq!(bill["dependencies"][2]["dependsOn"], json!(["pkg:cargo/axum@1.0.0"]));
        assert!(reachable(&metadata, "nothing").is_err());
    }
}
