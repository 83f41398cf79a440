//! A TCP proxy that does to connections what networks do.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What happens to connections, those that are there included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything passes.
    Fair,
    /// Connections end at once, those that are there as well.
    Cut,
    /// Requests arrive, and the connection ends with the first byte of the answer.
    CutAnswers,
    /// Bytes pass at so many a second.
    Slow(usize),
    /// Nothing passes, and no connection ends: the other side is gone without a word.
    HalfOpen,
    /// An answer that is none.
    Garbage,
    /// 503 with `Retry-After: 1`.
    Busy,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    target: SocketAddr,
    open: BTreeMap<u64, TcpStream>,
    accepted: u64,
}

/// A proxy on a port of its own. It lives as long as the process.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// How often a connection looks at the sky.
const LOOK: Duration = Duration::from_millis(10);

impl Proxy {
    /// A proxy before this address.
    pub(crate) fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = State { weather: Weather::Fair, target, open: BTreeMap::new(), accepted: 0 };
        let proxy = Self { address, state: Arc::new(Mutex::new(state)) };
        let accepting = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let proxy = accepting.clone();
                thread::spawn(move || {
                    let _ = proxy.serve(client);
                });
            }
        });
        Ok(proxy)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what happens.
    pub(crate) fn set(&self, weather: Weather) {
        let mut state = self.lock();
        state.weather = weather;
        if weather == Weather::Cut {
            for connection in std::mem::take(&mut state.open).into_values() {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }

    /// Connections lead elsewhere from now on.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.lock().target = target;
    }

    /// Connections that it accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.lock().accepted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn weather(&self) -> Weather {
        self.lock().weather
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let (weather, target, number) = {
            let mut state = self.lock();
            state.accepted += 1;
            let number = state.accepted;
            state.open.insert(number, client.try_clone()?);
            (state.weather, state.target, number)
        };
        client.set_read_timeout(Some(LOOK))?;
        match weather {
            Weather::Cut => client.shutdown(Shutdown::Both)?,
            Weather::Garbage => {
                read_request(&mut client)?;
                client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n<html>hi!")?;
            }
            Weather::Busy => {
                read_request(&mut client)?;
                let head = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                client.write_all(head.as_bytes())?;
            }
            _ => {
                let mut server = TcpStream::connect(target)?;
                server.set_read_timeout(Some(LOOK))?;
                let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
                let answering = self.clone();
                let answers = thread::spawn(move || answering.pass(&mut from_server, &mut to_client, true));
                let _ = self.pass(&mut client, &mut server, false);
                let _ = answers.join();
            }
        }
        self.lock().open.remove(&number);
        Ok(())
    }

    /// Passes bytes on, as the weather lets it, until either side ends.
    fn pass(&self, from: &mut TcpStream, to: &mut TcpStream, answers: bool) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let done = loop {
            let weather = self.weather();
            if weather == Weather::HalfOpen {
                thread::sleep(LOOK);
                continue;
            }
            let most = if let Weather::Slow(rate) = weather { (rate / 100).max(1) } else { buffer.len() };
            match from.read(&mut buffer[..most]) {
                Ok(0) => break Ok(()),
                Ok(_) if answers && weather == Weather::CutAnswers => break Ok(()),
                Ok(read) => to.write_all(&buffer[..read])?,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => break Err(error),
            }
            if let Weather::Slow(_) = weather {
                thread::sleep(LOOK);
            }
        };
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
        done
    }
}

/// Reads a request with a `Content-Length`, or none and no body: its head and its body.
pub(crate) fn read_request(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                return Ok((head, bytes.split_off(end + 4)));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}
