//! `cargo xtask screenshots`: pictures of every page in both themes and at several widths, in
//! `target/screenshots`, and a page that lays each beside its mock.
//!
//! Owns the flags and the page. A test of the browser (`tests/browser/screenshots.rs`), which gets
//! the folders from the environment, makes the pictures. Mocks are linked and not copied; they are
//! in `../shared/ui`, where that folder is present.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::steps::{StepReport, cargo, check, root, target_dir};

/// The test that makes the pictures.
const TEST: &str = "pictures_of_every_page_are_made_where_a_folder_is_given";

/// The mock of a page, without its theme.
const MOCKS: &[(&str, &str)] = &[
    ("home", "home"),
    ("explore", "explore"),
    ("explore-box", "pages-heatmap-explain"),
    ("trace", "trace"),
    ("trace-flame", "pages-trace-flame"),
    ("trace-tree", "pages-trace-tree"),
    ("trace-table", "pages-trace-table"),
    ("trace-graph", "pages-trace-graph"),
    ("transaction-type", "pages-kind"),
    ("services", "pages-services"),
    ("service", "pages-service"),
    ("map", "map"),
    ("errors", "pages-exceptions"),
    ("errors-group", "pages-exceptions"),
    ("logs", "logs"),
    ("logs-record", "logs"),
    ("logs-patterns", "pages-logs-patterns"),
    ("compare", "pages-compare"),
    ("compare-typical", "pages-compare"),
    ("sql", "pages-sql"),
    ("system", "pages-system"),
    ("home-no-answer", "pages-states"),
    ("welcome", "pages-states"),
];
/// The one mock of all pages at this width.
const NARROW: (&str, &str) = ("390", "pages-narrow-dark.png");

/// Makes the pictures; with `--docs` those of the documentation only.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let of_docs = match args {
        [] => false,
        [flag] if flag == "--docs" => true,
        [other, ..] => bail!("there is no flag {other}: --docs is"),
    };
    let folder = absolute(&target_dir().join("screenshots"))?;
    let mut test = cargo();
    test.args(["test", "--workspace", "--test", "tests", TEST, "--", "--nocapture"]);
    if of_docs {
        test.env("SCREENSHOTS_DOCS", absolute(&root().join("docs/images"))?);
    } else {
        test.env("SCREENSHOTS", &folder);
    }
    let mut progress = StepReport::new(2);
    progress.step(crate::UI, crate::ui::build)?;
    progress.step("pictures: every page over an incident", || check(&mut test))?;
    if !of_docs {
        let page = index(&names(&folder)?, &mocks_folder());
        let path = folder.join("index.html");
        write(&path, &page)?;
        eprintln!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::canonicalize(folder).with_context(|| folder.display().to_string())
}

#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Returns the names of the pictures without their ending, in order.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".png").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Returns the paths of the mocks that are present.
fn mocks_folder() -> Vec<PathBuf> {
    let Ok(folder) = fs::canonicalize(root().join("../shared/ui")) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Returns the mock of a picture: in its theme, else in the dark one.
fn mock_of<'a>(picture: &str, mocks: &'a [PathBuf]) -> Option<&'a PathBuf> {
    let mut parts = picture.rsplitn(3, '-');
    let (width, theme, name) = (parts.next()?, parts.next()?, parts.next()?);
    let with_name = |wanted: &str| {
        mocks.iter().find(|path| path.file_name().is_some_and(|name| name == wanted))
    };
    if width == NARROW.0 {
        return with_name(NARROW.1);
    }
    let (_, mock) = MOCKS.iter().find(|(page, _)| *page == name)?;
    with_name(&format!("{mock}-{theme}.png")).or_else(|| with_name(&format!("{mock}-dark.png")))
}

/// Builds the page that lays each picture beside its mock.
fn index(pictures: &[String], mocks: &[PathBuf]) -> String {
    let mut page = String::from(
        "<!doctype html><meta charset=utf-8><title>Screenshots</title>\n\
         <style>body{font:14px sans-serif}div{display:flex;gap:8px}img{max-width:49vw}</style>\n",
    );
    for picture in pictures {
        let mock = mock_of(picture, mocks).map_or_else(String::new, |mock| {
            format!("<img loading=lazy alt=\"mock\" src=\"file://{}\">", mock.display())
        });
        let _infallible = writeln!(
            page,
            "<h2>{picture}</h2><div><img loading=lazy alt=\"{picture}\" src=\"{picture}.png\">{mock}</div>"
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{index, mock_of};

    #[test]
    fn a_picture_stands_beside_the_mock_of_its_page_and_theme() {
        let mocks = [
            "map-dark.png",
            "pages-heatmap-explain-dark.png",
            "pages-kind-light.png",
            "pages-kind-dark.png",
            "pages-narrow-dark.png",
        ]
        .map(|name| PathBuf::from("/mocks").join(name));
        let mock = |picture: &str| mock_of(picture, &mocks).map(|path| path.display().to_string());
        let cases = [
            ("map-light-1440", Some("/mocks/map-dark.png")),
            ("transaction-type-light-1280", Some("/mocks/pages-kind-light.png")),
            ("transaction-type-dark-1920", Some("/mocks/pages-kind-dark.png")),
            ("explore-box-light-1440", Some("/mocks/pages-heatmap-explain-dark.png")),
            ("trace-light-390", Some("/mocks/pages-narrow-dark.png")),
            ("connect-dark-1440", None),
            ("odd", None),
        ];
        for (picture, wanted) in cases {
            assert_eq!(mock(picture), wanted.map(str::to_owned), "{picture}");
        }
        let page = index(&["map-dark-1440".to_owned(), "connect-dark-1440".to_owned()], &mocks);
        assert_eq!(page.matches("<img").count(), 3, "{page}");
    }
}
