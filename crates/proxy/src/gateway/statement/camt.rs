//! A statement as a bank's system reads it: ISO 20022, Bank-to-Customer Statement, camt.053.001.08.
//! Elements in the order of its schema; amounts in units, with the currency's digits.

use super::Sheet;
use std::fmt::{Display, Write};
use wire::{Currency, Kind, Posting, Timestamp, id::base32};

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08";
/// Max34Text: the longest name of an account.
const ACCOUNT_CHARS_MAX: usize = 34;
/// Max140Text: one line of what a payment is for.
const LINE_CHARS_MAX: usize = 140;

/// Writes the statement.
pub(super) fn write(sheet: &Sheet<'_>) -> Vec<u8> {
    let currency = sheet.account.currency;
    let mut xml = Xml("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned());
    xml.put(format_args!("<Document xmlns=\"{NAMESPACE}\"><BkToCstmrStmt><GrpHdr>"));
    let id = id(sheet);
    xml.leaf("MsgId", &id);
    xml.leaf("CreDtTm", sheet.at);
    xml.put("</GrpHdr><Stmt>");
    xml.leaf("Id", &id);
    xml.leaf("CreDtTm", sheet.at);
    xml.put("<FrToDt>");
    xml.leaf("FrDtTm", sheet.from);
    xml.leaf("ToDtTm", sheet.to);
    xml.put("</FrToDt><Acct><Id><Othr>");
    xml.leaf("Id", account(sheet.account.id.as_str()));
    xml.put("</Othr></Id>");
    xml.leaf("Ccy", currency);
    xml.put("</Acct>");
    xml.balance("OPBD", sheet.opening, currency, sheet.from);
    xml.balance("CLBD", sheet.closing, currency, sheet.to);
    xml.summary(sheet);
    sheet.entries.iter().for_each(|entry| xml.entry(entry));
    xml.leaf("AddtlStmtInf", format_args!("{}/{}", sheet.service, sheet.account.id));
    xml.put("</Stmt></BkToCstmrStmt></Document>\n");
    xml.0.into_bytes()
}

/// The name of this very statement, the same again for the same one.
fn id(sheet: &Sheet<'_>) -> String {
    let last = sheet.entries.last().map_or(0, |last| last.version);
    let what = format!(
        "{} {} {} {} {last} {}",
        sheet.service, sheet.account.id, sheet.from, sheet.to, sheet.closing
    );
    format!("st_{}", digits_of(&what))
}

/// An account's id where it fits, else a name of the length that is allowed; the whole id stands at
/// the statement's end.
fn account(id: &str) -> String {
    if id.chars().count() <= ACCOUNT_CHARS_MAX {
        return id.to_owned();
    }
    format!("acc_{}", digits_of(id))
}

fn digits_of(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes());
    let bits = u128::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"));
    base32(bits, &mut [0; 26]).to_owned()
}

/// A document as it grows.
struct Xml(String);

impl Xml {
    /// Markup of our own.
    fn put(&mut self, markup: impl Display) {
        write!(self.0, "{markup}").expect("a String takes everything");
    }

    /// An element with a text in it, whatever it is.
    fn leaf(&mut self, name: &str, value: impl Display) {
        self.put(format_args!("<{name}>"));
        for char in value.to_string().chars() {
            match char {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                char if is_allowed(char) => self.0.push(char),
                _ => self.0.push(char::REPLACEMENT_CHARACTER),
            }
        }
        self.put(format_args!("</{name}>"));
    }

    fn amount(&mut self, minor: i128, currency: Currency) {
        let (code, amount) = (currency, currency.decimal(minor));
        self.put(format_args!("<Amt Ccy=\"{code}\">{amount}</Amt>"));
    }

    fn balance(&mut self, code: &str, minor: i64, currency: Currency, at: Timestamp) {
        self.put(format_args!("<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"));
        let minor = i128::from(minor);
        self.amount(minor.abs(), currency);
        self.leaf("CdtDbtInd", if minor < 0 { "DBIT" } else { "CRDT" });
        self.put("<Dt>");
        self.leaf("DtTm", at);
        self.put("</Dt></Bal>");
    }

    fn summary(&mut self, sheet: &Sheet<'_>) {
        self.put("<TxsSummry>");
        for (kind, name) in [(Kind::Credit, "TtlCdtNtries"), (Kind::Debit, "TtlDbtNtries")] {
            let (count, sum) = sheet.sum(kind);
            self.put(format_args!("<{name}>"));
            self.leaf("NbOfNtries", count);
            self.leaf("Sum", sheet.account.currency.decimal(sum));
            self.put(format_args!("</{name}>"));
        }
        self.put("</TxsSummry>");
    }

    fn entry(&mut self, entry: &Posting) {
        self.put("<Ntry>");
        self.leaf("NtryRef", entry.version);
        self.amount(entry.amount.minor().into(), entry.currency);
        let (indicator, code) = match entry.kind {
            Kind::Debit => ("DBIT", "debit"),
            Kind::Credit => ("CRDT", "credit"),
        };
        self.leaf("CdtDbtInd", indicator);
        if entry.reverses().is_some() {
            self.leaf("RvslInd", true);
        }
        self.put("<Sts><Cd>BOOK</Cd></Sts><BookgDt>");
        self.leaf("DtTm", entry.created_at);
        self.put("</BookgDt>");
        self.leaf("AcctSvcrRef", entry.id);
        self.put("<BkTxCd><Prtry>");
        self.leaf("Cd", code);
        self.put("</Prtry></BkTxCd>");
        if let Some(reference) = entry.reference.as_deref().filter(|it| !it.is_empty()) {
            self.put("<NtryDtls><TxDtls><RmtInf>");
            let chars: Vec<char> = reference.chars().collect();
            for line in chars.chunks(LINE_CHARS_MAX) {
                self.leaf("Ustrd", line.iter().collect::<String>());
            }
            self.put("</RmtInf></TxDtls></NtryDtls>");
        }
        self.put("</Ntry>");
    }
}

/// What XML 1.0 lets stand in a text (its production Char).
fn is_allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
