//! Nothing is left when a test process ends, however it ends. Each case runs this very test binary as a child.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use triplecheck_testbed::{Server, ServerOptions, run_folder_path};

/// Tells the child where to write its folder and its server's pid, and how to end.
const REPORT: &str = "TESTBED_CHILD_REPORT";
/// See [`REPORT`].
const ENDING: &str = "TESTBED_CHILD_ENDING";
/// How long a start, and the supervisor's work, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn alive(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && !state.contains("State:\tZ")
}

/// What the child does: a server, a report, and an end of the kind that is asked for.
#[test]
#[ignore = "run by the other tests as a child process"]
fn child() {
    let (Ok(report), Ok(ending)) = (std::env::var(REPORT), std::env::var(ENDING)) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start(15, ServerOptions::default())).expect("a server");
    let text = format!("{}\n{}\n", run_folder_path().expect("a folder").display(), server.pid().expect("a pid"));
    let partial = Path::new(&report).with_extension("partial");
    std::fs::write(&partial, text).expect("the report");
    std::fs::rename(&partial, &report).expect("the report");
    match ending.as_str() {
        "panic" => panic!("on purpose"),
        "static" => std::mem::forget(server),
        "exit" => std::process::exit(0),
        _ => std::thread::sleep(PATIENCE),
    }
}

fn leaves_nothing(ending: &str, signal: Option<Signal>) {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "child", "--ignored", "--test-threads=1"])
        .envs([(REPORT, report.as_os_str()), (ENDING, ending.as_ref())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a child");
    wait_until("the child's server", || report.exists());
    let text = std::fs::read_to_string(&report).expect("the report");
    let (run_folder, pid) = text.trim().split_once('\n').expect("two lines");
    let (run_folder, pid) = (PathBuf::from(run_folder), pid.parse().expect("a pid"));
    if let Some(signal) = signal {
        assert!(alive(pid) && run_folder.is_dir(), "the child's server is up");
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(id, signal).expect("the child is there");
    }
    let status = child.wait().expect("an end");
    assert_eq!(status.signal(), signal.map(Signal::as_raw), "{ending}");
    wait_until("the server to be gone", || !alive(pid));
    wait_until("the folder to be gone", || !run_folder.exists());
}

#[test]
fn kill_9_leaves_nothing() {
    leaves_nothing("killed", Some(Signal::KILL));
}

#[test]
fn ctrl_c_leaves_nothing() {
    leaves_nothing("interrupted", Some(Signal::INT));
}

#[test]
fn a_panic_leaves_nothing() {
    leaves_nothing("panic", None);
}

#[test]
fn servers_in_statics_leave_nothing() {
    leaves_nothing("static", None);
    leaves_nothing("exit", None);
}
