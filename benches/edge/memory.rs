//! What a connection costs that follows and hears nothing.

use std::time::Duration;

use tokio::time::sleep;

use crate::data;
use crate::fan_out::followers;
use crate::figures::{Bar, float, heading, judged, shown};
use crate::server::{Memory, Place, Server};

/// Bytes of a megabyte.
const MB: f64 = 1_000_000.0;

/// Measures the memory of the server without and with sockets.
pub(crate) async fn measure(place: &Place) -> anyhow::Result<()> {
    let server = Server::start(place)?;
    data::seed(&server, 1).await?;
    sleep(Duration::from_secs(2)).await;
    let idle = server.memory(Memory::Now)?;
    heading("Memory of the server");
    shown("no connections", idle / MB, "MB");
    let mut sockets = Vec::new();
    for count in [1_000, 5_000] {
        sockets.extend(followers(&server, count - sockets.len()).await?);
        sleep(Duration::from_secs(2)).await;
        let held = server.memory(Memory::Now)?;
        shown(&format!("{count} sockets that follow"), held / MB, "MB");
        let each = (held - idle) / float(count) / 1_000.0;
        judged("each of them", each, "kB", Bar::AtMost(20.0));
    }
    Ok(())
}
