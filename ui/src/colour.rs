//! One colour per service, the same on every page and after every reload, and another for each
//! service of one picture.
//!
//! A service's name is hashed to its home: one of a few hues that are well apart from each other
//! and from the red of errors. Where two services of one picture have the same home, the second
//! one moves to the next free shade by a fixed probe sequence; so it does on every reload, because
//! names are taken in the order of their hashes. Shades are the hues in two tones. The theme has
//! lightness and chroma of both tones (`--service-l`, `--service-l2` …), so that every service is
//! equally loud and readable. Elements take a shade as the custom property `--hue`, set through the
//! CSSOM: the content security policy forbids style attributes. 360 more is the same hue in the
//! second tone.
//!
//! Owns the picture of the present page: the services on it and the shades they have.

use std::{cell::RefCell, collections::HashMap};

#[cfg(test)]
mod tests;

/// Number of hues: at these lightnesses, more are hard to distinguish.
const HUES: u32 = 15;
const FIRST_HUE: f64 = 45.0;
/// From the first to the last hue, 52 degrees around the red of errors are left out.
const STEP: f64 = 22.0;
/// Number of shades: every hue in two tones.
const SHADES: usize = 2 * HUES as usize;
/// From a taken hue to the next one that is tried: far away, and coprime to the number of hues.
const PROBE: u32 = 7;
/// Chosen so that the services of the demo have a hue each, those that call each other far apart.
const SALT: u32 = 45_068;
/// More services than this keep their home, taken or not.
const SERVICES_MAX: usize = 10_000;

/// The services of one picture with their shades.
#[derive(Debug, Default)]
struct ShadeMap {
    page: String,
    shades: HashMap<String, u32>,
    taken: [bool; SHADES],
}

thread_local! {
    static PICTURE: RefCell<ShadeMap> = RefCell::default();
}

impl ShadeMap {
    /// Gives every service that has no shade yet a free one; the same ones whatever their order.
    fn tell_apart<'a>(&mut self, services: impl IntoIterator<Item = &'a str>) {
        let is_new = |service: &&str| !self.shades.contains_key(*service);
        let mut new: Vec<&str> = services.into_iter().filter(is_new).collect();
        new.sort_unstable_by_key(|service| (hash(service), *service));
        new.dedup();
        for service in new {
            self.shade(service);
        }
    }

    /// The shade of a service, which it keeps as long as the picture is the same.
    fn shade(&mut self, service: &str) -> u32 {
        if let Some(shade) = self.shades.get(service) {
            return *shade;
        }
        let home = hash(service) % HUES;
        let probes = (0..HUES).map(|probe| (home + probe * PROBE) % HUES);
        let shades = probes.clone().chain(probes.map(|hue| hue + HUES));
        let free = shades.into_iter().find(|shade| !self.taken[*shade as usize]);
        let shade = free.unwrap_or(home);
        if self.shades.len() < SERVICES_MAX {
            self.taken[shade as usize] = true;
            self.shades.insert(service.to_owned(), shade);
        }
        shade
    }
}

/// Begins the picture of another page: its services have their homes again.
pub(crate) fn begin_picture(page: &str) {
    PICTURE.with_borrow_mut(|picture| {
        if picture.page != page {
            *picture = ShadeMap { page: page.to_owned(), ..ShadeMap::default() };
        }
    });
}

/// Gives the services of a picture shades that tell them apart. Those that have one keep it.
pub(crate) fn tell_apart<'a>(services: impl IntoIterator<Item = &'a str>) {
    PICTURE.with_borrow_mut(|picture| picture.tell_apart(services));
}

fn shade(service: &str) -> u32 {
    PICTURE.with_borrow_mut(|picture| picture.shade(service))
}

fn hue_of(shade: u32) -> f64 {
    FIRST_HUE + f64::from(shade % HUES) * STEP
}

/// The shade of a service as the value of `--hue`.
#[must_use]
pub fn hue_value(service: &str) -> String {
    let shade = shade(service);
    format!("{:.1}", hue_of(shade) + if shade < HUES { 0.0 } else { 360.0 })
}

/// The colour of a service as CSS, for canvases.
#[must_use]
pub fn css(service: &str, dark: bool) -> String {
    let shade = shade(service);
    let (lightness, chroma) = match (shade < HUES, dark) {
        (true, true) => (0.74, 0.115),
        (true, false) => (0.62, 0.115),
        (false, true) => (0.6, 0.15),
        (false, false) => (0.46, 0.13),
    };
    format!("oklch({lightness} {chroma} {:.1})", hue_of(shade))
}

/// FNV-1a, mixed by Murmur3's finaliser so that names that differ only at the end come apart.
fn hash(text: &str) -> u32 {
    let mut hash = text.bytes().fold(0x811c_9dc5_u32 ^ SALT, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}
