use std::collections::{BTreeMap, BTreeSet};

use super::{HUES, SHADES, ShadeMap, css_colour, hue_of, hue_value, read_shade, saved_shade};
use crate::web_storage::{ENTRIES_MAX, SavedText};

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

/// Services of OpenTelemetry's demo, several of which have the same home.
const ASTRONOMY_SHOP: [&str; 15] = [
    "accountingservice",
    "adservice",
    "cartservice",
    "checkoutservice",
    "currencyservice",
    "emailservice",
    "flagd",
    "frauddetectionservice",
    "frontend",
    "frontendproxy",
    "loadgenerator",
    "paymentservice",
    "productcatalogservice",
    "quoteservice",
    "shippingservice",
];

fn shades(services: &[&str]) -> BTreeMap<String, u32> {
    let mut picture = ShadeMap::default();
    picture.assign_shades(services.iter().copied());
    services.iter().map(|service| ((*service).to_owned(), picture.shade(service))).collect()
}

fn apart(one: &str, other: &str) -> f64 {
    let alone = |service| hue_of(ShadeMap::default().shade(service));
    let difference = (alone(one) - alone(other)).abs();
    difference.min(360.0 - difference)
}

#[test]
fn a_service_keeps_its_hue() {
    assert_eq!(hue_value("checkout"), "353.0");
    assert_eq!(hue_value("checkout"), "353.0");
}

#[test]
fn services_of_one_shop_differ_at_home() {
    let homes: BTreeSet<_> =
        SHOP.iter().map(|service| ShadeMap::default().shade(service)).collect();
    assert_eq!(homes.len(), SHOP.len(), "{homes:?}");
    let callers = ["web-gateway", "checkout", "cart", "payment", "fraud", "inventory"];
    for (one, other) in callers.iter().flat_map(|one| callers.map(|other| (*one, other))) {
        assert!(one == other || apart(one, other) > 40.0, "{one} and {other}");
    }
}

#[test]
fn services_of_one_picture_never_share_a_shade() {
    let numbered: Vec<String> = (0..30).map(|number| format!("service-{number}")).collect();
    let numbered: Vec<&str> = numbered.iter().map(String::as_str).collect();
    for services in [&ASTRONOMY_SHOP[..12], &ASTRONOMY_SHOP, &numbered[..12], &numbered] {
        let shades = shades(services);
        let different: BTreeSet<_> = shades.values().collect();
        assert_eq!(different.len(), services.len(), "{shades:?}");
    }
    // If there are as many services as hues, they differ in hue and not only in tone.
    let hues: BTreeSet<_> =
        shades(&ASTRONOMY_SHOP).into_values().map(|shade| shade % HUES).collect();
    assert_eq!(hues.len(), ASTRONOMY_SHOP.len());
}

#[test]
fn shades_do_not_depend_on_the_order_of_services() {
    let mut backwards = ASTRONOMY_SHOP;
    backwards.reverse();
    assert_eq!(shades(&ASTRONOMY_SHOP), shades(&backwards));
}

#[test]
fn services_that_come_later_move_nobody() {
    let mut picture = ShadeMap::default();
    picture.assign_shades(ASTRONOMY_SHOP[..8].iter().copied());
    let before: Vec<_> = ASTRONOMY_SHOP[..8].iter().map(|name| picture.shade(name)).collect();
    picture.assign_shades(ASTRONOMY_SHOP.iter().copied());
    let after: Vec<_> = ASTRONOMY_SHOP[..8].iter().map(|name| picture.shade(name)).collect();
    assert_eq!(before, after);
}

/// Returns the picture of a page after a reload.
fn next(picture: &ShadeMap) -> ShadeMap {
    let kept = picture.kept.iter().take(ENTRIES_MAX).cloned().collect();
    ShadeMap { kept, ..ShadeMap::default() }
}

/// Returns the shades of services that arrive in this order, one or several at a time.
fn arrive(picture: &mut ShadeMap, services: &[&str], at_a_time: usize) -> BTreeMap<String, u32> {
    for part in services.chunks(at_a_time) {
        picture.assign_shades(part.iter().copied());
    }
    services.iter().map(|service| ((*service).to_owned(), picture.shade(service))).collect()
}

#[test]
fn shades_after_a_reload_are_those_before_whatever_the_order_of_answers() {
    let numbered: Vec<String> = (0..SHADES).map(|number| format!("service-{number}")).collect();
    let numbered: Vec<&str> = numbered.iter().map(String::as_str).collect();
    for services in [&ASTRONOMY_SHOP[..], &numbered[..12], &numbered] {
        for first in 0..services.len() {
            let mut order = services.to_vec();
            order.rotate_left(first);
            let mut picture = ShadeMap::default();
            let shades = arrive(&mut picture, &order, 1 + first % 4);
            assert_eq!(shades.values().collect::<BTreeSet<_>>().len(), services.len());
            for at_a_time in 1..4 {
                order.reverse();
                order.rotate_left(5);
                picture = next(&picture);
                assert_eq!(arrive(&mut picture, &order, at_a_time), shades, "{order:?}");
            }
        }
    }
}

#[test]
fn a_service_has_its_shade_on_every_page() {
    let mut first = ShadeMap::default();
    let shades = arrive(&mut first, &ASTRONOMY_SHOP, 1);
    for (service, shade) in &shades {
        assert_eq!(next(&first).shade(service), *shade);
    }
    // Services that come first on another page take none of these shades.
    let others: Vec<String> = (0..10).map(|number| format!("service-{number}")).collect();
    let mut second = next(&first);
    let of_others: Vec<u32> = others.iter().map(|other| second.shade(other)).collect();
    assert_eq!(arrive(&mut second, &ASTRONOMY_SHOP, 1), shades);
    assert!(of_others.iter().all(|shade| !shades.values().any(|of_shop| of_shop == shade)));
}

#[test]
fn more_services_than_shades_keep_their_shades_from_page_to_page() {
    let names: Vec<String> = (0..44).map(|number| format!("service-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut picture = ShadeMap::default();
    let shades = arrive(&mut picture, &names, 5);
    for round in 0..20 {
        picture.begin_page("/map", []);
        assert_eq!(arrive(&mut picture, &names, 44), shades, "all of them, in round {round}");
        for size in [1, 3, 12] {
            picture.begin_page("/errors", []);
            let mut shown = names.clone();
            shown.rotate_left(round * 7 % 44);
            shown.truncate(size);
            let here = arrive(&mut picture, &shown, 1 + round % 3);
            let different: BTreeSet<_> = here.values().collect();
            assert_eq!(different.len(), size, "those of one picture differ: {here:?}");
            let moved = here.iter().filter(|(name, shade)| shades[*name] != **shade).count();
            assert!(moved <= size / 3, "{moved} of {size} in round {round}");
            assert!(names.iter().all(|name| picture.stored_shade(name) == Some(shades[*name])));
        }
    }
}

#[test]
fn shades_that_another_tab_stores_change_no_shade_here() {
    let mut picture = ShadeMap::default();
    let shades = arrive(&mut picture, &SHOP, 3);
    let other = (shades["cart"] + 1) % HUES;
    picture.begin_page("/logs", [("cart".to_owned(), other), ("search".to_owned(), 29)]);
    assert_eq!(picture.shade("search"), 29);
    assert_eq!(arrive(&mut picture, &SHOP, 3), shades);
}

#[test]
fn shades_are_kept_of_the_newest_services_only() {
    let mut picture = ShadeMap::default();
    for page in 0..20 {
        let services: Vec<String> = (0..12).map(|number| format!("s{page}-{number}")).collect();
        let services: Vec<&str> = services.iter().map(String::as_str).collect();
        picture = next(&picture);
        let shades = arrive(&mut picture, &services, 1);
        assert_eq!(shades.values().collect::<BTreeSet<_>>().len(), services.len());
        picture = next(&picture);
        assert_eq!(arrive(&mut picture, &services, 12), shades);
        assert!(picture.kept.len() <= ENTRIES_MAX);
    }
    assert_eq!((picture.kept.len(), picture.stored_shade("s0-0")), (ENTRIES_MAX, None));
}

#[test]
fn invalid_saved_shades_are_ignored() {
    let kept = ("checkout".to_owned(), 29);
    let entry = saved_shade(&kept);
    assert_eq!(read_shade(entry.clone()), Some(kept));
    for text in ["", "-1", "30", "4294967296", "x"] {
        assert_eq!(
            read_shade(SavedText { text: text.to_owned(), ..entry.clone() }),
            None,
            "{text}"
        );
    }
}

#[test]
fn more_services_than_shades_still_have_one_each() {
    let names: Vec<String> = (0..200).map(|number| format!("s{number}")).collect();
    let mut picture = ShadeMap::default();
    picture.assign_shades(names.iter().map(String::as_str));
    assert!(names.iter().all(|name| (picture.shade(name) as usize) < SHADES));
}

#[test]
fn no_hue_is_near_the_red_of_errors() {
    let hues: Vec<f64> = (0..HUES).map(hue_of).collect();
    assert!(hues.windows(2).all(|pair| pair[1] - pair[0] >= 22.0), "{hues:?}");
    assert!(hues.iter().all(|hue| (40.0..355.0).contains(hue)), "{hues:?}");
}

#[test]
fn a_canvas_gets_the_lightness_of_its_theme() {
    assert!(css_colour("cart", true).starts_with("oklch(0.74 "));
    assert!(css_colour("cart", false).starts_with("oklch(0.62 "));
}

/// The tokens of one theme that are plain colours.
fn tokens(theme: &str) -> BTreeMap<&'static str, &'static str> {
    let css = include_str!("../../style/00-tokens.css");
    let block = css.split_once(&format!("[data-theme=\"{theme}\"] {{")).unwrap().1;
    let block = block.split_once('}').unwrap().0;
    let pairs = block.split(';').filter_map(|pair| pair.trim().split_once(':'));
    pairs.map(|(name, value)| (name.trim(), value.trim())).collect()
}

/// Returns WCAG's relative luminance of `#rgb` or `#rrggbb`.
fn luminance(colour: &str) -> f64 {
    let digits: Vec<u32> =
        colour.trim_start_matches('#').chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    let part = |at: usize| match digits.len() {
        3 => digits[at] * 17,
        _ => digits[2 * at] * 16 + digits[2 * at + 1],
    };
    let linear = |at: usize| {
        let part = f64::from(part(at)) / 255.0;
        if part <= 0.039_28 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(0) + 0.7152 * linear(1) + 0.0722 * linear(2)
}

const GROUNDS: [&str; 4] = ["--bg", "--surface", "--raised", "--sel"];

/// Returns WCAG's contrast of two colours.
fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_sparkline_is_visible_on_every_ground_of_its_theme() {
    for theme in ["dark", "light"] {
        let tokens = tokens(theme);
        for shape in ["--mark", "--accent", "--err", "--warn2"] {
            let of = tokens[shape].strip_prefix("var(").and_then(|of| of.strip_suffix(')'));
            let colour = tokens[of.unwrap_or(shape)];
            for ground in GROUNDS {
                let contrast = contrast(colour, tokens[ground]);
                assert!(contrast >= 3.0, "{theme}: {shape} on {ground} {contrast:.2}");
            }
        }
    }
}

#[test]
fn every_text_is_readable_on_every_ground_of_its_theme() {
    let mut unreadable = Vec::new();
    for theme in ["dark", "light"] {
        let tokens = tokens(theme);
        let texts = ["--text", "--mute", "--faint", "--accent", "--err", "--warn", "--ok"];
        let everywhere = texts.iter().flat_map(|text| GROUNDS.map(|ground| (*text, ground)));
        let tinted = [
            ("--accent", "--accent-bg"),
            ("--err", "--err-bg"),
            ("--warn", "--warn-bg"),
            ("--mute", "--warn-bg"),
            ("--faint", "--warn-bg"),
            ("--on-accent", "--accent"),
        ];
        for (text, ground) in everywhere.chain(tinted) {
            let contrast = contrast(tokens[text], tokens[ground]);
            if contrast < 4.5 {
                unreadable.push(format!("{theme}: {text} on {ground} {contrast:.2}"));
            }
        }
    }
    assert!(unreadable.is_empty(), "{unreadable:#?}");
}

/// Returns a number of a stylesheet, as `.74`.
fn number(tokens: &BTreeMap<&str, &str>, name: &str) -> f64 {
    tokens[name].parse().unwrap()
}

/// Returns the linear RGB of a colour in OKLab, clipped as browsers do.
fn linear_of_oklab([lightness, a, b]: [f64; 3]) -> [f64; 3] {
    let long = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let middle = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let short = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
    [
        4.076_741_662_1 * long - 3.307_711_591_3 * middle + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * middle - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * middle + 1.707_614_701 * short,
    ]
    .map(|part| part.clamp(0.0, 1.0))
}

/// Returns the contrast of a plain colour with the solid part of a frame of this shade.
fn contrast_on_own_part(theme: &str, shade: u32, text: &str) -> f64 {
    let tokens = tokens(theme);
    let (lightness, chroma) = if shade < HUES {
        (number(&tokens, "--service-l"), 0.115)
    } else {
        (number(&tokens, "--service-l2"), number(&tokens, "--service-c2"))
    };
    let hue = hue_of(shade).to_radians();
    let ground = linear_of_oklab([lightness, chroma * hue.cos(), chroma * hue.sin()]);
    let ground = 0.2126 * ground[0] + 0.7152 * ground[1] + 0.0722 * ground[2];
    let text = luminance(text);
    (ground.max(text) + 0.05) / (ground.min(text) + 0.05)
}

#[test]
fn words_on_the_own_part_of_a_frame_are_readable_in_every_shade_of_both_themes() {
    let css = include_str!("../../style/62-icicle.css");
    let rule = css.split_once(".frame.is-leaf {").unwrap().1.split_once('}').unwrap().0;
    let mix = "color-mix(in oklch, #0b0f14, var(--on-service2) calc(100% * var(--tone)))";
    assert_eq!(rule.trim(), format!("color: {mix};"));
    assert!(include_str!("../../style/00-tokens.css").contains("--service-c: .115;"));
    let mut unreadable = Vec::new();
    for theme in ["dark", "light"] {
        let second = tokens(theme)["--on-service2"];
        for shade in 0..2 * HUES {
            let text = if shade < HUES { "#0b0f14" } else { second };
            let contrast = contrast_on_own_part(theme, shade, text);
            if contrast < 4.5 {
                unreadable.push(format!("{theme}: {text} on shade {shade} {contrast:.2}"));
            }
        }
    }
    assert!(unreadable.is_empty(), "{unreadable:#?}");
    assert!(contrast_on_own_part("light", HUES, "#0b0f14") < 4.5, "one colour is not enough");
}
