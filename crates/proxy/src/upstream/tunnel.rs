//! An upgraded connection: bytes from either side go to the other, and nobody reads them here.

use super::{
    limits::TUNNEL_BUFFER_BYTES,
    roster::{Kept, Switched},
};
use bytes::BytesMut;
use hyper_util::rt::TokioIo;
use net::{
    clock,
    edge::OnUpgrade,
    trunk::{StreamReader, StreamWriter},
};
use std::{cell::Cell, io, time::Duration};
use stdx::Moment;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    task::spawn_local,
    time::sleep,
};

/// Joins both ends once the client has its 101. Ends with them, half by half.
pub(super) fn start(
    client: OnUpgrade,
    upstream: hyper::upgrade::OnUpgrade,
    kept: impl Sized + 'static,
) {
    let quiet_max = client.quiet_max();
    drop(spawn_local(async move {
        let (client, upstream) = tokio::join!(client.upgraded(), upstream);
        match (client, upstream) {
            (Some(client), Ok(upstream)) => {
                if let Err(err) = join(client, TokioIo::new(upstream), quiet_max).await {
                    tracing::debug!(%err, "upgraded connection ended");
                }
            }
            (None, _) => tracing::debug!("the client left before its connection was upgraded"),
            (_, Err(err)) => tracing::debug!(%err, "the upgrade came to nothing"),
        }
        drop(kept);
    }));
}

/// The two parts of an answer with 101.
pub(super) fn parts(switched: Switched) -> (http::Response<()>, hyper::upgrade::OnUpgrade, Kept) {
    let Switched { response, upstream, kept } = switched;
    (response, upstream, kept)
}

async fn join(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
    quiet_max: Duration,
) -> io::Result<()> {
    let moved = Cell::new(clock::now());
    let (client_in, client_out) = split(client);
    let (upstream_in, upstream_out) = split(upstream);
    let both = async {
        tokio::try_join!(
            pump(client_in, upstream_out, &moved),
            pump(upstream_in, client_out, &moved)
        )
    };
    tokio::select! {
        ended = both => ended.map(drop),
        () = stands_still(&moved, quiet_max) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "nothing moved for too long",
        )),
    }
}

/// Carries bytes one way until their end, which it passes on.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Cell<Moment>,
) -> io::Result<()> {
    let mut buffer = vec![0; TUNNEL_BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
        moved.set(clock::now());
    }
}

/// Joins a connection with both streams of an exchange, until the answer's stream or the connection
/// ends. The end of the request's stream ends its half only.
pub(crate) async fn carry(
    connection: impl AsyncRead + AsyncWrite,
    from: StreamReader,
    to: StreamWriter,
    quiet_max: Duration,
) {
    let moved = Cell::new(clock::now());
    let (read, write) = split(connection);
    let both = async { tokio::try_join!(pump_out(read, to, &moved), pump_in(from, write, &moved)) };
    let ended = tokio::select! {
        ended = both => ended.map(drop),
        () = stands_still(&moved, quiet_max) => Err(io::ErrorKind::TimedOut.into()),
    };
    if let Err(err) = ended {
        tracing::debug!(%err, "upgraded connection ended");
    }
}

/// Carries bytes of a connection into a stream. That nobody wants more of them is no failure: what
/// the other stream still brings is to arrive.
async fn pump_out(
    mut from: impl AsyncRead + Unpin,
    mut to: StreamWriter,
    moved: &Cell<Moment>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(TUNNEL_BUFFER_BYTES);
        let count = tokio::select! {
            count = from.read_buf(&mut buffer) => count?,
            _ = to.closed() => return Ok(()),
        };
        if count == 0 {
            to.finish();
            return Ok(());
        }
        if to.send(buffer.split().freeze()).await.is_err() {
            return Ok(());
        }
        moved.set(clock::now());
    }
}

/// Carries bytes of a stream into a connection.
async fn pump_in(
    mut from: StreamReader,
    mut to: impl AsyncWrite + Unpin,
    moved: &Cell<Moment>,
) -> io::Result<()> {
    while let Some(chunk) = from.next().await {
        let chunk = chunk.map_err(|loss| io::Error::other(loss.to_string()))?;
        to.write_all(&chunk).await?;
        to.flush().await?;
        moved.set(clock::now());
    }
    to.shutdown().await
}

async fn stands_still(moved: &Cell<Moment>, quiet_max: Duration) {
    loop {
        let quiet = clock::now().since(moved.get());
        if quiet_max <= quiet {
            return;
        }
        sleep(quiet_max.saturating_sub(quiet)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test]
    async fn each_half_ends_for_itself() {
        let (mut client, client_end) = duplex(64);
        let (mut upstream, upstream_end) = duplex(64);
        let joined = join(client_end, upstream_end, Duration::from_secs(3_600));
        let talk = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut asked = Vec::new();
            upstream.read_to_end(&mut asked).await.unwrap();
            // The client says nothing more, and still hears everything.
            let answer = vec![7; 5 * TUNNEL_BUFFER_BYTES];
            let (written, heard) = tokio::join!(
                async {
                    upstream.write_all(&answer).await.unwrap();
                    upstream.shutdown().await
                },
                async {
                    let mut heard = Vec::new();
                    client.read_to_end(&mut heard).await.map(|_| heard)
                }
            );
            written.unwrap();
            assert_eq!((asked.as_slice(), heard.unwrap()), (&b"question"[..], answer.clone()));
        };
        let (ended, ()) = tokio::join!(joined, talk);
        ended.unwrap();
    }

    #[tokio::test]
    async fn one_on_which_nothing_moves_is_ended() {
        let (_client, client_end) = duplex(64);
        let (_upstream, upstream_end) = duplex(64);
        let ended = join(client_end, upstream_end, Duration::from_millis(20)).await;
        assert_eq!(ended.map_err(|err| err.kind()), Err(io::ErrorKind::TimedOut));
    }
}
