//! All fuzz targets as one program of libFuzzer: `FUZZ_TARGET` names the one that runs.

#![no_main]

use std::{
    collections::BTreeSet,
    env, panic,
    sync::{LazyLock, Mutex, PoisonError},
};

use libfuzzer_sys::fuzz_target;
use tidings_fuzz::{FuzzTarget, target, targets};

static CHOSEN: LazyLock<FuzzTarget> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        let names: Vec<_> = targets().map(|one| one.name).collect();
        panic!("FUZZ_TARGET is `{name}`, and has to be one of {names:?}")
    })
});

/// Targets whose decoders are other projects' and may panic: the store catches such a panic and
/// answers with an error. A panic that nothing catches ends these targets as well.
const CATCHING_TARGETS: [&str; 1] = ["data_file"];

/// Locations of panics that have been printed.
static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Opens the resources of a target before the time of an input is measured.
fn open() {
    if CATCHING_TARGETS.contains(&CHOSEN.name) {
        // This replaces the hook of libFuzzer, which ends the process.
        panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            if PRINTED.lock().unwrap_or_else(PoisonError::into_inner).insert(place) {
                eprintln!("{panic}");
            }
        }));
    }
    (CHOSEN.run)(b"/");
}

fuzz_target!(init: open(), |input: &[u8]| (CHOSEN.run)(input));
