//! Starts the interface in the browser.

fn main() {
    tidings_ui::start();
}
