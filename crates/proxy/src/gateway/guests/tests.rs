//! Who gets in, how far, and how often.

use super::*;
use std::time::Duration;
use wire::frame::HeaderList;

fn headers(values: &[&str]) -> HeaderList {
    let mut list = HeaderList::new();
    for value in values {
        list.push("authorization", value.as_bytes()).unwrap();
    }
    list
}

fn key(text: &str) -> Key {
    Key {
        name: text.to_owned(),
        hash: keys::hash(text.as_bytes()),
        created: Timestamp(0),
        services: None,
        read_only: false,
        expires: None,
        rate: None,
    }
}

fn guests(keys: Vec<Key>) -> Guests {
    Guests::new("secret", Watch::fixed(keys), Meters::default())
}

#[track_caller]
fn admitted(values: &[&str], expected: Result<(), &str>) {
    let guests = guests(vec![key("other")]);
    let list = headers(values);
    match (guests.admit(list.as_ref()), expected) {
        (Ok(guest), Ok(())) => {
            let text = if values[0].contains("other") { "other" } else { "secret" };
            assert_eq!(guest.caller, Caller::from_api_key(text));
        }
        (Err(mistake), Err(detail)) => {
            assert_eq!((mistake.code, &*mistake.detail), (Code::Unauthenticated, detail));
        }
        (got, _) => panic!("{values:?}: {got:?}"),
    }
}

#[test]
fn only_known_keys_get_in() {
    admitted(&["Bearer secret"], Ok(()));
    admitted(&["bearer  secret "], Ok(()));
    admitted(&["Bearer other"], Ok(()));
    admitted(&[], Err("no API key; send Authorization: Bearer and the key"));
    for wrong in ["Bearer wrong", "Bearer secret2", "Bearer Secret", "Bearer secre"] {
        admitted(&[wrong], Err("the API key is not known"));
    }
    for other in ["", "Bearer", "Bearer ", "Basic c2VjcmV0", "secret", "Bearersecret"] {
        admitted(&[other], Err("Authorization is not of the form Bearer and a key"));
    }
    let twice = ["Bearer secret", "Bearer secret"];
    admitted(&twice, Err("more than one Authorization header"));
}

#[test]
fn a_key_that_has_expired_is_not_known() {
    let old = Key { expires: Some(Timestamp(1)), ..key("old") };
    let young = Key { expires: Some(Timestamp::MAX), ..key("young") };
    let guests = guests(vec![old, young]);
    assert!(guests.admit(headers(&["Bearer young"]).as_ref()).is_ok());
    let mistake = guests.admit(headers(&["Bearer old"]).as_ref()).unwrap_err();
    assert_eq!(mistake.code, Code::Unauthenticated);
}

#[test]
fn a_key_goes_as_far_as_it_is_for() {
    let narrow = Key { services: Some(vec!["a".to_owned()]), read_only: true, ..key("narrow") };
    let guests = guests(vec![narrow]);
    let list = headers(&["Bearer narrow"]);
    let guest = guests.admit(list.as_ref()).unwrap();
    assert_eq!(guest.enter("a"), Ok(()));
    assert_eq!(guest.enter("b").unwrap_err().code, Code::Forbidden);
    assert_eq!(guest.may_change().unwrap_err().code, Code::Forbidden);
    let list = headers(&["Bearer secret"]);
    let first = guests.admit(list.as_ref()).unwrap();
    assert_eq!((first.enter("b"), first.may_change()), (Ok(()), Ok(())));
}

#[test]
fn a_rate_is_kept_over_all_workers_and_any_time() {
    let meters = Meters::default();
    let rate = NonZeroU32::new(10).unwrap();
    let (one, two) = (meters.of([1; 32], rate), meters.of([1; 32], rate));
    let at = |ms: u64| Moment::ZERO + Duration::from_secs(60) + Duration::from_millis(ms);
    let admitted = (0..30).filter(|it| if it % 2 == 0 { &one } else { &two }.admits(at(0))).count();
    assert_eq!(admitted, 10);
    assert!(!one.admits(at(99)));
    assert!(one.admits(at(100)) && !two.admits(at(100)));
    // Over ten seconds of asking all the time: what comes at once, and the rate.
    let admitted = (100..10_100).filter(|it| one.admits(at(*it))).count();
    assert!((99..=101).contains(&admitted), "{admitted}");
}

#[test]
fn a_meter_stays_as_full_as_it_is_when_the_file_changes() {
    let meters = Meters::default();
    let limited = Key { rate: NonZeroU32::new(1), ..key("limited") };
    let ask = |keys: Vec<Key>| {
        let guests = Guests::new("secret", Watch::fixed(keys), meters.clone());
        guests.admit(headers(&["Bearer limited"]).as_ref()).map(drop).map_err(|it| it.code)
    };
    assert_eq!(ask(vec![limited.clone()]), Ok(()));
    assert_eq!(ask(vec![limited.clone(), key("new")]), Err(Code::RateLimited));
    assert_eq!(ask(vec![key("new")]), Err(Code::Unauthenticated));
    assert_eq!(ask(vec![limited]), Ok(()), "it was forgotten with its key");
}
