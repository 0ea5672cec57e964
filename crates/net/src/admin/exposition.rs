//! Metrics as text.

use std::fmt::Write;

/// Metrics in the text form of Prometheus.
#[derive(Debug, Default)]
pub struct Exposition {
    pub(super) text: String,
}

impl Exposition {
    /// Adds a number that only grows.
    pub fn counter(&mut self, name: &str, help: &str, samples: &[(&[(&str, &str)], u64)]) {
        self.family(name, "counter", help, samples);
    }

    /// Adds a number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, samples: &[(&[(&str, &str)], u64)]) {
        self.family(name, "gauge", help, samples);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, samples: &[(&[(&str, &str)], u64)]) {
        _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}"); // A string takes all.
        for (labels, value) in samples {
            self.text.push_str(name);
            for (index, (label, content)) in labels.iter().enumerate() {
                self.text.push(if index == 0 { '{' } else { ',' });
                let content =
                    content.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                _ = write!(self.text, "{label}=\"{content}\"");
            }
            if !labels.is_empty() {
                self.text.push('}');
            }
            _ = writeln!(self.text, " {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.counter("requests_total", "Requests.", &[(&[], 7)]);
        out.gauge("up", "Is it.", &[(&[("node", "a\"b"), ("role", "x")], 1)]);
        assert_eq!(
            out.text,
            "# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total 7\n\
             # HELP up Is it.\n# TYPE up gauge\nup{node=\"a\\\"b\",role=\"x\"} 1\n"
        );
    }
}
