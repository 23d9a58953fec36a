//! What a run of some programs costs: time, processor time of clients and servers apart, memory.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often running programs are looked at. The kernel keeps the peak of their memory, so seldom is often enough.
const LOOK: Duration = Duration::from_millis(5);
/// How long the servers' processes have to end, so that their postmaster knows what they used.
const ENDING: Duration = Duration::from_millis(200);
/// Ticks of a second in /proc/PID/stat (`USER_HZ`).
const TICKS: f64 = 100.0;

/// One run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    pub(crate) client: f64,
    pub(crate) server: f64,
    pub(crate) peak_kib: u64,
    /// Bytes of rows read, where the program says so.
    pub(crate) bytes: Option<u64>,
}

/// The sum of the processor time that children of a process have used, once they have ended.
fn children_seconds(pid: &str) -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may hold anything; cutime and cstime are the 14th and 15th field behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has another form")?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 / TICKS)
}

/// Runs programs at the same time until all have ended with this exit code.
pub(crate) fn run(
    commands: Vec<Command>,
    expected: i32,
    postmasters: &[u32],
    report: Option<&Path>,
) -> Result<Cost, Box<dyn Error>> {
    let servers = || {
        let seconds = postmasters.iter().map(|pid| children_seconds(&pid.to_string()));
        seconds.sum::<Result<f64, Box<dyn Error>>>()
    };
    let (server, client) = (servers()?, children_seconds("self")?);
    let begun = Instant::now();
    let start = |mut command: Command| command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
    let mut children: Vec<Child> = commands.into_iter().map(start).collect::<Result<_, _>>()?;
    let mut peaks = vec![0; children.len()];
    let mut running = children.len();
    while running > 0 {
        std::thread::sleep(LOOK);
        running = 0;
        for (child, peak) in children.iter_mut().zip(&mut peaks) {
            *peak = peak_kib(child.id()).max(*peak);
            match child.try_wait()? {
                None => running += 1,
                Some(status) if status.code() == Some(expected) => {}
                Some(status) => return Err(format!("a program ended with {status}").into()),
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = report.map(read_bytes).transpose()?;
    std::thread::sleep(ENDING);
    let (server, client) = (servers()? - server, children_seconds("self")? - client);
    Ok(Cost { seconds, client, server, peak_kib: peaks.iter().sum(), bytes })
}

/// The peak so far; 0 of a process that has ended.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// What the report of `verify` says was read.
fn read_bytes(report: &Path) -> Result<u64, Box<dyn Error>> {
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report)?)?;
    report["totals"]["bytes"].as_u64().ok_or_else(|| "a report without totals".into())
}
