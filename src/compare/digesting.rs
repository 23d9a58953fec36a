//! Tables whose rows are compared by the servers' digests first. Digests that differ are no verdict: they lead to reading
//! rows, as if nobody had asked for digests.

use crate::compare::case::Case;
use crate::compare::figures::FigurePair;
use crate::compare::{DigestCheck, agree};
use crate::scan::{Job, Work};
use crate::verdict::Verdict;

/// What the digests of a table have said.
#[derive(Debug, Default)]
pub(super) enum Digesting {
    /// Nobody has asked.
    #[default]
    NotAsked,
    /// Nothing yet.
    Asked,
    /// They are equal, and so no row is read.
    Equal,
    /// They differ.
    Differ,
    /// They cannot be had, and why.
    GivenUp(String),
}

impl Case {
    /// Asks for the digests, where they can say something that is not known yet.
    pub(super) fn begin_with_digests(&mut self) -> Option<Vec<Job>> {
        let wanted = self.table.checks.rows && matches!(self.table.digest, Some(Ok(_))) && self.plan.is_none();
        if !wanted || matches!(self.digesting, Digesting::Differ | Digesting::GivenUp(_)) {
            return None;
        }
        self.digesting = Digesting::Asked;
        Some(self.ask_figures_by(&Work::FiguresAndDigest))
    }

    /// Takes in the digests once there are both: then everything is known, or rows are read.
    pub(super) fn take_digests(&mut self) -> Vec<Job> {
        if !self.figures.complete() {
            return Vec::new();
        }
        if self.digests_agree() == Verdict::Match {
            self.digesting = Digesting::Equal;
            if let Some(aside) = &mut self.aside {
                aside.figures_are_known();
            }
            return self.ask_deltas();
        }
        self.digesting = Digesting::Differ;
        if self.aside.is_some() {
            // More rows will be set aside, and counts and sums are wanted without them.
            self.figures = FigurePair::default();
            return self.cut();
        }
        let mut jobs = self.ask_deltas();
        jobs.append(&mut self.cut());
        jobs
    }

    /// Whether both digests of the same snapshots are there and equal.
    pub(super) fn digests_agree(&self) -> Verdict {
        let digests = self.figures.values.as_ref().map(|figures| {
            let figures = figures.as_ref()?;
            Some((figures.count, figures.digest.as_ref()?))
        });
        agree(digests.publisher.as_ref(), digests.subscriber.as_ref())
    }

    /// Whether equal digests stand for its rows.
    pub(super) fn is_digested(&self) -> bool {
        matches!(self.digesting, Digesting::Equal)
    }

    /// Equal digests stand for rows that are to be compared anew, perhaps in another shape, and for none that were set aside
    /// meanwhile.
    pub(super) fn forget_equal_digests(&mut self) {
        if self.is_digested() {
            self.digesting = Digesting::NotAsked;
        }
    }

    /// Reads rows from now on, if the digests were asked for and are not there. Says whether that is so.
    pub(super) fn give_up_digests(&mut self, why: impl Into<String>) -> bool {
        let waiting = matches!(self.digesting, Digesting::Asked);
        if waiting {
            self.digesting = Digesting::GivenUp(why.into());
        }
        waiting
    }

    /// What reports say of the digests; `rows` is what the rows themselves said.
    pub(super) fn digest_check(&self, rows: Verdict) -> Option<DigestCheck> {
        let digest = self.table.digest.as_ref()?;
        let name = &self.table.pair.name;
        let unproven = |why: &str| (Verdict::Unproven, Some(format!("{name} was read row by row: {why}")));
        let (verdict, message) = match (digest, &self.digesting) {
            (Err(why), _) | (_, Digesting::GivenUp(why)) => unproven(why),
            (_, Digesting::NotAsked | Digesting::Asked) => (Verdict::Unproven, None),
            (_, Digesting::Equal) => (self.digests_agree(), None),
            (_, Digesting::Differ) => (
                Verdict::Different,
                (rows == Verdict::Match).then(|| {
                    format!(
                        "the digests of {name} differ although all its rows, read one by one, are equal: the servers write or hash \
                         a column otherwise that holds the same; it costs time only"
                    )
                }),
            ),
        };
        Some(DigestCheck { bits: digest.as_ref().ok().map(crate::scan::Digest::bits), verdict, message })
    }
}
