use super::{Route, Viewport, arrow, curve, label_at};

#[test]
fn a_small_picture_is_not_blown_up_and_a_large_one_fits() {
    let small = Viewport::fitting((200.0, 100.0), (1_000.0, 500.0));
    assert_eq!(small, Viewport { left: 400.0, top: 200.0, scale: 1.0 });
    let large = Viewport::fitting((10_000.0, 1_000.0), (1_056.0, 556.0));
    assert!((large.scale - 0.1).abs() < 1e-9);
    assert!((large.left - 28.0).abs() < 1e-9);
    let nothing = Viewport::fitting((0.0, 0.0), (0.0, 0.0));
    assert!(nothing.left.is_finite() && nothing.scale > 0.0);
}

#[test]
fn zooming_keeps_the_point_under_the_pointer() {
    let view = Viewport { left: 10.0, top: 20.0, scale: 0.5 };
    let zoomed = view.zoomed(2.0, (110.0, 220.0));
    assert_eq!(zoomed, Viewport { left: -90.0, top: -180.0, scale: 1.0 });
    assert!((view.zoomed(1e9, (0.0, 0.0)).scale - 3.0).abs() < 1e-9);
    assert!((view.zoomed(0.0, (0.0, 0.0)).scale - 0.05).abs() < 1e-9);
}

#[test]
fn a_card_outside_is_moved_into_view() {
    let view = Viewport { left: 0.0, top: 0.0, scale: 1.0 };
    assert_eq!(view.showing((500.0, 300.0), (1_000.0, 600.0)), view);
    let moved = view.showing((1_200.0, 300.0), (1_000.0, 600.0));
    assert!((moved.left + 314.0).abs() < 1e-9, "{moved:?}");
    assert!(view.showing((-50.0, 300.0), (1_000.0, 600.0)).left > 0.0);
}

#[test]
fn curves_go_through_their_bends_and_point_at_the_called() {
    let points = vec![(0.0, 0.0), (100.0, 50.0), (200.0, 0.0)];
    let mut route = Route { points, is_reversed: false, is_loop: false };
    assert_eq!(curve(&route).matches('C').count(), 2);
    assert_eq!(arrow(&route), "M200.0 0.0l-7 -4v8z");
    assert_eq!(label_at(&route), Some((50.0, 25.0)));
    route.is_reversed = true;
    assert_eq!(arrow(&route), "M0.0 0.0l7 -4v8z");
    assert_eq!((curve(&Route::default()), label_at(&Route::default())), (String::new(), None));
    let own = Route { points: vec![(10.0, 40.0)], is_reversed: false, is_loop: true };
    assert!(curve(&own).starts_with("M-4.0 11.0c"));
}
