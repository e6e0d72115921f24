//! The agent enrols by a token on its first start, and keeps the access key that it is given.
//!
//! The key stands in `enrolled.json` in the spool folder, which its owner alone can read. The key of the
//! request stands in `enrolling` before the request is made: when its answer is lost, also because the
//! machine was switched off, the repeat registers no second device and spends no second use.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::machine::Description;
use super::{AgentArgs, AgentError};
use crate::client::{Backoff, Client, ClientConfig, EnrolError, Enrolled, Remedy};
use crate::clock::Clock;
use crate::places::make_private;

/// What this device was given when it enrolled.
const ENROLLED: &str = "enrolled.json";
/// The key of the request by which it enrols.
const ENROLLING: &str = "enrolling";

/// A device that may be to enrol.
pub(super) struct Enrolling<'a> {
    pub(super) args: &'a AgentArgs,
    pub(super) description: &'a Description,
    pub(super) clock: &'a Clock,
}

impl Enrolling<'_> {
    /// What the device was given when it enrolled; it enrols now if it has a token and has not yet. `None`
    /// without a token, and when it is told to stop first.
    ///
    /// # Errors
    /// When the server will not have it, or what it is given cannot be kept.
    pub(super) async fn run(
        &self,
        config: &ClientConfig,
        rng: &mut StdRng,
        shutdown: &CancellationToken,
    ) -> Result<Option<Enrolled>, AgentError> {
        let folder = &self.args.spool;
        let failed = |source| AgentError::Note {
            folder: folder.clone(),
            source,
        };
        if let Some(enrolled) = read(folder).map_err(failed)? {
            return Ok(Some(enrolled));
        }
        let Some(token) = &self.args.enrol_token else {
            return Ok(None);
        };
        let key = request_key(folder).map_err(failed)?;
        let input = self.input(token.reveal(), &key);
        let client = Client::new(config, self.clock.clone())?;
        if client.is_plain() {
            tracing::warn!(
                server.url = client.server(),
                "the enrolment token and the access key are sent unencrypted; use https"
            );
        }
        let mut failures = 0;
        loop {
            let asked = tokio::select! {
                enrolled = client.enrol(&input) => match enrolled {
                    Ok(enrolled) => {
                        keep(folder, &enrolled).map_err(failed)?;
                        return Ok(Some(enrolled));
                    }
                    Err(EnrolError::Call(error)) => match error.remedy() {
                        Remedy::Retry(asked) => {
                            let error = crate::telemetry::chain(&error).to_string();
                            tracing::warn!(error, "cannot enrol yet; trying again");
                            asked
                        }
                        Remedy::Split | Remedy::Hold => return Err(EnrolError::Call(error).into()),
                    },
                    Err(refused) => return Err(refused.into()),
                },
                () = shutdown.cancelled() => return Ok(None),
            };
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(Backoff::default().wait(failures, asked, rng)) => {}
                () = shutdown.cancelled() => return Ok(None),
            }
        }
    }

    fn input(&self, token: &str, key: &str) -> Value {
        let (args, machine) = (self.args, self.description);
        let host = machine.host_name.as_deref();
        let mut input = json!({
            "token": token,
            "idempotencyKey": key,
            "deviceId": args.device.as_deref().or(host),
            "name": host,
            "model": machine.model,
            "os": machine.os,
            "deviceType": args.device_type,
        });
        if let Some(fields) = input.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        input
    }
}

fn read(folder: &Path) -> io::Result<Option<Enrolled>> {
    match fs::read(folder.join(ENROLLED)) {
        Ok(bytes) => {
            let enrolled = serde_json::from_slice(&bytes);
            enrolled.map(Some).map_err(io::Error::other)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The key of the request: that of an earlier start, if there was one.
fn request_key(folder: &Path) -> io::Result<String> {
    let path = folder.join(ENROLLING);
    match fs::read_to_string(&path) {
        Ok(key) if Uuid::parse_str(key.trim()).is_ok() => Ok(key.trim().to_owned()),
        Ok(_) => write_key(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_key(folder),
        Err(error) => Err(error),
    }
}

fn write_key(folder: &Path) -> io::Result<String> {
    let bytes: [u8; 16] = rand::random();
    let key = Uuid::from_bytes(bytes).to_string();
    write(folder, ENROLLING, key.as_bytes())?;
    Ok(key)
}

fn keep(folder: &Path, enrolled: &Enrolled) -> io::Result<()> {
    write(folder, ENROLLED, json!(enrolled).to_string().as_bytes())
}

/// Writes a file that its owner alone can read, wholly or not at all.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.new"));
    // one that is left over may be open to others
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = make_private(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(draft, folder.join(name))?;
    fs::File::open(folder)?.sync_all()
}
