//! `shoal top`: the whole mesh on a terminal, live, as one peer gathers it.
//!
//! Promises that everything is said in words too: colours only repeat them, and `NO_COLOR` leaves them away.

mod draw;
mod keys;
mod words;

use crate::ask::Asker;
use crate::cli::Talk;
use crate::sent::Sent;
use crate::show::{self, Output};
use clap::Subcommand;
use draw::Screen;
use model::Problem;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;
use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

const PATH: &str = "/v1/overview/watch";
/// How soon a key is noticed.
const KEYS: Duration = Duration::from_millis(100);
/// Pause before a peer that ended is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// Pictures until rates are known: they are differences.
const PICTURES: usize = 3;

/// The whole mesh, or one list of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    talk: Talk,
}

/// What can be looked at by itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The keys that stages get the most events of, in the last minute, and where.
    #[command(
        before_help = "Examples:\n  shoal top keys flights\n  shoal top keys --watch\n  shoal top keys -o json"
    )]
    Keys(keys::Args),
}

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    match &args.verb {
        Some(Verb::Keys(args)) => keys::run(args),
        None => screen(&args.talk),
    }
}

fn screen(talk: &Talk) -> Result<(), Problem> {
    let asker = Asker::new(&talk.peer)?;
    if talk.output != Output::Table {
        let mut sent = Sent::of(&asker, PATH, &[])?;
        let mut picture = sent.next()?;
        for _ in 1..PICTURES {
            picture = sent.next()?;
        }
        show::answer(talk.output, &picture, ToString::to_string);
        return Ok(());
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Problem::new(
            "SH0001",
            "there is no terminal to draw on",
            "shoal top draws again and again, and reads keys",
            "shoal top -o json, or shoal health --watch",
        ));
    }
    // Whoever is asked must be there at first; later a peer may come back.
    asker.get("/v1/health", &[])?;
    let (to, from) = sync_channel(1);
    let base = asker.base().to_owned();
    // It ends with this process, or when nobody takes what it has.
    std::thread::spawn(move || gather(&asker, &to));
    let mut terminal = ratatui::try_init().map_err(|error| unusable(&error))?;
    let mut screen = Screen::new(base, std::env::var_os("NO_COLOR").is_none());
    let ended = show_until_quit(&mut terminal, &mut screen, &from);
    ratatui::restore();
    ended.map_err(|error| unusable(&error))
}

fn unusable(error: &std::io::Error) -> Problem {
    let what = "the terminal cannot be drawn on";
    Problem::new("SH0001", what, error.to_string(), "shoal top -o json, or shoal health --watch")
}

/// Sends on each picture; a peer that ends is told and asked again.
fn gather(asker: &Asker, to: &SyncSender<Result<Value, Problem>>) {
    loop {
        let ended = match Sent::of(asker, PATH, &[]) {
            Ok(mut sent) => loop {
                match sent.next() {
                    Ok(picture) => {
                        if to.send(Ok(picture)).is_err() {
                            return;
                        }
                    }
                    Err(problem) => break problem,
                }
            },
            Err(problem) => problem,
        };
        if to.send(Err(ended)).is_err() {
            return;
        }
        std::thread::sleep(AGAIN);
    }
}

fn show_until_quit(
    terminal: &mut ratatui::DefaultTerminal,
    screen: &mut Screen,
    from: &Receiver<Result<Value, Problem>>,
) -> std::io::Result<()> {
    terminal.draw(|frame| screen.draw(frame))?;
    loop {
        let news = match from.try_recv() {
            Ok(news) => {
                screen.take(news);
                true
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => false,
        };
        let keyed = event::poll(KEYS)?;
        if keyed
            && let Event::Key(key) = event::read()?
            && quits(key)
        {
            return Ok(());
        }
        // A terminal of another size is drawn again, too.
        if news || keyed {
            terminal.draw(|frame| screen.draw(frame))?;
        }
    }
}

fn quits(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q') | KeyCode::Esc => true,
            KeyCode::Char('c') => control,
            _ => false,
        }
}
