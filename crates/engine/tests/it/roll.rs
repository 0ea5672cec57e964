//! Which tests every engine has to pass: those of [`crate::suite`], all of them.

/// Every test of the suite, for a rig; `None` is one that is not to be had here.
macro_rules! suite {
    ($rig:expr) => { crate::roll::suite!($rig;
        a_batch_is_let_in_once,
        the_fence_compares_epoch_number_and_hash,
        a_new_tenure_fences_the_old,
        a_partition_has_one_owner,
        what_is_given_is_for_its_successor_alone,
        a_survey_shows_who_is_there_and_who_has_what,
        the_rows_follow_the_fence,
        a_name_is_borne_once,
        what_was_acknowledged_is_there_again,
        what_is_open_is_loaded,
        the_recent_past_is_loaded_and_no_more,
        a_deposed_projector_writes_nothing,
        reads_are_what_the_owner_has,
        pages_are_stable_while_entries_arrive,
        filters_choose,
        a_page_ends_at_a_mebibyte,
        keys_of_clients_are_found,
        a_key_that_is_there_is_replaced_by_its_last_use,
        keys_are_dropped_by_the_day,
        a_wrong_clock_costs_no_key,
        all_keys_are_read_in_parts,
        keys_are_found_however_often_they_were_merged,
        keys_are_found_while_they_are_moved,
        a_minted_key_is_found_around_its_time,
        two_nodes_commit_side_by_side,
    ); };
    ($rig:expr; $($test:ident),* $(,)?) => { $(
        #[test]
        fn $test() {
            let rig: Option<_> = $rig;
            if let Some(rig) = &rig {
                crate::suite::$test(rig);
            }
        }
    )* };
}
pub(crate) use suite;
