//! A real browser, Debian's chromium, without a window: what a page shows, and what its scripts complain of.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// How long the clock of a page runs, in its own milliseconds: it stands still while nothing happens.
const PAGE_TIME: &str = "10000";
/// What the id of the element is that has a script's answer.
const ANSWER: &str = "answer-of-the-test";

/// A page as a browser shows it.
#[derive(Debug)]
pub struct Shown {
    /// The document after its scripts ran, as HTML.
    pub document: String,
    /// What was written to the browser's console: errors of scripts, and what the page's policy forbade.
    pub console: Vec<String>,
}

/// Opens a page.
///
/// # Panics
///
/// When there is no browser, or it fails.
#[must_use]
pub fn open(page: &Path) -> Shown {
    let output = chromium(page, &["--dump-dom"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let console = errors.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect();
    Shown { document: String::from_utf8_lossy(&output.stdout).into_owned(), console }
}

/// Opens a copy of a page, with a function that is called when the page is complete. Returns what its promise
/// gives, as JSON.
///
/// # Panics
///
/// When there is no browser, the function fails, or the page writes to the console.
#[must_use]
pub fn ask(page: &Path, function: &str) -> Value {
    let html = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let script = format!(
        "<script>addEventListener('load', async () => {{
           while (document.getElementById('loading')) await new Promise((done) => setTimeout(done, 20));
           let answer;
           try {{ answer = await ({function})(); }} catch (error) {{ answer = {{ failed: String(error) }}; }}
           const element = document.createElement('pre');
           element.id = '{ANSWER}';
           element.textContent = encodeURIComponent(JSON.stringify(answer));
           document.body.append(element);
         }});</script></body>"
    );
    let directory = temporary();
    let copy = directory.path().join("page.html");
    std::fs::write(&copy, html.replacen("</body>", &script, 1))
        .unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
    let shown = open(&copy);
    assert_eq!(shown.console, [""; 0]);
    let parts = shown.document.split_once(&format!("<pre id=\"{ANSWER}\">"));
    let text = parts.and_then(|(_, after)| after.split_once('<')).map(|(text, _)| decoded(text));
    let answer: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
    let answer = answer.unwrap_or_else(|| panic!("the page has no answer:\n{}", shown.document));
    assert_eq!(answer.get("failed"), None, "{answer}");
    answer
}

/// Writes what a window of this size shows as a PNG.
///
/// # Panics
///
/// When there is no browser, or it writes no file.
#[must_use]
pub fn screenshot(page: &Path, width: u32, height: u32, to: &Path) -> PathBuf {
    let (shot, size) = (format!("--screenshot={}", to.display()), format!("--window-size={width},{height}"));
    chromium(page, &[&shot, &size, "--hide-scrollbars"]);
    assert!(to.is_file(), "{} was not written", to.display());
    to.to_path_buf()
}

fn chromium(page: &Path, arguments: &[&str]) -> Output {
    // A profile of its own: two browsers with one profile would be one.
    let profile = temporary();
    let page = page.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let output = Command::new("chromium")
        // The sandbox is not to be had in containers and for root. The page is ours, and its policy forbids
        // any network.
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .args(["--enable-logging=stderr", &format!("--virtual-time-budget={PAGE_TIME}")])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap_or_else(|error| panic!("chromium cannot be started: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"))
}

/// Text without the escapes of `encodeURIComponent`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("%{part} is not an escape")));
        bytes.extend(rest.bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
