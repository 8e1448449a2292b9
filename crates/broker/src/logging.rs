//! Logs on standard error: text for people or JSON for machines, with a filter that can be changed while running.
//!
//! The subscriber is the process's, so the binary installs it ([`install`]) and hands its control to the broker;
//! brokers inside a test share a detached one.

use crate::config::Reader;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// What is logged when nobody says otherwise. Raft's own words are for who looks into it: one controller away is ten lines a second.
const FILTER: &str = "info,openraft=off";

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// How a line looks.
    pub format: Format,
    /// `info`, or `quipu_broker=debug,info`; checked.
    pub filter: String,
}

impl Config {
    /// Reads the section `log`. `QUIPU_LOG` is short for its filter.
    pub fn read(reader: &mut Reader) -> Self {
        let parse = |text: &str| match parse_filter(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let short = reader.alias("log.filter", "QUIPU_LOG");
        Self {
            format: reader.value("log.format", Format::Text, |text| match text {
                "text" => Ok(Format::Text),
                "json" => Ok(Format::Json),
                _ => Err("one of text, json".to_owned()),
            }),
            filter: reader.value(short, FILTER.to_owned(), parse),
        }
    }
}

/// A filter that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a filter: a level (error, warn, info, debug, trace, off), or target=level, separated by commas")]
pub struct FilterError;

fn parse_filter(text: &str) -> Result<Targets, FilterError> {
    let known = ["error", "warn", "info", "debug", "trace", "off"];
    // `Targets` takes any word for a target with all levels on: "inof" would log everything.
    for part in text.split(',').map(str::trim) {
        let level = part.split_once('=').map_or(part, |(_, level)| level.trim());
        if !known.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(FilterError);
        }
    }
    text.parse().map_err(|_| FilterError)
}

type Handle = reload::Handle<Targets, Registry>;

/// Changes the filter of the running process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogControl {
    handle: Option<Handle>,
    current: Arc<Mutex<String>>,
}

impl LogControl {
    /// Without a subscriber of its own: remembers filters and changes nothing.
    #[must_use]
    pub fn detached() -> Self {
        Self {
            handle: None,
            current: Arc::new(Mutex::new(FILTER.to_owned())),
        }
    }

    /// Sets the filter and returns the one before.
    ///
    /// # Errors
    /// If it cannot be read; nothing is changed then.
    pub fn set(&self, filter: &str) -> Result<String, FilterError> {
        let targets = parse_filter(filter)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &self.handle {
            // Fails only if the subscriber is gone, and with it the process.
            handle.reload(targets).map_err(|_| FilterError)?;
        }
        Ok(std::mem::replace(&mut *current, filter.to_owned()))
    }
}

/// Makes this process log. Once; the binary does it.
///
/// # Errors
/// If there is a subscriber already.
pub fn install(config: &Config) -> Result<LogControl, TryInitError> {
    let (subscriber, control) = subscriber(config, std::io::stderr, std::io::stderr().is_terminal());
    subscriber.try_init()?;
    Ok(control)
}

fn subscriber<W>(config: &Config, writer: W, ansi: bool) -> (impl Subscriber + Send + Sync, LogControl)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let targets = parse_filter(&config.filter).unwrap_or_else(|_| Targets::new());
    let (filter, handle) = reload::Layer::new(targets);
    let lines = fmt::layer().with_writer(writer);
    let lines = match config.format {
        Format::Text => lines.with_ansi(ansi).boxed(),
        Format::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    let control = LogControl {
        handle: Some(handle),
        current: Arc::new(Mutex::new(config.filter.clone())),
    };
    (tracing_subscriber::registry().with(filter).with(lines), control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked_before_they_are_taken() {
        let control = LogControl::detached();
        assert_eq!(control.set("quipu_broker=debug, info").unwrap(), FILTER);
        for bad in ["", "inof", "quipu=loud", "info,,debug", "=", "info=debug=warn"] {
            assert_eq!(control.set(bad), Err(FilterError), "{bad:?}");
        }
        assert_eq!(control.set("WARN").unwrap(), "quipu_broker=debug, info");
    }

    /// Lines that were written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    #[test]
    fn a_filter_takes_effect_at_once_and_json_is_an_object_a_line() {
        let lines = Lines::default();
        let config = Config {
            format: Format::Json,
            filter: "warn".to_owned(),
        };
        let writer = lines.clone();
        let (subscriber, control) = subscriber(&config, move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not heard");
            assert_eq!(lines.take(), "");
            assert_eq!(control.set("info").unwrap(), "warn");
            tracing::info!(broker = 7, "heard");
            let line = lines.take();
            assert!(line.starts_with('{') && line.ends_with("}\n"), "{line}");
            assert!(
                line.contains(r#""broker":7"#) && line.contains(r#""message":"heard""#),
                "{line}"
            );
            assert_eq!(control.set("off").unwrap(), "info");
            tracing::error!("not heard");
            assert_eq!(lines.take(), "");
        });
    }
}
