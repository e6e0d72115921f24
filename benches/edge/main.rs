//! What reaches clients at the edge of the server: pages, streams to thousands, the memory that each costs,
//! and what hostile input costs.
//!
//! `cargo bench --bench edge -- [--quick] [--only NAME …] [--soak SECONDS]`; with `HOMEPOT_BENCH_POSTGRES` set
//! to the address of a server whose user may create databases, pages of PostgreSQL too. The program runs as a
//! process of its own and asks for access keys; the yardstick, a bare axum, is another process, measured by
//! the same clients in turn. The clients run in this process, on the same processors.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bare;
mod data;
#[path = "../door.rs"]
mod door;
mod fan_out;
#[expect(dead_code, reason = "other benchmarks use the rest")]
#[path = "../figures.rs"]
mod figures;
mod hostile;
mod latencies;
mod memory;
mod orders;
mod pages;
mod server;
mod soak;
mod socket;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use server::Place;

#[derive(Debug, Parser)]
struct Arguments {
    /// A tenth of the time and one round.
    #[arg(long)]
    quick: bool,
    /// These parts alone.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Seconds of the long run, which is left out otherwise.
    #[arg(long)]
    soak: Option<u64>,
    /// Where the databases are made and removed again.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    folder: PathBuf,
    /// A server of PostgreSQL.
    #[arg(long, env = "HOMEPOT_BENCH_POSTGRES", hide_env_values = true)]
    postgres: Option<String>,
    /// Serves the yardstick and nothing else.
    #[arg(long, hide = true)]
    bare: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Pages of history, and nested ones.
    Pages,
    /// Streams to many.
    FanOut,
    /// Memory of a connection.
    Memory,
    /// What must be refused.
    Hostile,
    /// A job over many devices.
    Orders,
}

impl Arguments {
    fn measures(&self, part: Part) -> bool {
        let all = self.only.is_empty() && self.soak.is_none();
        all || self.only.contains(&part)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let files = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            maximum: files.maximum,
        },
    )?;
    if arguments.bare {
        return bare::serve().await;
    }
    std::fs::create_dir_all(&arguments.folder)?;
    let folder = tempfile::tempdir_in(&arguments.folder)?;
    println!("a server with access keys, load of the machine {}", load()?);
    if arguments.measures(Part::Pages) {
        let place = Place::sqlite(folder.path(), "pages");
        pages::measure("SQLite", &place, arguments.quick).await?;
        if let Some(admin) = &arguments.postgres {
            let place = Place::postgres(admin).await?;
            pages::measure("PostgreSQL", &place, arguments.quick).await?;
            place.remove().await?;
        }
    }
    if arguments.measures(Part::FanOut) {
        fan_out::measure(&Place::sqlite(folder.path(), "fan"), arguments.quick).await?;
    }
    if arguments.measures(Part::Memory) {
        memory::measure(&Place::sqlite(folder.path(), "memory")).await?;
    }
    if arguments.measures(Part::Hostile) {
        hostile::measure(&Place::sqlite(folder.path(), "hostile"), arguments.quick).await?;
    }
    if arguments.measures(Part::Orders) {
        let place = Place::sqlite(folder.path(), "orders");
        orders::measure(&place, ("SQLite", arguments.quick)).await?;
        if let Some(admin) = &arguments.postgres {
            let place = Place::postgres(admin).await?;
            orders::measure(&place, ("PostgreSQL", arguments.quick)).await?;
            place.remove().await?;
        }
    }
    if let Some(seconds) = arguments.soak {
        soak::measure(&Place::sqlite(folder.path(), "soak"), seconds).await?;
    }
    println!("\nload of the machine {}", load()?);
    Ok(())
}

/// How many processes wanted a processor in the last 1, 5 and 15 minutes.
fn load() -> anyhow::Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let three: Vec<&str> = load.split(' ').take(3).collect();
    Ok(three.join(", "))
}
