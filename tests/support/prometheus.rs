//! A page of metrics as Prometheus reads it.

use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A page as Prometheus reads it: the kind of each metric, and the samples.
pub struct Page {
    pub kinds: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

impl Page {
    pub fn of(text: &str) -> Page {
        let (mut kinds, mut samples) = (BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                samples.push(sample(line));
            }
        }
        Page { kinds, samples }
    }

    /// The values of this metric, by what else but the pool it is labelled with.
    pub fn values(&self, name: &str, pool: &str) -> BTreeMap<String, f64> {
        let ours = |sample: &&Sample| sample.name == name && sample.labels["pool"] == pool;
        let others = |sample: &Sample| {
            let others = sample.labels.iter().filter(|(label, _)| *label != "pool");
            others.map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(" ")
        };
        self.samples.iter().filter(ours).map(|sample| (others(sample), sample.value)).collect()
    }
}

/// `name{label="value",label="value"} 1`
fn sample(line: &str) -> Sample {
    let (key, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
    let labels = labels.strip_suffix('}').unwrap().split_terminator(',').map(|label| {
        let (label, value) = label.split_once('=').unwrap();
        (label.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
}

pub fn only(labels: &str, value: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([(labels.to_owned(), value)])
}
