//! What every store promises. Each promise is checked on sled, also where it seals, and in memory by the same code; a
//! promise that only one store can break (a real disk, simulated faults) has a test of its own.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod entities;
mod faults;
mod journal;
mod left_files;
mod listing;
mod ownership;
mod records;
mod removal;
mod rows;
mod sealed_only;
mod sled_only;
mod subject;
mod survey;
mod undeployed;
mod usage;

macro_rules! promises {
    ($($module:ident { $($promise:ident,)* })*) => {
        mod sled {
            $(mod $module { $(
                #[tokio::test]
                async fn $promise() {
                    crate::$module::$promise(crate::subject::Subject::sled()).await;
                }
            )* })*
        }
        mod sealed {
            $(mod $module { $(
                #[tokio::test]
                async fn $promise() {
                    crate::$module::$promise(crate::subject::Subject::sealed()).await;
                }
            )* })*
        }
        mod memory {
            $(mod $module { $(
                #[tokio::test]
                async fn $promise() {
                    crate::$module::$promise(crate::subject::Subject::memory()).await;
                }
            )* })*
        }
    };
}

promises! {
    journal {
        a_frame_stands_where_its_place_is_free_and_its_predecessor_known,
        a_frame_with_another_predecessor_is_fenced_and_changes_nothing,
        the_same_append_again_is_durable_and_changes_nothing,
        frames_are_read_from_the_one_that_holds_the_position,
        nothing_is_appended_after_the_end,
        a_frame_over_the_limit_is_refused,
        appends_of_many_runs_at_once_all_stand,
        journals_survive_a_kill,
        journals_survive_a_clean_stop,
        a_watcher_wakes_when_the_run_grows,
        a_watcher_that_is_late_does_not_wait,
        a_tenant_sees_nothing_of_another,
        a_glimpse_shows_the_head_the_first_frame_and_after_the_end_the_last,
    }
    ownership {
        whoever_starts_a_run_owns_it,
        a_run_that_was_owned_is_ready_after_a_kill,
        a_parked_run_is_claimed_when_its_timer_is_due,
        a_parked_run_without_timer_is_claimed_when_something_arrives,
        an_item_that_came_before_the_park_makes_the_run_ready,
        an_item_read_by_the_parking_frame_does_not,
        timers_survive_a_kill,
        an_earlier_timer_is_news,
        the_owner_hears_a_knock_once,
        a_claim_takes_no_more_than_asked_and_tells_that_there_is_more,
        whoever_has_no_room_is_not_told_of_what_waits,
        a_released_run_is_ready_at_once,
        a_parked_run_can_be_released_by_a_process_that_never_had_it,
        an_ended_run_leaves_nothing_behind,
        recalls_are_counted_across_kills_until_the_run_gets_further,
        a_stuck_run_waits_until_something_arrives,
        a_stuck_run_is_not_woken_by_what_its_owner_had_found,
        a_run_is_parked_without_an_append,
        every_opening_has_a_higher_epoch,
        a_closed_store_answers_with_errors,
    }
    rows {
        a_start_key_names_one_run_for_ever,
        an_item_is_delivered_once_and_kept_in_order,
        what_a_frame_sends_to_other_runs_stands_with_it_or_not_at_all,
        an_inbox_has_a_limit,
        words_on_a_run_have_room_beside_its_messages,
        no_end_loses_an_item_of_the_inbox,
        nobody_sends_to_a_run_that_is_not_there_or_has_ended,
        payloads_come_back_as_they_were,
        log_lines_stand_once_in_order,
        open_questions_are_listed_page_by_page_until_they_are_settled,
        a_landmark_leads_to_the_last_entry_of_its_name_also_after_the_end,
        a_message_is_told_from_another_one_under_its_id,
        what_a_backup_brings_back_counts_as_sent_and_read,
        lines_without_a_frame_stand_only_after_the_last_frame_that_is_known,
        components_come_back_with_their_manifest,
        a_deployment_is_changed_only_from_the_revision_it_has,
    }
    removal {
        a_run_that_ended_can_be_removed_and_leaves_nothing,
        a_removal_that_was_asked_for_is_whole_or_has_not_begun_after_a_kill,
        a_run_that_is_open_cannot_be_removed,
    }
    undeployed {
        a_removed_component_leaves_nothing_and_may_come_again,
        a_component_that_comes_and_goes_at_once_is_whole_or_not_there,
        a_removal_of_a_component_is_whole_or_has_not_begun_after_a_kill,
        a_deployment_is_removed_whole_and_only_from_the_revision_it_has,
        a_deployment_that_loses_versions_has_the_others,
        of_a_change_and_a_removal_at_once_one_is_done,
    }
    records {
        a_record_is_changed_only_from_the_revision_it_has,
        records_are_listed_page_by_page_in_the_order_of_their_names,
        a_record_over_its_limits_is_refused,
        an_erased_tenant_leaves_nothing_and_others_are_as_they_were,
    }
    usage {
        what_a_frame_used_is_added_once_and_with_it_or_not_at_all,
        a_sum_that_cannot_be_read_counts_anew_and_no_frame_waits_for_it,
        sums_outlive_the_runs_that_used_it_and_go_with_their_tenant,
    }
    entities {
        a_write_stands_with_its_frame_and_says_what_became_of_it,
        what_a_fenced_owner_writes_is_not_done,
        of_runs_that_race_one_wins,
        a_version_is_never_given_twice,
        entities_are_listed_page_by_page,
        of_what_comes_from_a_backup_the_latest_version_stands,
    }
    survey {
        runs_start_keys_and_payloads_are_listed_page_by_page,
        values_of_a_start_that_was_cut_off_are_no_run,
        a_sound_run_has_no_flaws_and_says_where_it_is,
    }
    listing {
        the_newest_runs_come_first_page_by_page,
        runs_are_filtered_by_what_their_heads_say,
        a_prefix_of_an_id_finds_its_runs,
    }
}
