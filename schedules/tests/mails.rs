//! Mail to SMTP servers on this machine that do as they are told, or not.

use crate::support::{certificate, http, last_try, run_once, schedule, smtp};
use parking_lot::Mutex;
use schedules::{Entry, MailServer, Progress, Secret, Security};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a server does.
#[derive(Clone, Default)]
struct Manner {
    /// Its answer to the mail itself.
    verdict: &'static str,
    /// TLS from the first byte.
    tls: Option<TlsAcceptor>,
    /// It never says a word.
    is_silent: bool,
}

type Inbox = Arc<Mutex<Vec<String>>>;

/// A server that speaks just enough SMTP.
async fn server(manner: Manner) -> (MailServer, Inbox) {
    let inbox = Inbox::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let security = if manner.tls.is_some() { Security::Tls } else { Security::Plain };
    let kept = inbox.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (manner, inbox) = (manner.clone(), kept.clone());
            tokio::spawn(async move {
                match manner.tls.clone() {
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(socket).await else { return };
                        let _ = converse(stream, manner, inbox).await;
                    }
                    None => drop(converse(socket, manner, inbox).await),
                }
            });
        }
    });
    let from = "killfeed <reports@example.com>".parse().unwrap();
    let server = MailServer { host: "localhost".into(), port, security, login: None, from, authorities: None };
    (server, inbox)
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, inbox: Inbox) -> std::io::Result<()> {
    if manner.is_silent {
        return std::future::pending().await;
    }
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 test\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        stream.flush().await?;
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match line.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => "250-test\r\n250 AUTH PLAIN\r\n",
            "AUTH" => "235 welcome\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                stream.flush().await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut mail).await? == 0 {
                        return Ok(());
                    }
                }
                inbox.lock().push(mail);
                manner.verdict
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 fine\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn deliver(server: &MailServer) -> Entry {
    let lines = "report = 'first_blood'\n[[schedules.deliver]]\nmail = ['producer@example.com', 'boss@example.com']";
    run_once(schedule(lines), http(None), smtp(server), 1).await
}

#[tokio::test]
async fn a_mail_carries_the_output_and_an_id_of_its_tick() {
    let (mut to, inbox) = server(Manner { verdict: "250 taken as 42\r\n", ..Manner::default() }).await;
    to.login = Some(("killfeed".into(), Secret::new("secret")));
    let entry = deliver(&to).await;
    assert_eq!(last_try(&entry), (Progress::Delivered, "250 taken as 42"));
    let inbox = inbox.lock();
    let [mail] = &inbox[..] else { panic!("{} mails", inbox.len()) };
    for part in [
        "Message-ID: <killfeed_morning_",
        "-manual@killfeed>",
        "Subject: morning: first_blood of ",
        "producer@example.com",
        "boss@example.com",
        "Content-Disposition: attachment;",
        "filename*0=\"morning-",
        "champion,games",
        "Rows: 1",
    ] {
        assert!(mail.contains(part), "{part} in {mail}");
    }
}

#[tokio::test]
async fn refusals_for_now_are_tried_again_and_others_are_not() {
    let (to, _) = server(Manner { verdict: "451 come back later\r\n", ..Manner::default() }).await;
    let entry = deliver(&to).await;
    let (progress, said) = last_try(&entry);
    assert!(progress == Progress::Failing && said.contains("come back later"), "{said}");
    let (to, inbox) = server(Manner { verdict: "550 no such reader\r\n", ..Manner::default() }).await;
    let entry = deliver(&to).await;
    let (progress, said) = last_try(&entry);
    assert!(progress == Progress::GivenUp && said.contains("no such reader"), "{said}");
    assert_eq!(inbox.lock().len(), 1);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left() {
    let (to, _) = server(Manner { is_silent: true, ..Manner::default() }).await;
    let entry = deliver(&to).await;
    let (progress, said) = last_try(&entry);
    assert!(progress == Progress::Failing && (said.contains("did not finish") || said.contains("imeout")), "{said}");
}

#[tokio::test]
async fn only_who_is_known_by_a_certificate_gets_mail() {
    let (pem, acceptor) = certificate("localhost");
    let manner = Manner { verdict: "250 taken\r\n", tls: Some(acceptor), ..Manner::default() };
    let (mut to, inbox) = server(manner).await;
    let entry = deliver(&to).await;
    let (progress, said) = last_try(&entry);
    assert!(progress == Progress::Failing && said.contains("certificate"), "{said}");
    assert!(inbox.lock().is_empty());
    to.authorities = Some(pem.into_bytes());
    let entry = deliver(&to).await;
    assert_eq!(last_try(&entry).0, Progress::Delivered, "{entry:?}");
    // Whoever asks for STARTTLS says nothing to a server without it.
    let (mut to, inbox) = server(Manner { verdict: "250 taken\r\n", ..Manner::default() }).await;
    to.security = Security::StartTls;
    let entry = deliver(&to).await;
    assert!(last_try(&entry).0 != Progress::Delivered && inbox.lock().is_empty(), "{entry:?}");
}
