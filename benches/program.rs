//! The program as a process of its own, as long as something is asked of it.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant as Stopwatch};

use anyhow::Context;

/// The program itself, serving; ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it, and tells how long it took to be ready.
    pub(crate) fn start(url: &str) -> anyhow::Result<(Self, Duration)> {
        Self::start_with(url, &[])
    }

    /// Starts it with further arguments.
    pub(crate) fn start_with(url: &str, more: &[&str]) -> anyhow::Result<(Self, Duration)> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let started = Stopwatch::now();
        let child = Command::new(env!("CARGO_BIN_EXE_homepot-analytics"))
            .args(["serve", "--no-authentication", "--database", url])
            .args(["--listen", &address.to_string()])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { child, address };
        while !server.is_ready() {
            let waited = started.elapsed();
            anyhow::ensure!(waited < Duration::from_mins(2), "the server is not ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok((server, started.elapsed()))
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            let (address, close) = (self.address, "connection: close");
            let head = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\n{close}\r\n\r\n");
            std::io::Write::write_all(&mut stream, head.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Memory that it holds, in MB of 10⁶ bytes.
    pub(crate) fn memory_mb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let held = held.and_then(|rest| rest.split_whitespace().next());
        let kibibytes: u32 = held.context("the server has ended")?.parse()?;
        Ok(f64::from(kibibytes) * 1_024.0 / 1_000_000.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
