use super::{Frame, FramePosition, SiblingOrder, layout_frames, neighbour};

fn tree(rows: &[(Option<u32>, f64)]) -> Vec<Frame> {
    rows.iter().map(|&(parent, value)| Frame { parent, value, ..Frame::default() }).collect()
}

fn places(placed: &[FramePosition]) -> Vec<(u32, i64, i64, u32)> {
    let percent = |part: f64| format!("{:.0}", part * 100.0).parse::<i64>().unwrap();
    placed.iter().map(|at| (at.frame, percent(at.left), percent(at.width), at.depth)).collect()
}

#[test]
fn frames_hang_under_their_callers() {
    let frames = tree(&[(None, 10.0), (Some(0), 4.0), (Some(1), 4.0), (Some(0), 5.0)]);
    let placement = layout_frames(&frames, None, SiblingOrder::Given);
    let expected = [(0, 0, 100, 0), (1, 0, 40, 1), (2, 0, 40, 2), (3, 40, 50, 1)];
    assert_eq!(places(&placement.placed), expected);
    assert!((placement.placed[0].own - 0.1).abs() < 1e-9);
    assert!((placement.placed[2].own - 1.0).abs() < 1e-9);
    let widest = layout_frames(&frames, None, SiblingOrder::WidestFirst);
    assert_eq!(places(&widest.placed)[1], (3, 0, 50, 1));
}

#[test]
fn calls_side_by_side_share_the_width_of_their_caller() {
    let frames = tree(&[(None, 10.0), (Some(0), 10.0), (Some(0), 30.0)]);
    let placement = layout_frames(&frames, None, SiblingOrder::Given);
    assert_eq!(places(&placement.placed)[1..], [(1, 0, 25, 1), (2, 25, 75, 1)]);
    assert!(placement.placed[0].own.abs() < 1e-9);
}

#[test]
fn only_the_frames_below_the_focus_are_drawn_with_those_above_it() {
    let frames = tree(&[(None, 10.0), (Some(0), 4.0), (Some(1), 2.0), (Some(0), 5.0)]);
    let placement = layout_frames(&frames, Some(1), SiblingOrder::Given);
    assert_eq!(places(&placement.placed), [(0, 0, 100, 0), (1, 0, 100, 1), (2, 0, 50, 2)]);
    assert_eq!(
        layout_frames(&frames, Some(99), SiblingOrder::Given).placed.len(),
        4,
        "no such frame"
    );
}

#[test]
fn frames_too_narrow_to_see_are_counted() {
    let mut rows = vec![(None, 1_000_000.0)];
    rows.extend((0..5_000).map(|_| (Some(0), 1.0)));
    let placement = layout_frames(&tree(&rows), None, SiblingOrder::Given);
    assert_eq!((placement.placed.len(), placement.left_out.len()), (1, 5_000));
}

#[test]
fn many_frames_and_odd_values_are_bounded() {
    let mut rows = vec![(None, 0.0)];
    rows.extend((0..3_000).map(|at| (Some(at), f64::from(at))));
    let placement = layout_frames(&tree(&rows), None, SiblingOrder::WidestFirst);
    assert!(placement.placed.len() <= 1_200 && !placement.left_out.is_empty());
    assert!(layout_frames(&[], None, SiblingOrder::Given).placed.is_empty());
    let odd = tree(&[(None, f64::NAN), (Some(7), -3.0), (Some(0), 0.0)]);
    let placement = layout_frames(&odd, None, SiblingOrder::Given);
    assert!(placement.placed.iter().all(|at| at.left.is_finite() && at.width.is_finite()));
}

#[test]
fn arrow_keys_lead_to_the_nearest_frame() {
    let frames = tree(&[(None, 10.0), (Some(0), 4.0), (Some(1), 4.0), (Some(0), 5.0)]);
    let placed = layout_frames(&frames, None, SiblingOrder::Given).placed;
    let from = |at, key| neighbour(&placed, &frames, at, key);
    assert_eq!(from(0, "ArrowDown"), Some(1));
    assert_eq!(from(1, "ArrowRight"), Some(3));
    assert_eq!(from(3, "ArrowLeft"), Some(1));
    assert_eq!(from(2, "ArrowUp"), Some(1));
    assert_eq!((from(0, "ArrowUp"), from(3, "ArrowRight"), from(9, "ArrowUp")), (None, None, None));
}
