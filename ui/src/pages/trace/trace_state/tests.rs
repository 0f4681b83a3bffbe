use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    super::samples, Folds, OffsetRange, SpanRef, SpanSelection, Tab, TraceModel, TraceState,
};

fn read(parameters: &[(&str, String)]) -> TraceState {
    let map: BTreeMap<&str, &String> =
        parameters.iter().map(|(name, value)| (*name, value)).collect();
    TraceState::read(|name| map.get(name).map(|value| (*value).clone()))
}

#[test]
fn the_usual_state_needs_no_parameters() {
    assert_eq!(TraceState::default().parameters(), []);
    assert_eq!(read(&[]), TraceState::default());
}

#[test]
fn parameters_that_cannot_be_read_are_ignored() {
    let hostile = TraceState::PARAMETERS.map(|name| (name, "\u{202e}<>%00-1.é".to_owned()));
    let state = read(&hostile);
    assert_eq!((state.selected, state.event), (None, None));
    assert_eq!(state.zoom, None);
    assert_eq!(state.folds, Folds::default());
    assert_eq!(read(&[("zoom", "90-10".to_owned())]).zoom, None);
    assert_eq!(read(&[("zoom", "é".to_owned())]).zoom, None);
    assert_eq!(read(&[("zoom", String::new())]).zoom, None);
}

#[test]
fn folding_is_undone_by_unfolding() {
    let shop = TraceModel::new(samples::shop());
    let mut folds = Folds::default();
    folds.set_folded(&shop, 1, true);
    assert!(folds.is_folded(&shop, 1));
    folds.set_folded(&shop, 1, false);
    assert_eq!(folds, Folds::default());
    folds.set_folded(&shop, 2, true);
    assert!(!folds.is_folded(&shop, 2), "nothing is below row 2");
}

#[test]
fn rows_below_a_depth_are_folded_but_for_exceptions() {
    let shop = TraceModel::new(samples::shop());
    let mut folds = Folds::from_depth(1);
    assert!(folds.is_folded(&shop, 1) && folds.is_folded(&shop, 9) && !folds.is_folded(&shop, 0));
    folds.set_folded(&shop, 9, false);
    assert!(!folds.is_folded(&shop, 9) && folds.is_folded(&shop, 1));
}

#[test]
fn the_selection_moves_to_the_row_that_hides_it() {
    let shop = TraceModel::new(samples::shop());
    let deep = (0..shop.rows().end).max_by_key(|&row| shop.depth(row)).unwrap();
    assert!(shop.depth(deep) > 1);
    let selected = Some(SpanRef::from_row(&shop, deep));
    let mut state = TraceState { selected, event: Some(1), ..Default::default() };
    state.show_selected(&shop);
    assert_eq!(state.selected_row(&shop), Some(deep), "nothing is folded");
    assert_eq!(state.event, Some(1));
    state.folds = Folds::from_depth(1);
    state.show_selected(&shop);
    let shown = state.selected_row(&shop).unwrap();
    assert_eq!((shop.depth(shown), state.event), (1, None), "the event is of the other span");
    assert!(shown < deep && deep < shop.after(shown));
    state.folds = Folds::from_depth(0);
    state.show_selected(&shop);
    assert_eq!(state.selected_row(&shop), Some(0));
}

#[test]
fn revealing_opens_the_rows_above_and_the_run_around() {
    let shop = TraceModel::new(samples::shop());
    let mut folds = Folds::from_depth(0);
    folds.reveal(&shop, 5);
    assert!(!folds.is_folded(&shop, 0) && !folds.is_folded(&shop, 1));
    assert!(folds.is_run_open(&shop, 3));
    assert!(folds.is_folded(&shop, 9), "another branch stays folded");
}

#[test]
fn a_selected_span_is_found_by_id_and_by_its_place_among_those_that_share_it() {
    let mut skeleton = samples::shop();
    skeleton.spans.span_id[4] = samples::id(2);
    let model = TraceModel::new(skeleton);
    for row in [0, 2, 4] {
        let selected = Some(SpanRef::from_row(&model, row));
        let state = TraceState { selected, ..TraceState::default() };
        assert_eq!(read(&state.parameters()).selected_row(&model), Some(row));
    }
}

#[test]
fn a_url_forgets_the_oldest_folds_above_its_bound() {
    let chain = samples::chain(1_000);
    let mut folds = Folds::default();
    for row in 0..999 {
        folds.set_folded(&chain, row, true);
    }
    assert!(!folds.is_folded(&chain, 0) && folds.is_folded(&chain, 998));
    assert!(folds.write().unwrap().len() < 2_000);
}

proptest! {
    #[test]
    fn a_state_survives_the_url(
        tab in 0_usize..3, event: Option<u32>, occurrence in 0_usize..9, id in 0_u64..u64::MAX - 1,
        from in -9_i64..i64::MAX / 2, nanos in 1_u64..1_000_000_000,
        flags: [bool; 7], shown in 0_usize..3, find in "\\PC{0,40}", depth: Option<u32>, folded in proptest::collection::vec(0_u32..50, 0..20),
    ) {
        let chain = samples::chain(51);
        let mut folds = depth.map(Folds::from_depth).unwrap_or_default();
        for row in folded {
            let open = folds.is_folded(&chain, row);
            folds.set_folded(&chain, row, !open);
        }
        let state = TraceState {
            tab: [Tab::Waterfall, Tab::Services, Tab::Logs][tab],
            selected: Some(SpanRef { id: samples::id(id), occurrence }),
            event,
            zoom: Some(OffsetRange::lasting(from, nanos)),
            critical_path: flags[0],
            inline_logs: flags[1],
            group_repeats: flags[2],
            panel: flags[3],
            adjust_clocks: flags[4],
            gaps: flags[5],
            orphans: flags[6],
            find,
            shown: [SpanSelection::All, SpanSelection::Matches, SpanSelection::Problems][shown],
            folds,
        };
        prop_assert_eq!(read(&state.parameters()), state);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,60}") {
        let _ = TraceState::read(|_| Some(text.clone()));
    }
}
