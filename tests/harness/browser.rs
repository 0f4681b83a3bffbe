//! Controls pages in Chromium, with only the commands that the tests need.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::Engine;
use serde_json::{Value as Json, json};

use super::{
    PATIENCE, Server,
    chromium::{ANSWER_PATIENCE, Chromium, Session, result_of},
    leave_out, pause,
};

/// A window with one page, and its own cookies, storage and cache. Dropping it closes it and fails
/// the test on unexpected errors.
pub(crate) struct Browser {
    page: Session,
    /// Session of the process. When it ends, the window is closed and its context disposed of.
    control: Session,
    /// Context of the window, or `None` for the profile of the process.
    context: Option<String>,
    chromium: Arc<Chromium>,
    /// Errors of the console, uncaught exceptions, violations of the content security policy, and
    /// addresses that could not be opened. The opened address stands before each.
    errors: Vec<String>,
    /// An error that contains all words of one of these is expected.
    expected: Vec<Vec<String>>,
    address: String,
}

impl Browser {
    /// Opens a window for this server's pages; `None` where Chromium is not installed or the server
    /// has no UI. Windows that are open at once share a process.
    pub(crate) fn start(server: &Server, width: u32, height: u32) -> Option<Self> {
        check_ui(server)?;
        Self::alone("browser tests", width, height)
    }

    /// Opens a window as [`Self::start`] does, of a process and a profile of its own, so that its
    /// memory and its caches can be measured. Pages move as those of a user do.
    pub(crate) fn measured(server: &Server, width: u32, height: u32) -> Option<Self> {
        check_ui(server)?;
        has_chromium("browser tests").then(|| {
            let chromium = Chromium::start(&[]);
            let control = Session::connect(&chromium.address);
            Self::open_window(Arc::new(chromium), control, None, [width, height])
        })
    }

    /// Opens a window for pages of other servers; `None` where Chromium is not installed.
    pub(crate) fn alone(part: &str, width: u32, height: u32) -> Option<Self> {
        has_chromium(part).then(|| {
            let chromium = Chromium::shared();
            let mut control = Session::connect(&chromium.address);
            let until_detached = json!({ "disposeOnDetach": true });
            let context =
                control.create("Target.createBrowserContext", "browserContextId", until_detached);
            let mut browser = Self::open_window(chromium, control, Some(context), [width, height]);
            let is_still = "matchMedia('(prefers-reduced-motion: reduce)').matches";
            assert_eq!(browser.evaluate(is_still), true, "pages of this window move");
            browser
        })
    }

    fn open_window(
        chromium: Arc<Chromium>,
        mut control: Session,
        context: Option<String>,
        [width, height]: [u32; 2],
    ) -> Self {
        let mut window = json!({
            "url": "about:blank", "width": width, "height": height, "newWindow": true,
        });
        if let Some(context) = &context {
            window["browserContextId"] = context.as_str().into();
        }
        let target = control.create("Target.createTarget", "targetId", window);
        let mut browser = Self {
            page: Session::connect(&format!("{}/devtools/page/{target}", chromium.host())),
            control,
            context,
            chromium,
            errors: Vec::new(),
            expected: Vec::new(),
            address: String::new(),
        };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.command(domain, json!({}));
        }
        // Only one window of a process has the focus.
        browser.command("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
        browser.resize(width, height);
        browser
    }

    /// Resizes the page's window.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size);
        self.evaluate("new Promise(done => requestAnimationFrame(() => done(0)))");
    }

    /// Sends a command and waits for its answer. Events that arrive meanwhile are checked for
    /// errors.
    pub(crate) fn command(&mut self, method: &str, params: Json) -> Json {
        self.try_command(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_command(&mut self, method: &str, params: Json) -> Result<Json, Json> {
        let id = self.page.send(method, &params);
        // Events alone do not count: a page that asks every second sends them for ever.
        let deadline = Instant::now() + ANSWER_PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "{method} is not answered: {params}");
            let message = self.page.read();
            if message["id"] == id {
                return result_of(&message);
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Json) {
        let params = &event["params"];
        let error = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                Some(params["args"].to_string())
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                Some(params["entry"].to_string())
            }
            _ => None,
        };
        self.errors.extend(error.map(|error| format!("{}: {error}", self.address)));
    }

    /// Opens an address. A failed load counts as an error.
    pub(crate) fn open(&mut self, url: &str) {
        url.clone_into(&mut self.address);
        let opened = self.command("Page.navigate", json!({ "url": url }));
        // The page itself may have replaced the navigation by another one.
        if let Some(error) =
            opened["errorText"].as_str().filter(|error| *error != "net::ERR_ABORTED")
        {
            self.errors.push(format!("{url}: {error}"));
        }
    }

    /// Evaluates a JavaScript expression, awaits promises, and returns the value.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Json {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.command("Runtime.evaluate", params);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {}",
            result["exceptionDetails"]
        );
        result["result"]["value"].clone()
    }

    /// Returns the memory of the process that draws the page of [`Self::measured`], in bytes, without
    /// file-backed pages.
    pub(crate) fn renderer_bytes(&self) -> u64 {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let sizes = pids.filter(|pid| self.is_renderer(*pid));
        sizes
            .filter_map(|pid| super::memory_of(pid, "RssAnon:"))
            .max()
            .expect("a process that draws")
    }

    /// Returns true if a process is a descendant of this browser that draws pages.
    fn is_renderer(&self, pid: u32) -> bool {
        let read = |pid: u32, file: &str| {
            let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&content).into_owned()
        };
        if !read(pid, "cmdline").contains("--type=renderer") {
            return false;
        }
        let mut parent = pid;
        while parent > 1 && parent != self.chromium.pid() {
            let stat = read(parent, "stat");
            // The name in parentheses may contain spaces.
            let after = stat.rsplit(')').next().unwrap_or_default();
            parent = after.split_whitespace().nth(1).and_then(|of| of.parse().ok()).unwrap_or(0);
        }
        parent == self.chromium.pid()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        self.wait_at_most(PATIENCE, expression);
    }

    /// Waits until an expression is true and returns how long that took.
    pub(crate) fn wait_at_most(&mut self, patience: Duration, expression: &str) -> Duration {
        let begin = Instant::now();
        while !self.is_true(expression) {
            if begin.elapsed() > patience {
                let page = self.evaluate(
                    "location.href + '\\n' + (document.body?.innerText ?? '').slice(0, 3000)",
                );
                panic!(
                    "never true: {expression}\n{}\nerrors: {:?}",
                    page.as_str().unwrap_or(""),
                    self.errors
                );
            }
            pause();
        }
        begin.elapsed()
    }

    /// Evaluates an expression once. An evaluation that a navigation interrupts counts as false.
    fn is_true(&mut self, expression: &str) -> bool {
        let params = json!({
            "expression": format!("(async () => !!(await ({expression})))()"),
            "returnByValue": true, "awaitPromise": true,
        });
        match self.try_command("Runtime.evaluate", params) {
            Ok(result) => {
                let thrown = &result["exceptionDetails"];
                assert!(thrown.is_null(), "{expression}: {thrown}");
                result["result"]["value"] == true
            }
            Err(error) => {
                let is_gone =
                    error["message"].as_str().is_some_and(|words| words.contains("navigated"));
                assert!(is_gone, "{expression}: {error}");
                false
            }
        }
    }

    /// Waits until the page shows a text.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        let text = json!(text);
        self.wait_for(&format!("(document.body?.innerText ?? '').includes({text})"));
    }

    /// Types into the element that has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.command("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key, which has its name of JavaScript's `KeyboardEvent.key`.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => u32::from(key.bytes().next().unwrap().to_ascii_uppercase()),
        };
        let text = if key.len() == 1 {
            key
        } else if key == "Enter" {
            "\r"
        } else {
            ""
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = text.into();
            }
            self.command("Input.dispatchKeyEvent", params);
        }
    }

    /// Makes the page prefer the `dark` or the `light` colour scheme.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.command("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Presses and releases the left mouse button at a point of the window.
    pub(crate) fn click_at(&mut self, x: f64, y: f64) {
        self.press_at(x, y);
        self.mouse("mouseReleased", x, y);
    }

    /// Presses the left mouse button at a point of the window.
    pub(crate) fn press_at(&mut self, x: f64, y: f64) {
        self.mouse("mouseMoved", x, y);
        self.mouse("mousePressed", x, y);
    }

    /// Sends an event of the left mouse button.
    pub(crate) fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let is_press = kind == "mousePressed";
        let mouse = json!({
            "type": kind, "x": x, "y": y, "button": if kind == "mouseMoved" { "none" } else { "left" },
            "buttons": u8::from(is_press), "clickCount": u8::from(kind != "mouseMoved"),
        });
        self.command("Input.dispatchMouseEvent", mouse);
    }

    /// Drags with the mouse from one point of the window to another.
    pub(crate) fn drag(&mut self, from: [f64; 2], to: [f64; 2]) {
        for (kind, [x, y], buttons) in [
            ("mouseMoved", from, 0),
            ("mousePressed", from, 1),
            ("mouseMoved", to, 1),
            ("mouseReleased", to, 0),
        ] {
            let button = if kind == "mouseMoved" && buttons == 0 { "none" } else { "left" };
            let mouse = json!({
                "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1,
            });
            self.command("Input.dispatchMouseEvent", mouse);
        }
    }

    /// Lets pages save downloads into this folder.
    pub(crate) fn save_into(&mut self, folder: &Path) {
        let mut params = json!({ "behavior": "allow", "downloadPath": folder });
        if let Some(context) = &self.context {
            params["browserContextId"] = context.as_str().into();
        }
        self.control.call("Browser.setDownloadBehavior", &params).expect("downloads are saved");
    }

    /// Returns the number of different colours in a drawn part of the page.
    pub(crate) fn colours(&mut self, [x, y, width, height]: [u32; 4]) -> u64 {
        let clip = json!({ "x": x, "y": y, "width": width, "height": height, "scale": 1 });
        let params = json!({ "format": "png", "clip": clip });
        let shot = self.command("Page.captureScreenshot", params);
        let count = format!(
            "(async () => {{
                const image = new Image();
                image.src = 'data:image/png;base64,' + {};
                await image.decode();
                const canvas = new OffscreenCanvas(image.width, image.height);
                const context = canvas.getContext('2d');
                context.drawImage(image, 0, 0);
                const pixels = context.getImageData(0, 0, image.width, image.height).data;
                return new Set(new Uint32Array(pixels.buffer)).size;
            }})()",
            shot["data"]
        );
        self.evaluate(&count).as_u64().unwrap()
    }

    /// Saves a screenshot as a PNG in the folder of the tests' output.
    pub(crate) fn screenshot(&mut self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        self.screenshot_into(&folder.join(format!("{name}.png")));
    }

    /// Saves a screenshot as a PNG at this path.
    pub(crate) fn screenshot_into(&mut self, path: &Path) {
        let shot = self.command("Page.captureScreenshot", json!({ "format": "png" }));
        let png = base64::engine::general_purpose::STANDARD
            .decode(shot["data"].as_str().unwrap())
            .unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, png).unwrap();
    }

    /// Declares that errors with these words are part of the test.
    pub(crate) fn expect_errors(&mut self, words: &str) {
        self.expected.push(vec![words.to_owned()]);
    }

    /// Declares that answers with this status are part of the test, from addresses that contain
    /// these words. Chromium logs each as an error.
    pub(crate) fn expect_refusals(&mut self, status: u16, address: &str) {
        self.expected.push(vec![format!("status of {status}"), address.to_owned()]);
    }

    /// Returns the unexpected errors so far.
    fn take_errors(&mut self) -> Vec<String> {
        // The answer comes after the events that the browser has sent until then. A navigation may
        // interrupt the evaluation.
        let _ = self.try_command("Runtime.evaluate", json!({ "expression": "0" }));
        let mut errors = std::mem::take(&mut self.errors);
        let is_expected = |error: &String| {
            self.expected.iter().any(|words| words.iter().all(|word| error.contains(word)))
        };
        errors.retain(|error| !is_expected(error));
        errors
    }
}

/// Returns true if Chromium is installed; otherwise it records that these tests are left out.
fn has_chromium(tests: &str) -> bool {
    Chromium::program().is_some()
        || leave_out::<()>(&format!("{tests}: Chromium is not installed")).is_some()
}

/// Returns `None` for a server without a UI.
fn check_ui(server: &Server) -> Option<()> {
    if super::http::get(&server.http, "/assets/boot.js").status != 200 {
        return leave_out("browser tests: the UI was not built, run `cargo xtask ui`");
    }
    Some(())
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The window is closed when its session ends.
            return;
        }
        let errors = self.take_errors();
        // The server of the test ends next, and its address may be given to another one.
        let closed = self.context.as_ref().map_or(Ok(Json::Null), |context| {
            let context = json!({ "browserContextId": context });
            self.control.call("Target.disposeBrowserContext", &context)
        });
        assert!(errors.is_empty(), "unexpected errors: {errors:#?}");
        assert!(closed.is_ok(), "the window is not closed: {closed:?}");
    }
}
