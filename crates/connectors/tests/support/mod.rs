//! A server that answers byte for byte what it is told to.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server sends to one connection after another; the last is sent for ever.
#[derive(Clone)]
pub(crate) enum Reply {
    /// These bytes, then the connection ends.
    Bytes(Vec<u8>),
    /// Nothing, and the connection stays open.
    Stall,
    /// The connection ends without a byte.
    Reset,
}

pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Reply {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

pub(crate) fn ok(body: &str) -> Reply {
    answer("200 OK", "Content-Type: application/json\r\n", body.as_bytes())
}

pub(crate) struct TestServer {
    pub(crate) url: String,
    /// The requests that came, whole.
    requests: Arc<Mutex<Vec<String>>>,
}

impl TestServer {
    /// Sends one reply after another.
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let next = AtomicUsize::new(0);
        Self::answering(move |_| replies[next.fetch_add(1, Ordering::Relaxed).min(replies.len() - 1)].clone())
            .await
    }

    /// Sends what `reply` makes of a request.
    pub(crate) async fn answering(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let reply: Arc<dyn Fn(&str) -> Reply + Send + Sync> = Arc::new(reply);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/users", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve(stream, reply.clone(), seen.clone()));
            }
        });
        Self { url, requests }
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().expect("not poisoned").len()
    }

    pub(crate) fn request(&self, index: usize) -> String {
        self.requests.lock().expect("not poisoned")[index].clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    reply: Arc<dyn Fn(&str) -> Reply + Send + Sync>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut request = vec![0; 16 * 1024];
    let length = stream.read(&mut request).await.unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    seen.lock().expect("not poisoned").push(request.clone());
    match reply(&request) {
        Reply::Bytes(bytes) => {
            // The client may have heard enough and left.
            let _ = stream.write_all(&bytes).await;
        }
        Reply::Stall => std::future::pending().await,
        Reply::Reset => {}
    }
}
