//! How our threads share processors with others.
//!
//! A server sends rows in pieces of 8 KiB. Where it runs on the machine that we run on, a thread that wakes for every piece takes
//! the processor from it for a few rows each time: switching, and caches that are cold after it, took a seventh of the time of all
//! together (measured, two servers and `verify` on two cores). A thread that computes in batches (`SCHED_BATCH`, sched(7)) takes its
//! turn instead, and finds as much as the socket holds. On a machine of its own it runs at once, as before.

/// Makes the calling thread take its turn, unless somebody chose another policy for it.
pub(super) fn take_turns() {
    #[cfg(target_os = "linux")]
    if let Err(error) = batch() {
        tracing::debug!(%error, "the scheduling policy stays as it is");
    }
}

#[cfg(target_os = "linux")]
fn batch() -> Result<(), Box<dyn std::error::Error>> {
    use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy};
    use thread_priority::{set_thread_priority_and_policy, thread_native_id, thread_schedule_policy};

    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    if thread_schedule_policy()? != ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other) {
        return Ok(());
    }
    // The library sets both, and has a scale of its own for the niceness, which is to stay what it is.
    let niceness = rustix::process::getpriority_process(None)?;
    let priority = (0..=u8::from(ThreadPriorityValue::MAX))
        .filter_map(|value| ThreadPriorityValue::try_from(value).ok())
        .map(ThreadPriority::Crossplatform)
        .find(|priority| priority.to_posix(policy).is_ok_and(|of_priority| of_priority == niceness))
        .ok_or("no priority stands for the niceness")?;
    Ok(set_thread_priority_and_policy(thread_native_id(), priority, policy)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};

    use super::*;

    #[test]
    fn a_thread_takes_its_turn_and_stays_as_nice_as_it_is() {
        let own = rustix::process::getpriority_process(None).unwrap();
        for niceness in own..20 {
            std::thread::spawn(move || {
                rustix::process::setpriority_process(None, niceness).unwrap();
                batch().unwrap();
                let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
                assert_eq!(thread_schedule_policy().unwrap(), batch);
                assert_eq!(rustix::process::getpriority_process(None).unwrap(), niceness);
            })
            .join()
            .unwrap();
        }
    }
}
