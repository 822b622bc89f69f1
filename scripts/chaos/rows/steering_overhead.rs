//! What it costs to choose who gets a connection: `scripts/bench/steering`, of which this shows the results.

use std::{env, time::Duration};

use super::Row;
use crate::{
    Attempt,
    figure::{Figure, Verdict},
    process::Process,
};

pub(super) const ROW: Row = Row {
    name: "steering-overhead",
    what: "CPU time of client and workers per new connection, with Balance::Auto and with Kernel",
    bar: "<= 1.02",
    within: Duration::from_secs(200),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let program = env::var("CHAOS_STEERING").map_err(|_| "CHAOS_STEERING does not say where the measurement is")?;
    let mut process = Process::start(&["--exec", &program])?;
    let (mut head, mut kernel, mut figures) = (String::new(), String::new(), Vec::new());
    while let Some(line) = process.line()? {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            ["", name, "CPU", ..] => name.clone_into(&mut head),
            ["", name @ "Kernel", cpu, ..] => kernel = format!("{name}: {cpu}"),
            ["", name, cpu, ratio, sure, _bar, verdict @ ("met" | "missed"), ""] => figures.push(Figure {
                row: format!("{}, {head}", ROW.name),
                measured: format!("{ratio} ({sure}); {name}: {cpu}"),
                bar: ROW.bar.to_owned(),
                yardstick: kernel.clone(),
                verdict: match ratio.parse::<f64>() {
                    Ok(ratio) if ratio <= AT_MOST => Verdict::bar(verdict == "met"),
                    Ok(_) | Err(_) => Verdict::Failed,
                },
            }),
            _ => {}
        }
    }
    let status = process.wait()?;
    if status.success() && figures.len() == 2 { Ok(figures) } else { Err(format!("it ended with {status}").into()) }
}

/// More than this is no noise: the same code twice comes out a percent apart.
const AT_MOST: f64 = 1.10;
