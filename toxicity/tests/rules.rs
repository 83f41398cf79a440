//! The built-in scorer on examples of our own, one table for each kind of language, and on anything at all.

use proptest::prelude::*;
use toxicity::{LIMIT_BYTES, Label, Verdict, score, sentiment};

fn all_toxic(label: Label, messages: &[&str]) {
    let faults: Vec<String> = messages
        .iter()
        .map(|message| (message, score(message)))
        .filter(|(_, verdict)| !verdict.toxic() || verdict.strength(label) < 0.5)
        .map(|(message, verdict)| format!("{message}: {verdict:?}"))
        .collect();
    assert!(faults.is_empty(), "{label:?}\n{}", faults.join("\n"));
}

fn none_toxic(messages: &[&str]) {
    let faults: Vec<String> = messages
        .iter()
        .map(|message| (message, score(message)))
        .filter(|(_, verdict)| verdict.toxic())
        .map(|(message, verdict)| format!("{message}: {verdict:?}"))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn insults() {
    all_toxic(
        Label::Insult,
        &[
            "noob team",
            "ez",
            "EZZZZ",
            "ez game",
            "so easy",
            "gg ez",
            "uninstall",
            "uninstall the game pls",
            "you are trash",
            "u suck",
            "what an idiot",
            "shut up",
            "stfu",
            "learn to play",
            "worst team ever",
            "you so bad",
            "ur mom",
            "fuck you",
            "no skill",
            "delete your account",
            "go back to bots",
            "son of a bitch",
            "our mid is useless",
            "noobteam",
            "trashmid",
            "cyka blyat",
            "puta madre",
            "сука",
            "stupid kid",
            "get a life",
        ],
    );
}

#[test]
fn hidden_insults() {
    all_toxic(
        Label::Insult,
        &[
            "n00b",
            "nooooob",
            "n o o b",
            "N.O.O.B",
            "n0Ob",
            "1d10t",
            "id!ot",
            "i d i o t",
            "nöob",
            "ｎｏｏｂ",
            "n\u{200b}oob",
            "e z",
            "t r a s h",
            "tr4sh",
            "fuuuuck you",
            "f u c k you",
            "f*ck you",
            "5tupid",
            "ιdiot",
        ],
    );
}

#[test]
fn hate() {
    all_toxic(
        Label::Hate,
        &[
            "retard",
            "r e t a r d s",
            "fucking russians",
            "go back to your country",
            "n1gger",
            "stupid jews",
            "that is so gay",
        ],
    );
}

#[test]
fn threats() {
    all_toxic(
        Label::Threat,
        &[
            "kys",
            "k y s",
            "k.y.s",
            "KYS noob",
            "kill yourself",
            "go kill urself",
            "go die",
            "hope you die",
            "hope you get cancer",
            "die in a fire",
            "i will find you irl",
            "drink bleach",
        ],
    );
}

#[test]
fn sexual() {
    all_toxic(Label::Sexual, &["suck my dick", "pussy", "show tits", "rape you", "i fucked your mom"]);
}

#[test]
fn spam() {
    for message in ["selling boost add me on discord", "visit my channel", "buy elo boosting here", "check our website"]
    {
        let verdict = score(message);
        assert!(verdict.strength(Label::Spam) >= 0.5, "{message}: {verdict:?}");
        assert!(!verdict.toxic(), "{message}: spam alone hurts nobody: {verdict:?}");
    }
}

#[test]
fn swearing_at_nobody_has_no_label() {
    let verdict = score("shit, lag");
    assert!(verdict.toxic() && verdict.labels().next().is_none(), "{verdict:?}");
    assert_eq!(verdict.texts("shit, lag"), ["shit"]);
}

#[test]
fn innocent() {
    none_toxic(&[
        "",
        " ",
        "gg",
        "gg wp",
        "ggwp all",
        "lol",
        "hahaha",
        "kill the dragon",
        "I killed baron",
        "killed roshan, push mid",
        "not bad",
        "not bad at all",
        "that was not a bad idea",
        "dying mid help",
        "mid missing",
        "good game everyone",
        "nice try",
        "well played",
        "thanks for the heal",
        "sorry my bad",
        "i suck today",
        "im so bad at this hero",
        "i am trash with him",
        "assassin is strong",
        "assists please",
        "class A grape",
        "cockpit view",
        "pass the bass",
        "Scunthorpe",
        "report the score please",
        "we need a tank",
        "push it",
        "can you help top",
        "he hit the tower",
        "shot him",
        "one more hit",
        "i cant see",
        "my internet died",
        "we lost, gg",
        "who wants to play again",
        "1v1 me mid",
        "100 gold",
        "17 17 17",
        "they have 2k gold lead",
        "hell of a game",
        "das ist gut",
        "¿qué tal?",
        "спасибо",
        "おつかれさま",
        "🎉🎉",
        "don't give up",
        "the night king",
        "analysis of the match",
        "don't feed please",
        "report mid",
    ]);
}

#[test]
fn a_report_is_a_complaint_below_the_threshold() {
    let verdict = score("report mid");
    assert!(verdict.strength(Label::Insult) > 0.3 && !verdict.toxic(), "{verdict:?}");
    assert!(sentiment("report mid") < 0.0);
}

#[test]
fn who_is_meant_counts() {
    for (stronger, weaker) in [
        ("you are so bad", "i am so bad"),
        ("u suck", "i suck"),
        ("bad mid", "bad luck"),
        ("you are terrible", "not terrible"),
        ("2k noob mid", "2k gold"),
    ] {
        let (more, less) = (score(stronger), score(weaker));
        assert!(more.score > less.score, "{stronger}: {} {weaker}: {}", more.score, less.score);
    }
}

#[test]
fn feelings_have_a_side() {
    for message in
        ["gg wp", "nice one!", "thanks", "great game :)", "love this team", "not bad", "well played everyone"]
    {
        assert!(sentiment(message) > 0.0, "{message}: {}", sentiment(message));
    }
    for message in ["noob team", "kys", "this lag is terrible", "not good", "i hate this", "sad :(", "ez"] {
        assert!(sentiment(message) < 0.0, "{message}: {}", sentiment(message));
    }
    for message in ["", "mid", "42", "the tower is there"] {
        assert_eq!(sentiment(message), 0.0, "{message}");
    }
}

#[test]
fn the_words_that_decided_stand_in_the_message() {
    let message = "Lól, you nöööb, go k y s";
    let verdict = score(message);
    let texts = verdict.texts(message);
    assert!(texts.contains(&"you nöööb") && texts.contains(&"k y s"), "{texts:?}");
}

#[test]
fn a_long_message_is_read_up_to_the_limit() {
    let long = format!("{}noob", "é ".repeat(LIMIT_BYTES));
    assert!(!score(&long).toxic());
    let toxic = "noob ".repeat(LIMIT_BYTES);
    let verdict = score(&toxic);
    assert!(verdict.toxic() && verdict.words.len() <= 64);
    assert_eq!(verdict.texts(&toxic), ["noob"]);
}

fn sound(text: &str, verdict: &Verdict) -> Result<(), TestCaseError> {
    prop_assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
    for strength in verdict.strengths {
        prop_assert!((0.0..=1.0).contains(&strength), "{verdict:?}");
    }
    for word in &verdict.words {
        prop_assert!(text.get(word.span.clone()).is_some_and(|text| !text.is_empty()), "{word:?}");
        prop_assert!((0.0..=1.0).contains(&word.strength), "{word:?}");
    }
    prop_assert!(!verdict.toxic() || !verdict.words.is_empty(), "toxic without a word: {verdict:?}");
    Ok(())
}

/// Pieces of which awkward messages are made.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("noob"),
        Just("n"),
        Just("00"),
        Just("*"),
        Just("f*"),
        Just("@$$"),
        Just(" "),
        Just("."),
        Just("\u{301}"),
        Just("\u{200b}"),
        Just("ß"),
        Just("İ"),
        Just("ﬁ"),
        Just("𝕟"),
        Just("ⓝ"),
        Just("ñ"),
        Just("ооо"),
        Just("'"),
        Just("!"),
        Just("kys"),
        Just("you"),
        Just("not"),
        Just("\n"),
        Just("👍🏽"),
        Just("\u{0}"),
        Just("ez"),
        Just("Z"),
        Just("fuck"),
        Just("\u{1100}\u{1161}"),
        Just("2k"),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_has_a_sound_verdict(text in prop_oneof![any::<String>(), pieces()]) {
        let verdict = score(&text);
        sound(&text, &verdict)?;
        let felt = sentiment(&text);
        prop_assert!((-1.0..=1.0).contains(&felt), "{felt}");
        prop_assert_eq!(score(&text), verdict);
        prop_assert_eq!(sentiment(&text).to_bits(), felt.to_bits());
    }

    /// What hides a listed word doesn't take its label away.
    #[test]
    fn hiding_a_word_does_not_help(
        word in prop::sample::select(vec![
            ("noob", Label::Insult), ("idiot", Label::Insult), ("trash", Label::Insult), ("stupid", Label::Insult), ("retard", Label::Hate),
            ("kys", Label::Threat), ("pussy", Label::Sexual), ("uninstall", Label::Insult), ("moron", Label::Insult),
        ]),
        ways in prop::collection::vec(0..5_u8, 12),
        apart in prop::sample::select(vec!["", " ", ".", "-", "_"]),
    ) {
        let (word, label) = word;
        let mut hidden = String::new();
        for (place, letter) in word.chars().enumerate() {
            if place > 0 {
                hidden.push_str(apart);
            }
            let leet = match letter { 'o' => '0', 'i' => '1', 'e' => '3', 'a' => '4', 's' => '5', 't' => '7', other => other };
            match ways[place] {
                0 => hidden.push(leet),
                1 => hidden.extend(letter.to_uppercase()),
                // Apart, each letter stands once: a run of them is another spelling.
                2 if apart.is_empty() => hidden.extend([letter, letter, letter]),
                3 => hidden.extend([letter, '\u{301}']),
                _ => hidden.push(letter),
            }
        }
        let (plain, found) = (score(word), score(&hidden));
        prop_assert!(plain.strength(label) >= 0.5, "{word}: {plain:?}");
        prop_assert!(found.strength(label) >= 0.5, "{hidden}: {found:?}");
    }
}
