//! The sums of a soak: many verifies in a row while writes go on, nothing damaged, so that every difference is a false one.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// What the reports of many verifies add up to.
#[derive(Clone, Debug, Default)]
pub struct Soak {
    /// Verifies whose report was read.
    pub verifies: u64,
    /// Those that ended with another exit code than 0.
    pub not_matched: u64,
    /// Rows that a report called missing, extra or changed, and figures that it called different.
    pub false_differences: u64,
    /// Tables called different without any such row or figure.
    pub tables_different: u64,
    /// Tables left unproven.
    pub tables_unproven: u64,
    /// Keys that transactions in flight had touched: what a direct comparison could have called different.
    pub keys_in_flight: u64,
    /// Differences that direct comparisons of two unrelated snapshots did show.
    pub direct_differences: u64,
    /// How many direct comparisons there were.
    pub direct_comparisons: u64,
    /// How each verify proved its first sync point, with how often.
    pub proofs: Vec<(String, u64)>,
    /// How long each verify waited for its sync point beyond the lag at that time, in milliseconds.
    pub beyond_lag_ms: Vec<f64>,
    /// That lag, in milliseconds.
    pub lag_ms: Vec<f64>,
    /// How long each verify took in seconds.
    pub seconds: Vec<f64>,
    /// What was wrong, in the report's words; the first few.
    pub complaints: Vec<String>,
}

/// How much of a complaint is kept.
const COMPLAINT_CHARS_MAX: usize = 1500;
/// How many complaints are kept.
const COMPLAINTS_MAX: usize = 20;

impl Soak {
    /// Takes in the report of a verify that waited for `lag` less than its sync point.
    pub fn absorb(&mut self, report: &Value, lag: Duration, took: Duration) {
        self.verifies += 1;
        self.seconds.push(took.as_secs_f64());
        self.keys_in_flight += report["gate"]["in_flight"]["keys"].as_u64().unwrap_or_default();
        self.lag_ms.push(lag.as_secs_f64() * 1e3);
        if let Some(waited) = report["gate"]["waited_ms"].as_f64() {
            self.beyond_lag_ms.push((waited - lag.as_secs_f64() * 1e3).max(0.0));
        }
        let proof = report["sync_points"][0]["proof"].as_str().unwrap_or("none").to_owned();
        match self.proofs.iter_mut().find(|(known, _)| *known == proof) {
            Some((_, times)) => *times += 1,
            None => self.proofs.push((proof, 1)),
        }
        if report["exit_code"] != 0 {
            self.not_matched += 1;
            self.complain(&format!("exit code {}: {}", report["exit_code"], report["gate"]));
        }
        for table in report["tables"].as_array().into_iter().flatten() {
            match table["verdict"].as_str() {
                Some("match") => continue,
                Some("different") => {
                    let differences = differences(table);
                    self.false_differences += differences;
                    self.tables_different += u64::from(differences == 0);
                }
                _ => self.tables_unproven += 1,
            }
            // What a whole report lacks was said above.
            if table["reason"] != "gate_not_reached" {
                self.complain(&format!(
                    "{}: {} {} {}",
                    table["name"], table["verdict"], table["reason"], table["message"]
                ));
            }
            if table["verdict"] == "different" {
                self.complain(&table["checks"].to_string());
            }
        }
    }

    /// Takes in the report of a comparison without a gate.
    pub fn absorb_direct(&mut self, report: &Value) {
        self.direct_comparisons += 1;
        let rows = report["tables"].as_array().into_iter().flatten().map(rows_different);
        self.direct_differences += rows.sum::<u64>();
    }

    /// Half of the sync points took longer than this, in milliseconds, beyond the lag.
    pub fn median_beyond_lag_ms(&self) -> f64 {
        median(&self.beyond_lag_ms)
    }

    fn complain(&mut self, what: &str) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(what.chars().take(COMPLAINT_CHARS_MAX).collect());
        }
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "verifies: {} ({} not exit 0), {:.2} s each in the median",
            self.verifies,
            self.not_matched,
            median(&self.seconds)
        )?;
        writeln!(
            f,
            "false differences: {} (and {} tables different without one)",
            self.false_differences, self.tables_different
        )?;
        writeln!(f, "tables unproven: {}", self.tables_unproven)?;
        for (proof, times) in &self.proofs {
            writeln!(f, "proof: {proof}: {times} times")?;
        }
        writeln!(
            f,
            "a direct comparison would have shown: {} keys in flight; {} differences in {} comparisons with --gate none",
            self.keys_in_flight, self.direct_differences, self.direct_comparisons
        )?;
        writeln!(
            f,
            "sync point beyond the lag: {:.0} ms in the median; the lag: {:.0} ms",
            self.median_beyond_lag_ms(),
            median(&self.lag_ms)
        )?;
        self.complaints.iter().try_for_each(|complaint| writeln!(f, "! {complaint}"))
    }
}

fn rows_different(table: &Value) -> u64 {
    let rows = &table["checks"]["rows"];
    ["missing", "extra", "changed"].iter().filter_map(|kind| rows[kind].as_u64()).sum()
}

fn differences(table: &Value) -> u64 {
    let figures = ["max", "sum"].iter().filter_map(|check| table["checks"][check].as_array()).flatten();
    let figures = figures.chain([&table["checks"]["count"]]).filter(|figure| figure["verdict"] == "different");
    rows_different(table) + figures.count() as u64
}

/// The middle of these numbers; 0 where there are none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reports_add_up() {
        let mut soak = Soak::default();
        let table = |verdict: &str, missing: u64| {
            json!({"name": "t", "verdict": verdict, "reason": null,
                "checks": {"count": {"verdict": if missing > 0 { "different" } else { "match" }}, "max": [], "sum": null, "rows": {"missing": missing, "extra": 0, "changed": 1}}})
        };
        let report = |code: u64, tables: Vec<Value>| {
            json!({"exit_code": code, "gate": {"waited_ms": 30, "in_flight": {"transactions": 2, "keys": 5}},
                "sync_points": [{"proof": "exact: decoded window"}], "tables": tables})
        };
        let second = Duration::from_secs(1);
        soak.absorb(&report(0, vec![table("match", 0)]), Duration::from_millis(10), second);
        soak.absorb(&report(1, vec![table("different", 2), table("unproven", 0)]), second, second);
        soak.absorb_direct(&report(1, vec![table("different", 4)]));
        assert_eq!((soak.verifies, soak.not_matched, soak.false_differences), (2, 1, 4));
        assert_eq!((soak.tables_unproven, soak.keys_in_flight, soak.direct_differences), (1, 10, 5));
        assert_eq!(soak.beyond_lag_ms, [20.0, 0.0]);
        assert_eq!(soak.proofs, [("exact: decoded window".to_owned(), 2)]);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
