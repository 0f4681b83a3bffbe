//! Colours of services. A service has the same colour on every page and after every reload, and a
//! colour of its own within a picture.
//!
//! A service's name is hashed to its home: one of a few hues that are far from each other and from
//! the red of errors. Where two services of one picture have the same home, the second one moves to
//! the next free shade by a fixed probe sequence. Answers arrive in any order, so the browser
//! stores the first shade of each service and does not change it. The service has that shade on
//! every page and after a reload.
//!
//! Some of more services than shades have the same shade. Where two of them are in one picture of few
//! services, the second one has another shade there, which is not stored. In a picture of more
//! services than hues, services have their stored shades, so that no colour moves.
//!
//! Shades are the hues in two tones. The theme sets lightness and chroma of both tones
//! (`--service-l`, `--service-l2` …), so that every service is equally prominent and readable.
//! Elements get a shade as the custom property `--hue`, set through the CSSOM, because the content
//! security policy forbids style attributes. A hue plus 360 is the same hue in the second tone.
//!
//! Owns the picture of the present page: the services on it and their shades. Stored shades of other
//! tabs are read when a picture begins. `web_storage` bounds their number.

use std::{cell::RefCell, collections::HashMap};

use tidings_proto::UnixNanos;

use crate::web_storage::{self, SavedText};

#[cfg(test)]
mod tests;

/// Number of hues. More would be hard to distinguish at these lightnesses.
const HUES: u32 = 15;
const FIRST_HUE: f64 = 45.0;
/// Degrees between two hues. The 52 degrees around the red of errors have none.
const STEP: f64 = 22.0;
/// Number of shades: every hue in two tones.
const SHADES: usize = 2 * HUES as usize;
/// Step of the probe sequence over hues: large, and coprime to the number of hues.
const PROBE: u32 = 7;
/// Salt of the hash. With it, the services of the demo have distinct hues, and services that call
/// each other have distant ones.
const SALT: u32 = 45_068;
/// Maximum number of services whose collisions are resolved. Further ones have their home, even if
/// it is taken.
const SERVICES_MAX: usize = 10_000;
/// Maximum number of services whose shade is known while the document is open.
const KNOWN_MAX: usize = 500;
/// Key of the shades in local storage.
const STORAGE_KEY: &str = "tidings.shades";

/// The services of one picture with their shades.
#[derive(Debug, Default)]
struct ShadeMap {
    page: String,
    shades: HashMap<String, u32>,
    taken: [bool; SHADES],
    /// Set when the picture has more services than hues.
    is_crowded: bool,
    /// First shades by service: those of this picture before those of earlier pictures.
    kept: Vec<(String, u32)>,
    /// Set when there are new shades to store.
    is_changed: bool,
}

thread_local! {
    static PICTURE: RefCell<ShadeMap> = RefCell::default();
}

impl ShadeMap {
    /// Gives every service without a shade a free one. The result does not depend on the order of
    /// the services. Services with a stored shade come first.
    fn assign_shades<'a>(&mut self, services: impl IntoIterator<Item = &'a str>) {
        let is_new = |service: &&str| !self.shades.contains_key(*service);
        let mut new: Vec<&str> = services.into_iter().filter(is_new).collect();
        new.sort_by_cached_key(|service| {
            (self.stored_shade(service).is_none(), hash(service), *service)
        });
        new.dedup();
        self.is_crowded |= self.shades.len() + new.len() > HUES as usize;
        for service in new {
            self.shade(service);
        }
    }

    /// Returns the shade of a service. It does not change within one picture.
    fn shade(&mut self, service: &str) -> u32 {
        if let Some(shade) = self.shades.get(service) {
            return *shade;
        }
        let known = self.stored_shade(service);
        let is_crowded = self.is_crowded || self.shades.len() >= HUES as usize;
        let own = known.filter(|shade| is_crowded || !self.taken[*shade as usize]);
        let shade = own.unwrap_or_else(|| self.least_used_shade(service));
        if self.shades.len() < SERVICES_MAX {
            self.taken[shade as usize] = true;
            self.shades.insert(service.to_owned(), shade);
            // Another shade of a known service is for this picture only.
            self.keep(service, known.unwrap_or(shade));
            self.is_changed |= known.is_none();
        }
        shade
    }

    /// Returns a shade that is free in this picture, if there is one. Of those, it is one of fewest
    /// known services, and the next to the home of the service.
    fn least_used_shade(&self, service: &str) -> u32 {
        let home = hash(service) % HUES;
        let probes = (0..HUES).map(|probe| (home + probe * PROBE) % HUES);
        let shades = probes.clone().chain(probes.map(|hue| hue + HUES));
        let use_count = |shade: u32| self.kept.iter().filter(|(_, kept)| *kept == shade).count();
        let rank = |shade: &u32| (self.taken[*shade as usize], use_count(*shade));
        shades.min_by_key(rank).unwrap_or(home)
    }

    /// Records the first shade of a service as the newest.
    fn keep(&mut self, service: &str, shade: u32) {
        self.kept.retain(|(name, _)| name != service);
        self.kept.insert(0, (service.to_owned(), shade));
        self.kept.truncate(KNOWN_MAX);
    }

    /// Begins another picture. Known services keep their shades, whatever other tabs have stored.
    fn begin_page(&mut self, page: &str, stored: impl IntoIterator<Item = (String, u32)>) {
        let kept = std::mem::take(&mut self.kept);
        *self = Self { page: page.to_owned(), kept, ..Self::default() };
        for (service, shade) in stored {
            if self.stored_shade(&service).is_none() && self.kept.len() < KNOWN_MAX {
                self.kept.push((service, shade));
            }
        }
    }

    fn stored_shade(&self, service: &str) -> Option<u32> {
        self.kept.iter().find(|(name, _)| name == service).map(|(_, shade)| *shade)
    }
}

/// Reads the service and the shade of a stored entry. `None` if it is not a shade.
fn read_shade(entry: SavedText) -> Option<(String, u32)> {
    let shade = entry.text.parse::<u32>().ok().filter(|shade| (*shade as usize) < SHADES)?;
    Some((entry.name, shade))
}

fn saved_shade((service, shade): &(String, u32)) -> SavedText {
    SavedText { name: service.clone(), text: shade.to_string(), time: UnixNanos(0) }
}

/// Changes the picture of the page and stores its new shades.
fn update_shades<T>(change: impl FnOnce(&mut ShadeMap) -> T) -> T {
    PICTURE.with_borrow_mut(|picture| {
        let painted = change(picture);
        if std::mem::take(&mut picture.is_changed) && !picture.page.is_empty() {
            let newest = picture.kept.iter().take(web_storage::ENTRIES_MAX);
            web_storage::store_texts(STORAGE_KEY, &newest.map(saved_shade).collect::<Vec<_>>());
        }
        painted
    })
}

/// Begins the picture of another page.
pub(crate) fn begin_picture(page: &str) {
    PICTURE.with_borrow_mut(|picture| {
        if picture.page != page {
            let stored = web_storage::load_texts(STORAGE_KEY).into_iter().filter_map(read_shade);
            picture.begin_page(page, stored);
        }
    });
}

/// Gives the services of a picture distinct shades. Services that have a shade keep it.
pub(crate) fn assign_shades<'a>(services: impl IntoIterator<Item = &'a str>) {
    update_shades(|picture| picture.assign_shades(services));
}

fn shade(service: &str) -> u32 {
    update_shades(|picture| picture.shade(service))
}

fn hue_of(shade: u32) -> f64 {
    FIRST_HUE + f64::from(shade % HUES) * STEP
}

/// Returns the shade of a service as the value of `--hue`.
#[must_use]
pub fn hue_value(service: &str) -> String {
    let shade = shade(service);
    format!("{:.1}", hue_of(shade) + if shade < HUES { 0.0 } else { 360.0 })
}

/// Returns the colour of a service as CSS, for canvases.
#[must_use]
pub fn css_colour(service: &str, dark: bool) -> String {
    let shade = shade(service);
    let (lightness, chroma) = match (shade < HUES, dark) {
        (true, true) => (0.74, 0.115),
        (true, false) => (0.62, 0.115),
        (false, true) => (0.6, 0.15),
        (false, false) => (0.46, 0.13),
    };
    format!("oklch({lightness} {chroma} {:.1})", hue_of(shade))
}

/// FNV-1a with Murmur3's finaliser, so that names that differ only at the end get distant hashes.
fn hash(text: &str) -> u32 {
    let mut hash = text.bytes().fold(0x811c_9dc5_u32 ^ SALT, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}
