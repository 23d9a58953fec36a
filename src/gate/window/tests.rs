//! Decodes random histories and compares what comes out with what a table went through.

use proptest::prelude::*;

use super::*;

const TABLE: u32 = 7;

/// What happens to a table `(id, note, large)`.
#[derive(Debug, Clone, Copy)]
enum Op {
    Insert(u8),
    /// The note changes; the large value only if so asked.
    Update(u8, bool),
    Rename(u8, u8),
    Delete(u8),
}

type Table = BTreeMap<u8, (String, String)>;

fn half(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap().to_be_bytes()
}

/// One field: a text, `None` for NULL; unchanged where there is no field at all.
fn tuple(fields: &[Option<Option<&str>>]) -> Vec<u8> {
    let mut bytes = half(fields.len()).to_vec();
    for field in fields {
        match field {
            None => bytes.push(b'u'),
            Some(None) => bytes.push(b'n'),
            Some(Some(text)) => {
                bytes.push(b't');
                bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    bytes
}

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[kind], TABLE.to_be_bytes().as_slice(), &parts.concat()].concat()
}

fn begin(xid: u32, end: u64) -> Vec<u8> {
    [b"B".as_slice(), &(end - 5).to_be_bytes(), &[0; 8], &xid.to_be_bytes()].concat()
}

fn commit(end: u64) -> Vec<u8> {
    [b"C".as_slice(), &[0], &(end - 5).to_be_bytes(), &end.to_be_bytes(), &[0; 8]].concat()
}

/// The columns in another order than they are compared in.
fn relation(identity: u8) -> Vec<u8> {
    let key = |flag: u8, name: &str| [&[flag], name.as_bytes(), &[0; 9]].concat();
    let keyed = u8::from(identity != b'n');
    let all = u8::from(identity == b'f');
    let columns = [key(all, "large"), key(all, "extra"), key(keyed, "id"), key(all, "note")].concat();
    message(b'R', &[b"public\0t\0", &[identity], &half(4), &columns])
}

fn row(id: u8, note: &str, large: Option<&str>) -> Vec<u8> {
    tuple(&[large.map(Some), Some(None), Some(Some(&id.to_string())), Some(Some(note))])
}

fn key(id: u8) -> Vec<u8> {
    tuple(&[Some(None), Some(None), Some(Some(&id.to_string())), Some(None)])
}

/// Lets something happen, if it can, and tells it as the server would.
fn happen(table: &mut Table, op: Op, number: usize, full: bool) -> Option<Vec<u8>> {
    let old = |table: &Table, id: u8| {
        let (note, large) = &table[&id];
        [b"O".as_slice(), &row(id, note, Some(large))].concat()
    };
    let note = format!("note {number}");
    match op {
        Op::Insert(id) if !table.contains_key(&id) => {
            let large = format!("large {number}");
            let sent = message(b'I', &[b"N", &row(id, &note, Some(&large))]);
            table.insert(id, (note, large));
            Some(sent)
        }
        Op::Update(id, large) if table.contains_key(&id) => {
            let old = if full { old(table, id) } else { Vec::new() };
            let value = table.get_mut(&id)?;
            value.0.clone_from(&note);
            if large {
                value.1 = format!("large {number}");
            }
            Some(message(b'U', &[&old, b"N", &row(id, &note, large.then_some(&value.1))]))
        }
        Op::Rename(id, to) if table.contains_key(&id) && !table.contains_key(&to) => {
            let old = if full { old(table, id) } else { [b"K".as_slice(), &key(id)].concat() };
            let (_, large) = table.remove(&id)?;
            let sent = message(b'U', &[&old, b"N", &row(to, &note, None)]);
            table.insert(to, (note, large));
            Some(sent)
        }
        Op::Delete(id) if table.contains_key(&id) => {
            let old = if full { old(table, id) } else { [b"K".as_slice(), &key(id)].concat() };
            table.remove(&id);
            Some(message(b'D', &[&old]))
        }
        _ => None,
    }
}

fn texts(row: &Values) -> Vec<Option<String>> {
    row.iter()
        .map(|value| match value {
            Value::Text(text) => Some(text.to_string()),
            Value::Null | Value::Unchanged | Value::Computed => None,
        })
        .collect()
}

fn whole(id: u8, (note, large): &(String, String)) -> Vec<Option<String>> {
    vec![Some(id.to_string()), Some(note.clone()), Some(large.clone())]
}

fn rows(table: &Table) -> Vec<Vec<Option<String>>> {
    let mut rows: Vec<_> = table.iter().map(|(&id, value)| whole(id, value)).collect();
    rows.sort_unstable();
    rows
}

/// Lets what became of a table happen to its snapshot.
fn advance(snapshot: &Table, touched: &Touched) -> Vec<Vec<Option<String>>> {
    let mut rows = rows(snapshot);
    let found = |rows: &[Vec<Option<String>>], lookup: &Lookup| -> Vec<usize> {
        let matches = |row: &Vec<Option<String>>| match &touched.identity {
            Identity::Columns(columns) => columns.iter().zip(texts(&lookup.key)).all(|(&at, text)| row[at] == text),
            Identity::WholeRow => *row == texts(&lookup.key),
        };
        (0..rows.len()).filter(|&at| matches(&rows[at])).collect()
    };
    let images: Vec<_> = touched
        .images
        .iter()
        .flat_map(|image| {
            let mut row = texts(&image.row);
            if image.row.contains(&Value::Unchanged) {
                let origin = found(&rows, &touched.lookups[image.origin.expect("an origin")]);
                let from = &rows[origin[0]];
                for (at, value) in image.row.iter().enumerate() {
                    if *value == Value::Unchanged {
                        row[at].clone_from(&from[at]);
                    }
                }
            }
            std::iter::repeat_n(row, usize::try_from(image.copies).unwrap())
        })
        .collect();
    let mut gone = Vec::new();
    for lookup in &touched.lookups {
        let found = found(&rows, lookup);
        match lookup.wanted {
            Wanted::Nothing => assert_eq!(found, [0_usize; 0]),
            Wanted::One => assert_eq!(found.len(), 1),
            Wanted::Of(least) => assert!(found.len() as u64 >= least),
            Wanted::Any => panic!("a window knows what it wants"),
        }
        let count = match lookup.wanted {
            Wanted::Of(count) => usize::try_from(count).unwrap(),
            _ => found.len(),
        };
        gone.extend(found.into_iter().take(count));
    }
    gone.sort_unstable();
    gone.into_iter().rev().for_each(|at| drop(rows.remove(at)));
    rows.extend(images);
    rows.sort_unstable();
    rows
}

fn watched() -> HashMap<u32, Watched> {
    let columns = ["id", "note", "large"].map(|name| Some(name.to_owned())).to_vec();
    HashMap::from([(TABLE, Watched { subscription: 0, columns, unsent_identity: Vec::new() })])
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..6_u8).prop_map(Op::Insert),
        (0..6_u8, any::<bool>()).prop_map(|(id, large)| Op::Update(id, large)),
        (0..6_u8, 0..6_u8).prop_map(|(id, to)| Op::Rename(id, to)),
        (0..6_u8).prop_map(Op::Delete),
    ]
}

proptest! {
    #[test]
    fn the_snapshot_with_the_window_is_the_table_at_the_cut(
        transactions in prop::collection::vec(prop::collection::vec(op(), 0..5), 1..12),
        shown: prop::sample::Index,
        certain: prop::sample::Index,
        upto: prop::sample::Index,
        full: bool,
    ) {
        let count = transactions.len();
        let shown = shown.index(count + 1);
        let certain = shown + certain.index(count + 1 - shown);
        let upto = certain + upto.index(count + 1 - certain);
        let end = |at: usize| 100 * at as u64;
        // Identifiers go down while positions go up.
        let xid = |at: usize| u32::try_from(500 - at).unwrap();
        let running: Vec<_> = (shown + 1..=count).rev().map(|at| xid(at).to_string()).collect();
        let snapshot = format!("400:501:{}", running.join(",")).parse().unwrap();
        let bounds = vec![Bounds { certain: Lsn(end(certain)), upto: Lsn(end(upto)) }];
        let mut window = Window::new(snapshot, watched(), bounds);

        let mut table = Table::new();
        let mut states = vec![table.clone()];
        let mut changed = Vec::new();
        window.feed(&begin(1, 5)).unwrap();
        window.feed(&relation(if full { b'f' } else { b'd' })).unwrap();
        window.feed(&commit(5)).unwrap();
        for (at, ops) in (1..).zip(&transactions) {
            window.feed(&begin(xid(at), end(at))).unwrap();
            let sent: Vec<_> = ops.iter().zip(0..).filter_map(|(&op, n)| happen(&mut table, op, 10 * at + n, full)).collect();
            sent.iter().for_each(|message| window.feed(message).unwrap());
            window.feed(&commit(end(at))).unwrap();
            states.push(table.clone());
            changed.push(!sent.is_empty());
        }
        let cuts = window.cuts(0);
        let expected: Vec<_> = (certain + 1..=upto).filter(|at| changed[at - 1]).map(|at| Lsn(end(at))).collect();
        prop_assert_eq!(&cuts[1..], expected.as_slice());
        let counted = (shown + 1..=upto).filter(|at| changed[at - 1]).count() as u64;
        prop_assert_eq!(window.transactions(), counted);
        for cut in &cuts {
            let at = usize::try_from(cut.0 / 100).unwrap();
            let touched = window.at(&[*cut]);
            let now = match touched.get(&TABLE) {
                Some(touched) => advance(&states[shown], touched.as_ref().unwrap()),
                None => rows(&states[shown]),
            };
            prop_assert_eq!(now, rows(&states[at]));
        }
        // What tells the cuts apart says of each what the subscriber then has.
        for question in window.questions(0) {
            prop_assert_eq!(question.expected.len(), cuts.len());
            for (expected, cut) in question.expected.iter().zip(&cuts) {
                let state = &states[usize::try_from(cut.0 / 100).unwrap()];
                let id = |key: &Values| texts(key)[0].as_ref().unwrap().parse::<u8>().unwrap();
                match expected {
                    Expected::Nothing => prop_assert!(!state.contains_key(&id(&question.key))),
                    Expected::AsInSnapshot => {
                        prop_assert_eq!(state.get(&id(&question.key)), states[shown].get(&id(&question.key)));
                    }
                    Expected::Row(row) => {
                        let there = whole(id(&question.key), &state[&id(&question.key)]);
                        let same = texts(row).into_iter().zip(there).all(|(text, there)| text.is_none() || text == there);
                        prop_assert!(same);
                    }
                    Expected::More(copies) => {
                        let copies_in = |state: &Table| rows(state).iter().filter(|row| **row == texts(&question.key)).count();
                        let change = i64::try_from(copies_in(state)).unwrap() - i64::try_from(copies_in(&states[shown])).unwrap();
                        prop_assert_eq!(*copies, change);
                    }
                }
            }
        }
    }

    #[test]
    fn no_messages_panic(messages in prop::collection::vec((prop::sample::select(b"BCRIUDT".to_vec()), prop::collection::vec(any::<u8>(), 0..40)), 0..20)) {
        let mut window = Window::new("1:1:".parse().unwrap(), watched(), vec![Bounds::exact(Lsn(10))]);
        for (kind, rest) in messages {
            let _ = window.feed(&[vec![kind], rest].concat());
        }
        let _ = (window.at(&[Lsn(10)]), window.questions(0));
    }
}

fn window() -> Window {
    let mut window = Window::new("10:10:".parse().unwrap(), watched(), vec![Bounds::exact(Lsn(1000))]);
    window.feed(&begin(20, 100)).unwrap();
    window
}

fn problem_of(mut window: Window) -> Problem {
    window.feed(&commit(100)).unwrap();
    window.at(&[Lsn(1000)]).remove(&TABLE).unwrap().unwrap_err()
}

#[test]
fn what_the_window_cannot_tell_is_a_problem_of_the_table() {
    let truncate = [b"T".as_slice(), &1_u32.to_be_bytes(), &[0], &TABLE.to_be_bytes()].concat();
    let mut truncated = window();
    truncated.feed(&truncate).unwrap();
    assert!(matches!(problem_of(truncated), Problem::Changed(what) if what.contains("truncated")));

    let mut other_columns = window();
    other_columns.feed(&message(b'R', &[b"public\0t\0d", &half(1), &[1], b"id\0", &[0; 8]])).unwrap();
    assert!(matches!(problem_of(other_columns), Problem::Changed(what) if what.contains("columns")));

    let mut other_identity = window();
    other_identity.feed(&relation(b'd')).unwrap();
    other_identity.feed(&relation(b'f')).unwrap();
    assert!(matches!(problem_of(other_identity), Problem::Changed(what) if what.contains("replica identity")));

    let mut stranger = window();
    let columns: Vec<u8> = ["id", "note", "large", "secret"]
        .iter()
        .flat_map(|name| [&[u8::from(*name == "secret")], name.as_bytes(), &[0; 9]].concat())
        .collect();
    stranger.feed(&message(b'R', &[b"public\0t\0i", &half(4), &columns])).unwrap();
    assert!(matches!(problem_of(stranger), Problem::Unsupported(what) if what.contains("secret")));

    // What is sent says that `id` identifies a row, and does not mention the rest of the primary key.
    for (identity, problem) in [(b'd', true), (b'i', true), (b'f', false)] {
        let mut partly = window();
        partly.watched.get_mut(&TABLE).unwrap().unsent_identity = vec!["twice".to_owned()];
        partly.feed(&relation(identity)).unwrap();
        partly.feed(&message(b'I', &[b"N", &row(1, "a", Some("b"))])).unwrap();
        partly.feed(&commit(100)).unwrap();
        match partly.at(&[Lsn(1000)]).remove(&TABLE).unwrap() {
            Ok(touched) => assert!(!problem && touched.identity == Identity::WholeRow),
            Err(Problem::Unsupported(what)) => {
                assert!(problem && what.contains("(twice)") && what.contains("--gate quiesced"), "{what}");
            }
            Err(problem) => panic!("{problem:?}"),
        }
    }

    let mut nobody = window();
    nobody.feed(&relation(b'n')).unwrap();
    nobody.feed(&message(b'U', &[b"N", &row(1, "a", Some("b"))])).unwrap();
    assert!(matches!(problem_of(nobody), Problem::Unsupported(_)));

    let mut twice = window();
    twice.feed(&relation(b'd')).unwrap();
    twice.feed(&message(b'I', &[b"N", &row(1, "a", Some("b"))])).unwrap();
    twice.feed(&message(b'I', &[b"N", &row(1, "a", Some("b"))])).unwrap();
    assert!(matches!(problem_of(twice), Problem::Unsupported(what) if what.contains("contradict")));

    let mut ascii = window();
    ascii.feed(&relation(b'd')).unwrap();
    let mut bytes = message(b'I', &[b"N", &row(1, "x", Some("b"))]);
    let last = bytes.len() - 1;
    bytes[last] = 0xff;
    ascii.feed(&bytes).unwrap();
    assert!(matches!(problem_of(ascii), Problem::Unsupported(what) if what.contains("UTF-8")));
}

/// Another table.
const OTHER: u32 = 8;

fn watched_with_other(subscription: usize) -> HashMap<u32, Watched> {
    let mut watched = watched();
    let columns = watched[&TABLE].columns.clone();
    watched.insert(OTHER, Watched { subscription, columns, unsent_identity: Vec::new() });
    watched
}

/// The same message about the other table.
fn of_other(mut message: Vec<u8>) -> Vec<u8> {
    message[1..5].copy_from_slice(&OTHER.to_be_bytes());
    message
}

fn insert(id: u8, large: &str) -> Vec<u8> {
    message(b'I', &[b"N", &row(id, "a", Some(large))])
}

fn two_tables(bounds: Vec<Bounds>, subscription_of_other: usize) -> Window {
    let mut window = Window::new("10:10:".parse().unwrap(), watched_with_other(subscription_of_other), bounds);
    window.feed(&begin(20, 100)).unwrap();
    window.feed(&relation(b'd')).unwrap();
    window.feed(&of_other(relation(b'd'))).unwrap();
    window
}

type Keys = Vec<Option<String>>;

/// What the window says of the tables: the keys of those that it can tell of, and the problems.
fn told(window: &Window, cuts: &[Lsn]) -> Vec<(u32, Result<Keys, Problem>)> {
    let keys = |touched: Touched| touched.lookups.iter().flat_map(|lookup| texts(&lookup.key)).collect();
    window.at(cuts).into_iter().map(|(table, touched)| (table, touched.map(keys))).collect()
}

#[track_caller]
fn assert_only_other(window: &Window, cuts: &[Lsn], keys: &[&str]) {
    let told = told(window, cuts);
    let [(TABLE, Err(Problem::TooLarge(what))), (OTHER, Ok(other))] = told.as_slice() else { panic!("{told:#?}") };
    assert!(what.contains("16 MiB") && what.contains("--gate quiesced"), "{what}");
    assert_eq!(other.iter().flatten().collect::<Vec<_>>(), keys);
    assert!(window.questions(0).iter().all(|question| question.relation == OTHER));
}

#[test]
fn a_relation_that_takes_most_of_a_window_that_is_too_large_is_dropped_for_good() {
    let large = "x".repeat(WINDOW_BYTES_MAX / 2);
    let all = &[Lsn(1000)];
    let mut window = two_tables(vec![Bounds::exact(Lsn(1000))], 0);
    window.feed(&of_other(insert(1, "small"))).unwrap();
    window.feed(&insert(1, &large)).unwrap();
    assert!(window.at(all).is_empty() && window.problems.is_empty());
    window.feed(&insert(2, &large)).unwrap();
    assert_eq!(window.problems.keys().collect::<Vec<_>>(), [&TABLE]);
    assert!(window.budget.all() < 1000, "{}", window.budget.all());
    // What comes after it in the same transaction, and in later ones.
    window.feed(&insert(3, "small")).unwrap();
    window.feed(&of_other(insert(2, "small"))).unwrap();
    window.feed(&commit(100)).unwrap();
    assert_only_other(&window, all, &["1", "2"]);
    let truncate = [b"T".as_slice(), &1_u32.to_be_bytes(), &[0], &TABLE.to_be_bytes()].concat();
    let rename = message(b'U', &[b"K", &key(3), b"N", &row(9, "b", None)]);
    let gone = message(b'D', &[b"K", &key(3)]);
    for (at, later) in
        (2..).zip([truncate, relation(b'd'), relation(b'f'), rename, gone, insert(3, &large), insert(4, "s")])
    {
        window.feed(&begin(20, 100 * at)).unwrap();
        window.feed(&later).unwrap();
        window.feed(&commit(100 * at)).unwrap();
        assert_only_other(&window, all, &["1", "2"]);
    }
    assert!(window.budget.all() < 1000 && !window.tables.contains_key(&TABLE));

    // The other one may be next.
    window.feed(&begin(20, 950)).unwrap();
    window.feed(&of_other(insert(3, &large))).unwrap();
    window.feed(&of_other(insert(4, &large))).unwrap();
    window.feed(&commit(950)).unwrap();
    assert!(told(&window, all).iter().all(|(_, told)| matches!(told, Err(Problem::TooLarge(_)))));
    assert_eq!((window.budget.all(), window.at(all).len()), (0, 2));
}

#[test]
fn a_relation_is_dropped_wherever_its_changes_are() {
    let third = "x".repeat(WINDOW_BYTES_MAX / 3);
    let bounds = || vec![Bounds { certain: Lsn(100), upto: Lsn(1000) }, Bounds { certain: Lsn(0), upto: Lsn(1000) }];
    for other in [0, 1] {
        let mut window = two_tables(bounds(), other);
        // Applied, ...
        window.feed(&insert(1, &third)).unwrap();
        window.feed(&commit(100)).unwrap();
        // ... waiting for the cut, alone and with the other one, ...
        window.feed(&begin(20, 200)).unwrap();
        window.feed(&insert(2, &third)).unwrap();
        window.feed(&commit(200)).unwrap();
        window.feed(&begin(20, 300)).unwrap();
        window.feed(&insert(3, "small")).unwrap();
        window.feed(&of_other(insert(3, "small"))).unwrap();
        window.feed(&commit(300)).unwrap();
        assert_eq!(window.cuts(0), [Lsn(100), Lsn(200), Lsn(300)]);
        // ... and in the transaction in hand.
        window.feed(&begin(20, 400)).unwrap();
        window.feed(&of_other(insert(4, "small"))).unwrap();
        window.feed(&insert(4, &third)).unwrap();
        window.feed(&commit(400)).unwrap();
        let mut cuts = vec![Lsn(100), Lsn(0)];
        cuts[other] = Lsn(300);
        assert_only_other(&window, &cuts, &["3"]);
        cuts[other] = Lsn(400);
        assert_only_other(&window, &cuts, &["3", "4"]);
        // A transaction in which nothing else happened tells no cuts apart any more.
        assert_eq!(window.cuts(other)[1..], [Lsn(300), Lsn(400)]);
        assert!(window.budget.all() < 1000, "{}", window.budget.all());
    }
}

/// Rows that are applied take their key besides: what is within the limit before a commit may be beyond it afterwards.
#[test]
fn a_window_can_become_too_large_by_a_commit() {
    let mut window = two_tables(vec![Bounds::exact(Lsn(1000))], 0);
    let half = "x".repeat(WINDOW_BYTES_MAX / 2 - 1000);
    window.feed(&of_other(insert(1, &half))).unwrap();
    window.feed(&insert(1, &half)).unwrap();
    let left = WINDOW_BYTES_MAX - window.budget.all();
    let own = 3 * VALUE_BYTES + "2".len() + "a".len();
    window.feed(&insert(2, &"x".repeat(left - own))).unwrap();
    assert_eq!((window.budget.all(), window.problems.len()), (WINDOW_BYTES_MAX, 0));
    window.feed(&commit(100)).unwrap();
    assert_only_other(&window, &[Lsn(1000)], &["1"]);
    assert!(window.budget.all() < WINDOW_BYTES_MAX / 2, "{}", window.budget.all());
}

#[test]
fn what_does_not_count_takes_nothing_for_long() {
    let large = "x".repeat(WINDOW_BYTES_MAX / 2);
    // Behind the position: the subscriber does not have it.
    let mut window = two_tables(vec![Bounds::exact(Lsn(50))], 0);
    for at in 1..5 {
        window.feed(&insert(1, &large)).unwrap();
        window.feed(&commit(100 * at)).unwrap();
        window.feed(&begin(20, 100 * (at + 1))).unwrap();
    }
    assert_eq!((window.budget.all(), window.at(&[Lsn(50)]).len()), (0, 0));
    // Versions that were replaced are not held.
    let mut window = self::window();
    window.feed(&relation(b'd')).unwrap();
    for at in 1..20 {
        let note = message(b'I', &[b"N", &row(1, "a", Some(&large))]);
        let gone = message(b'D', &[b"K", &key(1)]);
        window.feed(&note).unwrap();
        window.feed(&gone).unwrap();
        window.feed(&commit(100 * at)).unwrap();
        window.feed(&begin(20, 100 * (at + 1))).unwrap();
    }
    assert!(window.budget.all() < 1000, "{}", window.budget.all());
}

/// A row that contradicts what is known is not counted when it comes, and is when it goes.
#[test]
fn rows_that_were_not_counted_are_not_taken_off_what_there_is() {
    let mut window = window();
    window.feed(&relation(b'd')).unwrap();
    let large = "x".repeat(10_000);
    for value in ["a", &large] {
        window.feed(&message(b'I', &[b"N", &row(1, "a", Some(value))])).unwrap();
    }
    window.feed(&message(b'D', &[b"K", &key(1)])).unwrap();
    window.feed(&message(b'I', &[b"N", &row(2, "a", Some("b"))])).unwrap();
    window.feed(&commit(100)).unwrap();
    assert!(window.budget.all() < 1000, "{}", window.budget.all());
    let problem = window.at(&[Lsn(1000)]).remove(&TABLE).unwrap().unwrap_err();
    assert!(matches!(problem, Problem::Unsupported(what) if what.contains("contradict")));
}
