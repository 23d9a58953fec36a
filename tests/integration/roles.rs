//! The roles of the README: one for each level of proof, made by exactly its scripts.

use triplecheck_testbed::{Database, Replicated};

const README: &str = include_str!("../../README.md");

/// The levels of proof, from the one that needs least: each needs what those before it need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Quiesced,
    Recheck,
    CandidateCut,
    DecodedWindow,
}

impl Level {
    pub(crate) const ALL: [Self; 4] = [Self::Quiesced, Self::Recheck, Self::CandidateCut, Self::DecodedWindow];

    /// As reports and the README call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quiesced => "quiesced",
            Self::Recheck => "settled by recheck",
            Self::CandidateCut => "exact: candidate cut",
            Self::DecodedWindow => "exact: decoded window",
        }
    }

    /// What its own script in the README says, and on which sides: publisher, subscriber.
    fn script(self) -> (Vec<&'static str>, [bool; 2]) {
        let start = format!("\n`{}`, on ", self.name());
        let (_, after) = README.split_once(&start).unwrap_or_else(|| panic!("the README has no{start}"));
        let (heading, _) = after.split_once(":\n").expect("a colon before the script");
        let sides = match heading {
            _ if heading.starts_with("both sides") => [true, true],
            _ if heading.starts_with("the publisher") => [true, false],
            _ if heading.starts_with("the subscriber") => [false, true],
            _ => panic!("on which side? {heading}"),
        };
        let lines = after.lines().skip_while(|line| !line.starts_with("    "));
        let statements: Vec<_> = lines.take_while(|line| line.starts_with("    ")).map(str::trim).collect();
        assert!(!statements.is_empty() && statements.iter().all(|line| line.ends_with(';')), "{statements:?}");
        (statements, sides)
    }
}

/// Makes the role of a level on both sides, and returns its name: roles belong to the whole cluster, so each database has
/// its own. The tables must be there already.
pub(crate) async fn create(database: &Replicated, level: Level) -> String {
    let role = format!("role_{}", database.publisher.name());
    for level in Level::ALL.into_iter().filter(|&one| one <= level) {
        let (statements, sides) = level.script();
        for (side, wanted) in [&database.publisher, &database.subscriber].into_iter().zip(sides) {
            for statement in statements.iter().filter(|_| wanted) {
                side.sql(&statement.replace("triplecheck", &role)).await.unwrap();
            }
        }
    }
    role
}

/// Drops the role again on both sides.
pub(crate) async fn drop(database: &Replicated, role: &str) {
    for side in [&database.publisher, &database.subscriber] {
        drop_from(side, role).await;
    }
}

async fn drop_from(side: &Database, role: &str) {
    side.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
