//! Colours of services. A service has the same colour on every page and after every reload, and a
//! colour of its own within a picture.
//!
//! A service's name is hashed to its home: one of a few hues that are far from each other and from
//! the red of errors. Where two services of one picture have the same home, the second one moves to
//! the next free shade by a fixed probe sequence. Answers arrive in any order, so the browser
//! stores the shade of each service. On the next page, and after a reload, the service has that
//! shade again, unless another service of that picture took it first. While fewer services are
//! known than there are shades, no other service takes it. A picture with more services than shades
//! uses some shades twice, and the order of answers decides which services share one.
//!
//! Shades are the hues in two tones. The theme sets lightness and chroma of both tones
//! (`--service-l`, `--service-l2` …), so that every service is equally prominent and readable.
//! Elements get a shade as the custom property `--hue`, set through the CSSOM, because the content
//! security policy forbids style attributes. A hue plus 360 is the same hue in the second tone.
//!
//! Owns the picture of the present page: the services on it and their shades. The stored shades are
//! read when a picture begins, and `saved` bounds their number.

use std::{cell::RefCell, collections::HashMap};

use tidings_proto::UnixNanos;

use crate::saved_texts::{self, SavedText};

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
/// Key of the shades in local storage.
const STORAGE_KEY: &str = "tidings.shades";

/// The services of one picture with their shades.
#[derive(Debug, Default)]
struct ShadeMap {
    page: String,
    shades: HashMap<String, u32>,
    taken: [bool; SHADES],
    /// Shades by service: first those of this picture, then stored ones of earlier pictures.
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
        for service in new {
            self.shade(service);
        }
    }

    /// Returns the shade of a service. It does not change within one picture.
    fn shade(&mut self, service: &str) -> u32 {
        if let Some(shade) = self.shades.get(service) {
            return *shade;
        }
        let home = hash(service) % HUES;
        let kept = self.stored_shade(service);
        let probes = (0..HUES).map(|probe| (home + probe * PROBE) % HUES);
        let shades = probes.clone().chain(probes.map(|hue| hue + HUES));
        let is_few = self.kept.len() < SHADES;
        let is_kept = |shade: u32| self.kept.iter().any(|(_, kept)| *kept == shade);
        let of_nobody = shades.clone().filter(|shade| !(is_few && is_kept(*shade)));
        let mut tried = kept.into_iter().chain(of_nobody).chain(shades);
        let free = tried.find(|shade| !self.taken[*shade as usize]);
        let shade = free.unwrap_or(home);
        if self.shades.len() < SERVICES_MAX {
            self.taken[shade as usize] = true;
            self.shades.insert(service.to_owned(), shade);
            if free.is_some() {
                self.keep(service, shade);
                self.is_changed |= kept != Some(shade);
            }
        }
        shade
    }

    /// Records the shade of a service as the newest.
    fn keep(&mut self, service: &str, shade: u32) {
        self.kept.retain(|(name, _)| name != service);
        self.kept.insert(0, (service.to_owned(), shade));
        self.kept.truncate(saved_texts::ENTRIES_MAX);
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
            saved_texts::store(
                STORAGE_KEY,
                &picture.kept.iter().map(saved_shade).collect::<Vec<_>>(),
            );
        }
        painted
    })
}

/// Begins the picture of another page, with the stored shades.
pub(crate) fn begin_picture(page: &str) {
    PICTURE.with_borrow_mut(|picture| {
        if picture.page != page {
            let kept = saved_texts::load(STORAGE_KEY).into_iter().filter_map(read_shade).collect();
            *picture = ShadeMap { page: page.to_owned(), kept, ..ShadeMap::default() };
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
