//! A web server for static files, as operators put it in front of other systems' UIs. It forwards
//! some paths to another server. It answers a path without a file with the UI's first page.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::http;

/// Maximum bytes of a request's head and body together.
const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// The server. Its threads end with the process.
pub(crate) struct Web {
    /// Its address, such as `127.0.0.1:8434`.
    pub(crate) address: String,
}

struct Site {
    base: String,
    folder: PathBuf,
    forwarded: Vec<String>,
    to: String,
}

impl Web {
    /// Serves the folder's files below `base` and forwards requests below the forwarded paths to
    /// `to`.
    pub(crate) fn start(base: &str, folder: &Path, forwarded: &[&str], to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let site = Arc::new(Site {
            base: base.to_owned(),
            folder: folder.to_owned(),
            forwarded: forwarded.iter().map(|path| (*path).to_owned()).collect(),
            to: to.to_owned(),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let site = Arc::clone(&site);
                std::thread::spawn(move || site.answer(stream));
            }
        });
        Self { address }
    }
}

impl Site {
    /// Answers one request and closes the connection. Errors of a closed connection are ignored.
    fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?).take(REQUEST_BYTES_MAX);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let (method, target) = line.split_once(' ')?;
        let target = target.split(' ').next()?.to_owned();
        let (mut kind, mut length) = (String::new(), 0);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-type" => value.clone_into(&mut kind),
                "content-length" => length = value.parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, kind, body) = if self.forwarded.iter().any(|path| target.starts_with(path)) {
            let headers = [("content-type", kind.as_str())];
            let headers = if kind.is_empty() { &[] } else { &headers[..] };
            let answer = http::send(method, &self.to, &target, headers, body);
            let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok());
            (answer.status, kind.unwrap_or_default().to_owned(), answer.body.to_vec())
        } else {
            let (kind, body) = self.file(&target);
            (200, kind.to_owned(), body)
        };
        let head = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&body).ok()
    }

    fn file(&self, target: &str) -> (&'static str, Vec<u8>) {
        let path = target.split('?').next().unwrap_or_default();
        let path = Path::new(path.strip_prefix(&self.base).unwrap_or(path).trim_start_matches('/'));
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let asked = self.folder.join(path);
        let file = if plain && asked.is_file() { asked } else { self.folder.join("index.html") };
        let kind = match file.extension().and_then(|extension| extension.to_str()) {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("html") => "text/html; charset=utf-8",
            _ => "application/octet-stream",
        };
        (kind, std::fs::read(file).unwrap())
    }
}
