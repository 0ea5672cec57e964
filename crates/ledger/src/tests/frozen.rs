//! A record whose bytes never change: what is journaled today is read by every later release. The
//! lines follow the tables of docs/journal.md.

use super::teller::{Teller, audited, command, open, post, update};
use wire::{Kind, Status};

#[test]
fn a_record() {
    let mut teller = Teller::new();
    let mut commands = vec![
        command(1, open("al", "EUR", 0)),
        command(2, post("al", Kind::Credit, 75, "EUR")),
        command(3, post("al", Kind::Debit, 100, "EUR")),
        command(4, update("al", Some(Status::Frozen), None)),
    ];
    for (command, fingerprint) in commands.iter_mut().zip(0xf1..) {
        command.fingerprint = wire::Fingerprint(fingerprint);
    }
    teller.run(1_000_000, commands);
    let found: String = teller.journal[0].bytes.iter().map(|it| format!("{it:02x}")).collect();
    let key = |n: u8| format!("{n:02x}{}f{n}{}01", "00".repeat(15), "00".repeat(7));
    let (zeros, account, eur, metadata) = ("00".repeat(32), "0200616c", "455552", "02007b7d");
    let (second, n0) = ("40420f0000000000", "0000000000000000");
    let expected = [
        // Version, partition, number, epoch, time, hash of the record before, count of items.
        format!("02 0300 0100000000000000 0100000000000000 {second} {zeros} 0400"),
        // Open: limit and metadata; opened.
        format!("{} 01 {account} {eur} {n0} {metadata} 01", key(1)),
        // Credit 75 without a reference; posted: 75, 75, version 1.
        format!("{} 04 {account} 4b00000000000000 {eur} 00 {metadata} 03", key(2)),
        "4b00000000000000 4b00000000000000 0100000000000000".to_owned(),
        // Debit 100; refused: insufficient funds, 75 available, 100 asked; request id.
        format!("{} 03 {account} 6400000000000000 {eur} 00 {metadata} 04", key(3)),
        format!("01 4b00000000000000 6400000000000000 {eur} 0500 7265715f33"),
        // Freeze: no limit, no metadata; updated: the whole state.
        format!("{} 02 {account} 02 00 {n0} 00 02", key(4)),
        format!("{account} {eur} 02 4b00000000000000 {n0} {n0} 0200000000000000 {metadata}"),
        format!("{second} {second}"),
        // No group. One currency: the external account owes 75.
        format!("0000 0100 {eur} b5ffffffffffffffffffffffffffffff"),
    ];
    assert_eq!(found, expected.concat().replace(' ', ""));
    let hash = "3341bd4d7b2e3e6d9aa49a9276f5b68815c1d2b3d586b624366dba3b5e3227ea";
    assert_eq!(teller.journal[0].hash.to_string(), hash);
    audited(&teller.journal).unwrap();
}
