//! The program as a process: started, asked, told to stop, killed, and never left behind.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A port that nobody listens on, below those that the kernel gives to whoever connects meanwhile.
pub(super) fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| rand::random_range(20_000..30_000));
    ports.find(is_free).unwrap()
}

/// How long anything that must happen may take.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);

/// A process of the program. It is killed when it is dropped.
pub(super) struct Program {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: PathBuf,
}

/// What a process has left when it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    /// Checks that it failed, said all these words on standard error, and left no trace of a panic.
    pub(super) fn refused(&self, words: &[&str]) {
        assert_eq!(self.status.code(), Some(1), "{self:?}");
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is missing in: {}",
                self.stderr
            );
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// The program with these arguments, without the settings of whoever runs the tests.
pub(super) fn command<S: Into<OsString>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homepot-analytics"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOMEPOT_") {
            command.env_remove(name);
        }
    }
    command.args(["--log", "warn"]);
    command.args(arguments.into_iter().map(Into::into));
    command
}

impl Program {
    /// Starts the program; what it says on standard error goes into a file of the folder.
    pub(super) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(folder, command(arguments))
    }

    /// Starts a command of the program.
    pub(super) fn spawn(folder: &Path, mut command: Command) -> Self {
        let stderr = (0..10_000)
            .map(|number| folder.join(format!("stderr-{number}")))
            .find(|path| !path.exists())
            .unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, stdout) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Runs the program to its end.
    pub(super) fn run(folder: &Path, arguments: &[&str]) -> Ended {
        Self::start(folder, arguments).end()
    }

    /// Its standard input.
    pub(super) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// What it has said on standard error so far.
    pub(super) fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Waits until it has said something on standard error.
    pub(super) fn says(&self, words: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let said = self.stderr();
            if said.contains(words) {
                return said;
            }
            assert!(Instant::now() < until, "{words:?} is missing in: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the address at which it listens; nothing if it ends before.
    pub(super) fn address(&mut self) -> Option<String> {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.stdout.recv_timeout(left) {
                Ok(line) => {
                    if let Some(address) = line.strip_prefix("Listening on ") {
                        return Some(address.to_owned());
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("it listens at no address: {}", self.stderr())
                }
            }
        }
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, as an operator or a supervisor does.
    pub(super) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Stops it where it stands, until it is told to go on: a machine that stalls.
    pub(super) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on where it stood.
    pub(super) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let told = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(told.success());
    }

    /// The most memory that it has had so far.
    pub(super) fn memory_max_mib(&self) -> u64 {
        let line = self.status("VmHWM").unwrap();
        let kib = line.split(' ').next();
        kib.unwrap().parse::<u64>().unwrap() / 1024
    }

    /// What Linux tells of it under a name, if it tells that.
    pub(super) fn status(&self, name: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        let (_, told) = lines.find(|(named, _)| *named == name)?;
        Some(told.trim().to_owned())
    }

    /// Whether it still runs.
    pub(super) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends.
    pub(super) fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        // what works through a log of many rounds takes as long as there are events in it
        let rounds = if crate::support::is_long() { 10 } else { 1 };
        let until = Instant::now() + DEADLINE * rounds;
        let mut stdout = String::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.stdout.recv_timeout(left) {
                Ok(line) => stdout.extend([line.as_str(), "\n"]),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("it does not end: {}", self.stderr())
                }
            }
        }
        // standard output is closed by the end only
        let status = self.child.wait().unwrap();
        Ended {
            status,
            stdout,
            stderr: self.stderr(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // it may have ended
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
