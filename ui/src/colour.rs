//! One colour per service, the same on every page and after every reload.
//!
//! A service's name is hashed to one of a few hues that are well apart from each other and from
//! the red of errors: two services either differ clearly or not at all, and their names stand
//! beside them. Lightness and chroma are the theme's (`--service-l`, `--service-c`), so that every
//! service is equally loud and readable in both themes. Elements take the hue as the custom
//! property `--hue`, set through the CSSOM: the content security policy forbids style attributes.

/// How many hues there are: at these lightnesses, more are hard to tell apart.
const HUES: u32 = 15;
const FIRST_HUE: f64 = 45.0;
/// From the first to the last hue, 52 degrees around the red of errors are left out.
const STEP: f64 = 22.0;
/// Chosen so that the services of the demo have a hue each, those that call each other far apart.
const SALT: u32 = 45_068;

/// The hue of a service, in degrees, 0 to 360.
#[must_use]
pub fn hue(service: &str) -> f64 {
    FIRST_HUE + f64::from(hash(service) % HUES) * STEP
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
    let mut hash = text.bytes().fold(0x811c_9dc5_u32 ^ SALT, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
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
        "loyalty",
        "ledger",
        "auth",
    ];

    fn apart(one: &str, other: &str) -> f64 {
        let difference = (hue(one) - hue(other)).abs();
        difference.min(360.0 - difference)
    }

    #[test]
    fn a_service_keeps_its_hue() {
        assert_eq!(hue_value("checkout"), "353.0");
        assert!(SHOP.iter().all(|service| (0.0..360.0).contains(&hue(service))));
    }

    #[test]
    fn services_of_one_shop_differ() {
        let hues: BTreeSet<_> = SHOP.iter().map(|service| hue_value(service)).collect();
        assert_eq!(hues.len(), SHOP.len(), "{hues:?}");
        let callers = ["web-gateway", "checkout", "cart", "payment", "fraud", "inventory"];
        for (one, other) in callers.iter().flat_map(|one| callers.map(|other| (*one, other))) {
            assert!(one == other || apart(one, other) > 40.0, "{one} and {other}");
        }
    }

    #[test]
    fn two_services_differ_clearly_or_not_at_all() {
        let names = (0..100).map(|n| format!("service-{n}"));
        let mut hues: Vec<f64> = names.map(|name| hue(&name)).collect();
        hues.sort_by(f64::total_cmp);
        hues.dedup();
        assert!(hues.len() > 10, "{hues:?}");
        assert!(hues.windows(2).all(|pair| pair[1] - pair[0] >= 22.0), "{hues:?}");
        assert!(hues.iter().all(|hue| (40.0..355.0).contains(hue)), "near the red of errors");
    }

    #[test]
    fn a_canvas_gets_the_lightness_of_its_theme() {
        assert!(css("cart", true).starts_with("oklch(0.74 "));
        assert!(css("cart", false).starts_with("oklch(0.62 "));
    }
}
