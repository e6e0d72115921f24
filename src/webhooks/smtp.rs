//! Mail is given to one SMTP server, which whoever runs this server names.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lettre::address::AddressError;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use reqwest::Url;
use thiserror::Error;

use super::letter::one_line;
use crate::telemetry::chain;

/// Longest time until the server can be reached.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest time until it has taken a mail.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);
/// With these a server refuses this server and not a mail (RFC 4954): somebody can mend that.
const NOT_LET_IN: [u16; 4] = [530, 534, 535, 538];

/// The server to which mail is given.
#[derive(Clone, Default, Args)]
pub struct SmtpArgs {
    /// The server by which alerts are mailed: `smtps://USER:PASSWORD@HOST` speaks TLS from the
    /// beginning (port 465), `smtp://USER:PASSWORD@HOST` after STARTTLS (port 587), without which
    /// nothing is sent. `smtp://HOST?tls=none` is not encrypted (port 25): for this machine and
    /// networks of one's own. Without one no alert is mailed.
    #[arg(long, env = "HOMEPOT_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<String>,
    /// A file with that address, for keeping its password out of the environment; it goes before
    /// `HOMEPOT_SMTP_URL`. Line breaks and blanks around it are no part of it.
    #[arg(long, env = "HOMEPOT_SMTP_URL_FILE", value_name = "FILE")]
    pub smtp_url_file: Option<PathBuf>,
    /// Who the mails are from, such as `alerts@shop.example` or `HOMEPOT <alerts@shop.example>`.
    #[arg(long, env = "HOMEPOT_SMTP_FROM", value_name = "ADDRESS")]
    pub smtp_from: Option<String>,
}

impl fmt::Debug for SmtpArgs {
    /// Without the address of the server, which has a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpArgs")
            .field("smtp_url_file", &self.smtp_url_file)
            .field("smtp_from", &self.smtp_from)
            .finish_non_exhaustive()
    }
}

/// Why no mail can be sent.
#[derive(Debug, Error)]
pub enum SmtpError {
    /// A file cannot be read.
    #[error("cannot read the address of the SMTP server in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is given is no address of a server; it may have a password, so that it is not shown.
    #[error(
        "--smtp-url is no address such as smtps://user:password@mail.example or smtp://mail.example, with nothing but ?tls=none behind it"
    )]
    Url,
    /// Nothing says who the mails are from.
    #[error("there is an SMTP server, and --smtp-from does not say who the mails are from")]
    Nobody,
    /// Who the mails are from has no address of mail.
    #[error("--smtp-from is no address such as alerts@shop.example")]
    From(#[source] AddressError),
    /// The server cannot be spoken to.
    #[error("cannot speak to the SMTP server")]
    Transport(#[source] lettre::transport::smtp::Error),
}

impl SmtpArgs {
    /// What gives mail to the server; nothing when none is named.
    ///
    /// # Errors
    /// When the file cannot be read, or one of the addresses is none.
    pub fn mailer(&self) -> Result<Option<Mailer>, SmtpError> {
        let url = match &self.smtp_url_file {
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let path = path.clone();
                Some(read.map_err(|source| SmtpError::File { path, source })?)
            }
            None => self.smtp_url.clone(),
        };
        let Some(url) = url else { return Ok(None) };
        let from = self.smtp_from.as_deref().ok_or(SmtpError::Nobody)?;
        Mailer::new(url.trim(), from).map(Some)
    }
}

/// Gives mail to an SMTP server.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl fmt::Debug for Mailer {
    /// Without the server, whose password it knows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mailer");
        shown.field("from", &self.from).finish_non_exhaustive()
    }
}

/// Why a mail was not taken.
#[derive(Debug)]
pub(super) struct Untaken {
    /// The status with which the server answered, if it did.
    pub(super) status: Option<u16>,
    /// Why, for people.
    pub(super) error: String,
    /// Whether the server will never take it.
    pub(super) is_for_ever: bool,
}

impl Mailer {
    fn new(url: &str, from: &str) -> Result<Self, SmtpError> {
        let from: Mailbox = from.parse().map_err(SmtpError::From)?;
        let mut url = Url::parse(url).map_err(|_| SmtpError::Url)?;
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        let tls = match (url.scheme(), url.query()) {
            ("smtp" | "smtps", None) => Some("tls=required"),
            ("smtp", Some("tls=none")) => None,
            _ => return Err(SmtpError::Url),
        };
        if !has_host {
            return Err(SmtpError::Url);
        }
        url.set_query(tls);
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.as_str());
        let mut builder = builder.map_err(SmtpError::Transport)?;
        if url.path().trim_matches('/').is_empty() {
            builder = builder.hello_name(ClientId::Domain(from.email.domain().to_owned()));
        }
        let transport = builder.timeout(Some(CONNECT_WITHIN)).build();
        Ok(Self { transport, from })
    }

    /// Who the mails are from.
    pub(super) const fn from(&self) -> &Mailbox {
        &self.from
    }

    /// Gives a mail to the server, and answers with the status with which that took it.
    pub(super) async fn send(&self, letter: Message) -> Result<u16, Untaken> {
        let sent = tokio::time::timeout(TAKEN_WITHIN, self.transport.send(letter)).await;
        let Ok(sent) = sent else {
            return Err(Untaken {
                status: None,
                error: "the SMTP server has not taken it in time".to_owned(),
                is_for_ever: false,
            });
        };
        sent.map(|response| response.code().into())
            .map_err(|error| {
                let status: Option<u16> = error.status().map(Into::into);
                let is_of_mail = status.is_some_and(|status| !NOT_LET_IN.contains(&status));
                Untaken {
                    status,
                    error: one_line(&chain(&error).to_string()),
                    is_for_ever: error.is_permanent() && is_of_mail,
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(url: &str) -> SmtpArgs {
        SmtpArgs {
            smtp_url: Some(url.to_owned()),
            smtp_url_file: None,
            smtp_from: Some("HOMEPOT <alerts@shop.example>".to_owned()),
        }
    }

    #[test]
    fn the_password_is_shown_nowhere() {
        for url in [
            "smtps://me:hidden@mail.example",
            "smtp://me:hidden@mail.example?tls=none",
            "http://me:hidden@mail.example",
            "smtp://me:hidden@mail.example?tls=opportunistic",
            "smtps://me:hidden@mail.example?tls=none",
            "me:hidden@mail.example",
            "smtp://me:hidden@",
        ] {
            let args = given(url);
            let shown = match args.mailer() {
                Ok(mailer) => format!("{mailer:?}"),
                Err(error) => format!("{error:?} {}", chain(&error)),
            };
            assert!(!format!("{args:?}{shown}").contains("hidden"), "{shown}");
        }
    }

    #[test]
    fn a_server_is_named_by_an_address_of_smtp_and_with_who_writes() {
        for url in [
            "smtp://mail.example",
            "smtps://me:secret@mail.example:2465",
            "smtp://127.0.0.1:25?tls=none",
        ] {
            assert!(given(url).mailer().unwrap().is_some(), "{url}");
        }
        for url in [
            "http://mail.example",
            "smtp://",
            "smtp://mail.example?tls=opportunistic",
            "smtps://mail.example?tls=none",
            "mail.example",
        ] {
            assert!(matches!(given(url).mailer(), Err(SmtpError::Url)), "{url}");
        }
        assert!(SmtpArgs::default().mailer().unwrap().is_none());
        let mut args = given("smtp://mail.example");
        args.smtp_from = None;
        assert!(matches!(args.mailer(), Err(SmtpError::Nobody)));
        args.smtp_from = Some("alerts".to_owned());
        assert!(matches!(args.mailer(), Err(SmtpError::From(_))));
    }

    #[test]
    fn the_file_goes_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("smtp");
        std::fs::write(&path, "smtp://mail.example?tls=none\n").unwrap();
        let mut args = given("no address");
        args.smtp_url_file = Some(path);
        assert!(args.mailer().unwrap().is_some());
        args.smtp_url_file = Some(folder.path().join("nothing"));
        assert!(matches!(args.mailer(), Err(SmtpError::File { .. })));
    }
}
