//! Stands between a client and a server, one request at a time, and does to each what a test says.

use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It is passed on, and so is its answer.
    Pass,
    /// It is passed on; its answer is lost with the connection.
    LoseAnswer,
    /// It is passed on, and the answer says that the server failed.
    SayFailed,
    /// It is passed on twice; the second answer comes back.
    Twice,
    /// It goes nowhere; this is the answer.
    Say(&'static str),
}

/// A way to answer anything: a whole response.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Listens until the runtime ends; gives its endpoint. `fate` is asked with the head of each request.
pub(crate) async fn proxy(upstream: &str, fate: impl Fn(&str) -> Fate + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let upstream: Arc<str> = upstream.trim_start_matches("http://").into();
    let fate = Arc::new(fate);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (upstream, fate) = (upstream.clone(), fate.clone());
            // A client that hangs up is none of the test's business.
            tokio::spawn(async move { serve(client, &upstream, fate.as_ref()).await });
        }
    });
    endpoint
}

async fn serve(mut client: TcpStream, upstream: &str, fate: &(impl Fn(&str) -> Fate + Sync)) -> std::io::Result<()> {
    let Some((head, body)) = request(&mut client).await? else { return Ok(()) };
    let answer = match fate(&head) {
        Fate::Say(answer) => answer.as_bytes().to_vec(),
        Fate::Pass => pass(upstream, &head, &body).await?,
        Fate::LoseAnswer => {
            pass(upstream, &head, &body).await?;
            return Ok(());
        }
        Fate::SayFailed => {
            pass(upstream, &head, &body).await?;
            FAILED.as_bytes().to_vec()
        }
        Fate::Twice => {
            pass(upstream, &head, &body).await?;
            pass(upstream, &head, &body).await?
        }
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}

/// The head of a request, with its empty line, and its body.
async fn request(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    while body.len() < length.unwrap_or(0) {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, body)))
}

async fn pass(upstream: &str, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    let head = head.trim_end().to_owned() + "\r\nconnection: close\r\n\r\n";
    server.write_all(head.as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}
