//! The loopback interface: what must cross it in a step, what crosses it while nothing trains, and how fast
//! it is.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crate::measure::kernel_counters::Counters;
use crate::measure::timing::seconds;
use crate::program::Result;

use super::contender::Contender;

/// Bytes that are handed to the kernel at a time.
const CHUNK: usize = 1 << 20;
/// A token is an `i64` until it is on the device, and so is the one that comes after it.
const BYTES_PER_TOKEN: usize = 2 * size_of::<i64>();

/// What a job sends.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Parameters of the model, 4 bytes each.
    pub parameters: usize,
    /// Tokens of a batch.
    pub tokens: usize,
}

impl Load {
    /// Bytes that have to cross the loopback interface in a step: each device's batch, and for a second
    /// device the parameters there and their gradients back, from server to server.
    #[must_use]
    pub fn bytes_per_step(&self, contender: Contender) -> usize {
        if contender.transport().is_none() {
            return 0;
        }
        let batches = contender.devices() * self.tokens * BYTES_PER_TOKEN;
        batches + (contender.devices() - 1) * self.bytes_between_devices()
    }

    /// Bytes to a second device and back.
    #[must_use]
    pub fn bytes_between_devices(&self) -> usize {
        2 * self.parameters * size_of::<f32>()
    }
}

/// Bytes a second that cross the loopback interface by themselves: of other programs, and of sessions that
/// are open.
#[must_use]
pub fn idle(during: Duration) -> Option<f64> {
    let before = Counters::now();
    let (seconds, ()) = seconds(|| std::thread::sleep(during));
    Some(before.loopback_until(&Counters::now())? as f64 / seconds)
}

/// Seconds that it takes to send so many bytes over a TCP connection of the loopback interface and to read
/// them, with nothing else done to them.
///
/// # Errors
///
/// Those of the network.
pub fn copy(bytes: usize) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = listener.local_addr()?;
    let (taken, read) = seconds(|| {
        std::thread::scope(|scope| -> std::io::Result<usize> {
            let sender = scope.spawn(move || send(TcpStream::connect(to)?, bytes));
            let read = receive(listener.accept()?.0);
            sender.join().map_err(|_| std::io::Error::other("the sender panicked"))??;
            read
        })
    });
    match read? {
        read if read == bytes => Ok(taken),
        read => Err(format!("of {bytes} bytes {read} came over the loopback interface").into()),
    }
}

fn send(mut stream: TcpStream, bytes: usize) -> std::io::Result<()> {
    let chunk = vec![1; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let size = left.min(CHUNK);
        stream.write_all(&chunk[..size])?;
        left -= size;
    }
    Ok(())
}

fn receive(mut stream: TcpStream) -> std::io::Result<usize> {
    let (mut chunk, mut all) = (vec![0; CHUNK], 0);
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(all),
            read => all += read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_server_needs_the_parameters_and_gives_gradients() {
        let load = Load { parameters: 1000, tokens: 32 };
        let bytes = |contender| load.bytes_per_step(contender);
        assert_eq!((bytes(Contender::Local), bytes(Contender::TwoLocal)), (0, 0));
        assert_eq!((bytes(Contender::Websocket), bytes(Contender::Iroh)), (512, 512));
        assert_eq!((bytes(Contender::TwoWebsocket), bytes(Contender::TwoIroh)), (9024, 9024));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_copy_crosses_the_loopback_interface_once() {
        let before = Counters::now();
        let size = 20 << 20;
        assert!(copy(size).unwrap() > 0.0);
        let crossed = before.loopback_until(&Counters::now()).unwrap();
        assert!(crossed >= size as u64, "{crossed}");
    }
}
