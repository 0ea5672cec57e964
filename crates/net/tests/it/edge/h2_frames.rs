//! What RFC 9113 §3 to §7 ask of a server, case by case: the cases that h2spec has, and floods.

use super::{edge, frames::*, h2_case::*};
use crate::harness::run;

#[test]
fn frames_out_of_form_end_the_connection() {
    let too_long = vec![0; 16_385];
    check(&[
        case("4.1/1 unknown type", vec![frame(0xff, 0, 0, b"x")], Alive),
        case("4.1/2 undefined flags", vec![frame(PING, 0xfe, 0, b"x2345678")], Alive),
        case("4.1/3 reserved bit", vec![frame(PING, 0, 0x8000_0000, b"x2345678")], Alive),
        case(
            "4.2/1 DATA of 2^14 bytes",
            vec![post(1, 0), frame(DATA, END_STREAM, 1, &too_long[1..])],
            Answer,
        ),
        case(
            "4.2/2 DATA longer than allowed",
            vec![post(1, 0), frame(DATA, END_STREAM, 1, &too_long)],
            Stream(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.2/3 HEADERS longer than allowed",
            vec![frame(HEADERS, WHOLE, 1, &too_long)],
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.3/2 PRIORITY within a head",
            vec![frame(HEADERS, END_STREAM, 1, &head("GET", "/", &[])), priority(1, 0, 255)],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "4.3/3 another HEADERS within a head",
            vec![frame(HEADERS, END_STREAM, 1, &head("GET", "/", &[])), get(3)],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case("5.5/1 unknown extension frame", vec![frame(0x16, 0, 0, &[0; 8])], Alive),
        case(
            "5.5/2 unknown frame within a head",
            vec![frame(HEADERS, END_STREAM, 1, &head("GET", "/", &[])), frame(0x16, 0, 0, &[0; 8])],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.1/1 DATA on stream 0",
            vec![frame(DATA, END_STREAM, 0, b"x")],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.1/3 DATA with too much padding",
            vec![post(1, 0), frame(DATA, END_STREAM | PADDED, 1, b"\x06test")],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.2/1 HEADERS without end, then another frame",
            vec![
                frame(HEADERS, END_STREAM, 1, &head("GET", "/", &[])),
                frame(DATA, END_STREAM, 1, b"x"),
            ],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.2/3 HEADERS on stream 0",
            vec![frame(HEADERS, WHOLE, 0, &head("GET", "/", &[]))],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.2/4 HEADERS with too much padding",
            vec![frame(HEADERS, WHOLE | PADDED, 1, &[&[200][..], &head("GET", "/", &[])].concat())],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case("6.3/1 PRIORITY on stream 0", vec![priority(0, 0, 9)], Connection(&[PROTOCOL_ERROR])),
        case(
            "6.3/2 PRIORITY of another length",
            vec![post(1, 0), frame(PRIORITY, 0, 1, &[0; 4])],
            Stream(&[FRAME_SIZE_ERROR]),
        ),
        case("6.4/1 RST_STREAM on stream 0", vec![reset(0)], Connection(&[PROTOCOL_ERROR])),
        case("6.4/2 RST_STREAM on an idle stream", vec![reset(1)], Connection(&[PROTOCOL_ERROR])),
        case(
            "6.4/3 RST_STREAM of another length",
            vec![post(1, 0), frame(RESET, 0, 1, &[0; 3])],
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.5/1 SETTINGS, acknowledged, with a payload",
            vec![frame(SETTINGS, ACK, 0, &setting(1, 0))],
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.5/2 SETTINGS on a stream",
            vec![frame(SETTINGS, 0, 1, &setting(3, 100))],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5/3 SETTINGS of another length",
            vec![frame(SETTINGS, 0, 0, &[0, 3, 0])],
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.5.2/1 push that is neither on nor off",
            vec![settings(2, 2)],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2/2 a window beyond the most",
            vec![settings(4, 1 << 31)],
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.5.2/3 frames below the least",
            vec![settings(5, 16_383)],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2/4 frames beyond the most",
            vec![settings(5, 1 << 24)],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case("6.5.2/5 unknown setting", vec![settings(0xff, 1)], Alive),
        case("6.7/2 PING, acknowledged", vec![frame(PING, ACK, 0, b"unasked!")], Alive),
        case(
            "6.7/3 PING on a stream",
            vec![frame(PING, 0, 1, &[0; 8])],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.7/4 PING of another length",
            vec![frame(PING, 0, 0, &[0; 6])],
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.8/1 GOAWAY on a stream",
            vec![frame(GOAWAY, 0, 1, &[0; 8])],
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "7/1 GOAWAY with an unknown code",
            vec![frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff])],
            Connection(&[0]),
        ),
        case(
            "8.2/1 PUSH_PROMISE",
            vec![frame(
                PUSH,
                END_HEADERS,
                1,
                &[&[0, 0, 0, 2][..], &head("GET", "/", &[])].concat(),
            )],
            Connection(&[PROTOCOL_ERROR]),
        ),
    ]);
}

#[test]
fn windows_are_kept() {
    let far = (1 << 31) - 1;
    check(&[
        case(
            "6.5.3/1 the last of two values counts",
            vec![frame(SETTINGS, 0, 0, &[setting(4, 100), setting(4, 1)].concat()), get(1)],
            Data(1),
        ),
        case("6.9/1 an increment of 0", vec![window(0, 0)], Connection(&[PROTOCOL_ERROR])),
        case(
            "6.9/2 an increment of 0 on a stream",
            vec![post(1, 0), window(1, 0)],
            Stream(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.9/3 WINDOW_UPDATE of another length",
            vec![frame(WINDOW, 0, 0, &[0, 0, 1])],
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case("6.9.1/1 no more than the window", vec![settings(4, 1), get(1)], Data(1)),
        case(
            "6.9.1/2 a window beyond the most",
            vec![window(0, far), window(0, far)],
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.9.1/3 a stream's window beyond the most",
            vec![post(1, 0), window(1, far), window(1, far)],
            Stream(&[FLOW_CONTROL_ERROR]),
        ),
        case("6.9.2/1 a window that grows", vec![settings(4, 0), get(1), settings(4, 1)], Data(1)),
        case(
            "6.9.2/3 a window beyond the most by a setting",
            vec![post(1, 0), window(1, far - 65_535), settings(4, 65_536)],
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
    ]);
}

#[test]
fn streams_go_through_their_states() {
    let closed: &[u32] = &[STREAM_CLOSED];
    let either: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];
    let protocol: &[u32] = &[PROTOCOL_ERROR];
    let data = || frame(DATA, END_STREAM, 1, b"test");
    let continuation = || frame(CONTINUATION, END_HEADERS, 1, &block(&[("x-a", "b")]));
    let more =
        |first: Vec<u8>| vec![first, frame(HEADERS, END_HEADERS, 1, &block(&[("x-a", "b")]))];
    check(&[
        case("5.1/1 idle: DATA", vec![data()], Connection(protocol)),
        case("5.1/2 idle: RST_STREAM", vec![reset(1)], Connection(protocol)),
        case("5.1/3 idle: WINDOW_UPDATE", vec![window(1, 100)], Connection(protocol)),
        case("5.1/4 idle: CONTINUATION", vec![continuation()], Connection(protocol)),
        case("5.1/5 half closed: DATA", vec![get(1), data()], Stream(closed)),
        case("5.1/6 half closed: HEADERS", vec![get(1), get(1)], Stream(closed)),
        case("5.1/7 half closed: CONTINUATION", vec![get(1), continuation()], Stream(either)),
        case("5.1/8 reset: DATA", vec![post(1, 0), reset(1), data()], Stream(closed)),
        case("5.1/9 reset: HEADERS", vec![post(1, 0), reset(1), get(1)], Stream(closed)),
        case(
            "5.1/10 reset: CONTINUATION",
            vec![post(1, 0), reset(1), continuation()],
            Stream(either),
        ),
        after("5.1/11 closed: DATA", vec![data()], Connection(closed)),
        after("5.1/12 closed: HEADERS", vec![get(1)], Connection(closed)),
        after("5.1/13 closed: CONTINUATION", vec![continuation()], Connection(either)),
        case("5.1.1/1 an even stream", vec![get(2)], Connection(protocol)),
        case("5.1.1/2 a lower stream", vec![get(5), get(3)], Connection(either)),
        case(
            "5.3.1/1 HEADERS that depend on themselves",
            vec![frame(
                HEADERS,
                WHOLE | WITH_PRIORITY,
                1,
                &[&[0, 0, 0, 1, 255][..], &head("GET", "/", &[])].concat(),
            )],
            Stream(protocol),
        ),
        case(
            "5.3.1/2 PRIORITY that depends on itself",
            vec![priority(2, 2, 255)],
            Stream(protocol),
        ),
        case(
            "6.1/2 DATA on a half-closed stream",
            vec![get(1), frame(DATA, END_STREAM, 1, b"x")],
            Stream(closed),
        ),
        case(
            "6.10/1 several CONTINUATION",
            vec![
                frame(HEADERS, END_STREAM, 1, &head("GET", "/", &[])),
                frame(CONTINUATION, 0, 1, &block(&[("x-a", "b")])),
                continuation(),
            ],
            Answer,
        ),
        case(
            "6.10/2 CONTINUATION, then something else",
            vec![
                frame(HEADERS, END_STREAM, 1, &head("GET", "/", &[])),
                frame(CONTINUATION, 0, 1, &block(&[("x-a", "b")])),
                data(),
            ],
            Connection(protocol),
        ),
        case(
            "6.10/3 CONTINUATION on stream 0",
            vec![
                frame(HEADERS, END_STREAM, 1, &head("GET", "/", &[])),
                frame(CONTINUATION, END_HEADERS, 0, &block(&[("x-a", "b")])),
            ],
            Connection(protocol),
        ),
        case(
            "6.10/4 CONTINUATION after a whole head",
            vec![post(1, 0), continuation()],
            Connection(protocol),
        ),
        case(
            "6.10/5 CONTINUATION after a whole CONTINUATION",
            vec![frame(HEADERS, 0, 1, &head("POST", "/", &[])), continuation(), continuation()],
            Connection(protocol),
        ),
        case(
            "6.10/6 CONTINUATION after DATA",
            vec![post(1, 0), frame(DATA, 0, 1, b"x"), continuation()],
            Connection(protocol),
        ),
        case(
            "8.1/1 a second HEADERS that does not end the stream",
            more(post(1, 0)),
            Stream(protocol),
        ),
    ]);
}

#[test]
fn a_preface_that_is_none_is_not_answered_in_http_2() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        for bytes in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"[..],
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
            b"INVALID CONNECTION PREFACE\r\n\r\n",
        ] {
            let mut client = Client::connect(addr).await;
            client.send(bytes).await;
            let found = client.find(|frame| frame.kind == HEADERS || frame.kind == DATA).await;
            assert_eq!(found, None);
        }
    });
}

#[test]
fn a_window_may_fall_below_nothing() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        client.send(&[settings(4, 3), get(1)].concat()).await;
        let data = client.find(|frame| frame.kind == DATA).await.unwrap();
        assert_eq!(data.payload.len(), 3);
        client.send(&[settings(4, 2), window(1, 2)].concat()).await;
        let data = client.find(|frame| frame.kind == DATA).await.unwrap();
        assert_eq!(data.payload.len(), 1);
    });
}

#[test]
fn one_stream_more_than_allowed_is_refused() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        client.send(&settings(4, 0)).await;
        for at in 0..=net::edge::limits::STREAMS_MAX {
            client.send(&get(2 * at + 1)).await;
        }
        let reset = client.find(|frame| frame.kind == RESET).await.unwrap();
        assert_eq!((reset.stream, reset.code()), (201, Some(REFUSED_STREAM)));
    });
}

#[test]
fn a_flood_is_told_to_calm_down() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        for flood in [
            // Rapid reset, pings, a head in endless pieces.
            (0..2_000).flat_map(|at| [get(2 * at + 1), reset(2 * at + 1)]).collect::<Vec<_>>(),
            vec![frame(PING, 0, 0, PING_BYTES); 2_000],
            vec![settings(3, 1); 2_000],
            [
                vec![frame(HEADERS, 0, 1, &head("GET", "/", &[]))],
                vec![frame(CONTINUATION, 0, 1, &block(&[("x", "y")])); 2_000],
            ]
            .concat(),
            // Resets that we are made to send: a body longer than its length.
            (0..2_000)
                .flat_map(|at| {
                    let short = head("POST", "/", &[("content-length", "1")]);
                    let stream = 2 * at + 1;
                    [frame(HEADERS, END_HEADERS, stream, &short), frame(DATA, 0, stream, b"test")]
                })
                .collect(),
        ] {
            let mut client = Client::greeted(addr).await;
            client.send(&flood.concat()).await;
            let end = client.find(|frame| frame.kind == GOAWAY).await.unwrap();
            assert_eq!(end.code(), Some(ENHANCE_YOUR_CALM));
            assert_eq!(client.find(|_| false).await, None);
        }
    });
}

/// Some clients take a reset for the answer, so it waits until they have sent all.
#[test]
fn a_body_that_is_refused_is_heard_out() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        let long = head("POST", "/", &[("content-length", "270000")]);
        client.send(&frame(HEADERS, END_HEADERS, 1, &long)).await;
        let answer = client.find(|frame| frame.kind != SETTINGS && frame.kind != WINDOW).await;
        assert_eq!(answer.unwrap().kind, HEADERS);
        assert!(client.find(Frame::ends_stream).await.is_some());
        let mut room = 65_535;
        for at in 1..=27 {
            // The window is opened anew when half of it is used.
            while room < 10_000 {
                let more = client.find(|frame| frame.kind == WINDOW && frame.stream == 1).await;
                let more = more.expect("room for more").payload.try_into().unwrap();
                room += u32::from_be_bytes(more);
            }
            let flags = if at == 27 { END_STREAM } else { 0 };
            client.send(&frame(DATA, flags, 1, &[b'x'; 10_000])).await;
            room -= 10_000;
        }
        client.send(&frame(PING, 0, 0, PING_BYTES)).await;
        let next = client.find(|frame| frame.kind == RESET || frame.kind == PING).await;
        assert_eq!(next.unwrap().kind, PING);
    });
}
