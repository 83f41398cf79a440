//! The config file: what is read from it, and how each fault is named.

use crate::support::{SECRET, read};
use schedules::{Format, Missed, Target};
use std::time::Duration;

const HEAD: &str = "[[schedules]]\nname = 'morning'\nreport = 'first_blood'\ncron = '0 6 * * *'\nzone = 'UTC'\n";

#[test]
fn a_whole_configuration_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let text = format!(
        "[[schedules]]
         name = 'morning-first-blood'
         report = 'first_blood'
         cron = '30 6 * * 1-5'
         zone = 'europe/berlin'
         params = {{ since = '{{yesterday}}' }}
         format = 'html'
         missed = 'run-all'
         grace = '10m'
         time-limit = '90s'
         attempts = 3
         [[schedules.deliver]]
         webhook = 'https://hooks.example.com/killfeed'
         secret-file = '{}'
         [[schedules.deliver]]
         name = 'boss'
         mail = ['boss@example.com']
         [mail]
         server = 'smtp.example.com'
         security = 'starttls'
         from = 'killfeed <reports@example.com>'
         user = 'killfeed'
         password = 'secret'",
        secret.display()
    );
    let config = read(&text).unwrap();
    let [schedule] = &config.schedules[..] else { panic!("{config:?}") };
    assert_eq!((schedule.format, schedule.missed), (Format::Html, Missed::RunAll));
    assert_eq!((schedule.grace, schedule.time_limit), (Duration::from_secs(600), Duration::from_secs(90)));
    assert_eq!(schedule.timetable.zone_name(), "Europe/Berlin");
    // 23:30 in UTC is the next day in Berlin.
    let request = schedule.request("2026-07-01T23:30:00Z".parse().unwrap()).unwrap();
    assert_eq!(request.params, [("since".to_owned(), "2026-07-01".to_owned())]);
    assert_eq!(schedule.deliveries[0].name, "webhook-1");
    assert!(matches!(&schedule.deliveries[1].target, Target::Mail { to } if to == &["boss@example.com"]));
    let mail = config.mail.as_ref().unwrap();
    assert_eq!((mail.host.as_str(), mail.port), ("smtp.example.com", 587));
    let shown = format!("{config:?}");
    assert!(!shown.contains(SECRET) && !shown.contains("\"secret\""), "{shown}");
    assert!(read("").unwrap().schedules.is_empty());
    let defaults = read(HEAD).unwrap();
    assert_eq!((defaults.schedules[0].missed, defaults.schedules[0].attempts), (Missed::RunOnce, 10));
}

#[test]
fn each_fault_is_one_line_that_says_where() {
    let hook = |lines: &str| format!("{HEAD}[[schedules.deliver]]\n{lines}\n");
    let with_mail = |lines: &str| hook(&format!("{lines}\n[mail]\nserver = 'a.example'\nfrom = 'a@example.com'"));
    let secret = format!("secret = '{SECRET}'");
    for (text, part) in [
        ("schedules = 3".into(), "schedules: give each as a table [[schedules]]"),
        (format!("{HEAD}crom = 1"), "schedule \"morning\": crom: no such key; there are name, report, cron, zone, "),
        (HEAD.replace("zone = 'UTC'\n", ""), "schedule \"morning\": zone: is missing"),
        (HEAD.replace("name = 'morning'\n", ""), "schedule 1: name: is missing"),
        ("schedules = [3]".into(), "schedule 1: must be a table, not an integer"),
        (HEAD.replace("0 6", "0 25"), "schedule \"morning\": cron \"0 25 * * *\": hour: 25 is not 0 to 23"),
        (HEAD.replace("UTC", "Berlin"), "schedule \"morning\": zone \"Berlin\" is not in the time zone database"),
        (HEAD.replace("first_blood", "last_blood"), "schedule \"morning\": report: there is no report \"last_blood\""),
        (format!("{HEAD}params = {{ city = 'x' }}"), "report: report \"first_blood\" has no parameter \"city\""),
        (format!("{HEAD}params = {{ since = '{{today}}' }}"), "parameter \"since\": {today} is none of"),
        (format!("{HEAD}params = {{ since = [1] }}"), "params.since: must be a string"),
        (format!("{HEAD}format = 'pdf'"), "format: unknown variant `pdf`"),
        (format!("{HEAD}missed = 'never'"), "missed: unknown variant `never`"),
        (format!("{HEAD}grace = '5'"), "grace: \"5\" is no time such as"),
        (format!("{HEAD}time-limit = '0s'"), "time-limit: must be above 0"),
        (format!("{HEAD}time-limit = '99999999999999999d'"), "time-limit: "),
        (format!("{HEAD}attempts = 0"), "attempts: must be 1 to 20, not 0"),
        (HEAD.replace("'morning'", "'../up'"), "schedule \"../up\": name: must be up to 64"),
        (HEAD.replace("'morning'", "'_history'"), "name: must be up to 64"),
        (format!("{HEAD}{HEAD}"), "schedule \"morning\": the name is used twice"),
        (hook(""), "deliver 1: give either webhook or mail"),
        (hook("webhook = 'https://a.example'"), "deliver 1: a webhook needs secret or secret-file"),
        (hook(&format!("webhook = 'http://a.example'\n{secret}")), "only loopback may do without"),
        (hook(&format!("webhook = 'nowhere'\n{secret}")), "deliver 1: webhook: relative URL without a base"),
        (
            hook(&format!("webhook = 'https://me:hidden@a.example/hidden'\n{secret}")),
            "deliver 1: webhook to \"a.example\": it carries a user",
        ),
        (
            hook(&format!("webhook = 'http://a.example/hidden?token=hidden'\n{secret}")),
            "deliver 1: webhook to \"a.example\": it must",
        ),
        (hook("webhook = 'https://a.example'\nsecret = 'x'"), "deliver 1: secret: must be whsec_ followed by"),
        (hook("webhook = 'https://a.example'\nsecret = 'whsec_AAAA'"), "secret: has 3 bytes"),
        (hook("webhook = 'https://a.example'\nsecret-file = '/nowhere/x'"), "cannot read /nowhere/x"),
        (with_mail("mail = ['nobody']"), "deliver 1: mail \"nobody\": "),
        (with_mail("mail = []"), "reaches nobody"),
        (hook("mail = ['a@example.com']"), "there is no section [mail]"),
        (with_mail("mail = ['a@example.com']\ncc = 1"), "deliver 1: cc: no such key; there are name, webhook, "),
        (
            "[mail]\nserver = 'a.example'\nsecurity = 'plain'\nfrom = 'a@example.com'".into(),
            "mail: security \"plain\": only loopback",
        ),
        ("[mail]\nserver = 'a.example'\nfrom = 'nobody'".into(), "mail: from \"nobody\": "),
        (
            "[mail]\nserver = 'a.example'\nfrom = 'a@example.com'\nuser = 'a'".into(),
            "mail: give user and password both",
        ),
        ("[webhooks]\nca-file = '/nowhere/x'".into(), "webhooks: ca-file: cannot read /nowhere/x"),
        ("[webhooks]\nproxy = 1".into(), "webhooks: proxy: no such key; there are ca-file"),
    ] {
        let faults = read(&text).expect_err(&text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(faults[0].contains(part) && faults[0].lines().count() == 1, "{text}: {faults:?}");
        assert!(!faults[0].contains(SECRET) && !faults[0].contains("hidden"), "{faults:?}");
    }
}

#[test]
fn all_faults_are_listed_at_once() {
    let text = format!("{}{}[mail]\nserver = 1", HEAD.replace("0 6", "0 99"), HEAD.replace("morning", "X"));
    let faults = read(&text).unwrap_err();
    // Of mail both: what `server` is, and that `from` isn't there.
    assert_eq!(faults.len(), 4, "{faults:?}");
}

#[test]
fn no_fault_hides_another() {
    let text = "schedules = [
          3,
          { name = 'a', crom = '0 6 * * *', report = 'last_blood', grace = 5 },
          { name = 'b', cron = '0 25 32 * *', zone = 'Berlin', report = 'first_blood', format = 'pdf', attempts = 0,
            params = { since = '{today}', city = 'x', list = [1] },
            deliver = [{ webhook = 'ftp://a.example', secret = 'x', cc = 1 }, { mail = ['nobody'], name = 'A' }, {}] },
          { name = 'b', cron = '0 6 * * *', zone = 'UTC' },
        ]
        [mail]
        security = 'none'
        user = 'a'
        [webhooks]
        proxy = 'x'
        ca-file = '/nowhere/x'";
    let faults = read(text).unwrap_err();
    let expected = [
        "mail: server: is missing",
        "mail: security \"none\": ",
        "mail: from: is missing",
        "mail: give user and password both",
        "webhooks: ca-file: cannot read /nowhere/x",
        "webhooks: proxy: no such key",
        "schedule 1: must be a table",
        "schedule \"a\": cron: is missing",
        "schedule \"a\": zone: is missing",
        "schedule \"a\": grace: ",
        "schedule \"a\": crom: no such key",
        "schedule \"a\": report: there is no report \"last_blood\"",
        "schedule \"b\": cron \"0 25 32 * *\": hour: 25",
        "schedule \"b\": cron \"0 25 32 * *\": day of month: 32",
        "schedule \"b\": zone \"Berlin\"",
        "schedule \"b\": format: ",
        "schedule \"b\": attempts: must be 1 to 20, not 0",
        "schedule \"b\": deliver 1: secret: must be whsec_",
        "schedule \"b\": deliver 1: webhook to \"a.example\": its scheme ftp is not https",
        "schedule \"b\": deliver 1: cc: no such key",
        "schedule \"b\": deliver 2: name \"A\": must be",
        "schedule \"b\": deliver 2: mail \"nobody\": ",
        "schedule \"b\": deliver 3: give either webhook or mail",
        "schedule \"b\": params.list: must be",
        "schedule \"b\": report: parameter \"since\": {today} is none of",
        "schedule \"b\": report: report \"first_blood\" has no parameter \"city\"",
        "schedule \"b\": report: is missing",
        "schedule \"b\": the name is used twice",
    ];
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected) && fault.lines().count() == 1, "{expected}, not {fault}\n{faults:#?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}
