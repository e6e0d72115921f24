//! How the agent introduces its device, and its site if the server does not know it.
//!
//! The id of a registration follows from what it says, so that a restart repeats it (a duplicate)
//! instead of piling up equal ones. `registered` in the spool folder counts how often that changed:
//! a device that returns to a former site says something new although it said it before. A lost file
//! costs no more than that.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use super::AgentArgs;
use super::machine::Description;

/// Name space of the ids of an agent's registrations.
const NAMESPACE: Uuid = Uuid::from_u128(0x3c1d_5f0e_8a52_5b0c_9d3e_7b6a_41f0_c2d8);

/// Who the agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: String,
    pub(super) site: String,
}

/// The events that introduce it.
#[derive(Clone, Debug)]
pub(super) struct Registrations {
    pub(super) device: Value,
    pub(super) site: Value,
}

impl Identity {
    /// The ids of the command line, else the name of the machine; `None` when it has none.
    pub(super) fn of(args: &AgentArgs, machine: &Description) -> Option<Self> {
        let host = machine.host_name.as_deref();
        let device = args.device.as_deref().or(host)?;
        let site = match &args.site {
            Some(site) => site.clone(),
            None => format!("site-{}", host.unwrap_or(device)),
        };
        Some(Self {
            device: device.to_owned(),
            site,
        })
    }
}

impl Registrations {
    /// Makes them, and notes in a folder what they say.
    ///
    /// # Errors
    /// When that cannot be noted.
    pub(super) fn make(
        args: &AgentArgs,
        identity: &Identity,
        machine: &Description,
        folder: &Path,
    ) -> io::Result<Self> {
        let mut device = json!({
            "deviceId": identity.device,
            "siteId": identity.site,
            "name": machine.host_name,
            "deviceType": args.device_type,
            "model": machine.model,
            "os": machine.os,
            "provenance": "REAL",
        });
        let mut site = json!({
            "siteId": identity.site,
            "name": args.site_name.as_deref().unwrap_or(&identity.site),
            "timeZone": args.time_zone,
            "provenance": "REAL",
        });
        let said = Uuid::new_v5(&NAMESPACE, format!("{device}\n{site}").as_bytes());
        let generation = generation(folder, said)?;
        for body in [&mut device, &mut site] {
            let id = Uuid::new_v5(&NAMESPACE, format!("{generation}\n{body}").as_bytes());
            if let Some(fields) = body.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
                fields.insert("eventId".to_owned(), Value::String(id.to_string()));
            }
        }
        Ok(Self {
            device: json!({ "deviceRegistration": device }),
            site: json!({ "siteRegistration": site }),
        })
    }
}

/// How often what is said has changed; notes it when it changes.
fn generation(folder: &Path, said: Uuid) -> io::Result<u64> {
    let path = folder.join("registered");
    let noted = fs::read_to_string(&path).unwrap_or_default();
    let noted = noted.trim_end().split_once(' ');
    let noted = noted
        .and_then(|(id, number)| Some((Uuid::parse_str(id).ok()?, number.parse::<u64>().ok()?)));
    let generation = match noted {
        Some((before, generation)) if before == said => return Ok(generation),
        Some((_, generation)) => generation.saturating_add(1),
        None => 0,
    };
    let draft = folder.join("registered.new");
    fs::write(&draft, format!("{said} {generation}\n"))?;
    fs::rename(draft, path)?;
    Ok(generation)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: AgentArgs,
    }

    fn registrations(folder: &Path, flags: &[&str]) -> Registrations {
        let args = Cli::parse_from(["agent"].iter().chain(flags)).args;
        let machine = Description {
            host_name: Some("till-7".to_owned()),
            os: Some("Linux 6".to_owned()),
            model: None,
        };
        let identity = Identity::of(&args, &machine).unwrap();
        Registrations::make(&args, &identity, &machine, folder).unwrap()
    }

    fn id(event: &Value) -> &str {
        let body = event.as_object().unwrap().values().next().unwrap();
        body["eventId"].as_str().unwrap()
    }

    #[test]
    fn restart_repeats_the_same_registrations() {
        let folder = tempfile::tempdir().unwrap();
        let first = registrations(folder.path(), &[]);
        let second = registrations(folder.path(), &[]);
        assert_eq!((first.device, first.site), (second.device, second.site));
    }

    #[test]
    fn device_that_returns_to_its_former_site_is_registered_anew() {
        let folder = tempfile::tempdir().unwrap();
        let sites = ["a", "b", "a"];
        let made = sites.map(|site| registrations(folder.path(), &["--site", site]));
        assert_ne!(id(&made[0].device), id(&made[1].device));
        assert_ne!(id(&made[0].device), id(&made[2].device));
    }

    #[test]
    fn ids_default_to_the_host_name_and_absent_fields_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let made = registrations(folder.path(), &[]);
        let device = &made.device["deviceRegistration"];
        assert_eq!(device["deviceId"], "till-7");
        assert_eq!(device["siteId"], "site-till-7");
        assert_eq!(device["deviceType"], "POS_TERMINAL");
        assert_eq!(device.get("model"), None);
    }

    #[test]
    fn registrations_are_events_that_the_server_takes() {
        let folder = tempfile::tempdir().unwrap();
        let made = registrations(folder.path(), &["--device", "d", "--site", "s"]);
        for event in [made.device, made.site] {
            let mut event = crate::kinds::parse_any(&event, crate::event::Instant(0)).unwrap();
            crate::kinds::check(&mut event.fact).unwrap();
        }
    }
}
