//! The allocator of all that runs here, and of benchmarks and tests as of the server; of SQLite within it too, but on
//! Apple's systems, Android and `DragonFly`, where what is written in C keeps that of the system.
//!
//! SQLite makes the values of a row on a thread of its own, and whoever reads them frees them on another. With the
//! allocator of the C library the two wait for each other: all in order is read from a table at 235,000 events a
//! second, and at 600,000 with this one (two cores, `cargo bench --bench archive`).
//!
//! Of its own settings none is changed but that threads of its own give memory back (`background_threads`).

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Has Linux give this process no huge pages, whatever it does for others: where all get them, each stack and each
/// list of the allocator takes 2 MiB as soon as it is begun.
///
/// It is asked of the system and not of the allocator (`thp:never`): that setting leaves out the allocator's own
/// lists and the stacks of threads, and holds only where whoever builds this has it built in. Where the system refuses,
/// it costs memory and nothing else. A process that this one started would inherit it; it starts none.
pub fn decline_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages cannot be declined");
    }
}
