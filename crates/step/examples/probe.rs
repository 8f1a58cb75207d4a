//! A step that does what the test of the edge asks of it.

use std::process::ExitCode;
use std::time::Duration;

use step::{Done, EdgeArgs, Failure, Kind, Step, Timeout};

/// Do what the test of the edge asks for
#[derive(Debug, clap::Parser)]
#[command(name = "probe")]
struct Args {
    /// How to end
    #[arg(long, default_value = "ok")]
    end: String,
    #[command(flatten)]
    edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &["commit", "ip"];
    const TIMEOUT: Timeout = Timeout::seconds(60);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

fn main() -> ExitCode {
    step::run(async |args: Args, context| {
        context.result("commit", "1a2b3c");
        context.result("undeclared", "never written");
        tracing::info!("at work with \u{1b}[31m`{}`", args.end);
        match args.end.as_str() {
            "ok" => Ok(Done::new("all is well")),
            "changed" => {
                context.result(step::CHANGED, "true");
                Ok(Done::new("changed it"))
            }
            "fail" => Err(Failure::new(Kind::Conflict, "cannot change `x`,\nsomebody else did")
                .hint("send a new request")
                .details(vec!["first detail".into(), "second\u{7} detail".into()])),
            "long" => Err(Failure::new(Kind::Failed, "x".repeat(5000))),
            "panic" => {
                let empty: Vec<u8> = Vec::with_capacity(args.end.len());
                Ok(Done::new(format!("{}", empty[args.end.len()])))
            }
            "stop" => {
                context.stopped().await;
                Ok(Done::new("stopped between two attempts"))
            }
            _ => {
                tokio::time::sleep(Duration::from_mins(10)).await;
                Ok(Done::new("slept"))
            }
        }
    })
}
