//! A server that receives garbage continues to serve, in bounded memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use iroh::endpoint::{Connection, presets};
use iroh::{Endpoint, EndpointAddr};
use system_tests::random::SplitMix64;
use system_tests::servers::{ON_LOOPBACK, Server, WEBSOCKET_ON_LOOPBACK, computes};

/// What all that is sent may cost a server beyond what it had. It is much less than what is announced.
const MEMORY: u64 = 128 << 20;
/// The bytes of a large message.
const LARGE: usize = 1 << 20;
/// How often everything is sent.
const ROUNDS: u64 = 4;
/// burn's limit for a message, less one byte.
const MOST: u64 = (1 << 30) - 1;

fn random_bytes(random: &mut SplitMix64, count: usize) -> Vec<u8> {
    (0..count.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes()).take(count).collect()
}

/// Invalid messages: nothing, noise, text, arrays in arrays, and values that claim to be huge.
fn messages(random: &mut SplitMix64) -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        random_bytes(random, 1),
        random_bytes(random, 1000),
        random_bytes(random, LARGE),
        b"GET / HTTP/1.1\r\n\r\n".repeat(100),
        vec![0x91; LARGE],
        vec![0x81; LARGE],
        // An array, a map, a string and bytes of 4 GiB.
        b"\xdd\xff\xff\xff\xff\x01".to_vec(),
        b"\xdf\xff\xff\xff\xff\x01".to_vec(),
        b"\x91\x81\xdb\xff\xff\xff\xffInit".to_vec(),
        b"\x91\x81\xa4Init\x94\x02\x91\x01\x00\xc6\xff\xff\xff\xffhunter2".to_vec(),
        // Messages of burn's where they do not belong, and devices that no server has.
        b"\x91\x81\xa5Close\x91\x01".to_vec(),
        b"\x91\x81\xa4Init\x94\x02\x91\x01\xce\xff\xff\xff\xff\xc4\x00".to_vec(),
        b"\x91\x81\xa4Init\x94\xcd\xff\xff\x91\x01\x00\xc4\x00".to_vec(),
        b"\x92\x81\xa4Init\x94\x02\x91\x01\x00\xc4\x00\x81\xa4Init\x94\x02\x91\x01\x00\xc4\x00".to_vec(),
    ]
}

/// Floods a server, while a client with the token computes on it.
fn continues_to_serve_under(mut server: Server, flood: impl FnOnce(&Server) + Send) {
    computes(&server.connect(0));
    let (before, over) = (server.peak_memory(), AtomicBool::new(false));
    thread::scope(|scope| {
        let (over, server) = (&over, &server);
        scope.spawn(move || {
            // Also where the flood fails.
            let _over = Over(over);
            flood(server);
        });
        let mut computed = 0;
        while !over.load(Ordering::Relaxed) || computed == 0 {
            computes(&server.connect(0));
            computed += 1;
        }
    });
    assert!(!server.process().has_ended());
    let grown = server.peak_memory() - before;
    assert!(grown < MEMORY, "it took {} MiB more than {}", grown >> 20, before >> 20);
    // A session that was not there before.
    computes(&server.connect(1));
    let (ended, _) = server.stop("TERM");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(!ended.stderr.contains("stack backtrace") && !ended.stderr.contains("panicked"), "{ended:?}");
    let longest = ended.stderr.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 5000, "a line of {longest} bytes");
}

fn with_two_devices(arguments: &str) -> Server {
    Server::start(&format!("{arguments} --devices 2"))
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection that has become a WebSocket.
fn websocket(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

/// A frame that says it has so many bytes, with a mask that changes none.
fn frame(operation: u8, length: u64, bytes: &[u8]) -> Vec<u8> {
    [&[operation, 0xFF][..], &length.to_be_bytes(), &[0; 4], bytes].concat()
}

fn flood_websocket(server: &Server) {
    let (address, mut random) = (server.socket(), SplitMix64::new(1));
    // A server may hang up in the middle, which is its right.
    let send = |mut stream: TcpStream, bytes: &[u8]| {
        let _ = stream.write_all(bytes);
        stream
    };
    let mut open = Vec::new();
    for _ in 0..ROUNDS {
        for message in messages(&mut random) {
            drop(send(TcpStream::connect(address).unwrap(), &message));
            for path in ["/session", "/data"] {
                let whole = message.len() as u64;
                for operation in [0x82, 0x81, 0x80, 0x02, 0x8F] {
                    drop(send(websocket(address, path), &frame(operation, whole, &message)));
                }
                // It waits for the rest. What has come of it is the sender's to choose, and the server's to
                // keep.
                let waiting = send(websocket(address, path), &frame(0x82, MOST, &message));
                open.extend((message.len() < LARGE).then_some(waiting));
                drop(send(websocket(address, path), &frame(0x82, u64::MAX, &message)));
            }
        }
        open.extend((0..16).map(|_| TcpStream::connect(address).unwrap()));
        (0..200).for_each(|_| drop(TcpStream::connect(address).unwrap()));
    }
}

/// The same over Iroh, whose frames are a length and the bytes; a stream of burn's begins with one that says
/// what it is.
async fn flood_iroh(to: EndpointAddr) {
    let (alpn, mut random) = (burn::server::BURN_REMOTE_ALPN, SplitMix64::new(2));
    let endpoint = Endpoint::builder(presets::Minimal).bind().await.unwrap();
    let mut open: Vec<Connection> = Vec::new();
    for _ in 0..ROUNDS {
        assert!(endpoint.connect(to.clone(), b"something/else").await.is_err());
        for message in messages(&mut random) {
            for header in
                [&b""[..], b"\x92\x01\xa7Session", b"\x92\x01\xaeTensorTransfer", b"\x92\x63\xa7Session"]
            {
                let connection = endpoint.connect(to.clone(), alpn).await.unwrap();
                for length in [message.len() as u64, MOST, u64::MAX] {
                    let Ok((mut send, _)) = connection.open_bi().await else { break };
                    let header = match header {
                        b"" => Vec::new(),
                        header => [&(header.len() as u64).to_le_bytes()[..], header].concat(),
                    };
                    let bytes = [&header[..], &length.to_le_bytes(), &message].concat();
                    // A server may hang up in the middle, which is its right.
                    let _ = send.write_all(&bytes).await;
                    if length != MOST {
                        let _ = send.finish();
                    }
                }
                open.push(connection);
            }
        }
        // They wait for the rest, for a while.
        open.drain(..open.len() / 2).for_each(|connection| connection.close(0u32.into(), b"hunter2"));
    }
    endpoint.close().await;
}

#[test]
fn garbage_over_websocket_does_not_keep_a_server_from_serving() {
    continues_to_serve_under(with_two_devices(WEBSOCKET_ON_LOOPBACK), flood_websocket);
}

#[test]
fn garbage_over_iroh_does_not_keep_a_server_from_serving() {
    continues_to_serve_under(with_two_devices(ON_LOOPBACK), |server| {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut random = SplitMix64::new(3);
        for size in (0..20_000).map(|i| i % 1400) {
            let _ = udp.send_to(&random_bytes(&mut random, size), server.socket());
        }
        let id = std::fs::read(server.directory().join("identity")).unwrap();
        let id = iroh::SecretKey::from_bytes(&id.try_into().unwrap()).public();
        let to = EndpointAddr::from(id).with_ip_addr(server.socket());
        tokio::runtime::Runtime::new().unwrap().block_on(flood_iroh(to));
    });
}

#[test]
fn who_holds_many_connections_does_not_keep_others_out() {
    let server = Server::start_with(WEBSOCKET_ON_LOOPBACK, |command| {
        let mut limited = Command::new("prlimit");
        limited.arg("--nofile=64:4096").arg(command.get_program()).args(command.get_args());
        *command = limited;
        command.env_remove("BURN_REMOTE_TOKEN");
    });
    let held: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(server.socket()).unwrap()).collect();
    computes(&server.connect(0));
    // Nor the server from its end.
    let (ended, _) = server.stop("TERM");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    drop(held);
}
