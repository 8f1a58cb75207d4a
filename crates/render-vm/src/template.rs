//! Templates, fenced in: a value comes out as one scalar or not at all.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};

use crate::lock::{self, Broken, Lock};

/// No file is longer than this many bytes.
pub const OUTPUT: usize = 256 * 1024;
/// Instructions for one file: what a request of 64 KiB made of nothing but disks needs, three times over.
const FUEL: u64 = 500_000;
/// How deep blocks and loops may nest.
const DEPTH: usize = 32;

/// The templates in this program, by the kind of object that they make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Template {
    /// `kubevirt.io/v1` `VirtualMachine`.
    VirtualMachine,
    /// `cdi.kubevirt.io/v1beta1` `DataVolume`.
    DataVolume,
    /// `kustomize.config.k8s.io/v1beta1` `Kustomization`.
    Kustomization,
    /// `v1` `Namespace`.
    Namespace,
    /// `argoproj.io/v1alpha1` `Application`.
    Application,
    /// `Kustomization` of an overlay.
    Overlay,
    /// What an overlay says of a `VirtualMachine`'s power.
    Power,
    /// What an overlay says of a `VirtualMachine`'s memory.
    Memory,
}

impl Template {
    const ALL: [Self; 8] = [
        Self::VirtualMachine,
        Self::DataVolume,
        Self::Kustomization,
        Self::Namespace,
        Self::Application,
        Self::Overlay,
        Self::Power,
        Self::Memory,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Power => "power",
            Self::Memory => "memory",
            one => one.kind().1,
        }
    }

    /// The `apiVersion` and `kind` of what it makes.
    pub const fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::VirtualMachine | Self::Power | Self::Memory => ("kubevirt.io/v1", "VirtualMachine"),
            Self::DataVolume => ("cdi.kubevirt.io/v1beta1", "DataVolume"),
            Self::Kustomization | Self::Overlay => ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
            Self::Namespace => ("v1", "Namespace"),
            Self::Application => ("argoproj.io/v1alpha1", "Application"),
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::VirtualMachine => include_str!("../templates/virtual-machine.yaml.j2"),
            Self::DataVolume => include_str!("../templates/data-volume.yaml.j2"),
            Self::Kustomization => include_str!("../templates/kustomization.yaml.j2"),
            Self::Namespace => include_str!("../templates/namespace.yaml.j2"),
            Self::Application => include_str!("../templates/application.yaml.j2"),
            Self::Overlay => include_str!("../templates/overlay.yaml.j2"),
            Self::Power => include_str!("../templates/power.yaml.j2"),
            Self::Memory => include_str!("../templates/memory.yaml.j2"),
        }
    }
}

/// The templates, compiled, with the locks of what they were rendered with so far.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    locks: Mutex<Locks>,
}

/// By template and the shape of the context.
type Locks = HashMap<(Template, String), Arc<Lock>>;

/// More locks than this are not kept: a context has one for each of its numbers.
const LOCKS: usize = 1000;

impl Templates {
    /// Those of this program.
    ///
    /// # Errors
    ///
    /// A template does not compile.
    pub fn new() -> Result<Self, Error> {
        let mut templates = Self { environment: environment()?, locks: Mutex::default() };
        for template in Template::ALL {
            templates.replace(template, template.source())?;
        }
        Ok(templates)
    }

    /// Use another text for a template.
    ///
    /// # Errors
    ///
    /// It does not compile.
    pub fn replace(&mut self, template: Template, source: &'static str) -> Result<(), Error> {
        self.locks.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.environment.add_template(template.name(), source)
    }

    /// The lock of this template for contexts of this shape; most files of many requests share theirs.
    pub(crate) fn lock(&self, template: Template, context: &serde_json::Value) -> Result<Arc<Lock>, Broken> {
        let key = (template, lock::shape(context));
        let locks = || self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks().get(&key) {
            return Ok(Arc::clone(lock));
        }
        let lock = Arc::new(Lock::new(self, template, context)?);
        let mut locks = locks();
        if locks.len() < LOCKS {
            locks.insert(key, Arc::clone(&lock));
        }
        Ok(lock)
    }

    /// Render one file of at most [`OUTPUT`] bytes.
    pub(crate) fn render(&self, template: Template, context: &serde_json::Value) -> Result<String, Error> {
        let mut bytes = Limited(Vec::new());
        self.environment
            .get_template(template.name())?
            .render_captured_to(Value::from(Serde(context)), &mut bytes)
            .map(drop)?;
        String::from_utf8(bytes.0).map_err(|_| Error::new(ErrorKind::WriteFailure, "the output is not UTF-8"))
    }
}

/// No filters, tests, functions or globals at all; a missing value is an error; every value goes through [`format`].
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH);
    // never by a template's name, which is the default; the formatter quotes whatever this says
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(format);
    environment.set_syntax(
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?,
    );
    Ok(environment)
}

/// A string becomes a quoted scalar, an integer or boolean a plain one; anything else, also what is absent, is refused.
fn format(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let written = match (value.kind(), value.as_str()) {
        (ValueKind::String, Some(text)) => vm::yaml::scalar(out, text),
        (ValueKind::Number, _) if value.is_integer() => write_plain(out, value),
        (ValueKind::Bool, _) => write_plain(out, value),
        (kind, _) => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("a template may not print a value of kind {kind}"),
            ));
        }
    };
    written.map_err(Error::from)
}

fn write_plain(out: &mut Output<'_>, value: &Value) -> fmt::Result {
    out.write_fmt(format_args!("{value}"))
}

/// Bytes up to [`OUTPUT`].
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT {
            return Err(io::Error::other(format!("longer than {OUTPUT} bytes")));
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
