//! What nodes believe and answer about names, held against each other. All times are microseconds of one clock.

use parking_lot::Mutex;

/// A connection has had a name between two instants, as its node sees it.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    process: u32,
    node: String,
    id: u64,
    from: u64,
    to: u64,
    name: String,
}

impl Owned {
    pub(crate) fn parse(report: &str, process: u32, node: &str) -> Self {
        let mut words = report.splitn(4, ' ');
        let mut number = || words.next().unwrap().parse().unwrap();
        let (id, from, to) = (number(), number(), number());
        Owned { process, node: node.to_owned(), id, from, to, name: words.next().unwrap().to_owned() }
    }

    fn is_same(&self, other: &Owned) -> bool {
        (self.process, self.id) == (other.process, other.id)
    }
}

/// What a node has answered about a name between two instants: "none", or a node and an id.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    #[allow(dead_code, reason = "shown in reports")]
    pub(crate) asked: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) name: String,
    pub(crate) owner: String,
}

#[derive(Default)]
pub(crate) struct Checks {
    owned: Mutex<Vec<Owned>>,
    answers: Mutex<Vec<Answer>>,
}

impl Checks {
    pub(crate) fn owned(&self, owned: Owned) {
        self.owned.lock().push(owned);
    }

    /// Whether a node has reported that a connection of it has had a name.
    pub(crate) fn has_reports_of(&self, node: &str) -> bool {
        self.owned.lock().iter().any(|owned| owned.node == node)
    }

    pub(crate) fn answered(&self, answer: Answer) {
        self.answers.lock().push(answer);
    }

    /// No name has had two owners at one time, as the nodes themselves see it. Returns the number of reports.
    pub(crate) fn check_owners(&self) -> usize {
        let mut owned = self.owned.lock().clone();
        owned.sort_by_key(|owned| owned.from);
        let mut current: Vec<Owned> = Vec::new();
        for next in &owned {
            current.retain(|other| other.to > next.from);
            let rival = current.iter().find(|other| other.name == next.name && !other.is_same(next));
            assert!(rival.is_none(), "two owners: {rival:?} and {next:?}; {}", self.around(next));
            current.push(next.clone());
        }
        owned.len()
    }

    /// What is known about a name a second before and after, for a report.
    fn around(&self, owned: &Owned) -> String {
        let range = owned.from - 2_500_000..owned.from + 1_000_000;
        let mut lines: Vec<_> = self
            .owned
            .lock()
            .iter()
            .filter(|other| other.name == owned.name && range.contains(&other.from))
            .map(|other| (other.from, format!("{} to {}: {} {} owns it", other.from, other.to, other.node, other.id)))
            .collect();
        lines.extend(
            self.answers.lock().iter().filter(|answer| answer.name == owned.name && range.contains(&answer.from)).map(
                |answer| {
                    (
                        answer.from,
                        format!("{} to {}: {} answers {}", answer.from, answer.to, answer.asked, answer.owner),
                    )
                },
            ),
        );
        lines.sort();
        lines.into_iter().map(|(_, line)| format!("\n{line}")).collect()
    }

    /// No answer was about another owner than the one that had the name from the question to the answer. Returns the number of
    /// answers, and how many were wrong.
    pub(crate) fn check_answers(&self) -> (usize, Vec<String>) {
        let mut owned = self.owned.lock().clone();
        owned.sort_by_key(|owned| owned.from);
        let answers = self.answers.lock();
        let mut wrong = Vec::new();
        for answer in &*answers {
            let until = owned.partition_point(|owned| owned.from <= answer.from);
            // Reports have at most a length of a part, and gaps between two looks.
            let owner = owned[..until].iter().rev().take_while(|owned| owned.from + 2_000_000 > answer.from);
            let owner = owner.filter(|owned| owned.name == answer.name).find(|owned| owned.to >= answer.to);
            if let Some(owner) = owner.filter(|owner| format!("{} {}", owner.node, owner.id) != answer.owner) {
                wrong.push(format!("{answer:?}, but {owner:?}"));
            }
        }
        (answers.len(), wrong)
    }
}
