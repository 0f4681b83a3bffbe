//! All fuzz targets as one program of libFuzzer: `FUZZ_TARGET` names the one that runs.

#![no_main]

use std::{env, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tidings_fuzz::{FuzzTarget, TARGETS, target};

static CHOSEN: LazyLock<FuzzTarget> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        panic!("FUZZ_TARGET is `{name}`, and has to be one of {:?}", TARGETS.map(|one| one.name))
    })
});

// The first run opens what a target needs, before the time of an input counts.
fuzz_target!(init: (CHOSEN.run)(b"/"), |input: &[u8]| (CHOSEN.run)(input));
