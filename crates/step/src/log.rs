//! Logs go to standard error: one line a record, no time (Tekton and the kubelet add it), never a control character.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, SubscriberBuilder};
use tracing_subscriber::registry::LookupSpan;

use crate::text::one_line;

/// The longest line that a log record becomes, in bytes.
const LINE: usize = 4096;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Start logging; a second call (in tests) changes nothing. `RUST_LOG` overrides the level, which is `info`.
pub(crate) fn start(format: LogFormat) {
    // kube logs each failed request as an error of its own; whoever asks decides what a failure means
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube_client=off"));
    let builder =
        || SubscriberBuilder::default().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    // an error says that a subscriber is set already, which is as good
    let _ = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(
            builder().with_env_filter(filter).event_format(Line).finish(),
        ),
        LogFormat::Json => tracing::subscriber::set_global_default(
            builder().with_env_filter(filter).json().flatten_event(true).with_target(false).finish(),
        ),
    };
}

/// The text format: the message, then the fields as `name=value`; a level only where it is not `info`.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = Text::default();
        event.record(&mut text);
        match *event.metadata().level() {
            Level::ERROR => writer.write_str("error: ")?,
            Level::WARN => writer.write_str("warning: ")?,
            Level::INFO => {}
            Level::DEBUG => writer.write_str("debug: ")?,
            Level::TRACE => writer.write_str("trace: ")?,
        }
        writeln!(writer, "{}", one_line(&(text.message + &text.fields), LINE))
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // writing to a String cannot fail
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
