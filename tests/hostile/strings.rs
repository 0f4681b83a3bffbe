//! Hostile texts, which a page, a log, a query or a terminal could interpret.

/// Number of the texts.
pub(crate) const STRINGS: usize = 200;
/// A script with a visible effect, which tests of pages look for.
const SCRIPT: &str = "window.ran=document.title='ran'";

/// Markup. `@` stands for the script.
const MARKUP: [&str; 40] = [
    "<script>@</script>",
    "<img src=x onerror=@>",
    "<svg onload=@>",
    "\"><img src=x onerror=@>",
    "'><svg/onload=@>",
    "</title><script>@</script>",
    "</script><script>@</script>",
    "</style><script>@</script>",
    "</textarea><script>@</script>",
    "<iframe src=\"javascript:@\"></iframe>",
    "<iframe srcdoc=\"<script>@</script>\"></iframe>",
    "<a href=\"javascript:@\">x</a>",
    "<body onload=@>",
    "<details open ontoggle=@>",
    "<input autofocus onfocus=@>",
    "<video><source onerror=@></video>",
    "<audio src=x onerror=@></audio>",
    "<object data=\"javascript:@\"></object>",
    "<embed src=\"javascript:@\">",
    "<math href=\"javascript:@\">x</math>",
    "<svg><script>@</script></svg>",
    "<svg><a xlink:href=\"javascript:@\"><text>x</text></a></svg>",
    "<svg><animate onbegin=@ attributeName=x dur=1s>",
    "<svg><foreignObject><img src=x onerror=@></foreignObject></svg>",
    "<noscript><p title=\"</noscript><img src=x onerror=@>\">",
    "<template><script>@</script></template>",
    "<style>*{display:none!important}</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content=\"0;url=//evil.example\">",
    "<base href=//evil.example/>",
    "<form action=//evil.example><input name=q><button>go</button></form>",
    "<table><td background=\"javascript:@\">",
    "<marquee onstart=@>x</marquee>",
    "<p style=\"position:fixed;inset:0;background:red\">x</p>",
    "<!--><script>@</script-->",
    "<![CDATA[<script>@</script>]]>",
    "<?xml version=\"1.0\"?><x xmlns=\"http://www.w3.org/1999/xhtml\"><script>@</script></x>",
    "&lt;script&gt;@&lt;/script&gt;",
    "&#60;img src=x onerror=@&#62;",
    "\\u003cscript\\u003e@\\u003c/script\\u003e",
];

/// Addresses that run a script or lead to another site.
const ADDRESSES: [&str; 20] = [
    "javascript:@",
    "JaVaScRiPt:@",
    "java\tscript:@",
    "java\nscript:@",
    "\u{1}javascript:@",
    " javascript:@",
    "javascript://%0a@",
    "javascript://https://example.org/%0a@",
    "data:text/html,<script>@</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "vbscript:@",
    "view-source:javascript:@",
    "blob:https://example.org/x",
    "file:///etc/passwd",
    "//evil.example/x",
    "\\\\evil.example\\x",
    "https://user:word@evil.example/<script>@</script>",
    "https://evil.example/?next=javascript:@#x",
    "../../../../etc/passwd",
    "/api/v1/traces/../../x?y=1&z=2#w",
];

/// Text that template engines, style sheets, queries and log formats would interpret.
const SYNTAX: [&str; 40] = [
    "{{7*7}}",
    "{{constructor.constructor('@')()}}",
    "${@}",
    "#{@}",
    "<%= @ %>",
    "{% raw %}{{ x }}{% endraw %}",
    "[[${@}]]",
    "{0} {1} {}",
    "%s %n %x %p",
    "$(@)",
    "`@`",
    "@{x}",
    "{{{{{{{{{{",
    "}}}}]]]))",
    "red;background:url(//evil.example/x)",
    "expression(@)",
    "};body{display:none}",
    "--x:1;position:fixed",
    "url(javascript:@)",
    "</style>*{color:red}",
    "calc(1px * 1e9)",
    "'; DROP TABLE spans; --",
    "' OR '1'='1",
    "\" || true || \"",
    "{ .x = \"",
    "=~\".*\"",
    "\\",
    "\\\\\"\\'",
    "%00%0a%0d%3Cscript%3E",
    "%",
    "%2e%2e%2f",
    "?service=x&range=1m#y",
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "undefined",
    "NaN",
    "1e309",
    "-0",
    "null",
];

/// Characters that reverse the direction, are invisible, combine, or are not characters.
const LETTERS: [&str; 30] = [
    "\u{202e}txt.exe\u{202c}",
    "\u{202e}never closed",
    "\u{2066}\u{2067}\u{2068}isolates never closed",
    "\u{200f}\u{200e}marks",
    "שלום עולם abc 123",
    "مرحبا بالعالم 42 <b>",
    "a\u{200b}b\u{200c}c\u{200d}d\u{feff}e",
    "\u{200b}",
    "\u{2060}\u{2061}\u{2062}",
    "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}a\u{334}\u{335}\u{336}",
    "e\u{301} é ｅ́",
    "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪",
    "\u{1f3fb}\u{fe0f}\u{20e3}",
    "㍿﷽𒐫⸻",
    "ｆｕｌｌｗｉｄｔｈ",
    "аdmin",
    "İıſK",
    "\u{ad}soft\u{ad}hyphen",
    "line\nline\r\nline\rline",
    "\u{2028}\u{2029}separators",
    "\ttab\t\ttab",
    "\u{b}\u{c}\u{85}",
    "\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7}",
    "\u{8}\u{8}\u{8}back",
    "\u{7f}\u{80}\u{9f}",
    "\u{fffd}\u{fffe}\u{ffff}",
    "\u{e000}\u{f8ff}\u{10ffff}",
    "\u{fff9}a\u{fffa}b\u{fffb}",
    "\u{e0001}\u{e0041}\u{e007f}",
    " ",
];

/// Returns the 200 strings: the lists, each control character, long strings, and markup after
/// characters that reverse the direction.
pub(crate) fn strings() -> Vec<String> {
    let written = |text: &&str| text.replace('@', SCRIPT);
    let listed = MARKUP.iter().chain(&ADDRESSES).chain(&SYNTAX).chain(&LETTERS);
    let mut all: Vec<String> = listed.map(written).collect();
    all.extend((0..32_u8).map(|code| format!("code {code}: {}.", char::from(code))));
    all.extend([
        "W".repeat(2_000),
        "a/b".repeat(680),
        "很".repeat(680),
        "\u{5d0}".repeat(1_000),
        "a\u{301}\u{302}\u{303}".repeat(290),
        "\u{200b}x".repeat(500),
        "👩‍👩‍👧‍👦".repeat(80),
        "word ".repeat(400),
        "\n".repeat(2_000),
        "<b>".repeat(680),
        "{\"a\":".repeat(400),
        "\u{202e}".repeat(680),
        "—".repeat(680),
        "1".repeat(2_000),
    ]);
    let left = STRINGS - all.len();
    all.extend(MARKUP[..left].iter().map(|text| format!("\u{202e}\u{200b}{}", written(text))));
    all
}
