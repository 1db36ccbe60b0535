//! A small HTTP server of a test's own, which notes what it is sent and answers, or fails, as the test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST /path?query`.
    pub line: String,
    /// The other lines of its head.
    pub head: Vec<String>,
    /// Its content.
    pub body: String,
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers with a status and JSON.
    Json(u16, String),
    /// Closes the connection.
    Close,
    /// Never answers.
    Hang,
    /// Sends something else than HTTP.
    Garbage,
}

type Handler = Box<dyn FnMut(&Request) -> Reply + Send>;

/// The server. It ends with this.
pub struct HttpServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl HttpServer {
    /// Starts one on this machine, whose replies a function gives.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    #[must_use]
    pub fn start(reply: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("a port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("its port: {error}"));
        let (requests, is_over) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(Box::new(reply)));
        let (noted, ends) = (Arc::clone(&requests), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (noted, handler, ends) = (Arc::clone(&noted), Arc::clone(&handler), Arc::clone(&ends));
                std::thread::spawn(move || serve(&connection, &noted, &handler, &ends));
            }
        });
        Self { address, requests, is_over }
    }

    /// Its address: `http://127.0.0.1:4711`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was sent so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(connection: &TcpStream, noted: &Mutex<Vec<Request>>, handler: &Mutex<Handler>, ends: &AtomicBool) {
    let mut reader = BufReader::new(connection);
    while let Some(request) = read(&mut reader) {
        let reply = handler.lock()(&request);
        noted.lock().push(request);
        let mut connection = connection;
        let sent = match &reply {
            Reply::Json(status, body) => write!(
                connection,
                "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            Reply::Garbage => write!(connection, "220 this is not what you expect\r\n"),
            Reply::Close => return,
            Reply::Hang => {
                while !ends.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return;
            }
        };
        if sent.is_err() || matches!(reply, Reply::Garbage) {
            return;
        }
    }
}

fn read(from: &mut impl BufRead) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let length = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).ok()?;
    let head = lines.split_off(1.min(lines.len()));
    Some(Request { line: lines.pop()?, head, body: String::from_utf8_lossy(&body).into_owned() })
}
