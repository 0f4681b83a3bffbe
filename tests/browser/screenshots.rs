//! Screenshots of every page over an incident, for people to look at: `cargo xtask screenshots`.
//! Home of a server without data is among them.
//!
//! The environment variable `SCREENSHOTS` names the output folder; the files are
//! `NAME-THEME-WIDTH.png`. Without it the test does nothing. `SCREENSHOTS_DOCS` names the folder
//! for the screenshots of the documentation.

use std::path::{Path, PathBuf};

use super::{
    SETTLED,
    pages::{Case, cases, welcome},
};
use crate::harness::{Server, browser::Browser};

/// Pages whose screenshots the documentation shows.
const OF_DOCS: [&str; 6] =
    ["home", "trace", "transaction-type", "map", "explore-box", "compare-typical"];
/// Pages that are also drawn at the width of a telephone.
const NARROW: [&str; 5] = ["trace", "home", "logs", "errors-group", "settings"];
const SIZES: [(u32, u32); 3] = [(1_280, 800), (1_440, 900), (1_920, 1_080)];
const NARROW_SIZE: (u32, u32) = (390, 844);

/// Expression that is true when a page has requested everything and nothing on it moves. It needs
/// twenty frames in a row without a request, a loading part or a missing image.
const HAS_RESTED: &str = "new Promise(done => {
    let frames = 0, last = -1, looks = 0;
    const look = () => {
        const asked = performance.getEntriesByType('resource').length;
        frames = asked === last && SETTLED ? frames + 1 : 0;
        last = asked;
        if (frames >= 20) done(true);
        else if (looks++ > 600) done(false);
        else requestAnimationFrame(look);
    };
    document.fonts.ready.then(look);
})";

fn wait_until_rested(browser: &mut Browser, case: &Case) {
    browser.wait_for(case.shown());
    browser.wait_for(&HAS_RESTED.replace("SETTLED", SETTLED));
}

/// Makes the pictures of the opened page in both themes.
fn picture(browser: &mut Browser, case: &Case, folder: &Path, width: u32) {
    for theme in ["dark", "light"] {
        browser.prefer(theme);
        wait_until_rested(browser, case);
        browser.screenshot_into(&folder.join(format!("{}-{theme}-{width}.png", case.name)));
    }
}

#[test]
fn pictures_of_every_page_are_made_where_a_folder_is_given() {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (all, docs) = (folder("SCREENSHOTS"), folder("SCREENSHOTS_DOCS"));
    if all.is_none() && docs.is_none() {
        return;
    }
    let (server, empty) = (Server::start(), Server::start());
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    for case in cases(&server).into_iter().chain([welcome(&empty)]) {
        browser.prefer("dark");
        browser.resize(1_440, 900);
        case.open(&mut browser);
        wait_until_rested(&mut browser, &case);
        if let Some(folder) = docs.as_ref().filter(|_| OF_DOCS.contains(&case.name)) {
            browser.screenshot_into(&folder.join(format!("{}.png", case.name)));
        }
        let Some(folder) = &all else { continue };
        for (width, height) in SIZES {
            browser.resize(width, height);
            picture(&mut browser, &case, folder, width);
        }
        if NARROW.contains(&case.name) {
            let (width, height) = NARROW_SIZE;
            browser.resize(width, height);
            // A page that a telephone opens has fewer open parts than one that became narrow.
            case.open(&mut browser);
            picture(&mut browser, &case, folder, width);
        }
        println!("{}", case.name);
    }
}
