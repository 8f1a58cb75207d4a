//! A template of the site's own in place of that of the machine. It is fenced in as ours are, and what ours makes of a request
//! stands where ours puts it, so that every operation finds it there.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::Value;
use step::{Failure, Kind};
use vm::name::Label;
use vm::request::{self, Request};

use crate::files::{self, Files, Refused};
use crate::layout;
use crate::lock::{Lock, is_token};
use crate::site::Site;
use crate::template::{OUTPUT, Template, Templates};
use crate::yaml;
use crate::{Args, not_rendered};

/// What the built-in template never makes, as it would take something from Git: the power, and the disks.
const NEVER: [&str; 2] = ["/spec/running", "/spec/dataVolumeTemplates"];

/// Why the template of a site makes no machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It broke the lock, or the request cannot be rendered by any template.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It does not compile.
    #[error("it does not compile: {0}")]
    Compile(minijinja::Error),
    /// It leaves out, or changes, what the request decides.
    #[error("it has {found} at `{place}`, not {wanted} as the built-in template")]
    Changed {
        /// Where: the path of the built-in template, items of lists by their names.
        place: String,
        /// What is there.
        found: String,
        /// What has to be there.
        wanted: String,
    },
}

/// [`files::render`] with this text as the template of the machine.
///
/// # Errors
///
/// See [`Unfit`].
pub fn render_by(source: &str, request: &Request, site: &Site) -> Result<Files, Unfit> {
    let built_in = Templates::new().map_err(Unfit::Compile)?;
    let mut own = Templates::new().map_err(Unfit::Compile)?;
    // one in the life of a process
    own.replace(Template::VirtualMachine, source.to_owned().leak()).map_err(Unfit::Compile)?;
    let files = files::manifests(&own, request, site)?;
    for mut machine in files::wanted(request, site)? {
        if machine.template != Template::VirtualMachine {
            continue;
        }
        if let Some(context) = machine.context.as_object_mut() {
            context.remove(files::PARAMETERS);
        }
        let broken = |broken| Refused::Template(machine.path.clone(), broken);
        let lock = Lock::new(&built_in, machine.template, &machine.context).map_err(broken)?;
        let ours = lock.render(&built_in, &machine.context, &machine.expected()).map_err(broken)?;
        let read =
            |text: &str| yaml::parse::<Value>(text).map_err(|_| Refused::ReadBack(machine.path.clone()));
        let theirs = read(files.get(&machine.path).map_or("", String::as_str))?;
        for place in NEVER {
            if let Some(found) = theirs.pointer(place) {
                return Err(changed(&place.replace('/', ".").replacen('.', "", 1), Some(found), None));
            }
        }
        kept(lock.tree(), &read(&ours)?, Some(&theirs), "")?;
    }
    Ok(layout::packed(files, request, site)?)
}

/// Everything of ours is in theirs at the same place, but for words outside of `metadata` that are not the request's.
fn kept(tokens: &Value, ours: &Value, theirs: Option<&Value>, place: &str) -> Result<(), Unfit> {
    match (tokens, ours) {
        (Value::Object(tokens), Value::Object(map)) if !map.is_empty() => {
            let below = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
            tokens.iter().zip(map).try_for_each(|((_, token), (key, ours))| {
                kept(token, ours, theirs.and_then(|theirs| theirs.get(key)), &below(key))
            })
        }
        (Value::Array(tokens), Value::Array(list)) => {
            tokens.iter().zip(list).enumerate().try_for_each(|(at, (token, ours))| {
                let items = theirs.and_then(Value::as_array);
                let (item, name) = match ours["name"].as_str() {
                    Some(name) => (items.and_then(|i| i.iter().find(|i| i["name"] == name)), name.to_owned()),
                    None => (items.and_then(|i| i.get(at)), at.to_string()),
                };
                kept(token, ours, item, &format!("{place}[{name}]"))
            })
        }
        (Value::String(word), _) if !is_token(word) && !place.starts_with("metadata.") => Ok(()),
        // an empty mapping says which of several things it is
        (_, Value::Object(_)) if theirs.is_some_and(Value::is_object) => Ok(()),
        _ if theirs == Some(ours) => Ok(()),
        _ => Err(changed(place, theirs, Some(ours))),
    }
}

fn changed(place: &str, found: Option<&Value>, wanted: Option<&Value>) -> Unfit {
    let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), |v| format!("`{v}`"));
    Unfit::Changed { place: place.to_owned(), found: shown(found), wanted: shown(wanted) }
}

/// Render by the template that the request names, from the site's folder.
pub(crate) fn render(args: &Args, name: &Label, request: &Request, site: &Site) -> Result<Files, Failure> {
    let Some(folder) = &args.template_directory else {
        return Err(Failure::new(Kind::Usage, format!("the request names the template `{name}`"))
            .hint("`--template-directory` is the folder that `validate-request` was given"));
    };
    let path = folder.join(format!("{name}{}", request::Template::ENDING));
    let source = read(&path).map_err(|error| unusable(&path, &error.to_string()))?;
    render_by(&source, request, site).map_err(|unfit| match unfit {
        Unfit::Refused(Refused::Template(file, broken)) if is_machine(&file) => {
            unusable(&path, &broken.to_string())
        }
        Unfit::Refused(error) => not_rendered(args, &error),
        unfit => unusable(&path, &unfit.to_string()),
    })
}

fn is_machine(file: &str) -> bool {
    file.rsplit('/').next() == Some(vm::layout::MACHINE_FILE)
}

fn read(path: &Path) -> io::Result<String> {
    let (mut text, limit) = (String::new(), OUTPUT as u64);
    let length = File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if length as u64 > limit {
        return Err(io::Error::other(format!("longer than {limit} bytes")));
    }
    Ok(text)
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Usage, format!("cannot use the template `{}`: {why}", path.display()))
        .hint("the platform team mends it, or the request does without what it has no place for")
}
