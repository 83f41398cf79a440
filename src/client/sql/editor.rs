//! The line editor: prompt, history, when a text is whole, completion by Tab.

use super::catalogue::Known;
use super::complete::complete;
use super::split::{End, cut};
use super::{history, say};
use reedline::{
    Color, ColumnarMenu, Completer, CompletionResult, CompletionStatus, Emacs, FileBackedHistory, Highlighter, KeyCode,
    KeyModifiers, MenuBuilder as _, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu,
    Span, StyledText, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};
use std::borrow::Cow;

const MENU: &str = "completion";

/// An editor that knows the server's tables.
pub(super) fn editor(known: Known) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let open = ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.into()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, open);
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let menu = ColumnarMenu::default().with_name(MENU).with_marker("> ");
    let has_colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let editor = Reedline::create()
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_completer(Box::new(Words { known, is_waiting: false }))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_validator(Box::new(Whole))
        .with_highlighter(Box::new(Plain))
        .with_ansi_colors(has_colours)
        .use_bracketed_paste(true);
    match kept() {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// The history on disk, if it can be there. A shell without one is still a shell.
fn kept() -> Option<FileBackedHistory> {
    let file = history::path(|name| std::env::var_os(name))?;
    let opened = history::prepare(&file).map_err(|error| error.to_string());
    let opened = opened
        .and_then(|()| FileBackedHistory::with_file(history::KEPT, file.clone()).map_err(|error| error.to_string()));
    match opened {
        Ok(history) => Some(history),
        Err(error) => {
            say(&format!("no history is kept, since {} can't be used: {error}", file.display()));
            None
        }
    }
}

/// Enter ends a text that is whole; else it begins a further line.
struct Whole;

impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_whole(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

fn is_whole(text: &str) -> bool {
    match cut(text).end {
        End::Whole => true,
        End::Open => false,
        // The server says what is wrong.
        End::Unreadable => text.trim_end().ends_with(';'),
    }
}

/// Text as it is: the default paints it white on whatever there is.
struct Plain;

impl Highlighter for Plain {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut text = StyledText::new();
        text.push((Color::Default.normal(), line.to_owned()));
        text
    }
}

/// Words that fit.
struct Words {
    known: Known,
    /// Whether an answer was owed until the tables are known.
    is_waiting: bool,
}

impl Completer for Words {
    fn complete(&mut self, line: &str, at: usize) -> CompletionResult {
        let catalogue = self.known.get();
        if self.known.is_coming() {
            self.is_waiting = true;
            return CompletionResult::Pending;
        }
        let found = complete(&catalogue, line, at);
        let span = Span::new(found.from, at.max(found.from));
        let suggestion = |candidate: super::complete::Candidate| Suggestion {
            append_whitespace: !candidate.text.ends_with('('),
            value: candidate.text,
            description: Some(candidate.note).filter(|note| !note.is_empty()),
            span,
            ..Suggestion::default()
        };
        CompletionResult::fresh(found.candidates.into_iter().map(suggestion).collect::<Vec<_>>())
    }

    fn poll_completion(&mut self) -> CompletionStatus {
        match self.is_waiting {
            false => CompletionStatus::Idle,
            true if self.known.is_coming() => CompletionStatus::Pending,
            true => {
                self.is_waiting = false;
                CompletionStatus::Ready
            }
        }
    }
}

/// `killfeed> `, and `      -> ` before further lines.
pub(super) struct Asking;

impl Prompt for Asking {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "killfeed".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "      -> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!(" (search: {}) ", search.term).into()
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_text_is_whole_behind_its_semicolon() {
        for whole in
            ["", " \n", "SELECT 1;", "SELECT 1; -- one", "\\x", "\\d it's", "SELECT 1; \\timing", "SELECT U&'\\zz';"]
        {
            assert!(is_whole(whole), "{whole:?}");
        }
        for open in ["SELECT 1", "SELECT 1; SELECT", "SELECT ';", "SELECT 1; /*", "\\x\nSELECT 1", "SELECT U&'\\zz' "] {
            assert!(!is_whole(open), "{open:?}");
        }
    }
}
