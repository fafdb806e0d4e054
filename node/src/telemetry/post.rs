//! The little of HTTP that spans need: one POST to a collector nearby, without TLS. A client library would bring forty crates
//! for it.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::time::Duration;

use axum::http::{Request, Response};
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError};

/// A collector beside the node takes spans in milliseconds; what it does not take in this time is lost.
const TIME: Duration = Duration::from_secs(5);

/// More of an answer is not read: what is looked at is its status.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Sends what it is given, on the caller's thread: the exporter has one of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Post;

type Answered<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Post {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Answered<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move { send(&request) })
    }
}

fn send(request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let uri = request.uri();
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(format!("{uri}: spans go by http:// only, to a collector nearby").into());
    };
    let host_and_port = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
    let addr = host_and_port.to_socket_addrs()?.next().ok_or("the collector has no address")?;
    let mut stream = TcpStream::connect_timeout(&addr, TIME)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.set_write_timeout(Some(TIME))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut head =
        format!("{} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", request.method()).into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend_from_slice(format!("content-length: {}\r\n\r\n", request.body().len()).as_bytes());
    stream.write_all(&head)?;
    stream.write_all(request.body())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = std::str::from_utf8(first)?.split(' ').nth(1).ok_or("the collector's answer is no HTTP")?;
    Ok(Response::builder().status(status.parse::<u16>()?).body(Bytes::new())?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_is_sent_arrives_and_the_status_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let collector = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut read = Vec::new();
            let mut bytes = [0; 1024];
            while !read.ends_with(b"spans") {
                let n = stream.read(&mut bytes).unwrap();
                read.extend_from_slice(&bytes[..n]);
            }
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok").unwrap();
            String::from_utf8(read).unwrap()
        });
        let request =
            Request::post(format!("http://{addr}/v1/traces")).header("content-type", "application/x-protobuf");
        let answer = send(&request.body(Bytes::from_static(b"spans")).unwrap()).unwrap();
        assert_eq!(answer.status(), 202);
        let asked = collector.join().unwrap();
        assert!(
            asked.starts_with("POST /v1/traces HTTP/1.1\r\n") && asked.contains("content-length: 5\r\n"),
            "{asked}"
        );
        assert!(asked.contains("content-type: application/x-protobuf\r\n"), "{asked}");
        let https = Request::post("https://h/v1/traces").body(Bytes::new()).unwrap();
        assert!(send(&https).unwrap_err().to_string().contains("http:// only"));
    }
}
