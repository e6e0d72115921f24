//! A small SMTP server: it keeps what comes, and answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A mail as it came.
#[derive(Debug)]
pub(crate) struct Mail {
    /// Whom it is for, by the envelope.
    pub(crate) to: String,
    /// Its headers, each on one line.
    headers: Vec<String>,
    /// Its text.
    pub(crate) text: String,
}

impl Mail {
    fn read(to: String, data: &str) -> Self {
        let (head, body) = data.split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        Self {
            to,
            headers: head.split("\r\n").map(str::to_owned).collect(),
            text: body.replace("=\r\n", "").replace("=3D", "="),
        }
    }

    /// The values of a header.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter();
        let parts = lines.filter_map(|line| line.split_once(": "));
        parts
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> &str {
        let values = self.headers(name);
        assert_eq!(values.len(), 1, "{name} of {self:?}");
        values[0]
    }
}

/// A server that runs until its runtime ends.
pub(crate) struct Smtp {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What came.
    pub(crate) mails: mpsc::UnboundedReceiver<Mail>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Smtp {
    /// One that answers mails with one reply after the other, and with the last for ever.
    pub(crate) async fn start(replies: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, mails) = mpsc::unbounded_channel();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = Arc::clone(&heard);
        tokio::spawn(async move {
            let nth = Arc::new(Mutex::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                let (told, keep, nth) = (told.clone(), Arc::clone(&keep), Arc::clone(&nth));
                let reply = move || {
                    let mut nth = nth.lock().unwrap();
                    *nth += 1;
                    replies[(*nth - 1).min(replies.len() - 1)]
                };
                tokio::spawn(async move {
                    // a client may go away in the middle
                    let _ = answer(stream, told, keep, reply).await;
                });
            }
        });
        Self {
            address,
            mails,
            heard,
        }
    }

    /// The commands that it was given.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn answer(
    stream: TcpStream,
    told: mpsc::UnboundedSender<Mail>,
    heard: Arc<Mutex<Vec<String>>>,
    reply: impl Fn() -> &'static str,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 here\r\n").await?;
    let mut to = String::new();
    while let Some(line) = lines.next_line().await? {
        heard.lock().unwrap().push(line.clone());
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "RCPT" => {
                let (_, address) = line.split_once('<').unwrap();
                address.split('>').next().unwrap().clone_into(&mut to);
                "250 2.1.5 known"
            }
            "DATA" => {
                writer.write_all(b"354 go on\r\n").await?;
                let mut data = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    data.push_str(line.strip_prefix('.').unwrap_or(&line));
                    data.push_str("\r\n");
                }
                let reply = reply();
                // whoever sees the mail finds that it was answered, or is about to be
                told.send(Mail::read(to.clone(), &data)).unwrap();
                reply
            }
            "QUIT" => "221 gone",
            _ => "250 here",
        };
        writer.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
