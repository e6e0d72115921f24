//! `DuckDB` over the rows of a log, as a yardstick.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

/// Writes the device metrics of a log to a file of Parquet, unless that is there.
pub(crate) fn export(url: &str, parquet: &Path) -> anyhow::Result<()> {
    if parquet.exists() {
        return Ok(());
    }
    let exported = Command::new(env!("CARGO_BIN_EXE_homepot-analytics"))
        .args(["export", "--source", "deviceMetrics", "--database", url])
        .arg("--out")
        .arg(parquet)
        .status()?;
    anyhow::ensure!(exported.success(), "the rows were not exported");
    Ok(())
}

/// The milliseconds that questions take, by their names, asked by a Python that has `DuckDB`.
pub(crate) fn ask(
    python: &Path,
    parquet: &Path,
    times: usize,
) -> anyhow::Result<HashMap<String, f64>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/duckdb.py");
    let output = Command::new(python)
        .arg(script)
        .arg(parquet)
        .arg(times.to_string())
        .output()?;
    let told = String::from_utf8(output.stderr)?;
    anyhow::ensure!(output.status.success(), "DuckDB: {told}");
    let lines = String::from_utf8(output.stdout)?;
    let answer = |line: &str| {
        let (name, milliseconds) = line.split_once('\t').context("not a line of an answer")?;
        Ok((name.to_owned(), milliseconds.parse()?))
    };
    lines.lines().map(answer).collect()
}
