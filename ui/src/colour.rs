//! One colour per service, the same on every page and after every reload.
//!
//! A service's name is hashed to a step of the golden angle, which gives the hue; lightness and
//! chroma are the theme's (`--service-l`, `--service-c`), so that every service is equally loud
//! and readable in both themes. Elements take the hue as the custom property `--hue`, set through
//! the CSSOM: the content security policy forbids style attributes.

/// Steps of the golden angle the hash chooses from.
const STEPS: u32 = 144;
const GOLDEN_ANGLE: f64 = 137.507_764;
const FIRST_HUE: f64 = 200.0;

/// The hue of a service, in degrees, 0 to 360.
#[must_use]
pub fn hue(service: &str) -> f64 {
    let step = hash(service) % STEPS;
    (FIRST_HUE + f64::from(step) * GOLDEN_ANGLE).rem_euclid(360.0)
}

/// The hue as the value of `--hue`.
#[must_use]
pub fn hue_value(service: &str) -> String {
    format!("{:.1}", hue(service))
}

/// The colour of a service as CSS, for canvases.
#[must_use]
pub fn css(service: &str, dark: bool) -> String {
    let lightness = if dark { 0.74 } else { 0.62 };
    format!("oklch({lightness} 0.115 {:.1})", hue(service))
}

/// FNV-1a, mixed by Murmur3's finaliser so that names that differ only at the end come apart.
fn hash(text: &str) -> u32 {
    let mut hash = text
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{css, hue, hue_value};

    const SHOP: [&str; 12] = [
        "web-gateway",
        "checkout",
        "cart",
        "catalog",
        "payment",
        "fraud",
        "orders",
        "mailer",
        "inventory",
        "shipping",
        "ledger",
        "auth",
    ];

    #[test]
    fn a_service_keeps_its_hue() {
        assert_eq!(hue_value("checkout"), hue_value("checkout"));
        assert!(SHOP.iter().all(|service| (0.0..360.0).contains(&hue(service))));
    }

    #[test]
    fn services_of_one_shop_mostly_differ() {
        let hues: BTreeSet<_> = SHOP.iter().map(|service| hue_value(service)).collect();
        assert!(hues.len() >= 10, "{hues:?}");
    }

    #[test]
    fn a_canvas_gets_the_lightness_of_its_theme() {
        assert!(css("cart", true).starts_with("oklch(0.74 "));
        assert!(css("cart", false).starts_with("oklch(0.62 "));
    }
}
